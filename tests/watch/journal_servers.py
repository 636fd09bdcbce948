"""Servers for the journal, MariaDB and PostgreSQL, each on a socket in a folder of its own."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.installed import need

POSTGRESQL = ":".join(map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"))))
"""Where Debian's packages have the server: in no PATH."""
PATH = f"{os.environ['PATH']}:/usr/sbin:/usr/local/bin:{POSTGRESQL}"
BOUND = 60.0


@contextlib.contextmanager
def mariadb() -> Iterator[str]:
    """Give the SQLAlchemy URL of a new and empty database in MariaDB."""
    _need("mariadbd", "mariadb-install-db", install="apt-get install mariadb-server")
    with _folder() as folder:
        data, socket = folder / "data", folder / "socket"
        build = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--user=root"]
        build.append("--auth-root-authentication-method=socket")
        subprocess.run(build, check=True, capture_output=True, env={"PATH": PATH})
        command = ["mariadbd", "--no-defaults", f"--datadir={data}", f"--socket={socket}"]
        command += [f"--log-error={folder}/log", "--user=root", "--skip-networking"]
        command.append("--innodb-buffer-pool-size=32M")
        ask = ["mariadb", "--no-defaults", f"--socket={socket}", "-e"]
        with Server(command, [*ask, "SELECT 1"]) as server:
            server.run([*ask, "CREATE DATABASE backstay"])
            yield f"mysql+pymysql://root@localhost/backstay?unix_socket={socket}"


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """Give the SQLAlchemy URL of a new and empty database in PostgreSQL."""
    with postgresql_server() as (url, _):
        yield url


@contextlib.contextmanager
def postgresql_server() -> Iterator[tuple[str, "Server"]]:
    """Give the same with its server, which can be stopped and started."""
    _need("postgres", "initdb", "psql", install="apt-get install postgresql")
    with _folder() as folder:
        shutil.chown(folder, "postgres")
        build = ["initdb", "-D", f"{folder}/data", "-A", "trust", "-N", "-E", "UTF8"]
        build.append("--locale=C")
        subprocess.run(build, check=True, capture_output=True, env={"PATH": PATH}, user="postgres")
        command = ["postgres", "-D", f"{folder}/data", "-k", str(folder), "-h", "", "-F"]
        ask = ["psql", "-h", str(folder), "-d", "postgres", "-c"]
        with Server(command, [*ask, "SELECT 1"], user="postgres") as server:
            server.run([*ask, "CREATE DATABASE backstay"])
            yield f"postgresql+psycopg://postgres@/backstay?host={folder}", server


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="backstay-journal-"))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _need(*programs: str, install: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    need([name for name in programs if shutil.which(name, path=PATH) is None], install)


class Server:
    """A running server; ``ask`` succeeds as soon as it answers."""

    def __init__(self, command: list[str], ask: list[str], user: str | None = None) -> None:
        self._command, self._ask, self._user = command, ask, user
        self._end = signal.SIGINT if user else signal.SIGTERM  # PostgreSQL: at once

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = self._started(self._command)
        end = time.monotonic() + BOUND
        while self._started(self._ask).wait(BOUND):
            assert self._process.poll() is None, self._command
            assert time.monotonic() < end, self._command
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop it, with all its connections, and wait until it has ended."""
        self._process.send_signal(self._end)
        self._process.wait(BOUND)

    def run(self, words: list[str]) -> None:
        """Run a client of it, which succeeds."""
        assert self._started(words).wait(BOUND) == 0, words

    def _started(self, words: list[str]) -> "subprocess.Popen[bytes]":
        nothing = subprocess.DEVNULL
        return subprocess.Popen(
            words, env={"PATH": PATH}, user=self._user, stdout=nothing, stderr=nothing
        )
