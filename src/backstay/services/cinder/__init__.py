"""cinder: volumes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from backstay.answers import Line, convert
from backstay.commands import command
from backstay.inventory.enums import Role
from backstay.services.declaration import (
    Agent,
    Api,
    ApiLivenessProbe,
    ApiProbe,
    HostProbe,
    InFlightTask,
    Invariant,
    Migrations,
    Service,
    Unit,
    Verdict,
)
from backstay.services.messaging import RpcEndpoint
from backstay.services.records import (
    Listing,
    Records,
    ServiceRecord,
    ask_api,
    ask_list,
    ask_records,
    read_services,
)
from backstay.services.reporting import ReportTimes, not_judged, report_times

VOLUMES = Listing(
    service_type="block-storage",
    path="/volumes/detail?all_tenants=1",
    key="volumes",
    noun="volume",
    nouns="volumes",
    limit=100,
)
# cinder's defaults: [DEFAULT] report_interval and service_down_time
# https://docs.openstack.org/cinder/latest/configuration/block-storage/config-options.html
# What ends by itself when the service's work is done.
# https://docs.openstack.org/api-ref/block-storage/v3/#volumes-volumes
BUSY = frozenset(
    (
        "creating",
        "attaching",
        "detaching",
        "deleting",
        "backing-up",
        "restoring-backup",
        "extending",
        "downloading",
        "uploading",
        "retyping",
    )
)
REPORT_INTERVAL = 10.0
DOWN_AFTER = 60.0


def ask_volumes(api: Api) -> Sequence[Verdict]:
    """List the volumes of all projects, as ``openstack volume list --all-projects`` does."""
    return ask_list(api, VOLUMES, anomalies)


def anomalies(volume: Mapping[str, Any]) -> Sequence[str]:
    """Return what is odd about one volume's record. Pure."""
    odd = []
    if not isinstance(volume.get("status"), str):
        odd.append(f"status is {volume.get('status')!r}")
    if not isinstance(volume.get("size"), int):
        odd.append(f"size is {volume.get('size')!r}")
    return odd


def activation(record: ServiceRecord) -> str:
    """Return the command that puts a service back that was disabled. Pure."""
    return command("openstack", "volume", "service", "set", "--enable", record.host, record.binary)


def ask_report_times() -> dict[str, Any]:
    """Read how cinder's services report, on a host of theirs. Runs there: see Service."""
    return report_times(
        "cinder",
        ["/etc/cinder/cinder.conf"],
        ["cinder-api", "cinder-wsgi"],
        ["service_down_time", 60.0],
        {
            name: ["DEFAULT", "report_interval", 10.0]
            for name in ("cinder-volume", "cinder-scheduler", "cinder-backup")
        },
    )


read_agents = partial(
    read_services, interval=REPORT_INTERVAL, down_after=DOWN_AFTER, activate=activation
)
"""Turns the decoded answer of ``/os-services`` into agents. Raises BadAnswer."""


def agents(api: Api) -> Sequence[Agent]:
    """Return cinder's services as its API reports them."""
    return ask_api(api, "block-storage", "/os-services", read_agents)


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeRecord:
    """A volume as the API describes it, of which only this is used."""

    id: Line
    name: Line | None = None
    status: Line | None = None
    migration_status: Line | None = None


def in_flight(api: Api) -> Sequence[InFlightTask]:
    """Return the volumes with which something is being done."""
    return ask_records(api, VOLUMES, read_unfinished)


def read_unfinished(volumes: Records) -> Sequence[InFlightTask]:
    """Return the volumes that are between two states or migrate. Pure. Raises BadAnswer."""
    found = []
    for volume in (convert(VolumeRecord, one) for one in volumes):
        migrates = volume.migration_status in {"starting", "migrating", "completing"}
        if volume.status in BUSY or migrates:
            doing = "migrating" if migrates else str(volume.status)
            found.append(InFlightTask(what=f"volume {volume.name or volume.id}", doing=doing))
    return found


def _rpc_endpoint(binary: str) -> RpcEndpoint:
    """Return how an agent is reached; cinder leaves the exchange at oslo.messaging's default."""
    return RpcEndpoint(
        binary=binary,
        exchange="openstack",
        topic=binary,
        config="/etc/cinder/cinder.conf",
        log=f"/var/log/cinder/{binary}.log",
    )


SERVICE = Service(
    name="cinder",
    title="Volumes (cinder)",
    restore_order=80,
    units=(
        Unit(
            name="cinder-api",
            role=Role.CONTROLLER,
            purpose="volumes cannot be listed, made or attached",
            ports=(8776,),
        ),
        Unit(
            name="cinder-scheduler",
            role=Role.CONTROLLER,
            purpose="no new volumes",
            agent="cinder-scheduler",
        ),
        Unit(
            name="cinder-volume",
            role=Role.CONTROLLER,
            purpose="volumes cannot be made, attached or deleted",
            agent="cinder-volume",
        ),
    ),
    databases=("cinder",),
    migrations={
        "cinder": Migrations(
            versions="cinder/db/migrations/versions", sync="cinder-manage db sync"
        ),
    },
    paths=("/etc/cinder", "/var/lib/cinder"),
    leave_out=("/var/lib/cinder/volumes/*", "/var/lib/cinder/conversion/*"),
    invariants=(
        Invariant(
            says="volumes attached to instances that are not there",
            broken="SELECT a.volume_id FROM cinder.volume_attachment a LEFT JOIN nova.instances i "
            "ON i.uuid = a.instance_uuid AND i.deleted = 0 WHERE a.deleted = 0 "
            "AND a.instance_uuid IS NOT NULL AND a.attach_status = 'attached' AND i.uuid IS NULL",
            needs=("cinder", "nova"),
        ),
    ),
    api_probes=(ApiProbe(name="volume list", ask=ask_volumes),),
    api_liveness=(
        ApiLivenessProbe(name="one volume", service_type="block-storage", path="/volumes?limit=1"),
    ),
    agents=agents,
    report_times=HostProbe(
        name="report times of cinder",
        roles=(Role.CONTROLLER,),
        ask=ask_report_times,
        returns=ReportTimes,
        judge=not_judged,
    ),
    rpc_endpoints=tuple(map(_rpc_endpoint, ("cinder-scheduler", "cinder-volume", "cinder-backup"))),
    in_flight=in_flight,
    endpoint_types=("block-storage", "volumev3"),
)
