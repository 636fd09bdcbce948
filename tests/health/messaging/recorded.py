"""Answers about agents as a real cloud gave them (OpenStack Zed, RabbitMQ 3.10), told again.

A recording holds what every host and API answered; nothing else is put in its place.
"""

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from backstay.errors import HostError, HostUnreachable
from backstay.health.messaging.look import Asking, look
from backstay.health.messaging.seen import Looked
from backstay.inventory.cloud import Cloud
from backstay.services.declaration import Agent, Service
from backstay.services.registry import all_services

DATA = Path(__file__).parent / "data"
CLOUD = Cloud.model_validate({
    "name": "lab",
    "credentials": {"openrc": "openrc"},
    "hosts": {
        "controller": {"address": "10.77.0.11", "roles": ["controller"]},
        "proxy": {"address": "10.77.0.12", "roles": ["storage-proxy"]},
        "storage1": {"address": "10.77.0.13", "roles": ["storage"]},
        "compute1": {"address": "10.77.0.21", "roles": ["compute"]},
        "compute2": {"address": "10.77.0.22", "roles": ["compute"]},
    },
})  # fmt: skip


def _key(host: str, function: Any, arguments: tuple[Any, ...]) -> str:
    config = f" {arguments[0]}" if function.__name__ == "ping" else ""
    return f"{host} {function.__name__}{config}"


class Recording:
    """Tells again what was recorded under a name."""

    cloud = CLOUD
    services: list[Service] = list(all_services())  # noqa: RUF012 - as Asking has it

    def __init__(self, name: str) -> None:
        read = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
        self.reported = [
            Agent(**one | {"heartbeat": datetime.fromisoformat(one["heartbeat"])})
            for one in read["agents"]
        ]
        self.answers = read["answers"]

    async def ask(self, host: str, function: Any, *arguments: Any) -> Any:
        answer = self.answers[_key(host, function, arguments)]
        if isinstance(answer, dict) and "error" in answer:
            raise HostUnreachable("asking it", came_back=answer["error"], remedy="look")
        return answer

    async def agents(self) -> list[Agent]:
        return self.reported


class Recorder:
    """Asks a real cloud and keeps the answers: how the files in data/ were made."""

    def __init__(self, site: Asking) -> None:
        self.site, self.cloud, self.services = site, site.cloud, site.services
        self.kept: dict[str, Any] = {"agents": [], "answers": {}}

    async def ask(self, host: str, function: Any, *arguments: Any) -> Any:
        try:
            answer = await self.site.ask(host, function, *arguments)
        except HostError as error:
            self.kept["answers"][_key(host, function, arguments)] = {"error": error.came_back}
            raise
        self.kept["answers"][_key(host, function, arguments)] = answer
        return answer

    async def agents(self) -> list[Agent]:
        found = await self.site.agents()
        self.kept["agents"] = [
            asdict(one) | {"heartbeat": one.heartbeat.isoformat() if one.heartbeat else None}
            for one in found
        ]
        return found

    async def record(self, name: str) -> Looked:
        looked = await look(self)
        (DATA / f"{name}.json").write_text(json.dumps(self.kept, indent=1) + "\n")
        return looked
