"""Users: their rules, what their passwords cost, and the command line."""

from __future__ import annotations

import json
import threading

import pytest
from argon2 import PasswordHasher, extract_parameters
from sqlalchemy import Engine, text
from typer.testing import CliRunner

from schemas.errors import FenliuError, UserError
from schemas.names import Role
from schemas.settings import Settings
from tests.conftest import Fenliu, environment
from worker.cli.users import app
from worker.desk import passwords, users
from worker.desk.users import Fault

PASSWORD = "correct horse battery"


def hash_of(engine: Engine, name: str) -> str:
    with engine.connect() as connection:
        query = text("SELECT password_hash FROM users WHERE name = :name")
        return str(connection.execute(query, {"name": name}).scalar_one())


def test_passwords_are_kept_as_argon2id_and_renewed_when_the_costs_change(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a user made when hashes were cheaper
    with monkeypatch.context() as cheaper:
        cheaper.setattr(passwords, "_hasher", lambda: PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        users.create(engine, "Anna", PASSWORD, Role.ADMIN)
    old = hash_of(engine, "Anna")
    assert 8 == extract_parameters(old).memory_cost
    # When somebody fails to log in, nothing changes
    assert users.known(engine, "Anna", "not the password") is None
    assert old == hash_of(engine, "Anna")
    # When she does, in other case and with an input method's letters, the hash is renewed
    anna = users.known(engine, "ANNA", "ｃorrect horse battery")
    assert anna is not None and "Anna" == anna.name
    new = hash_of(engine, "Anna")
    assert new.startswith("$argon2id$")
    # to at least what OWASP asks for
    assert extract_parameters(new).memory_cost >= 19 * 1024 and extract_parameters(new).time_cost >= 2
    assert users.known(engine, "anna", PASSWORD) == anna
    # A name that nobody has costs as much: a hash is compared too
    compared: list[str] = []
    hasher = PasswordHasher()

    class Watching:
        def verify(self, wanted: str, given: str) -> bool:
            compared.append(wanted)
            return hasher.verify(wanted, given)

        def hash(self, given: str) -> str:
            return hasher.hash(given)

    watching = Watching()
    monkeypatch.setattr(passwords, "_hasher", lambda: watching)
    assert users.known(engine, "nobody", PASSWORD) is None
    assert [extract_parameters(new)] == [extract_parameters(wanted) for wanted in compared]


def test_two_admins_that_remove_each_other_leave_one(engine: Engine) -> None:
    for name in ("a", "b"):
        users.create(engine, name, PASSWORD, Role.ADMIN)
    # When both are demoted at the same moment
    faults: list[str] = []
    start = threading.Barrier(2)

    def demote(name: str) -> None:
        start.wait()
        try:
            users.set_role(engine, name, Role.VIEWER)
        except UserError as error:
            faults.append(error.code)

    threads = [threading.Thread(target=demote, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # then one of them is refused
    assert [Fault.LAST_ADMIN] == faults
    assert [Role.ADMIN, Role.VIEWER] == sorted(user.role for user in users.find(engine))


def test_a_disabled_admin_does_not_count(engine: Engine) -> None:
    for name in ("a", "b"):
        users.create(engine, name, PASSWORD, Role.ADMIN)
    users.set_enabled(engine, "a", enabled=False)
    with pytest.raises(UserError, match="last admin"):
        users.remove(engine, "b")
    with pytest.raises(UserError, match="last admin"):
        users.set_enabled(engine, "b", enabled=False)
    # and can himself be removed
    users.remove(engine, "a")
    assert ["b"] == [user.name for user in users.find(engine)]


def test_users_on_the_command_line(
    settings: Settings, fenliu: Fenliu, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str, code: int = 0, password: str | None = None) -> str:
        options = ["--password-stdin"] if password is not None else []
        done = CliRunner().invoke(app, [*arguments, *options], input=password or "")
        is_ours = isinstance(done.exception, FenliuError)
        assert code == done.exit_code, done.output
        return str(done.exception) if is_ours else done.output

    # Given nobody
    assert "`fenliu users create` makes the first" in run("list")
    # then the first must be an admin with a good password
    assert "must be an admin" in run("create", "Anna", code=1, password=f"{PASSWORD}\n")
    assert "fewer than 10 characters" in run("create", "Anna", "--role", "admin", code=1, password="short")
    assert "name: holds signs" in run("create", "a\tb", "--role", "admin", code=1, password=PASSWORD)
    assert "--password-stdin" in run("create", "Anna", "--role", "admin", code=2)
    # When she is made
    done = fenliu("users", "create", "Anna", "--role", "admin", "--password-stdin", input=f"{PASSWORD}\r\n")
    assert (0, "made admin Anna\n", "") == (done.returncode, done.stdout, done.stderr)
    assert users.known(engine, "anna", PASSWORD)
    made = json.loads(run("create", "王小明", "--role", "reviewer", "--json", password="密码密码密码密码密码"))
    assert ("王小明", "reviewer", True) == (made["name"], made["role"], made["enabled"])
    assert "name: there is a user 'Anna' already" in run("create", "ANNA", code=1, password=PASSWORD)
    # then users can be listed and changed, but for the last admin
    listed = [json.loads(line) for line in run("list", "--json").splitlines()]
    assert ["Anna", "王小明"] == [user["name"] for user in listed]
    assert not any("hash" in field for user in listed for field in user)
    assert "last admin" in run("delete", "anna", code=1)
    assert "admin 王小明" in run("role", "王小明", "admin")
    assert "admin 王小明 has another password" in run("password", "王小明", password="another password")
    assert users.known(engine, "王小明", "another password")
    assert "can no longer log in" in run("disable", "王小明")
    assert users.known(engine, "王小明", "another password") is None
    assert "deleted admin 王小明\n" == run("delete", "王小明")
    assert "there is no user '王小明'" in run("enable", "王小明", code=1)
