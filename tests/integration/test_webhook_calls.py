"""One call of a webhook, against real HTTP servers that behave in every way that receivers do."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from schemas.names import DeliveryState
from schemas.settings import Settings
from schemas.signature import verify
from tests.conftest import ROOT, environment
from tests.integration.receiver import Receiver, Request
from tests.waiting import wait_for
from worker.relay.guard import Resolve
from worker.relay.webhook import Answer, Call, Caller

SECRET = "whsec_test"
HERE = Settings(webhook_allow_private=True, webhook_timeout_s=0.5)
OUTSIDE = Settings(webhook_timeout_s=0.5)
BODY = '{"item_id":"物流"}'.encode()


def call(
    url: str,
    settings: Settings = HERE,
    resolve: Resolve | None = None,
    trust: ssl.SSLContext | None = None,
    secret: str = SECRET,
) -> Answer:
    async def once() -> Answer:
        caller = Caller(settings, resolve=resolve, ssl_context=trust)
        try:
            return await caller.call(Call(url, secret, "7", BODY))
        finally:
            await caller.close()

    return asyncio.run(once())


def answering(*addresses: str) -> Resolve:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    return resolve


def test_a_call_says_what_it_is_and_is_signed() -> None:
    with Receiver() as receiver:
        assert Answer(DeliveryState.DELIVERED, 200) == call(receiver.url("/hook?team=a%20b"))
    [request] = receiver.requests
    assert ("/hook?team=a%20b", BODY) == (request.path, request.body)
    assert ("application/json", "7", "7", f"127.0.0.1:{receiver.port}") == tuple(
        request.headers[name] for name in ("content-type", "idempotency-key", "x-fenliu-delivery", "host")
    )
    assert request.headers["user-agent"].startswith("Fenliu/")
    assert verify(SECRET, request.headers["x-fenliu-signature"], request.body)


@pytest.mark.parametrize(
    ("status", "state", "error"),
    [
        (200, DeliveryState.DELIVERED, None),
        (204, DeliveryState.DELIVERED, None),
        (301, DeliveryState.WAITING, "301: redirects are not followed; give the final URL"),
        (307, DeliveryState.WAITING, "307: redirects are not followed; give the final URL"),
        (400, DeliveryState.WAITING, "the receiver answered 400"),
        (410, DeliveryState.FAILED, "410: the receiver is gone for good"),
        (429, DeliveryState.WAITING, "the receiver answered 429"),
        (500, DeliveryState.WAITING, "the receiver answered 500"),
    ],
)
def test_the_status_decides(status: int, state: DeliveryState, error: str | None) -> None:
    with (
        Receiver() as elsewhere,
        Receiver(lambda request: request.answer(status, Location=elsewhere.url(), Content_Length="0")) as receiver,
    ):
        assert Answer(state, status, error) == call(receiver.url())
    assert [] == elsewhere.requests


@pytest.mark.parametrize(
    ("status", "header", "wait_s"),
    [
        (429, "7", 7.0),
        (503, "0", 0.0),
        (503, "soon", None),
        (503, "Mon, 01 Jan 99999999999999 00:00:00 GMT", None),
        (503, "Mon, 01 Jan 2024 00:00:00 +99999999999999999", None),
        (503, "-3", None),
        (500, "7", None),
    ],
)
def test_retry_after_is_heard_where_it_means_something(status: int, header: str, wait_s: float | None) -> None:
    with Receiver(lambda request: request.answer(status, Retry_After=header)) as receiver:
        assert wait_s == call(receiver.url()).retry_after_s


@pytest.mark.parametrize(("away", "wait_s"), [(timedelta(days=1), pytest.approx(86_400, abs=300)), (-timedelta(1), 0)])
def test_retry_after_may_be_a_date(away: timedelta, wait_s: object) -> None:
    header = format_datetime(datetime.now(UTC) + away, usegmt=True)
    with Receiver(lambda request: request.answer(503, Retry_After=header)) as receiver:
        assert wait_s == call(receiver.url()).retry_after_s


@pytest.mark.parametrize(
    ("behave", "state"),
    [
        (Request.hang, DeliveryState.WAITING),
        (lambda request: request.drip(b"HTTP/1.1 200 OK\r\nX-Slow: "), DeliveryState.WAITING),
        (lambda request: request.drip(b"HTTP/1.1 500 No\r\nContent-Length: 9999\r\n\r\n"), DeliveryState.WAITING),
        # It has said that it took it: to call it again would tell it twice.
        (lambda request: request.drip(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"), DeliveryState.DELIVERED),
    ],
)
def test_no_receiver_holds_a_call_longer_than_its_time(behave: Callable[[Request], None], state: DeliveryState) -> None:
    with Receiver(behave) as receiver:
        started_s = time.monotonic()
        answer = call(receiver.url())
        # Far less than what the receiver would have taken.
        assert time.monotonic() - started_s < 20
    assert state == answer.state
    if answer.status_code is None:
        assert "no answer within 0.5 s" == answer.error


def test_an_endless_answer_is_not_read_to_its_end() -> None:
    sent_bytes: list[int] = []

    def flood(request: Request) -> None:
        request.handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not request.ended.is_set():
            sent_bytes.append(request.handler.wfile.write(b"x" * 65_536))

    with Receiver(flood) as receiver:
        answer = call(receiver.url(), HERE.model_copy(update={"webhook_timeout_s": 60.0}))
    assert Answer(DeliveryState.DELIVERED, 200) == answer
    assert sum(sent_bytes) < 64 * 1024 * 1024


@pytest.mark.parametrize(
    "behave", [Request.close, lambda request: request.handler.wfile.write(b"\xff\x00 nonsense\r\n\r\n")]
)
def test_what_is_no_answer_is_a_failure(behave: Callable[[Request], None]) -> None:
    with Receiver(behave) as receiver:
        answer = call(receiver.url())
    assert (DeliveryState.WAITING, None) == (answer.state, answer.status_code)
    assert answer.error


def test_nobody_there_is_a_failure() -> None:
    with Receiver() as receiver:
        url = receiver.url()
    answer = call(url)
    assert (DeliveryState.WAITING, None) == (answer.state, answer.status_code)
    assert "ConnectError" in str(answer.error)


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver() as receiver, Receiver() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url(""))
        assert DeliveryState.DELIVERED == call(receiver.url()).state
    assert [] == proxy.requests


# --- private addresses -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1"])
def test_a_private_receiver_is_never_reached(host: str) -> None:
    with Receiver() as receiver:
        answer = call(receiver.url(host=host), OUTSIDE)
        assert DeliveryState.WAITING == answer.state
        assert f"{host} may not be called: " in str(answer.error)
        assert "127.0.0.1 is no public address" in str(answer.error)
    assert [] == receiver.requests


def test_what_a_name_resolves_to_is_checked_where_it_is_connected_to() -> None:
    # Given a name that was public when the webhook was added, and is private now
    with Receiver() as receiver:
        url = receiver.url(host="hooks.example")
        answer = call(url, OUTSIDE, answering("127.0.0.1"))
        assert "hooks.example may not be called: 127.0.0.1 is no public address" in str(answer.error)
        # Also where it is hidden in another form of address.
        for hidden in ("::ffff:127.0.0.1", "64:ff9b::7f00:1", "::127.0.0.1"):
            assert DeliveryState.WAITING == call(url, OUTSIDE, answering(hidden)).state
    assert [] == receiver.requests


def test_a_name_is_resolved_once_and_that_answer_is_connected_to() -> None:
    # Given a name server that gives another answer each time
    answers = [["127.0.0.1"], ["192.0.2.1"]]

    async def resolve(host: str, port: int) -> Sequence[str]:
        assert "hooks.example" == host
        return answers.pop(0)

    with Receiver() as receiver:
        assert DeliveryState.DELIVERED == call(receiver.url(host="hooks.example"), resolve=resolve).state
    assert 1 == len(answers)
    assert f"hooks.example:{receiver.port}" == receiver.requests[0].headers["host"]


def test_a_name_that_does_not_resolve_is_a_failure() -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        raise OSError(-2, "Name or service not known")

    answer = call("http://hooks.example/", OUTSIDE, resolve)
    assert (DeliveryState.WAITING, "ConnectError: hooks.example does not resolve (Name or service not known)") == (
        answer.state, answer.error,
    )  # fmt: skip


# --- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for hooks.example that nobody else trusts, and its key."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not here to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-keyout", key, "-out", certificate, "-subj", "/CN=hooks.example",
         "-addext", "subjectAltName=DNS:hooks.example"],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


def test_tls_proves_the_name_and_not_the_address(certificate: tuple[Path, Path]) -> None:
    # Given a receiver with a certificate for hooks.example
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(*certificate)
    trust = ssl.create_default_context(cafile=certificate[0])
    to_here = answering("127.0.0.1")
    with Receiver(tls=serving) as receiver:
        # Then it is called by that name, where its certificate is trusted
        url = receiver.url(host="hooks.example")
        assert DeliveryState.DELIVERED == call(url, resolve=to_here, trust=trust).state
        # and by no other, and not where it is not
        for wrong in (
            call(receiver.url(host="other.example"), resolve=to_here, trust=trust),
            call(url, resolve=to_here),
        ):
            assert DeliveryState.WAITING == wrong.state
            assert "certificate verify failed" in str(wrong.error).lower()
    assert 1 == len(receiver.requests)


def test_the_receiver_in_the_docs_takes_what_is_genuine_and_nothing_else(tmp_path: Path) -> None:
    # Given the receiver that docs/delivery.md shows, with this test's secret
    [program] = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "delivery.md").read_text(), re.M | re.S)
    (tmp_path / "receiver.py").write_text(program)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = subprocess.Popen(
        [sys.executable, tmp_path / "receiver.py", str(port)],
        env=environment(None, FENLIU_WEBHOOK_SECRET=SECRET, PYTHONPATH=str(ROOT)),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}/tickets"
        patient = HERE.model_copy(update={"webhook_timeout_s": 20.0})
        wait_for(lambda: call(url, patient).status_code is not None, 30, "it listens")
        # when it is called again with the same key, and once by somebody else
        assert 204 == call(url, patient).status_code
        assert 401 == call(url, patient, secret="whsec_other").status_code
    finally:
        running.terminate()
        told, _ = running.communicate(timeout=10)
    # then it has taken it once
    assert BODY + b"\n" == told
