"""A host of the lab on which somebody else is root: its answers to Backstay are theirs.

``/usr/local/bin`` comes before ``/usr/bin`` in the path of a login: a ``python3`` there sees every
program that Backstay sends. Units name theirs by its path, so the host works on.
"""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.acceptance.conftest import Lab

HOME = "/var/lib/backstay-story"
_PYTHON = f'''#!/usr/bin/python3 -I
import os, subprocess, sys
if sys.argv[1:] != ["-I", "-"]:
    os.execv("/usr/bin/python3", ["python3"] + sys.argv[1:])
script = sys.stdin.buffer.read()
function = script.rpartition(b"lambda: ")[2].partition(b"(")[0].decode()
honest = ["/usr/bin/python3", "-I", "-"]
def ask():
    return subprocess.run(honest, input=script, stdout=subprocess.PIPE, check=True).stdout
theirs = {{}}
with open("{HOME}/theirs.py") as file:
    exec(file.read(), theirs)
if function not in theirs:
    sys.exit(subprocess.run(honest, input=script).returncode)
with open("{HOME}/called", "a") as file:
    file.write(function + "\\n")
sys.stdout.buffer.write(theirs[function](ask))
'''
_HEAD = """
import io, json, os, tarfile
def archive(*members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as made:
        for name, data, more in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for key, value in more.items():
                setattr(info, key, value)
            made.addfile(info, io.BytesIO(data))
    return out.getvalue()
"""


class TakenOver:
    """The host. ``answers`` and ``program`` may be called again and again."""

    def __init__(self, lab: Lab, host: str) -> None:
        self._lab = lab
        self._host = host
        self._programs: list[str] = []

    def answers(self, text: str) -> None:
        """Let functions of this text answer those of their names: each gets ``ask``.

        That calls the honest one, and returns the bytes that it writes. Without any text the host
        is honest.
        """
        self.write(f"{HOME}/theirs.py", (_HEAD + text).encode())
        self._lab.shell(self._host, f"rm -f {HOME}/called")

    def program(self, name: str, text: str) -> None:
        """Put a program before the host's own of that name."""
        self.write(f"/usr/local/bin/{name}", text.encode(), mode="755")
        self._programs.append(name)

    def write(self, path: str, data: bytes, *, mode: str = "644") -> None:
        """Write a file on the host, in pieces that an argument may hold."""
        shell, text = self._lab.shell, base64.b64encode(data).decode()
        shell(self._host, f"mkdir -p $(dirname {path}); : > {path}.b64")
        for start in range(0, len(text), 60_000):
            shell(self._host, f"printf %s {text[start : start + 60_000]} >> {path}.b64")
        done = f"base64 -d {path}.b64 > {path}; rm {path}.b64; chmod {mode} {path}"
        shell(self._host, done)

    def called(self) -> set[str]:
        """The names of their functions that have answered since ``answers``."""
        return set(self._lab.shell(self._host, f"cat {HOME}/called 2>/dev/null || true").split())

    def give_back(self) -> None:
        """Make the host honest again."""
        names = " ".join(f"/usr/local/bin/{name}" for name in [*self._programs, "python3"])
        self._lab.shell(self._host, f"rm -rf {names} {HOME}")


@contextmanager
def taken_over(lab: Lab, host: str) -> Iterator[TakenOver]:
    """Give root of a host to the story; all of it is taken away afterwards."""
    there = lab.shell(host, "ls /usr/local/bin/python3 2>/dev/null || true")
    assert there == "", "the host has a python3 of its own there"
    evil = TakenOver(lab, host)
    try:
        evil.answers("")
        evil.program("python3", _PYTHON)
        yield evil
    finally:
        evil.give_back()


class Outside:
    """What of the operator's machine no host may reach: a folder with a secret, and marks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700)
        self.secret = folder / "secret"
        self.secret.write_text("OPERATOR-PRIVATE-KEY")
        self.mark = Path("/var/tmp") / f"backstay-story-{folder.parent.name}"
        """Where anything that runs on this machine as any user could leave a mark."""

    def assert_untouched(self, *places: Path) -> None:
        """See that all is as it was, and that nothing of the secret is in ``places``."""
        assert [file.name for file in self.folder.iterdir()] == ["secret"]
        assert self.secret.read_text() == "OPERATOR-PRIVATE-KEY"
        assert not self.mark.exists()
        for place in places:
            for file in place.rglob("*"):
                assert file.is_dir() or file.is_file(), f"{file} is something else"
                assert not file.is_symlink(), file
                if file.is_file() and file.stat().st_size < 1 << 20:
                    assert b"OPERATOR-PRIVATE" not in file.read_bytes(), file
