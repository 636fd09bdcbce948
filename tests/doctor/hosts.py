"""Hosts for the doctor: this machine's Python runs their scripts, or they answer what is given."""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from backstay.access.session import CloudSession
from backstay.errors import ApiUnreachable, BackstayError, HostError
from backstay.inventory.cloud import Cloud
from backstay.services.declaration import Api
from backstay.transports import limits
from backstay.transports.targets import Answer, SshTarget

NO_API = ApiUnreachable("asking", came_back="no route to host", remedy="look")


def cloud_in(folder: Path, **more: Any) -> Cloud:
    """Return a cloud whose cloud.yaml would be in ``folder``, and its backups."""
    document = {
        "name": "example",
        "credentials": {"environment": True},
        "backup": {"folder": str(folder / "backups")},
        "hosts": {
            "controller": {"address": "10.0.0.11", "roles": ["controller"]},
            "compute1": {"address": "10.0.0.21", "roles": ["compute"]},
            "spare1": {"address": "10.0.0.31", "roles": ["spare"]},
        },
    }
    path = folder / "cloud.yaml"
    return Cloud.model_validate(document | more, context={"folder": folder, "path": path})


class LocalShell:
    """Runs what is sent to a host by this machine's Python; ``broken`` hosts raise."""

    def __init__(self, **broken: HostError) -> None:
        self.broken = broken
        self.asked: list[str] = []

    async def answer(
        self, target: SshTarget, script: str, *, bound: float, most: int = limits.ANSWER
    ) -> Answer:
        self.asked.append(target.name)
        if target.name in self.broken:
            raise self.broken[target.name]
        sent = time.time()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await asyncio.wait_for(process.communicate(script.encode()), bound)
        return Answer(stdout=out.decode(), sent_at=sent, received_at=time.time())


class RecordedShell(LocalShell):
    """Hosts that answer what was recorded, at this moment and with clocks that are ``ahead``."""

    def __init__(self, answers: dict[str, Any], *, ahead: float = 0.0, **broken: HostError) -> None:
        super().__init__(**broken)
        self.answers, self.ahead = answers, ahead

    async def answer(
        self, target: SshTarget, script: str, *, bound: float, most: int = limits.ANSWER
    ) -> Answer:
        self.asked.append(target.name)
        if target.name in self.broken:
            raise self.broken[target.name]
        now = time.time()
        times = {"started": now + self.ahead, "finished": now + self.ahead}
        text = json.dumps(self.answers[target.name] | times)
        return Answer(stdout=text, sent_at=now - 0.01, received_at=now + 0.01)


def session_of(cloud: Cloud, shell: Any, api: Api | BackstayError = NO_API) -> CloudSession:
    return CloudSession(cloud=cloud, shell=shell, api=api)
