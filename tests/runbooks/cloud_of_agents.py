"""A cloud of agents in memory that answers as hosts do, and changes when a unit is restarted."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from backstay.errors import HostUnreachable
from backstay.inventory.cloud import Cloud
from backstay.services.declaration import Agent, Service
from backstay.services.messaging import RpcEndpoint
from backstay.services.registry import all_services, named
from tests.answering import as_asked

CONTROLLERS = ("nova-conductor", "nova-scheduler")


class CloudOfAgents:
    """nova's agents on a controller and ``count`` compute hosts. All are well at first.

    ``deaf`` are hosts whose nova-compute's queue is not bound; a restart binds it anew, but not on
    the ``cursed``. ``silent`` hosts do not answer. ``ways`` are what trying the way to the broker
    brings on a host: without one it is open. ``restarted`` names hosts in order,
    ``together`` is how many were restarting at one time at most.
    """

    def __init__(self, count: int) -> None:
        names = [f"c{number}" for number in range(count)]
        self.cloud = Cloud.model_validate(
            {
                "name": "memory",
                "credentials": {"openrc": "openrc"},
                "hosts": {"controller": {"address": "10.0.0.1", "roles": ["controller"]}}
                | {
                    name: {"address": f"10.0.1.{at}", "roles": ["compute"]}
                    for at, name in enumerate(names)
                },
            }
        )
        self.services: list[Service] = list(all_services())
        self.members = [("nova-conductor", "controller"), ("nova-scheduler", "controller")]
        self.members += [("nova-compute", name) for name in names]
        self.since = dict.fromkeys(self.members, 5000.0)
        self.broker_up = 5000.0
        self.deaf: set[str] = set()
        self.cursed: set[str] = set()
        self.silent: set[str] = set()
        self.ways: dict[str, dict[str, Any]] = {}
        self.logins: list[tuple[str, Any]] = []
        self.restarted: list[str] = []
        self.together = 0
        self._restarting = 0

    @staticmethod
    def rpc_endpoint(binary: str) -> RpcEndpoint:
        return next(one for one in named("nova").rpc_endpoints if one.binary == binary)

    async def agents(self) -> list[Agent]:
        return [
            Agent(
                binary=binary,
                host=host,
                up=True,
                enabled=True,
                heartbeat=datetime.now(UTC),
                interval=10.0,
                down_after=60.0,
            )
            for binary, host in self.members
        ]

    async def ask(self, host: str, function: Any, *arguments: Any, returns: Any = None) -> Any:
        if host in self.silent:
            raise HostUnreachable("reaching it", came_back="no answer", remedy="look")
        answer = await getattr(self, f"_{function.__name__}")(host, *arguments)
        return as_asked(answer, returns, host)

    async def _ping(self, _host: str, _config: str, targets: list[list[str]], _bound: float) -> Any:
        return [
            [host not in self.deaf or topic != "compute", "", 0.01] for _, topic, host in targets
        ]

    async def _ask_messaging(self, _host: str) -> Any:
        queues = [self.rpc_endpoint(binary).queue(host) for binary, host in self.members]
        replies = [f"reply_{host}" for _, host in self.members]
        peers = [self._peer(at) for at in range(len(self.members))]
        return {
            "clock": datetime.now(UTC).timestamp(),
            "up": self.broker_up,
            "queues": [[name, "running", 0] for name in (*queues, *replies)],
            "consumers": [
                [name, *peer]
                for names in (queues, replies)
                for name, peer in zip(names, peers, strict=True)
            ],
            "bound": [name for name in queues if name.removeprefix("compute.") not in self.deaf],
            "connections": peers,
        }

    def _peer(self, at: int) -> list[Any]:
        return [self.cloud.hosts[self.members[at][1]].address, 40000 + at]

    async def _broker_sockets(self, _host: str, _ports: list[int]) -> Any:
        return []

    async def _read_agents(
        self, host: str, _wirings: Any, _ports: list[int], _ways: Any, _log_in: Any
    ) -> Any:
        self.logins.append((host, _log_in))
        way = {"way": self.ways[host]} if host in self.ways and _log_in != [] else {}
        units = {
            self.rpc_endpoint(binary).unit: {
                **way,
                "load": "loaded",
                "boot": "enabled",
                "active": "active",
                "sub": "running",
                "result": "success",
                "since": self.since[binary, host],
                "states": "S",
                "log": [],
                "sockets": [[*self._peer(at), "10.0.0.1", 5672, 0, 0]],
            }
            for at, (binary, on) in enumerate(self.members)
            if on == host
        }
        return {"hostname": host, "units": units}

    async def _restart_unit(self, host: str, unit: str) -> str:
        self.restarted.append(host)
        self._restarting += 1
        self.together = max(self.together, self._restarting)
        await asyncio.sleep(0.01)
        self._restarting -= 1
        if host not in self.cursed:
            self.deaf.discard(host)
        self.since[unit, host] = 100.0
        return ""
