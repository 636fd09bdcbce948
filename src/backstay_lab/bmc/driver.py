"""The driver behind sushy-tools: Redfish systems that are hosts of the lab.

sushy-tools keeps one application object in its module, so one process has one driver. Which host
it acts for follows from the address at which the request arrived: the WSGI layer in front of it
(service.py) puts the host's name into the request's environment, and a request sees no other host.
"""

import json
import logging
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flask
from sushy_tools import error as redfish
from sushy_tools.emulator.resources.systems.base import AbstractSystemsDriver

from backstay.errors import BackstayError
from backstay_lab.bmc.power import Board, UnknownReset

HOST = "backstay_lab.host"  # the key in the WSGI environment
BOOT_SOURCES = ("None", "Pxe", "Hdd", "Cd", "UefiHttp")
BOOT_MODES = ("UEFI", "Legacy")


def system_uuid(lab: str, host: str) -> str:
    """Return the UUID under which a host's board presents it: the same after every start."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{host}.{lab}.lab.backstay"))


class LabSystems(AbstractSystemsDriver):  # type: ignore[misc]
    """One Redfish system for each request: the host whose board was asked.

    ``boards`` are the lab's boards by host name, ``settings`` is the folder that keeps each
    board's boot settings.
    """

    def __init__(self, lab: str, boards: Mapping[str, Board], settings: Path) -> None:
        super().__init__()
        self._lab = lab
        self._boards = boards
        self._settings = settings

    @property
    def driver(self) -> str:
        """Return the driver's name as sushy-tools logs it."""
        return "<backstay-lab>"

    @property
    def systems(self) -> list[str]:
        """Return the one UUID that this board answers for."""
        return [system_uuid(self._lab, self._host())]

    def uuid(self, identity: str) -> str:
        """Return the UUID for a UUID or a host name."""
        return self._own(identity)

    def name(self, identity: str) -> str:
        """Return the host's name."""
        self._own(identity)
        return self._host()

    def get_power_state(self, identity: str) -> str:
        """Return ``On`` or ``Off``."""
        return "On" if self._board(identity).is_on() else "Off"

    def set_power_state(self, identity: str, state: str) -> None:
        """Carry out a reset; its failures become Redfish errors."""
        board = self._board(identity)
        try:
            board.reset(state)
        except UnknownReset as problem:
            raise redfish.BadRequest(f"{problem}; {problem.remedy}") from problem
        except BackstayError as problem:
            logging.getLogger(__name__).warning("%s; %s", problem, problem.remedy)
            raise redfish.FishyError(str(problem)) from problem

    def get_boot_device(self, identity: str) -> str:
        """Return the boot source override, ``Hdd`` where none was set."""
        return str(self._read(identity).get("boot_source", "Hdd"))

    def set_boot_device(self, identity: str, boot_source: str) -> None:
        """Keep a boot source override. The lab's hosts boot from their disk in any case."""
        self._write(identity, "boot_source", boot_source, BOOT_SOURCES)

    def get_boot_mode(self, identity: str) -> str:
        """Return ``UEFI`` or ``Legacy``."""
        return str(self._read(identity).get("boot_mode", "UEFI"))

    def set_boot_mode(self, identity: str, boot_mode: str) -> None:
        """Keep the boot mode."""
        self._write(identity, "boot_mode", boot_mode, BOOT_MODES)

    def _host(self) -> str:
        return str(flask.request.environ[HOST])

    def _own(self, identity: str) -> str:
        """Return this board's UUID, or answer that there is no such system."""
        own = system_uuid(self._lab, self._host())
        if identity not in (own, self._host()):
            raise redfish.NotFound(f"This board has no system {identity}")
        return own

    def _board(self, identity: str) -> Board:
        self._own(identity)
        return self._boards[self._host()]

    def _file(self) -> Path:
        return self._settings / f"{self._host()}.boot.json"

    def _read(self, identity: str) -> dict[str, Any]:
        self._own(identity)
        try:
            settings = json.loads(self._file().read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return settings if isinstance(settings, dict) else {}

    def _write(self, identity: str, key: str, value: str, allowed: tuple[str, ...]) -> None:
        if value not in allowed:
            raise redfish.BadRequest(f"{value} is none of {', '.join(allowed)}")
        settings = self._read(identity) | {key: value}
        fresh = self._file().with_suffix(".new")
        fresh.write_text(json.dumps(settings))
        fresh.replace(self._file())
