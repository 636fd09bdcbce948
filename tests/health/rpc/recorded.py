"""Answers about agents as a real cloud gave them (OpenStack Zed, RabbitMQ 3.10), told again.

A recording holds what every host and API answered; nothing else is put in its place.
"""

import json
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from backstay.access.session import CloudSession
from backstay.errors import HostError, HostUnreachable
from backstay.health.rpc.evidence import AgentsObservation
from backstay.health.rpc.observe import observe_agents
from backstay.inventory.cloud import Cloud
from backstay.services.declaration import Agent, Service
from backstay.services.registry import all_services
from tests.answering import as_asked

DATA = Path(__file__).parent / "data"
CLOUD = Cloud.model_validate(
    {
        "name": "lab",
        "credentials": {"openrc": "openrc"},
        "hosts": {
            "controller": {"address": "10.77.0.11", "roles": ["controller"]},
            "proxy": {"address": "10.77.0.12", "roles": ["storage-proxy"]},
            "storage1": {"address": "10.77.0.13", "roles": ["storage"]},
            "compute1": {"address": "10.77.0.21", "roles": ["compute"]},
            "compute2": {"address": "10.77.0.22", "roles": ["compute"]},
        },
    }
)


def _key(host: str, function: Any, arguments: tuple[Any, ...]) -> str:
    config = f" {arguments[0]}" if function.__name__ == "ping" else ""
    return f"{host} {function.__name__}{config}"


def as_text(kept: dict[str, Any]) -> str:
    """One line for each agent and each answer."""
    agents = ",\n".join(json.dumps(one) for one in kept["agents"])
    answers = ",\n".join(
        f"{json.dumps(key)}: {json.dumps(one)}" for key, one in sorted(kept["answers"].items())
    )
    return f'{{"agents": [\n{agents}\n], "answers": {{\n{answers}\n}}}}\n'


class Recording:
    """Tells again what was recorded under a name."""

    cloud = CLOUD
    services: list[Service] = list(all_services())  # noqa: RUF012 - as CloudSession has it

    def __init__(self, name: str) -> None:
        read = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
        self.reported = [
            Agent(**one | {"heartbeat": datetime.fromisoformat(one["heartbeat"])})
            for one in read["agents"]
        ]
        self.answers = read["answers"]

    async def ask(self, host: str, function: Any, *arguments: Any, returns: Any = None) -> Any:
        return as_asked(self.answer(host, function, *arguments), returns, host)

    def answer(self, host: str, function: Any, *arguments: Any) -> Any:
        answer = self.answers[_key(host, function, arguments)]
        if isinstance(answer, dict) and "error" in answer:
            raise HostUnreachable("asking it", came_back=answer["error"], remedy="look")
        return answer

    async def agents(self) -> list[Agent]:
        return self.reported


class Many(Recording):
    """The recorded nova-compute of one host, so often; of every tenth the reply queue is gone."""

    def __init__(self, count: int) -> None:
        super().__init__("all-well")
        hosts: dict[str, dict[str, Any]] = {
            f"c{number}": {"address": f"10.{number >> 8}.{number & 255}.9", "roles": ["compute"]}
            for number in range(count)
        }
        controller = {"controller": {"address": "10.77.0.11", "roles": ["controller"]}}
        self.cloud = Cloud.model_validate(
            {"name": "many", "credentials": {"openrc": "openrc"}, "hosts": controller | hosts}
        )
        [one] = [a for a in self.reported if (a.binary, a.host) == ("nova-compute", "compute1")]
        self.reported = [replace(one, host=host) for host in hosts]
        self.text = json.dumps(self._broker({host: one["address"] for host, one in hosts.items()}))

    def answer(self, host: str, function: Any, *arguments: Any) -> Any:
        if function.__name__ == "ping":
            return [[True, "", 0.02] for _ in arguments[1]]
        if function.__name__ == "ask_messaging":
            return json.loads(self.text)
        if function.__name__ != "read_agents" or host == "controller":
            return super().answer(host, function, *arguments)
        text = json.dumps(self.answers[f"compute1 {function.__name__}"])
        moved = text.replace("10.77.0.21", self.cloud.hosts[host].address)
        return json.loads(moved.replace("compute1", host))

    def _broker(self, hosts: dict[str, str]) -> dict[str, Any]:
        """Return the broker's recorded answer with so many hosts in place of the one."""
        recorded = self.answers["controller ask_messaging"]
        mine = [one for one in recorded["consumers"] if one[1] == "10.77.0.21"]
        found: dict[str, Any] = recorded | {"consumers": [], "queues": [], "connections": []}
        found["bound"] = []
        for number, (host, address) in enumerate(hosts.items()):
            names = {queue: queue.replace("compute1", host) for queue, *_ in mine}
            names |= {q: f"{q}_{number}" for q in names if q.startswith("reply_")}
            found["consumers"] += [[names[queue], address, port] for queue, _, port in mine]
            gone = number % 10 == 0
            found["queues"] += [
                [name, "running", 0]
                for name in names.values()
                if not (gone and name.startswith("reply_"))
            ]
            found["bound"] += [name for name in names.values() if not name.startswith("reply_")]
            found["connections"] += [
                [address, port] for peer, port in recorded["connections"] if peer == "10.77.0.21"
            ]
        return found


class Recorder:
    """Asks a real cloud and keeps the answers: how the files in data/ were made."""

    def __init__(self, site: CloudSession) -> None:
        self.site, self.cloud, self.services = site, site.cloud, site.services
        self.kept: dict[str, Any] = {"agents": [], "answers": {}}

    async def ask(self, host: str, function: Any, *arguments: Any, returns: Any = None) -> Any:
        try:
            answer = await self.site.ask(host, function, *arguments)
        except HostError as error:
            self.kept["answers"][_key(host, function, arguments)] = {"error": error.came_back}
            raise
        self.kept["answers"][_key(host, function, arguments)] = answer
        return as_asked(answer, returns, host)

    async def agents(self) -> list[Agent]:
        found = await self.site.agents()
        self.kept["agents"] = [
            asdict(one) | {"heartbeat": one.heartbeat.isoformat() if one.heartbeat else None}
            for one in found
        ]
        return found

    async def record(self, name: str) -> AgentsObservation:
        looked = await observe_agents(self)  # type: ignore[arg-type]
        (DATA / f"{name}.json").write_text(as_text(self.kept))
        return looked
