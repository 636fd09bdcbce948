"""neutron: networks."""

from collections.abc import Sequence
from dataclasses import dataclass

from backstay.answers import Line, convert
from backstay.inventory.enums import Role
from backstay.jsondata import Json
from backstay.services.declaration import (
    Agent,
    Api,
    ApiLivenessProbe,
    ApiProbe,
    Migrations,
    Service,
    Unit,
    Verdict,
)
from backstay.services.messaging import RpcEndpoint
from backstay.services.records import Listing, as_time, ask_api, ask_list

NETWORKS = Listing(
    service_type="network",
    path="/v2.0/networks",
    key="networks",
    noun="network",
    nouns="networks",
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
    return ask_api(api, "network", "/v2.0/agents", read_agents)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRecord:
    """An agent as the API describes it, of which only this is used."""

    binary: Line
    host: Line
    alive: bool | None = None
    admin_state_up: bool | None = None
    heartbeat_timestamp: Line | None = None
    description: Line | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentsAnswer:
    """The answer of ``/v2.0/agents``."""

    agents: tuple[AgentRecord, ...]


def read_agents(answer: Json) -> Sequence[Agent]:
    """Turn the decoded answer of ``/v2.0/agents`` into agents. Pure. Raises BadAnswer."""
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
        )
        for record in convert(AgentsAnswer, answer).agents
    ]


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
        ),
        Unit(
            name="neutron-dhcp-agent",
            role=Role.COMPUTE,
            purpose="leases on this host's networks are served on, but not for new instances",
            agent="neutron-dhcp-agent",
            serves="their addresses (DHCP)",
        ),
    ),
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
