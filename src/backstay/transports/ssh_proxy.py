"""The program whose input and output is a connection (``ProxyCommand``), and its complaints."""

import contextlib
import logging
import os
import tempfile
from types import TracebackType
from typing import IO, Self

_MOST_BYTES = 4096


class Proxy:
    """Its command for ``asyncssh``, run by the user's shell as ``ssh`` does; or none."""

    def __init__(self, line: str | None) -> None:
        self._line = line
        self._errors: IO[bytes] | None = None
        self.command: list[str] | None = None

    def __enter__(self) -> Self:
        """Make the file for its standard error, which would be written to the terminal else."""
        if self._line is not None:
            logging.getLogger("asyncio").addFilter(_is_news)
            self._errors = tempfile.NamedTemporaryFile(prefix="backstay-proxy-")
            shell = os.environ.get("SHELL") or "/bin/sh"
            self.command = [
                "/bin/sh",
                "-c",
                # asyncssh takes the end of standard error for the end: this shell keeps it open.
                '"$0" -c "exec $1" 2>"$2"; exit $?',
                shell,
                self._line,
                self._errors.name,
            ]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the file; the program stays as long as the connection."""
        if self._errors is not None:
            with contextlib.suppress(OSError):
                self._errors.close()

    def said(self) -> str:
        """Return its last line of errors, empty where it had none."""
        if self._errors is None:
            return ""
        self._errors.seek(0)
        lines = self._errors.read(_MOST_BYTES).decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else ""


def _is_news(record: logging.LogRecord) -> bool:
    """Return whether a message of asyncio is worth printing.

    It closes the pipes of a program that has just ended, which takes the exit status away from its
    own thread that waits for it; that thread then warns. Nobody asks for the status of a proxy.
    """
    return not str(record.msg).startswith("Unknown child process pid")
