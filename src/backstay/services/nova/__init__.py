"""nova: instances."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from backstay.answers import BadAnswer, Line, convert
from backstay.commands import command
from backstay.inventory.enums import Role
from backstay.services.declaration import (
    Agent,
    Api,
    ApiLivenessProbe,
    ApiProbe,
    Autostart,
    HostProbe,
    InFlightTask,
    Invariant,
    Migrations,
    Service,
    Unit,
    Verdict,
    Workload,
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

SERVERS = Listing(
    service_type="compute",
    path="/servers/detail?all_tenants=1",
    key="servers",
    noun="server",
    nouns="servers",
    limit=100,
)
# nova's defaults: [DEFAULT] report_interval and service_down_time
# https://docs.openstack.org/nova/latest/configuration/config.html
REPORT_INTERVAL = 10.0
DOWN_AFTER = 60.0
AUTOSTART = "resume_guests_state_on_host_boot"


def ask_servers(api: Api) -> Sequence[Verdict]:
    """List the instances of all projects, as ``openstack server list --all-projects`` does."""
    return ask_list(api, SERVERS, anomalies)


def anomalies(server: Mapping[str, Any]) -> Sequence[str]:
    """Return what is odd about one instance's record. Pure.

    A cell that does not answer gives records with little more than an id and status UNKNOWN:
    https://docs.openstack.org/nova/latest/admin/cells.html#handling-cell-failures
    """
    status = server.get("status")
    if status == "UNKNOWN":
        return ["status is UNKNOWN: its cell's database does not answer"]
    if not isinstance(status, str):
        return [f"status is {status!r}"]
    return []


def activation(record: ServiceRecord) -> str:
    """Return the command that puts a service back that was disabled or forced down. Pure."""
    words = ["openstack", "compute", "service", "set"]
    if record.forced_down:
        words += ["--os-compute-api-version", "2.11", "--up"]
    if record.status != "enabled":
        words.append("--enable")
    return command(*words, record.host, record.binary)


read_agents = partial(
    read_services, interval=REPORT_INTERVAL, down_after=DOWN_AFTER, activate=activation
)
"""Turns the decoded answer of ``/os-services`` into agents. Raises BadAnswer."""


def agents(api: Api) -> Sequence[Agent]:
    """Return nova's services as its API reports them, those that are forced down marked so.

    https://docs.openstack.org/nova/latest/reference/api-microversion-history.html (2.11)
    """
    return ask_api(api, "compute", "/os-services", read_agents, microversion="compute 2.11")


def ask_report_times() -> dict[str, Any]:
    """Read how nova's services report, on a host of theirs. Runs there: see Service."""
    return report_times(
        "nova",
        ["/etc/nova/nova.conf"],
        ["nova-api", "nova-api-os-compute", "nova-api-wsgi"],
        ["service_down_time", 60.0],
        {
            name: ["DEFAULT", "report_interval", 10.0]
            for name in ("nova-compute", "nova-conductor", "nova-scheduler")
        },
    )


_KEYS = {
    "host": "OS-EXT-SRV-ATTR:host",
    "task_state": "OS-EXT-STS:task_state",
    "vm_state": "OS-EXT-STS:vm_state",
}


def key_of(field: str) -> str:
    """Return the key that the API has for a field of a server. Pure."""
    return _KEYS.get(field, field)


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressRecord:
    """An address of a server."""

    addr: Line
    version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRecord:
    """A server as the API describes it, of which only this is used.

    Of one whose cell does not answer little more is given than its id.
    """

    __pydantic_config__ = {"alias_generator": key_of}  # noqa: RUF012 - as pydantic reads it

    id: Line
    name: Line | None = None
    status: Line | None = None
    host: Line | None = None
    task_state: Line | None = None
    addresses: Mapping[Line, tuple[AddressRecord, ...]] | None = None

    @property
    def subject(self) -> str:
        """Return what its owner calls it."""
        return self.name or self.id


def in_flight(api: Api) -> Sequence[InFlightTask]:
    """Return the instances with which something is being done."""
    return ask_records(api, SERVERS, read_unfinished)


def read_unfinished(servers: Records) -> Sequence[InFlightTask]:
    """Return those that have a task or are on their way between two states. Pure.

    A resize that waits for its owner's confirmation is no work of nova's. Raises BadAnswer.
    https://docs.openstack.org/nova/latest/reference/vm-states.html
    """
    found = []
    for server in _seen(servers):
        between = server.status in {"BUILD", "MIGRATING", "REBUILD", "RESIZE"}
        if server.task_state or between:
            doing = str(server.task_state or server.status).lower().replace("_", " ")
            found.append(InFlightTask(what=f"server {server.subject}", doing=doing))
    return found


def workloads(api: Api) -> Sequence[Workload]:
    """Return the instances that run."""
    return ask_records(api, SERVERS, read_workloads)


def read_workloads(servers: Records) -> Sequence[Workload]:
    """Return the active instances with their IPv4 addresses. Pure. Raises BadAnswer."""
    return [
        Workload(
            name=server.subject,
            host=server.host or "",
            addresses=tuple(
                address.addr
                for addresses in (server.addresses or {}).values()
                for address in addresses
                if address.version == 4
            ),
        )
        for server in _seen(servers)
        if server.status == "ACTIVE"
    ]


def _seen(servers: Records) -> Sequence[ServerRecord]:
    """Return the servers. Raises BadAnswer where the state of some is not seen: see anomalies."""
    found = [convert(ServerRecord, one) for one in servers]
    unseen = [server for server in found if server.status in {None, "UNKNOWN"}]
    if unseen:
        raise BadAnswer(
            f"could not see all servers: {len(unseen)} of {len(found)} have no known status, as "
            "the database of their cell does not answer"
        )
    return found


def ask_autostart() -> Any:  # noqa: ANN401 - True, False or None
    """Return nova-compute's setting, None where no file has it. Runs on the host.

    https://docs.openstack.org/nova/latest/configuration/config.html#DEFAULT.resume_guests_state_on_host_boot
    """
    for place in [Path("/etc/nova/nova-compute.conf"), Path("/etc/nova/nova.conf")]:
        try:
            text = place.read_text()
        except OSError:
            continue
        named = re.search(r"^\s*" + AUTOSTART + r"\s*=\s*(\w+)", text, re.M)
        if named:
            return named.group(1).lower() == "true"
    return None


def _on_controller(name: str, purpose: str, *ports: int, agent: str = "") -> Unit:
    return Unit(name=name, role=Role.CONTROLLER, purpose=purpose, ports=ports, agent=agent)


def _rpc_endpoint(binary: str, topic: str, *, calls: bool = False) -> RpcEndpoint:
    return RpcEndpoint(
        binary=binary,
        exchange="nova",
        topic=topic,
        config="/etc/nova/nova.conf",
        log=f"/var/log/nova/{binary}.log",
        calls=calls,
        reports_via="nova-conductor" if calls else "",
    )


SERVICE = Service(
    name="nova",
    title="Compute (nova)",
    restore_order=60,
    units=(
        _on_controller("nova-api", "instances cannot be listed, started or stopped", 8774),
        _on_controller("nova-api-metadata", "new instances get no SSH keys and no user data", 8775),
        _on_controller(
            "nova-conductor",
            "no instance can be built, moved or deleted",
            agent="nova-conductor",
        ),
        _on_controller(
            "nova-scheduler", "no new instance finds a compute host", agent="nova-scheduler"
        ),
        Unit(
            name="nova-compute",
            role=Role.COMPUTE,
            purpose="instances on this host run on but cannot be started, stopped or deleted",
            agent="nova-compute",
        ),
    ),
    databases=("nova_api", "nova", "nova_cell0"),
    migrations={
        "nova_api": Migrations(
            versions="nova/db/api/migrations/versions", sync="nova-manage api_db sync"
        ),
        "nova": Migrations(versions="nova/db/main/migrations/versions", sync="nova-manage db sync"),
        "nova_cell0": Migrations(
            versions="nova/db/main/migrations/versions", sync="nova-manage db sync"
        ),
    },
    paths=("/etc/nova", "/var/lib/nova"),
    leave_out=("/var/lib/nova/instances/*", "/var/lib/nova/.cache/*"),
    invariants=(
        Invariant(
            says="instances whose project is not in keystone",
            broken="SELECT i.uuid FROM nova.instances i LEFT JOIN keystone.project p "
            "ON p.id = i.project_id WHERE i.deleted = 0 AND p.id IS NULL",
            needs=("nova", "keystone"),
        ),
        Invariant(
            says="instances without their mapping to a cell",
            broken="SELECT i.uuid FROM nova.instances i LEFT JOIN nova_api.instance_mappings m "
            "ON m.instance_uuid = i.uuid WHERE i.deleted = 0 AND m.instance_uuid IS NULL",
            needs=("nova",),
        ),
    ),
    api_probes=(ApiProbe(name="server list", ask=ask_servers),),
    api_liveness=(ApiLivenessProbe(name="key pairs", service_type="compute", path="/os-keypairs"),),
    agents=agents,
    report_times=HostProbe(
        name="report times of nova",
        roles=(Role.CONTROLLER, Role.COMPUTE),
        ask=ask_report_times,
        returns=ReportTimes,
        judge=not_judged,
    ),
    rpc_endpoints=(
        _rpc_endpoint("nova-conductor", "conductor"),
        _rpc_endpoint("nova-scheduler", "scheduler"),
        # It writes every report by a call to the conductor.
        _rpc_endpoint("nova-compute", "compute", calls=True),
    ),
    in_flight=in_flight,
    workloads=workloads,
    autostart=Autostart(setting=AUTOSTART, ask=ask_autostart),
    endpoint_types=("compute",),
)
