"""The host of ``bench.backup``: a MariaDB of its own on the lab's controller, beside the cloud's.

It has the controller's configuration but for its folder, and no network. Whoever logs in with HOME
in that folder reaches it and nothing else.
"""

import subprocess
import sys
from typing import IO

from bench.cloud_data import statements, tables
from bench.lab import lab_cloud_file

HOME = "/var/lib/backstay-bench"
DATA = f"{HOME}/data"
_NEW = f"{HOME}-new"
"""In it a restore makes the databases: only root may write there."""
BOUND = 900.0
_UNIT = "backstay-bench-mariadb"
_SETTINGS = f"""
[client]
socket = {HOME}/socket
[mysqld]
datadir = {DATA}
socket = {HOME}/socket
pid-file = {HOME}/pid
log-error = {HOME}/log
skip-networking
[mariadb-backup]
datadir = {DATA}
socket = {HOME}/socket
"""


class BenchHost:
    """The controller over SSH, as any operator reaches it."""

    def __init__(self) -> None:
        from ruamel.yaml import YAML  # noqa: PLC0415 - only here

        self.cloud_file = lab_cloud_file()
        address = YAML(typ="safe").load(self.cloud_file)["hosts"]["controller"]["address"]
        keys = self.cloud_file.parent / "ssh"
        self.ssh = [
            "ssh",
            "-o",
            f"UserKnownHostsFile={keys}/known_hosts",
            "-i",
            f"{keys}/id_ed25519",
            "-o",
            "BatchMode=yes",
            f"root@{address}",
        ]

    def run(
        self,
        script: str,
        *,
        given: IO[bytes] | bytes | None = None,
        kept: IO[bytes] | None = None,
    ) -> str:
        """Run a script with HOME set; return its output, unless it is ``kept`` in a file."""
        done = subprocess.run(
            [*self.ssh, f"set -e; set -o pipefail; export HOME={HOME}; {script}"],
            input=given if isinstance(given, bytes) else None,
            stdin=None if isinstance(given, bytes) else given or subprocess.DEVNULL,
            stdout=kept or subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=BOUND,
            check=False,
        )
        if done.returncode != 0:
            sys.exit(f"{script[:200]}: {done.stderr.decode(errors='replace')[-500:]}")
        return (done.stdout or b"").decode()

    def empty(self) -> None:
        """Give the server a new data directory, with nothing in it, and start it."""
        self.run(
            f"systemctl stop {_UNIT} 2>/dev/null || true; rm -rf {HOME}; mkdir -p {HOME}; "
            f"cat > {HOME}/.my.cnf; "
            f"mariadb-install-db --datadir={DATA} --user=mysql --skip-test-db "
            f"--auth-root-authentication-method=socket >/dev/null; chown -R mysql: {HOME}",
            given=_SETTINGS.encode(),
        )
        self.start()

    def start(self) -> None:
        """Start the server, and return when it answers."""
        self.run(
            f"systemd-run --quiet --collect --unit={_UNIT} --setenv=HOME={HOME} "
            "/usr/sbin/mariadbd; for i in $(seq 600); do "
            "mariadb -e 'SELECT 1' >/dev/null 2>&1 && exit 0; sleep 0.1; done; "
            f"tail -n 5 {HOME}/log >&2; exit 1"
        )

    def stop(self) -> None:
        """Stop the server in good order."""
        self.run(f"systemctl stop {_UNIT}")

    def fill(self, size: float) -> None:
        """Make the databases."""
        grown = "SET GLOBAL innodb_buffer_pool_size = 1 << 30;\n"
        text = grown + "".join(f"{one};\n" for one in statements(size))
        self.run("mariadb", given=text.encode())
        self.stop()
        self.start()

    def digest(self) -> str:
        """Return what tells whether the data are the same: every table's checksum."""
        return self.run(
            f"mariadb --batch -N -e 'CHECKSUM TABLE {', '.join(tables())}'".replace(
                "`", "\\`"
            ).replace("'", '"')
        )

    def rows(self) -> int:
        """Return how many rows there are, about."""
        counted = "SELECT SUM(table_rows) FROM information_schema.tables WHERE engine='InnoDB'"
        return int(self.run(f'mariadb --batch -N -e "{counted}"'))

    def remove(self) -> None:
        """Take everything of it away again."""
        self.run(f"systemctl stop {_UNIT} 2>/dev/null || true; rm -rf {HOME} {_NEW}")

    def new_folder(self) -> str:
        """Make the folder in which a restore makes the databases; return theirs."""
        self.run(f"rm -rf {_NEW}; mkdir -m 755 {_NEW}")
        return f"{_NEW}/data"
