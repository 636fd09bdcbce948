"""What a host answers around its reboot, as ``onhost`` makes it."""

from dataclasses import dataclass

from backstay.answers import Line, Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class BootAnswer:
    """A boot: its id, for how many seconds it is up, and the host's clock (Unix seconds)."""

    boot_id: Line
    up: Seconds
    clock: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class RebootAnswer:
    """Whether systemd was asked; else ``why`` that was not necessary, or its ``error``."""

    asked: bool
    why: Line = ""
    error: Line = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitsAnswer:
    """The services that run and those that have failed, and what tells this boot and this host.

    ``uuid`` and ``serial`` are what its firmware gives, empty where it gives none.
    """

    running: tuple[Line, ...]
    failed: tuple[Line, ...]
    kernel: Line
    boot_id: Line
    hostname: Line
    uuid: Line = ""
    serial: Line = ""
