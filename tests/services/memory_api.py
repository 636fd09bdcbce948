"""APIs in memory: enough of glance, nova, cinder, neutron and swift to make and delete things."""

import threading
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from backstay.errors import ApiFailed
from backstay.transports.targets import Endpoint
from backstay.transports.tls import Trust


def failed(status: int) -> ApiFailed:
    return ApiFailed("GET", came_back=f"answered {status}", remedy="look", status=status)


class MemoryApi:
    """Answers ``get`` from ``answers`` (by type and path without query), or calls what is there."""

    trust = Trust()

    def __init__(self, answers: Mapping[tuple[str, str], Any] | None = None) -> None:
        self.answers = dict(answers or {})
        self.auth_url = "http://10.0.0.11:5000/v3"
        self.things: dict[str, dict[str, str]] = {"image": {}, "compute": {}, "block-storage": {}}
        self.objects: dict[str, bytes] = {}
        self.made = threading.Event()
        self.volume_status = "available"
        self.server_status = "ACTIVE"
        self.before_post: Callable[[str], None] = lambda _type: None

    def authenticate(self) -> Mapping[str, Any]:
        return {"user": "admin", "expires_at": "2099-01-01T00:00:00Z"}

    def proxy_for(self, url: str) -> str | None:
        return None

    def endpoints(self) -> list[Endpoint]:
        types = {key[0] for key in self.answers}
        return [Endpoint(service_type=kind, url="http://10.0.0.11:1/v") for kind in sorted(types)]

    def get(self, service_type: str, path: str, headers: Any = None) -> Any:
        path = urlsplit(path).path
        if (service_type, path) in self.answers:
            answer = self.answers[service_type, path]
            return answer() if callable(answer) else answer
        things, last = self.things[service_type], path.rpartition("/")[2]
        if last in {"images", "servers", "volumes"}:
            return {last: [{"id": key, "name": name} for key, name in things.items()]}
        if last not in things:
            raise failed(404)
        return {
            "status": "active",
            "volume": {"status": self.volume_status},
            "server": {"status": self.server_status, "fault": {"message": "No valid host"}},
        }

    def post(self, service_type: str, path: str, body: Any) -> Any:
        self.before_post(service_type)
        record = body.get("server") or body.get("volume") or body
        key = f"{service_type}-{len(self.things[service_type])}"
        self.things[service_type][key] = record["name"]
        self.made.set()
        return {"id": key, "server": {"id": key}, "volume": {"id": key}}

    def put(self, service_type, path, content=b"", headers=None) -> None:
        self.objects[f"{service_type}{path}"] = content

    def read(self, service_type: str, path: str) -> bytes:
        if path.startswith("?"):
            names = [key for key in self.objects if key.count("/") == 1]
            rows = [f'{{"name": "{name.partition("/")[2]}"}}' for name in names]
            return f"[{','.join(rows)}]".encode()
        return self.objects[f"{service_type}{path}"]

    def delete(self, service_type: str, path: str, headers: Any = None) -> None:
        self.objects.pop(f"{service_type}{path}", None)
        self.things.get(service_type, {}).pop(path.rpartition("/")[2], None)

    def head(self, service_type: str, path: str) -> Mapping[str, str]:
        answer = self.answers[service_type, path]
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)
