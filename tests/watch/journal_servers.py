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
        ask = ["mariadb", "--no-defaults", f"--socket={socket}", "-e", "CREATE DATABASE backstay"]
        with _running(command, ask):
            yield f"mysql+pymysql://root@localhost/backstay?unix_socket={socket}"


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """Give the SQLAlchemy URL of a new and empty database in PostgreSQL."""
    _need("postgres", "initdb", "psql", install="apt-get install postgresql")
    with _folder() as folder:
        shutil.chown(folder, "postgres")
        build = ["initdb", "-D", f"{folder}/data", "-A", "trust", "-N", "-E", "UTF8"]
        build.append("--locale=C")
        subprocess.run(build, check=True, capture_output=True, env={"PATH": PATH}, user="postgres")
        command = ["postgres", "-D", f"{folder}/data", "-k", str(folder), "-h", "", "-F"]
        ask = ["psql", "-h", str(folder), "-d", "postgres", "-c", "CREATE DATABASE backstay"]
        with _running(command, ask, user="postgres"):
            yield f"postgresql+psycopg://postgres@/backstay?host={folder}"


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


@contextlib.contextmanager
def _running(command: list[str], ask: list[str], user: str | None = None) -> Iterator[None]:
    def run(words: list[str]) -> "subprocess.Popen[bytes]":
        nothing = subprocess.DEVNULL
        return subprocess.Popen(
            words, env={"PATH": PATH}, user=user, stdout=nothing, stderr=nothing
        )

    process = run(command)
    try:
        end = time.monotonic() + BOUND
        while run(ask).wait(BOUND):
            assert process.poll() is None, command
            assert time.monotonic() < end, command
            time.sleep(0.1)
        yield
    finally:
        process.send_signal(signal.SIGINT if user else signal.SIGTERM)  # PostgreSQL: at once
        process.wait(BOUND)
