"""Passwords and texts stay out of errors, settings and files that others can read."""

from __future__ import annotations

import logging
import os
import stat
import sys
import traceback
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

import fenliu
from schemas.settings import Settings, mask_url
from worker import processes
from worker.servers import PostgresServer, RedisServer, make_sockets_folder, remove_sockets_folder

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://user:{SECRET}@db/fenliu",
        f"postgresql://user:{SECRET}@x@db/fenliu",
        f"postgresql://user:x/{SECRET}@db/fenliu",
        f"postgresql://user:x@y:{SECRET}@db/fenliu",
        f"postgresql://db/fenliu?user=me&password={SECRET}",
        f"postgresql://db/fenliu?PASSWORD={SECRET}&sslpassword={SECRET}",
        f"redis://:{SECRET}@cache:6379/0",
        f"rediss://user:{SECRET}%40@cache/0",
        f"unix://user:{SECRET}@/run/redis.sock?db=0",
    ],
    ids=range(9),
)
def test_no_form_of_a_url_shows_its_password(url: str) -> None:
    assert SECRET not in mask_url(url)
    assert SECRET not in repr(Settings(redis_url="redis://x", database_url="postgresql://x").model_copy(
        update={"redis_url": url, "database_url": url, "broker_url": url}
    ))  # fmt: skip


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("FENLIU_REDIS_URL", f"redis://:{SECRET}@127.0.0.1:1/0"),
        ("FENLIU_REDIS_URL", f"redis://:x/{SECRET}@127.0.0.1:1/0"),
        ("FENLIU_REDIS_URL", f"redis://:x@127.0.0.1:{SECRET}/0"),
        ("FENLIU_DATABASE_URL", f"postgresql://user:{SECRET}@127.0.0.1:1/fenliu"),
        ("FENLIU_DATABASE_URL", f"postgresql://user:x/{SECRET}@127.0.0.1:1/fenliu"),
        ("FENLIU_DATABASE_URL", f"postgresql://user:x@127.0.0.1:{SECRET}/fenliu"),
        ("FENLIU_DATABASE_URL", f"postgresql://127.0.0.1:1/fenliu?password={SECRET}&what={SECRET}"),
    ],
    ids=range(7),
)
def test_no_command_that_cannot_connect_shows_a_password(
    name: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given servers that are away, or a URL that nobody can read
    away = {"FENLIU_REDIS_URL": "redis://127.0.0.1:1/0", "FENLIU_DATABASE_URL": "postgresql://127.0.0.1:1/x"}
    for variable, value in {**away, name: url, "FENLIU_HOME": str(tmp_path)}.items():
        monkeypatch.setenv(variable, value)
    # When a command needs them
    for command in (["status"], ["users", "list"], ["settings"]):
        monkeypatch.setattr(sys, "argv", ["fenliu", *command])
        with pytest.raises(SystemExit) as ended:
            fenliu.main()
        # Then it says so, in words and without the password
        said = capsys.readouterr()
        assert SECRET not in said.out + said.err, command
        assert ended.value.code in ((0, 1) if command == ["settings"] else (1,))


def test_an_error_of_the_database_holds_no_text_of_anybody(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    # Given a statement with somebody's text that Postgres refuses
    with pytest.raises(DBAPIError) as caught, engine.connect() as connection:
        connection.execute(text("SELECT CAST(:text AS jsonb) ->> :name, 1/0"), {"text": f'"{SECRET}"', "name": SECRET})
    # Then nothing that a log could say of the error holds it
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    logging.getLogger("test_secrets").exception("failed", exc_info=caught.value)
    assert SECRET not in caplog.text


def test_what_the_embedded_servers_write_is_their_owners_alone(tmp_path_factory: pytest.TempPathFactory) -> None:
    # Given a shell that lets everybody read what it makes
    before = os.umask(0o000)
    home = Path(tmp_path_factory.mktemp("h")).resolve()
    try:
        (home / "run").mkdir(mode=0o700)
        sockets = make_sockets_folder(home)
        # When both servers run there
        servers = RedisServer(home, sockets), PostgresServer(home, sockets, durable=False)
        for server in servers:
            process = server.launch()
            try:
                processes.wait_for(server, process)
                reachable = {str(path.relative_to(sockets)) for path in open_to_others(sockets)}
            finally:
                processes.stop(processes.record(process.pid), server.stop_signal, server.stop_s)
                process.wait()
            assert set() == reachable
    finally:
        os.umask(before)
        remove_sockets_folder(home, str(sockets))
    # Then nobody else gets at their data and logs
    assert set() == {str(path.relative_to(home)) for path in open_to_others(home)}


def open_to_others(folder: Path) -> list[Path]:
    """Files and sockets that another account may open: no folder above them, from `folder` on, keeps it out."""
    found = []
    for path in folder.rglob("*"):
        above = [parent for parent in path.parents if parent != folder and folder in parent.parents]
        if all(stat.S_IMODE(parent.stat().st_mode) & 0o007 for parent in above):
            mode = stat.S_IMODE(path.lstat().st_mode)
            if not path.is_dir() and mode & 0o006:
                found.append(path)
    return found
