"""A real MariaDB server of a host, for tests: in a folder, reached by its socket."""

import contextlib
import os
import shutil
import subprocess
import time
from pathlib import Path

PATH = f"{os.environ['PATH']}:/usr/sbin"
BOUND = 30.0


class Server:
    """A MariaDB server in a folder, reached by its socket."""

    def __init__(self, folder: Path, socket: Path) -> None:
        self.folder = folder
        self.socket = socket
        self.process: subprocess.Popen[bytes] | None = None

    def build(self) -> None:
        """Make an empty one, as a host that is built anew has it."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        subprocess.run(
            [
                "mariadb-install-db",
                "--no-defaults",
                f"--datadir={self.folder}",
                "--user=root",
                "--auth-root-authentication-method=socket",
            ],
            check=True,
            capture_output=True,
            env={"PATH": PATH},
        )
        self.start()
        self.ask("CREATE DATABASE story; CREATE TABLE story.t (n INT PRIMARY KEY)")

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                "mariadbd",
                "--no-defaults",
                f"--datadir={self.folder}",
                f"--socket={self.socket}",
                f"--pid-file={self.folder}/pid",
                f"--log-error={self.folder}/log",
                "--user=root",
                "--skip-networking",
                "--log-bin=mysql-bin",
                "--binlog-format=ROW",
                "--server-id=1",
                "--innodb-buffer-pool-size=32M",
            ],
            env={"PATH": PATH},
        )
        end = time.monotonic() + BOUND
        while True:
            with contextlib.suppress(subprocess.CalledProcessError):
                self.ask("SELECT 1")
                return
            assert time.monotonic() < end, (self.folder / "log").read_text()
            time.sleep(0.05)

    def stop(self, *, kill: bool = False) -> None:
        if self.process is not None:
            self.process.kill() if kill else self.process.terminate()
            self.process.wait(BOUND)
            self.process = None

    def ask(self, text: str) -> list[str]:
        done = subprocess.run(
            ["mariadb", "--no-defaults", f"--socket={self.socket}", "-BN"],
            input=text,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.splitlines()
