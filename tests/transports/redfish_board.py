"""A Redfish service in memory with one system, for what the lab's BMCs cannot be told to do."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

ROOT, SYSTEMS, SYSTEM = "/redfish/v1/", "/redfish/v1/Systems", "/redfish/v1/Systems/1"
RESET = f"{SYSTEM}/Actions/ComputerSystem.Reset"


class RedfishBoard:
    """``stays`` is how many readings report the old power after a reset, None forever.

    ``resets`` and ``patches`` are what came. ``policy`` is PowerRestorePolicy, None where it does
    not offer it; a ``deaf`` one takes changes and keeps what it has. ``override`` is the boot's.
    """

    def __init__(
        self,
        *,
        stays: int | None = 0,
        policy: str | None = "LastState",
        deaf: bool = False,
        uuid: Any = None,
        serial: Any = None,
    ) -> None:
        self.uuid, self.serial = uuid, serial
        self.power, self.stays, self.policy, self.deaf = "On", stays, policy, deaf
        self.override = "Once"
        self.resets: list[str] = []
        self.patches: list[dict[str, Any]] = []

    def get(self, path: str) -> dict[str, Any] | None:
        if path.rstrip("/") == ROOT.rstrip("/"):
            return {
                "Id": "Root",
                "Name": "Root",
                "RedfishVersion": "1.6.0",
                "Systems": {"@odata.id": SYSTEMS},
            }
        if path == SYSTEMS:
            return {"Name": "Systems", "Members": [{"@odata.id": SYSTEM}]}
        if path != SYSTEM:
            return None
        if self.resets and self.stays is not None:
            self.stays -= 1
            self.power = "Off" if self.stays < 0 else self.power
        system = {
            "@odata.id": SYSTEM,
            "Id": "1",
            "Name": "1",
            "PowerState": self.power,
            "Boot": {"BootSourceOverrideEnabled": self.override, "BootSourceOverrideTarget": "Pxe"},
            "Actions": {
                "#ComputerSystem.Reset": {
                    "target": RESET,
                    "ResetType@Redfish.AllowableValues": ["On", "ForceOff", "ForceRestart"],
                }
            },
        }
        ids = {"UUID": self.uuid, "SerialNumber": self.serial}
        system |= {name: value for name, value in ids.items() if value is not None}
        return system | ({"PowerRestorePolicy": self.policy} if self.policy else {})

    def patch(self, given: dict[str, Any]) -> None:
        self.patches.append(given)
        if not self.deaf:
            self.policy = given.get("PowerRestorePolicy", self.policy)
            self.override = given.get("Boot", {}).get("BootSourceOverrideEnabled", self.override)


@contextmanager
def served(board: RedfishBoard) -> Iterator[str]:
    """The board's URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = board.get(self.path)
            self.answer(200 if found else 404, found or {})

        def do_PATCH(self) -> None:
            board.patch(self.read())
            self.answer(204, None)

        def do_POST(self) -> None:
            board.resets.append(self.read()["ResetType"])
            self.answer(204, None)

        def read(self) -> Any:
            return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

        def answer(self, status: int, body: dict[str, Any] | None) -> None:
            data = b"" if body is None else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
