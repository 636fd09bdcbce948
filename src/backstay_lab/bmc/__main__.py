"""The board controllers' program: ``python -m backstay_lab.bmc LAB``, started by process.py."""

import json
import logging
import signal
import sys
import threading
from typing import Literal

from backstay_lab import cgroups
from backstay_lab.bmc.power import Board
from backstay_lab.bmc.service import Endpoint, serve
from backstay_lab.hosts import LabHost
from backstay_lab.layout import BMC_FOLDER, BMC_PORT, Lab, Login

LOG = logging.getLogger(__name__)


class BoardOfHost:
    """A lab host as its board sees it: what the host does not notice has no effect."""

    def __init__(self, host: LabHost) -> None:
        self._host = host

    @property
    def name(self) -> str:
        """Return the host's name."""
        return self._host.name

    def power_on(self) -> None:
        """Start the host."""
        self._host.power_on()

    def power_off(self, *, hard: bool) -> None:
        """Take the host's power, or ask its system to shut down: a frozen one does not hear."""
        if not hard and cgroups.is_frozen(self._host.cgroup):
            LOG.info("%s: frozen, does not hear the power button", self.name)
            return
        self._host.power_off(hard=hard)

    def power_state(self) -> Literal["on", "off"]:
        """Return whether the host has power."""
        return self._host.power_state()

    def is_dead(self) -> bool:
        """Return whether the board does not start any more."""
        return self._host.dead_board.exists()


def main() -> None:
    """Serve until SIGTERM; print ``serving`` on standard output once all addresses are bound."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    name = sys.argv[1]
    folder = Lab(name).folder / BMC_FOLDER
    serves = json.loads((folder / "serves.json").read_text())
    lab = Lab(name, serves["slot"], serves["computes"], Login(serves["login"]))
    boards, endpoints = {}, []
    for host in serves["hosts"]:
        controlled = BoardOfHost(LabHost(lab, host))
        boards[host] = Board(controlled, controlled.is_dead)
        endpoints.append(
            Endpoint(
                host=host,
                address=lab.bmc_address(lab.places[host]),
                port=BMC_PORT,
                certificate=folder / f"{host}.pem",
                key=folder / f"{host}.key",
                htpasswd=folder / f"{host}.htpasswd",
            )
        )
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    serve(name, endpoints, boards, folder)
    print("serving", flush=True)
    ended.wait()


if __name__ == "__main__":
    main()
