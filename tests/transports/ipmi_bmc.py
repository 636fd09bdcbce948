"""A BMC that speaks IPMI on loopback, by pyghmi's own server.

`python -m tests.transports.ipmi_bmc [stubborn]` prints its port, and
then what happens to the power of its host, a word a line.
"""

import socket
import sys
from typing import Any

from pyghmi.ipmi.bmc import Bmc
from pyghmi.ipmi.private.serversession import ServerSession

SHA256, NO_SUCH_ALGORITHM = 3, 0x04  # IPMI 2.0, tables 13-17 and 13-15


def only_sha1(
    self: Any, request: bytes, plain: Any = ServerSession.create_open_session_response
) -> Any:
    """pyghmi's server answers an offer of SHA-256 as if it was SHA-1: refuse it, as boards do."""
    answer = plain(self, request)
    if request[12] == SHA256:
        return bytearray([request[0], NO_SUCH_ALGORITHM, 0, 0]) + request[4:8]
    return answer


ServerSession.create_open_session_response = only_sha1


class Board(Bmc):  # type: ignore[misc]
    """A host with power; `stubborn` takes every order and does nothing."""

    def __init__(self, port: int, *, stubborn: bool) -> None:
        super().__init__({"admin": "s3cret"}, port=port, address="127.0.0.1")
        self.stubborn = stubborn
        self.power, self.boot = "on", "network"

    def get_power_state(self) -> str:
        return self.power

    def power_off(self) -> None:
        print("off", flush=True)
        if not self.stubborn:
            self.power = "off"

    def power_on(self) -> None:
        print("on", flush=True)
        self.power = "on"

    def power_cycle(self) -> None:
        print("cycle", flush=True)

    def set_boot_device(self, bootdevice: str) -> None:
        print(f"boot {bootdevice}", flush=True)
        self.boot = bootdevice


def main() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    board = Board(port, stubborn="stubborn" in sys.argv)
    print(port, flush=True)
    board.listen()


if __name__ == "__main__":
    main()
