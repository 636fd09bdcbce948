"""Real use for the lab's cloud, made once, and waiting until that use is possible again.

Everything seeded is written into ``seed.json`` in the lab's folder, for tests and for people::

    {"projects": {NAME: {"id", "user", "user_id"}}, "image", "flavor", "network": ids,
     "instances": [{"id", "name", "project", "host", "address"}],
     "objects": [{"project", "container", "name", "bytes", "sha256", "md5"}],
     "volume": {"id", "name", "server", "device", "bytes", "sha256"} or null}
"""

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from backstay.jsondata import Json
from backstay.transports import ping
from backstay_lab import seed_identity, seed_instances, seed_storage
from backstay_lab.cloud_api import CloudApi, await_answer
from backstay_lab.guest import build

PING_BOUND = 120.0
HEALTHY_BOUND = 180.0


@dataclass(frozen=True, kw_only=True)
class SeededCloud:
    """A lab's cloud, as seeding needs it.

    ``folder`` is the lab's, ``cache`` where the guest image is kept between builds, ``computes``
    the names of the compute hosts, ``provider_net`` the first three numbers of the instances'
    network, ``passwords`` the secrets by name (``admin_password``, ``demo_password``, ...).
    """

    folder: Path
    cache: Path
    auth_url: str
    region: str
    provider_net: str
    computes: tuple[str, ...]
    passwords: Mapping[str, str]

    @property
    def admin(self) -> CloudApi:
        """The APIs as the administrator in project admin."""
        return self.api("admin", "admin")

    def api(self, user: str, project: str) -> CloudApi:
        """Return the APIs as ``user`` in ``project``."""
        return CloudApi(
            auth_url=self.auth_url,
            user=user,
            project=project,
            password=self.passwords[f"{user}_password"],
            region=self.region,
        )

    @property
    def record(self) -> Path:
        """The file that lists what was seeded."""
        return self.folder / "seed.json"


def _silent(_step: str) -> None: ...


def seed(
    cloud: SeededCloud, progress: Callable[[str], None] = _silent, *, with_objects: bool = True
) -> dict[str, Any]:
    """Seed the cloud and return what is then in it; safe to repeat after any interruption.

    ``progress`` is called with each step's name. Raises LabError.
    """
    admin = cloud.admin
    progress("projects")
    passwords = {name: cloud.passwords[f"{name}_password"] for name in seed_identity.PROJECTS}
    made: dict[str, Any] = {"projects": seed_identity.ensure_projects(admin, passwords)}
    progress("image")
    made["image"] = seed_instances.ensure_image(admin, build(cloud.cache))
    made["flavor"] = seed_instances.ensure_flavor(admin)
    progress("network")
    made["network"] = seed_instances.ensure_network(admin, cloud.provider_net)
    progress("instances")
    made["instances"] = _seed_instances(cloud, made)
    users = {name: cloud.api(name, name) for name in seed_identity.PROJECTS}
    made["objects"] = []
    if with_objects:
        progress("objects")
        made["objects"] = seed_storage.seed_objects(users)
    made["volume"] = _seed_volume(cloud, made, progress)
    _write(cloud.record, made)
    progress("instances answer")
    await_pings(made["instances"])
    return made


def _seed_instances(cloud: SeededCloud, made: Mapping[str, Any]) -> list[dict[str, str]]:
    """Build an instance on each compute host, in parallel, alternating between the projects."""
    seed_instances.await_hosts(cloud.admin, cloud.computes)
    parts = {"image": made["image"], "flavor": made["flavor"], "network": made["network"]}

    def build_on(number: int, host: str) -> dict[str, str]:
        project = seed_identity.PROJECTS[number % len(seed_identity.PROJECTS)]
        api = cloud.api("admin", project)
        name = f"{project}-{number // len(seed_identity.PROJECTS) + 1}"
        return {"project": project, **seed_instances.build_instance(api, name, host, **parts)}

    with ThreadPoolExecutor(max(1, len(cloud.computes))) as pool:
        return list(pool.map(build_on, range(len(cloud.computes)), cloud.computes))


def _seed_volume(
    cloud: SeededCloud, made: Mapping[str, Any], progress: Callable[[str], None]
) -> dict[str, Any] | None:
    """Make the volume for the first instance's project, where cinder has a place for it."""
    if not made["instances"] or not seed_storage.has_volumes(cloud.admin):
        return None
    progress("volume")
    owner = made["instances"][0]
    image = seed_instances.upload(cloud.admin, "records", "raw", seed_storage.volume_data(), {})
    api = cloud.api(owner["project"], owner["project"])
    return seed_storage.seed_volume(api, image, owner["id"])


def _write(file: Path, made: Mapping[str, Any]) -> None:
    part = file.with_suffix(".part")
    part.write_text(json.dumps(made, indent=2) + "\n")
    part.rename(file)


def healthy(
    cloud: SeededCloud, progress: Callable[[str], None] = _silent, bound: float = HEALTHY_BOUND
) -> None:
    """Wait until the APIs answer, agents are up and the seeded instances answer ping.

    ``progress`` is called with what is missing whenever that changes. Raises LabError that
    names what is still missing after ``bound`` seconds.
    """
    made = json.loads(cloud.record.read_text())
    admin = cloud.admin
    last: list[str] = []

    def usable() -> bool | None:
        found = missing(admin, made)
        if found and found != last:
            progress(f"waiting: {'; '.join(found)}")
        last[:] = found
        return None if found else True

    await_answer(
        usable,
        attempted="waiting for the seeded cloud to be usable",
        bound=bound,
        pause=2.0,
        missing=lambda: "; ".join(last),
    )


class ReadsApis(Protocol):
    """What is needed of the APIs to judge whether the seeded cloud is usable."""

    def get(self, service_type: str, path: str) -> Json:
        """Return the decoded answer of ``GET path``. Raises LabError."""


def missing(admin: ReadsApis, made: Mapping[str, Any]) -> list[str]:
    """Return what keeps the seeded cloud from being usable, each as a phrase. Raises LabError."""
    services = admin.get("compute", "/os-services")["services"]
    services += admin.get("volumev3", "/os-services")["services"]
    agents = admin.get("network", "/v2.0/agents")["agents"]
    admin.get("image", "/v2/images?limit=1")
    servers = admin.get("compute", "/servers/detail?all_tenants=1")["servers"]
    seeded = {instance["id"] for instance in made["instances"]}
    return [
        *(f"{s['binary']} on {s['host']} is {s['state']}" for s in services if s["state"] != "up"),
        *(f"{a['binary']} on {a['host']} is down" for a in agents if not a["alive"]),
        *(
            f"instance {s['name']} is {s['status']}"
            for s in servers
            if s["id"] in seeded and s["status"] != "ACTIVE"
        ),
        *silent(made["instances"]),
    ]


def silent(instances: list[dict[str, str]]) -> list[str]:
    """Return which instances do not answer ping from this machine, each as a phrase."""
    with ThreadPoolExecutor(max(1, len(instances))) as pool:
        answers = list(pool.map(ping.answers, [instance["address"] for instance in instances]))
    return [
        f"instance {instance['name']} ({instance['address']}) does not answer ping"
        for instance, answered in zip(instances, answers, strict=True)
        if not answered
    ]


def await_pings(instances: list[dict[str, str]], bound: float = PING_BOUND) -> None:
    """Wait until every instance answers ping. Raises LabError that names those that do not."""
    await_answer(
        lambda: None if silent(instances) else True,
        attempted="waiting for the seeded instances to answer ping",
        bound=bound,
        missing=lambda: "; ".join(silent(instances)),
    )
