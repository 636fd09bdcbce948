"""Where a host is reached over SSH, as plain values."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SshTarget:
    """A host as SSH needs it. ``name`` is the inventory's name, used in messages.

    ``key`` and ``known_hosts`` are files; None means what ``~/.ssh/config`` and the agent give.
    """

    name: str
    address: str
    port: int = 22
    user: str = "root"
    key: Path | None = None
    known_hosts: Path | None = None
