"""A Redfish service in memory with one system, for what the lab's BMCs cannot be told to do."""

import json
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any
from urllib.parse import unquote

ROOT, SYSTEMS, SYSTEM = "/redfish/v1/", "/redfish/v1/Systems", "/redfish/v1/Systems/1"
RESET, INFO = f"{SYSTEM}/Actions/ComputerSystem.Reset", f"{SYSTEM}/ResetActionInfo"
NOT_OFFERED = {
    "error": {
        "code": "Base.1.8.GeneralError",
        "message": "See ExtendedInfo",
        "@Message.ExtendedInfo": [
            {
                "MessageId": "Base.1.8.ActionParameterNotSupported",
                "Message": "The parameter ResetType for the action ComputerSystem.Reset is not "
                "supported on the target resource.",
                "Severity": "Warning",
            }
        ],
    }
}


class RedfishBoard:
    """``stays`` is how many readings report the old power after a reset, None forever.

    ``resets`` and ``patches`` are what came. ``policy`` is PowerRestorePolicy, None where it does
    not offer it; a ``deaf`` one takes changes and keeps what it has. ``override`` is the boot's.

    ``faults`` are answered one after the other to what comes once a reset was ordered: a status
    (503 with Retry-After), ``closed`` (the connection ends), ``silent`` (for a while), ``garbage``
    (no JSON), ``ok``; the last for good with ``forever``. ``busy`` are those to orders, which are
    ``taken`` or not. ``offers`` are its types of reset: in the system, or ``by_info`` in its
    ActionInfo; None where it does not say; it refuses others. ``etag`` is what a change must name,
    in the header or ``in_body`` alone. ``systems`` are their names.
    """

    def __init__(
        self,
        *,
        stays: int | None = 0,
        policy: str | None = "LastState",
        deaf: bool = False,
        uuid: Any = None,
        serial: Any = None,
        faults: Sequence[int | str] = (),
        forever: bool = False,
        busy: Sequence[int | str] = (),
        taken: bool = False,
        offers: Sequence[str] | None = ("On", "ForceOff", "ForceRestart"),
        by_info: bool = False,
        etag: str = "",
        in_body: bool = False,
        systems: Sequence[str] = ("1",),
    ) -> None:
        self.faults, self.forever, self.busy, self.taken = list(faults), forever, list(busy), taken
        self.offers, self.by_info, self.systems = offers, by_info, systems
        self.etag, self.in_body = etag, in_body
        self.asked: list[str] = []
        self.uuid, self.serial = uuid, serial
        self.power, self.stays, self.policy, self.deaf = "On", stays, policy, deaf
        self.left: int | None = None
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
            members = [{"@odata.id": f"{SYSTEMS}/{name}"} for name in self.systems]
            return {"Name": "Systems", "Members": members}
        if path == INFO:
            one = {"Name": "ResetType", "AllowableValues": list(self.offers or ())}
            return {"Id": "ResetActionInfo", "Parameters": [one]}
        name = path.removeprefix(f"{SYSTEMS}/")
        if name not in self.systems:
            return None
        self.asked.append(name)
        if self.left is not None:
            self.left -= 1
            self.power = "Off" if self.left < 0 else self.power
        system = {
            "@odata.id": path,
            "Id": name,
            "Name": name,
            "PowerState": self.power,
            "Boot": {"BootSourceOverrideEnabled": self.override, "BootSourceOverrideTarget": "Pxe"},
            "Actions": {"#ComputerSystem.Reset": {"target": RESET, **self._offered()}},
        }
        if self.etag and self.in_body:
            system["@odata.etag"] = self.etag
        ids = {"UUID": self.uuid, "SerialNumber": self.serial}
        system |= {name: value for name, value in ids.items() if value is not None}
        return system | ({"PowerRestorePolicy": self.policy} if self.policy else {})

    def _offered(self) -> dict[str, Any]:
        if self.offers is None:
            return {}
        if self.by_info:
            return {"@Redfish.ActionInfo": INFO}
        return {"ResetType@Redfish.AllowableValues": list(self.offers)}

    def fault(self) -> int | str:
        """What happens to the next request but an order."""
        if not self.resets or not self.faults:
            return "ok"
        last = self.forever and len(self.faults) == 1
        return self.faults[0] if last else self.faults.pop(0)

    def reset(self, kind: str) -> int | str:
        """What happens to an order; it is carried out where it is taken."""
        fault = self.busy.pop(0) if self.busy else "ok"
        if fault == "ok" and self.offers is not None and kind not in self.offers:
            return 400
        if fault == "ok" or self.taken:
            self.resets.append(kind)
            if kind == "On":
                self.power, self.left = "On", None
            elif kind == "ForceOff" and self.left is None:
                self.left = self.stays
        return fault

    def patch(self, given: dict[str, Any]) -> None:
        self.patches.append(given)
        if not self.deaf:
            self.policy = given.get("PowerRestorePolicy", self.policy)
            self.override = given.get("Boot", {}).get("BootSourceOverrideEnabled", self.override)


class _Handler(BaseHTTPRequestHandler):
    board: RedfishBoard
    ended: Event

    def do_GET(self) -> None:
        if self.well(self.board.fault()):
            found = self.board.get(unquote(self.path))
            self.answer(200 if found else 404, found or {})

    def do_PATCH(self) -> None:
        given = self.read()
        if self.board.etag and self.headers.get("If-Match") != self.board.etag:
            self.answer(412 if self.headers.get("If-Match") else 428, {})
            return
        self.board.patch(given)
        self.answer(204, None)

    def do_POST(self) -> None:
        if self.well(self.board.reset(self.read()["ResetType"])):
            self.answer(204, None)

    def well(self, fault: int | str) -> bool:
        """Whether there is no fault; else it has happened."""
        if fault == "closed":
            self.close_connection = True
        elif fault == "silent":
            self.ended.wait(2)
        elif fault == "garbage":
            self.send_response(200)
            self.send_header("Content-Length", "6")
            self.end_headers()
            self.wfile.write(b"<html>")
        elif isinstance(fault, int):
            self.answer(fault, NOT_OFFERED if fault == 400 else {})
        return fault == "ok"

    def read(self) -> Any:
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, status: int, body: dict[str, Any] | None) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        if status == 503:
            self.send_header("Retry-After", "3")
        if self.board.etag and not self.board.in_body:
            self.send_header("ETag", self.board.etag)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def served(board: RedfishBoard, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """The board's URL."""
    of_board, over = board, Event()

    class Handler(_Handler):
        board, ended = of_board, over

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
    finally:
        over.set()
        server.shutdown()
        server.server_close()
