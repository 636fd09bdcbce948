"""What the lab's hosts told of one of them (`data/NAME.json`), looked at again as it was."""

import asyncio
import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

from backstay.errors import HostUnreachable, PowerError
from backstay.finding import Finding, Severity
from backstay.health.witness import observe, onhost
from backstay.health.witness.evidence import HostEvidence
from backstay.inventory.cloud import Cloud
from backstay.services.registry import all_services
from tests.answering import as_asked

DATA = Path(__file__).parent / "data"
HOSTS = {
    "controller": {"address": "10.77.0.11", "roles": ["controller"]},
    "proxy": {"address": "10.77.0.12", "roles": ["storage-proxy"]},
    "storage1": {"address": "10.77.0.13", "roles": ["storage"]},
    "compute1": {"address": "10.77.0.21", "roles": ["compute"]},
    "compute2": {"address": "10.77.0.22", "roles": ["compute"]},
    "spare1": {"address": "10.77.0.31", "roles": ["spare"]},
}
BMC = {"url": "https://10.77.0.111:8443", "username": "admin", "password": "s3cret"}


def cloud(**more: Any) -> Cloud:
    hosts = {name: host | {"bmc": BMC} for name, host in HOSTS.items()}
    return Cloud.model_validate({"credentials": {"openrc": "openrc"}, "hosts": hosts} | more)


class Recorded:
    """A cloud whose hosts tell what they told; `asked` are the ports that each was asked about."""

    def __init__(self, name: str) -> None:
        self.told: dict[str, Any] = json.loads((DATA / f"{name}.json").read_text())
        self.suspect: str = self.told["suspect"]
        self.cloud = cloud()
        self.services = all_services()
        self.asked: dict[str, list[int]] = {}

    def host(self, name: str) -> Any:
        return self.cloud.hosts[name]

    async def ask(
        self,
        host: str,
        function: Any,
        *arguments: Any,
        returns: Any = None,
        bound: float = 30.0,
    ) -> Any:
        found = self.told["login"] if host == self.suspect else self.told["hosts"][host]
        if function is onhost.witness:
            self.asked[host] = arguments[1]
        if isinstance(found, dict) and "error" in found:
            raise HostUnreachable("asking", came_back=found["error"], remedy="look")
        return as_asked(found, returns, host)

    async def check(self, hosts: Any) -> list[Finding]:
        await asyncio.sleep(0)
        return [
            Finding(
                host=self.suspect,
                service="x",
                severity=Severity.FAILED,
                remedy="repair",
                subject=failed.partition(": ")[0],
                evidence=failed.partition(": ")[2],
            )
            for failed in self.told["failed"] or ()
        ]

    async def here(self, address: str, ports: Any, quick: bool) -> dict[str, Any]:
        self.asked["here"] = list(ports)
        found: dict[str, Any] = self.told["here"]
        return found

    async def power(self, target: Any) -> bool | None:
        found: bool | dict[str, str] | None = self.told["power"]
        if isinstance(found, dict):
            raise PowerError("asking", came_back=found["error"], remedy="look")
        return found

    def look(self) -> HostEvidence:
        with patch.object(observe, "check_hosts", lambda session, hosts: session.check(hosts)):
            return asyncio.run(
                observe.gather_evidence(self, self.suspect, here=self.here, power=self.power)  # type: ignore[arg-type]
            )


def seen(name: str) -> HostEvidence:
    return Recorded(name).look()
