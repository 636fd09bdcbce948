"""A cloud on loopback that writes down what it is asked, and by whom.

Its catalogue has each service on three interfaces in two regions; the path says which. A project
whose name begins with ``plain-`` has endpoints without versions.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# Type in the catalogue, path of the endpoint, versions, whether it has the project in it.
SERVICES = (
    ("identity", "identity/v3", "identity", False),
    ("compute", "compute/v2.1", "compute", False),
    ("image", "image", "image", False),
    ("network", "network", "network", False),
    ("volumev3", "volume/v3/PROJECT", "volume", True),
    ("placement", "placement", "placement", False),
    ("object-store", "object/v1/AUTH_PROJECT", "object", True),
)
VERSIONS = {
    "identity": ("v3.14",),
    "compute": ("v2.0", "v2.1"),
    "image": ("v2.9", "v2.16"),
    "network": ("v2.0",),
    "volume": ("v3.0",),
    "placement": ("v1.0",),
}
SHORT = {"v3.14": "v3", "v2.9": "v2", "v2.16": "v2", "v3.0": "v3", "v2.0": "v2", "v1.0": ""}


@dataclass
class Seen:
    """What was asked for one file: the requests for a token, and the first for servers."""

    tokens: list[tuple[str, Any]] = field(default_factory=list)
    servers: list[str] = field(default_factory=list)


class Cloud(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.case = ""
        self.seen: dict[str, Seen] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def of_case(self) -> Seen:
        return self.seen.setdefault(self.case, Seen())


class Handler(BaseHTTPRequestHandler):
    server: Cloud
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith("/-/case/"):
            self.server.case = path.removeprefix("/-/case/")
            self._answer(200, {})
        elif "/servers" in path:
            self.server.of_case().servers.append(one_slash(path.removesuffix("/detail")))
            self._answer(200, {"servers": []})
        else:
            self._versions(path)

    def _versions(self, path: str) -> None:
        parts = [part for part in path.split("/") if part]
        last = parts[-1] if parts else ""
        if last in VERSIONS or not parts:
            listed = [version(self.server.url + path, one) for one in VERSIONS[last or "identity"]]
            whole = {"values": listed} if last in {"", "identity"} else listed
            self._answer(300 if last else 200, {"versions": whole})
        elif len(parts) > 1 and parts[-2] in VERSIONS:
            root, known = path.rstrip("/").rpartition("/")[0], VERSIONS[parts[-2]]
            one = next((one for one in known if last in {one, SHORT.get(one)}), None)
            if one is None:
                self._answer(404, {})
            else:
                self._answer(200, {"version": version(self.server.url + root, one)})
        elif last == "v3":
            root = path.rstrip("/").rpartition("/")[0]
            self._answer(200, {"version": version(self.server.url + root, "v3.14")})
        else:
            self._answer(404, {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.of_case().tokens.append((one_slash(self.path), body))
        token = {"token": token_of(body, self.server.url)}
        self._answer(201, token, {"X-Subject-Token": "a-token"})

    def _answer(self, status: int, what: object, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(what).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def one_slash(path: str) -> str:
    while "//" in path:
        path = path.replace("//", "/")
    return path


def version(root: str, number: str) -> dict[str, Any]:
    href = f"{root.rstrip('/')}/{SHORT.get(number, number)}".rstrip("/") + "/"
    link = {"rel": "self", "href": href}
    return {"id": number, "status": "CURRENT", "min_version": "", "version": "", "links": [link]}


def token_of(body: dict[str, Any], url: str) -> dict[str, Any]:
    """Return a token for whatever was asked for, with its catalogue."""
    scope = body["auth"].get("scope", {})
    token: dict[str, Any] = {
        "methods": body["auth"]["identity"]["methods"],
        "user": {"id": "u1", "name": "user", "domain": {"id": "default", "name": "Default"}},
        "roles": [{"id": "r1", "name": "admin"}],
        "issued_at": "2026-01-01T00:00:00.000000Z",
        "expires_at": "2099-01-01T00:00:00.000000Z",
        "audit_ids": ["a"],
    }
    plain, project = False, False
    if "system" in scope:
        token["system"] = {"all": True}
    elif "domain" in scope:
        token["domain"] = {"id": "d1", "name": "domain"}
    else:
        name = str(scope.get("project", {}).get("name", "ops"))
        plain, project = name.startswith("plain-"), True
        domain = {"id": "default", "name": "Default"}
        token["project"] = {"id": "p1", "name": name, "domain": domain}
    token["catalog"] = [
        {"type": kind, "id": kind, "name": kind, "endpoints": endpoints(url, path, root, plain)}
        for kind, path, root, own in SERVICES
        if project or not own
    ]
    return token


def endpoints(url: str, path: str, root: str, plain: bool) -> list[dict[str, str]]:
    shown = f"{root}/" if plain else path.replace("PROJECT", "p1")
    return [
        {
            "id": f"{region}-{interface}-{root}",
            "interface": interface,
            "region": region,
            "region_id": region,
            "url": f"{url}/{region}/{interface}/{shown}",
        }
        for region in ("RegionOne", "RegionTwo")
        for interface in ("admin", "internal", "public")
    ]


@contextmanager
def recording_cloud() -> Iterator[Cloud]:
    """Run a cloud until the end of the block."""
    cloud = Cloud()
    thread = threading.Thread(target=cloud.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield cloud
    finally:
        cloud.shutdown()
        thread.join()
        cloud.server_close()
