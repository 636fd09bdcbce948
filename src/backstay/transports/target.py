"""Where a host is reached over SSH, as plain values."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SshTarget:
    """A host as SSH needs it. ``name`` is the inventory's name, used in messages.

    ``key`` and ``known_hosts`` are files. None means what ``~/.ssh/config`` and the agent give,
    and failing that port 22 and the user root.
    """

    name: str
    address: str
    port: int | None = None
    user: str | None = None
    key: Path | None = None
    known_hosts: Path | None = None
