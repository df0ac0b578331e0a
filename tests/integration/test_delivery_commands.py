"""`fenliu webhooks` and `fenliu deliveries`: what they print, and what they never print."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import Result
from sqlalchemy import Engine
from typer.testing import CliRunner

from schemas.settings import Settings
from schemas.signature import verify
from tests.conftest import Fenliu
from tests.integration.receiver import Receiver
from tests.integration.relaying import add_webhook, assign, quick, relaying, through
from tests.waiting import wait_for
from worker.cli import deliveries, webhooks

Run = Callable[..., Result]


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in this process: `run(webhooks, "list")`."""
    given = settings.model_dump(exclude_unset=True) | {"webhook_allow_private": True}
    for name, value in given.items():
        monkeypatch.setenv(f"FENLIU_{name.upper()}", str(value))
    return lambda module, *arguments: CliRunner().invoke(module.app, arguments)


def test_a_private_address_is_refused_at_once(fenliu: Fenliu) -> None:
    refused = fenliu("webhooks", "add", "http://127.0.0.1:1/hook")
    assert (1, "") == (refused.returncode, refused.stdout)
    assert "error: 127.0.0.1 may not be called: 127.0.0.1 is no public address" in refused.stderr


def test_a_webhook_from_its_first_day_to_its_last(run: Run) -> None:
    with Receiver() as receiver:
        # Given a webhook, whose secret is shown when it is added
        url = receiver.url("/hook?token=abc")
        added = run(webhooks, "add", url, "--team", "billing", "--by", "mei")
        [secret] = [line.removeprefix("secret: ") for line in added.stdout.splitlines() if "secret: " in line]
        assert "note: no route set has a team billing yet\n" == added.stderr
        again = run(webhooks, "add", url, "--team", "billing")
        assert "this URL is there already for this team; see `fenliu webhooks list`" == str(again.exception)

        # when it is tried out, then it gets a signed ping
        assert "webhook 1 answered 200\n" == run(webhooks, "test", "1").stdout
        [ping] = receiver.requests
        assert ("/hook?token=abc", "ping", 1) == (ping.path, ping.content["kind"], ping.content["webhook_id"])
        assert verify(secret, ping.headers["x-fenliu-signature"], ping.body)

        # and with a new secret, one signed with that
        rotated = json.loads(run(webhooks, "rotate", "1", "--json").stdout)["secret"]
        receiver.behave = lambda request: request.answer(500)
        broken = run(webhooks, "test", "1")
        assert "webhook 1: the receiver answered 500" == str(broken.exception)
        assert {"ok": False, "status_code": 500, "error": "the receiver answered 500"} == json.loads(
            run(webhooks, "test", "1", "--json").stdout
        )
        for request in receiver.requests[1:]:
            assert verify(rotated, request.headers["x-fenliu-signature"], request.body)

    # No list shows a secret, nor what may be one.
    [listed] = [json.loads(line) for line in run(webhooks, "list", "--json").stdout.splitlines()]
    assert ("billing", True, "mei", "whsec_****") == tuple(
        listed[name] for name in ("team", "enabled", "created_by", "secret")
    )
    shown = run(webhooks, "list").stdout
    assert "billing" in shown
    assert all(each not in shown + listed["url"] for each in (secret, rotated, "abc"))
    assert "0 deliveries were given up" in run(webhooks, "disable", "1").stdout
    assert "disabled" in run(webhooks, "list").stdout
    assert "webhook 1 is enabled" in run(webhooks, "enable", "1").stdout
    assert "webhook 1 is removed" in run(webhooks, "remove", "1").stdout
    assert "no webhooks\n" == run(webhooks, "list").stdout
    # The number 2 went to the one that was there already.
    machine = str(json.loads(run(webhooks, "add", url, "--json").stdout)["id"])
    assert {"id": 3, "enabled": False, "given_up": 0} == json.loads(run(webhooks, "disable", machine, "--json").stdout)
    assert {"id": 3, "enabled": True} == json.loads(run(webhooks, "enable", machine, "--json").stdout)
    assert {"removed": 3} == json.loads(run(webhooks, "remove", machine, "--json").stdout)
    for command in ("enable", "disable", "remove", "rotate", "test"):
        missing = run(webhooks, command, "1")
        assert "there is no webhook 1; see `fenliu webhooks list`" == str(missing.exception)


@pytest.mark.parametrize(
    "url", ["ftp://a/", "http://no-such-host.invalid/", "http://u:p@127.0.0.1/", "http://0.0.0.0/"]
)
def test_a_url_that_cannot_be_called_is_not_added(run: Run, url: str) -> None:
    assert 1 == run(webhooks, "add", url).exit_code
    assert "no webhooks\n" == run(webhooks, "list").stdout


def test_deliveries_are_listed_and_replayed(run: Run, engine: Engine, settings: Settings) -> None:
    with Receiver(lambda request: request.answer(400)) as receiver:
        webhook_id = add_webhook(engine, receiver.url(), "billing")
        assign(engine, "42", "billing", "returns")
        with relaying(quick(settings, webhook_attempts=1)):
            wait_for(lambda: through(engine), 30, "all tried")
    options = ("--state", "failed", "--team", "billing", "--webhook", str(webhook_id), "--json")
    [listed] = [json.loads(line) for line in run(deliveries, "list", *options).stdout.splitlines()]
    assert ("42", "failed", 1, 400, "the receiver answered 400") == tuple(
        listed[name] for name in ("item_id", "state", "attempts", "status_code", "last_error")
    )
    assert "0 announcements under way; 1 deliveries failed" in run(deliveries, "list").stdout
    assert 2 == run(deliveries, "replay").exit_code
    assert 2 == run(deliveries, "replay", "1", "--failed").exit_code
    assert {"replayed": 1} == json.loads(run(deliveries, "replay", str(listed["id"]), "--json").stdout)
    assert "0 will be delivered again\n" == run(deliveries, "replay", "--failed").stdout
    assert "1 announcements under way, the oldest for" in run(deliveries, "list").stdout
    # What waits already, and what does not exist
    for number in (str(listed["id"]), "424242"):
        refused = run(deliveries, "replay", number)
        assert (1, True) == (refused.exit_code, "none of these can be replayed" in str(refused.exception))
