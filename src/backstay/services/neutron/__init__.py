"""neutron: networks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from backstay.answers import Line, convert, is_uuid
from backstay.commands import command
from backstay.inventory.enums import Role
from backstay.jsondata import Json
from backstay.services.declaration import (
    Agent,
    Api,
    ApiLivenessProbe,
    ApiProbe,
    HostProbe,
    Migrations,
    Service,
    Unit,
    Verdict,
)
from backstay.services.messaging import RpcEndpoint
from backstay.services.records import Listing, as_time, ask_list, ask_records
from backstay.services.reporting import ReportTimes, not_judged, report_times

NETWORKS = Listing(
    service_type="network",
    path="/v2.0/networks",
    key="networks",
    noun="network",
    nouns="networks",
)
AGENTS = Listing(
    service_type="network",
    path="/v2.0/agents",
    key="agents",
    noun="network agent",
    nouns="network agents",
    limit=0,  # pagination_max_limit of neutron.conf cuts the list, and links what follows
)
# neutron's defaults: [agent] report_interval and [DEFAULT] agent_down_time
# https://docs.openstack.org/neutron/latest/configuration/neutron.html
REPORT_INTERVAL = 30.0
DOWN_AFTER = 75.0


def ask_networks(api: Api) -> Sequence[Verdict]:
    """List the networks, as ``openstack network list`` does."""
    return ask_list(api, NETWORKS)


def agents(api: Api) -> Sequence[Agent]:
    """Return neutron's agents as its API reports them."""
    return ask_records(api, AGENTS, lambda records: read_agents({"agents": list(records)}))


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRecord:
    """An agent as the API describes it, of which only this is used."""

    binary: Line
    host: Line
    alive: bool | None = None
    id: Line | None = None
    agent_type: Line | None = None
    admin_state_up: bool | None = None
    heartbeat_timestamp: Line | None = None
    description: Line | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentsAnswer:
    """The answer of ``/v2.0/agents``."""

    agents: tuple[AgentRecord, ...]


def read_agents(answer: Json) -> Sequence[Agent]:
    """Turn the decoded answer of ``/v2.0/agents`` into agents. Pure. Raises BadAnswer.

    Agents of OVN write no reports: their time is that of the last change which a chassis has
    confirmed, and is renewed when somebody lists them; ``alive`` alone counts.
    https://github.com/openstack/neutron/blob/master/neutron/plugins/ml2/drivers/ovn/agent/neutron_agent.py
    """
    return [
        Agent(
            binary=record.binary,
            host=record.host,
            up=record.alive is True,
            enabled=record.admin_state_up is not False,
            heartbeat=as_time(record.heartbeat_timestamp),
            interval=REPORT_INTERVAL,
            down_after=DOWN_AFTER,
            note=record.description or "",
            reports=not (record.agent_type or "").startswith("OVN "),
            activate=command("openstack", "network", "agent", "set", "--enable", record.id)
            if is_uuid(record.id or "") and record.id
            else "",
        )
        for record in convert(AgentsAnswer, answer).agents
    ]


def ask_report_times() -> dict[str, Any]:
    """Read how neutron's agents report, on a host of theirs. Runs there: see Service."""
    return report_times(
        "neutron",
        ["/etc/neutron/neutron.conf"],
        ["neutron-server", "neutron-api", "neutron-rpc-server"],
        ["agent_down_time", 75.0],
        {
            "neutron-" + name + "-agent": ["agent", "report_interval", 30.0]
            for name in ("linuxbridge", "openvswitch", "dhcp", "l3", "metadata", "sriov-nic")
        },
    )


def _rpc_endpoint(binary: str, topic: str) -> RpcEndpoint:
    """Return how an agent is reached; all of them report by calls to the server."""
    return RpcEndpoint(
        binary=binary,
        exchange="neutron",
        topic=topic,
        config="/etc/neutron/neutron.conf",
        log=f"/var/log/neutron/{binary}.log",
        calls=True,
        reports_via="neutron-rpc-server",
    )


LAYER_2 = "the network of instances"
_NO_NETWORK = "new instances on this host stay without network"
_OTHERS = (
    # Unit, its agent's binary, purpose, and whether it is a layer-2 agent.
    # https://docs.openstack.org/neutron/latest/install/ovn/manual_install.html
    ("ovn-controller", "ovn-controller", _NO_NETWORK, True),
    ("neutron-openvswitch-agent", "neutron-openvswitch-agent", _NO_NETWORK, True),
    ("neutron-linuxbridge-agent", "neutron-linuxbridge-agent", _NO_NETWORK, True),
    ("neutron-macvtap-agent", "neutron-macvtap-agent", _NO_NETWORK, True),
    ("neutron-sriov-agent", "neutron-sriov-nic-agent", _NO_NETWORK, True),
    ("neutron-sriov-nic-agent", "neutron-sriov-nic-agent", _NO_NETWORK, True),
    (
        "neutron-ovn-metadata-agent",
        "neutron-ovn-metadata-agent",
        "instances on this host get no metadata",
        False,
    ),
    ("neutron-ovn-agent", "neutron-ovn-agent", "instances on this host get no metadata", False),
    ("neutron-metadata-agent", "neutron-metadata-agent", "instances get no metadata", False),
    (
        "neutron-l3-agent",
        "neutron-l3-agent",
        "routers of this host are not changed any more",
        False,
    ),
    ("neutron-dhcp-agent", "neutron-dhcp-agent", "new instances get no addresses by it", False),
    ("ovs-vswitchd", "", "bridges of this host are not changed any more", False),
    ("ovsdb-server", "", "bridges of this host are not changed any more", False),
    ("ovn-northd", "", "changes of networks reach no host", False),
    ("ovn-ovsdb-server-nb", "", "networks cannot be changed", False),
    ("ovn-ovsdb-server-sb", "", "changes of networks reach no host", False),
)
_ON_COMPUTE = frozenset(("neutron-linuxbridge-agent", "neutron-dhcp-agent"))
"""What is among the units of the role already."""


def _others() -> Iterator[Unit]:
    """Yield the units of other back ends, and of agents on other hosts than here by default."""
    for role in (Role.CONTROLLER, Role.COMPUTE, Role.NETWORK):
        for name, agent, purpose, layer_2 in _OTHERS:
            if role is not Role.COMPUTE or name not in _ON_COMPUTE:
                yield Unit(
                    name=name,
                    role=role,
                    purpose=purpose,
                    agent=agent,
                    if_found=True,
                    one_of=LAYER_2 if layer_2 and role is Role.COMPUTE else "",
                )


SERVICE = Service(
    name="neutron",
    title="Network (neutron)",
    restore_order=70,
    units=(
        Unit(
            name="neutron-api",
            role=Role.CONTROLLER,
            purpose="networks and ports cannot be made or changed, no new instances",
            ports=(9696,),
        ),
        Unit(
            name="neutron-rpc-server",
            role=Role.CONTROLLER,
            purpose="agents get no orders: new instances stay without network",
        ),
        Unit(
            name="neutron-linuxbridge-agent",
            role=Role.COMPUTE,
            purpose="new instances on this host stay without network",
            agent="neutron-linuxbridge-agent",
            if_found=True,
            one_of=LAYER_2,
        ),
        Unit(
            name="neutron-dhcp-agent",
            role=Role.COMPUTE,
            purpose="leases on this host's networks are served on, but not for new instances",
            agent="neutron-dhcp-agent",
            serves="their addresses (DHCP)",
            if_found=True,
        ),
    ),
    other_units=tuple(_others()),
    databases=("neutron",),
    migrations={
        "neutron": Migrations(
            versions="neutron/db/migration/alembic_migrations/versions",
            sync="neutron-db-manage upgrade heads",
        ),
    },
    paths=("/etc/neutron", "/var/lib/neutron", "/etc/default/neutron-server"),
    leave_out=("/var/lib/neutron/lock/*",),
    api_probes=(ApiProbe(name="network list", ask=ask_networks),),
    # A tenth of what a network costs.
    api_liveness=(
        ApiLivenessProbe(
            name="one agent", service_type="network", path="/v2.0/agents?limit=1&fields=id"
        ),
    ),
    agents=agents,
    report_times=HostProbe(
        name="report times of neutron",
        roles=(Role.CONTROLLER, Role.COMPUTE, Role.NETWORK),
        ask=ask_report_times,
        returns=ReportTimes,
        judge=not_judged,
    ),
    rpc_endpoints=(
        # Layer-2 agents have a queue for each kind of news; one that each of them has stands here.
        _rpc_endpoint("neutron-linuxbridge-agent", "q-agent-notifier-port-update"),
        _rpc_endpoint("neutron-openvswitch-agent", "q-agent-notifier-tunnel-update"),
        _rpc_endpoint("neutron-dhcp-agent", "dhcp_agent"),
        _rpc_endpoint("neutron-l3-agent", "l3_agent"),
        _rpc_endpoint("neutron-metadata-agent", ""),  # nothing is sent to it
    ),
    endpoint_types=("network",),
)
