"""neutron: ports against hosts, instances and guests; DHCP of each network."""

import glob
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from backstay.answers import Line, convert
from backstay.commands import command, on_host
from backstay.inventory.enums import Role
from backstay.jsondata import Json
from backstay.services.declaration import Api
from backstay.services.instances import (
    CELLS,
    INSTANCES,
    Guest,
    guests,
    instances,
    nowhere,
    one_cell,
    unasked,
)
from backstay.services.reconciliation import (
    Evidence,
    HostQuestion,
    Mismatch,
    MismatchKind,
    Reconciler,
    Repair,
    RepairCommand,
    mismatch,
)
from backstay.services.records import ask_api
from backstay.services.rows import COUNT, NUMBER, TEXT, UUID, Query, Row

PORTS = "neutron ports"
AGENTS = "neutron agents"
NETWORKS = "neutron networks with DHCP"
BINDINGS = "neutron DHCP agents of networks"
SERVING = "DHCP servers"
_AGENT = ("openstack", "network", "agent")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingAnswer:
    """What ``ask_serving`` answers: the identities of the networks."""

    networks: frozenset[Line]


def compare(seen: Evidence) -> Iterator[Mismatch]:
    """Compare ports with hosts, instances and guests, and DHCP with who serves it. Pure."""
    if seen.has(PORTS, AGENTS):
        yield from _hosts(seen)
    if seen.has(PORTS, INSTANCES, CELLS):
        yield from _instances(seen)
    if seen.has(PORTS):
        yield from _cards(seen)
    if seen.has(PORTS, AGENTS, NETWORKS, BINDINGS):
        yield from _dhcp(seen)


def _hosts(seen: Evidence) -> Iterator[Mismatch]:
    """Find ports that are bound to a host that neither neutron nor cloud.yaml knows."""
    known = {row["host"] for row in seen.rows[AGENTS]}
    for row in seen.rows[PORTS]:
        if not row["host"] or row["host"] in known or seen.host_of(row["host"]):
            continue
        yield mismatch(
            "neutron",
            _port(row),
            MismatchKind.ELSEWHERE,
            (
                f"it is bound to host {row['host']}, where no agent of neutron's is"
                + (f"; it belongs to {row['owner']} {row['device']}" if row["device"] else ""),
                "bind it to the host that its instance is on, or to none where nothing uses it",
                command("openstack", "port", "unset", "--host", row["id"])
                if not row["device"]
                else command("openstack", "port", "set", "--host", "HOST", row["id"]),
            ),
        )


def _instances(seen: Evidence) -> Iterator[Mismatch]:
    """Find ports of instances that are not there, or that are on another host."""
    if not one_cell(seen):
        return
    known = instances(seen)
    running = {guest.id: guest for guest in guests(seen)}
    for row in seen.rows[PORTS]:
        if not row["owner"].startswith("compute:") or not row["device"]:
            continue
        instance = known.get(row["device"])
        guest = running.get(row["device"])
        if instance is None:
            free = guest is None and nowhere(seen)
            yield mismatch(
                "neutron",
                _port(row),
                MismatchKind.STALE,
                (
                    f"it belongs to instance {row['device']}, which nova does not have"
                    + (f"; guest {guest.name} on {guest.host} uses it" if guest else ""),
                    _kept_or_freed(seen, guest),
                    command("openstack", "port", "delete" if free else "show", row["id"]),
                ),
            )
        elif row["host"] and instance.host and row["host"] != instance.host:
            if instance.moves or instance.task or seen.host_of(row["host"]) is None:
                continue
            yield mismatch(
                "neutron",
                _port(row),
                MismatchKind.ELSEWHERE,
                (
                    f"it is bound to {row['host']}, nova says that {instance.subject} is on "
                    f"{instance.host}",
                    "see first where the guest is; then bind it there",
                    command("openstack", "port", "set", "--host", instance.host, row["id"]),
                ),
            )


def _kept_or_freed(seen: Evidence, guest: Guest | None) -> str:
    if guest:
        return "keep it: adopt the guest first"
    if not nowhere(seen):
        return unasked(seen)
    return "when it is certain that no restored record will bring the instance back, free it"


def _cards(seen: Evidence) -> Iterator[Mismatch]:
    """Find guests with network cards of which neutron does not know the address."""
    known = {row["mac"].lower() for row in seen.rows[PORTS]}
    for guest in guests(seen):
        for mac in sorted(guest.macs - known):
            yield Mismatch(
                service="neutron",
                subject=f"network card {mac} of {guest.name} {guest.id}",
                kind=MismatchKind.UNKNOWN_TO_RECORDS,
                host=guest.host,
                evidence="neutron has no port of this address: it gets no lease any more, and its "
                "address may be given to another",
                proposal="take the port's record back from a newer backup or the stream, or make "
                "it again with this MAC and the guest's address",
                command=_again(mac, guest.id),
            )


def _again(mac: str, device: str) -> str:
    """Return how a port is made again."""
    place = ("--network", "NETWORK", "--fixed-ip", "ip-address=ADDRESS")
    identity = ("--mac-address", mac, "--device", device)
    return command("openstack", "port", "create", *place, *identity, "NAME")


def _dhcp(seen: Evidence) -> Iterator[Mismatch]:
    """Find networks with instances and without DHCP, by record or in reality."""
    agents = {row["id"]: row for row in seen.rows[AGENTS] if "dhcp" in row["binary"]}
    used = {row["network"] for row in seen.rows[PORTS] if row["owner"].startswith("compute:")}
    bound: dict[str, list[Row]] = {}
    for row in seen.rows[BINDINGS]:
        if row["agent"] in agents:
            bound.setdefault(row["network"], []).append(agents[row["agent"]])
    for network in seen.rows[NETWORKS]:
        subject = f"network {network['name']} {network['id']}"
        holders = bound.get(network["id"], [])
        # Where there is no DHCP agent at all, something else does its work (OVN).
        if network["id"] in used and agents and not holders:
            yield _unserved(seen, subject, network["id"])
        for row in holders:
            host = seen.host_of(row["host"])
            answer: ServingAnswer | None = seen.answers.get(SERVING, {}).get(host or "")
            if answer is not None and network["id"] not in answer.networks:
                yield Mismatch(
                    service="neutron",
                    subject=subject,
                    kind=MismatchKind.GONE,
                    host=host or "",
                    evidence=f"the DHCP agent on {row['host']} is to serve it, and no DHCP server "
                    "runs there for it",
                    proposal="start the agent again: it makes what is missing, and leaves those "
                    "that run",
                    command=on_host("systemctl", "restart", "neutron-dhcp-agent"),
                )


def _unserved(seen: Evidence, subject: str, network: str) -> Mismatch:
    """Return the mismatch of a network without an agent; giving it one is safe."""
    agents = [
        row
        for row in seen.rows[AGENTS]
        if "dhcp" in row["binary"] and row["enabled"] == "1" and float(row["age"]) < 75
    ]
    chosen = min(agents, key=lambda row: row["host"], default=None)
    return Mismatch(
        service="neutron",
        subject=subject,
        kind=MismatchKind.LACKING,
        host="",
        evidence="it has DHCP and instances, and no DHCP agent is to serve it: leases run out",
        proposal="give it to an agent that is up",
        command=command(*_AGENT, "add", "network", "--dhcp", chosen["id"], network)
        if chosen
        else command(*_AGENT, "list"),
        repair=Repair(name="dhcp-agent", arguments={"agent": chosen["id"], "network": network})
        if chosen
        else None,
    )


def _port(row: Row) -> str:
    return f"port {row['name']} {row['id']}"


def ask_serving() -> dict[str, Any]:
    """Return the networks for which a DHCP server runs on this host. Runs there.

    The agent keeps a folder for each network, with the number of its server's process; a number may
    have gone to another process, so its command line is read.
    """
    found = []
    for path in glob.glob("/var/lib/neutron/dhcp/*/pid"):  # noqa: PTH207 - as short
        network = os.path.basename(os.path.dirname(path))  # noqa: PTH119, PTH120 - as short
        try:
            with open(path) as file:  # noqa: PTH123 - as short
                number = re.sub(r"\D", "", file.read())
            with open("/proc/" + number + "/cmdline", "rb") as file:  # noqa: PTH123
                if network.encode() in file.read():
                    found.append(network)
        except OSError:
            continue  # it does not run
    return {"networks": sorted(found)}


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldersAnswer:
    """The answer of ``/networks/ID/dhcp-agents``: only whether there are any counts."""

    agents: tuple[Json, ...]


def _read_holders(answer: Json) -> bool:
    return bool(convert(HoldersAnswer, answer).agents)


def add_agent(api: Api, arguments: Mapping[str, str]) -> str:
    """Give a network to a DHCP agent, if it still has none.

    https://docs.openstack.org/api-ref/network/v2/#schedule-a-network-to-a-dhcp-agent
    """
    network = arguments["network"]
    path = f"/v2.0/networks/{network}/dhcp-agents"
    if ask_api(api, "network", path, _read_holders):
        return ""
    path = f"/v2.0/agents/{arguments['agent']}/dhcp-networks"
    api.post("network", path, {"network_id": network})
    return f"network {network} given to a DHCP agent"


RECONCILER = Reconciler(
    service="neutron",
    records={
        PORTS: Query(
            text="SELECT p.id, IFNULL(p.name, '') AS name, p.network_id AS network, "
            "p.mac_address AS mac, p.device_id AS device, p.device_owner AS owner, "
            "IFNULL(b.host, '') AS host FROM neutron.ports p "
            "LEFT JOIN neutron.ml2_port_bindings b ON b.port_id = p.id AND b.status = 'ACTIVE'",
            columns={
                "id": UUID,
                "name": TEXT,
                "network": UUID,
                "mac": TEXT,
                "device": TEXT,  # whatever the port's owner has put there
                "owner": TEXT,
                "host": TEXT,
            },
        ),
        AGENTS: Query(
            text="SELECT id, host, `binary`, admin_state_up AS enabled, "
            "TIMESTAMPDIFF(SECOND, heartbeat_timestamp, UTC_TIMESTAMP()) AS age "
            "FROM neutron.agents",
            columns={"id": UUID, "host": TEXT, "binary": TEXT, "enabled": COUNT, "age": NUMBER},
        ),
        NETWORKS: Query(
            text="SELECT n.id, IFNULL(n.name, '') AS name FROM neutron.networks n "
            "WHERE n.admin_state_up = 1 AND EXISTS (SELECT 1 FROM neutron.subnets s "
            "WHERE s.network_id = n.id AND s.enable_dhcp = 1)",
            columns={"id": UUID, "name": TEXT},
        ),
        BINDINGS: Query(
            text="SELECT network_id AS network, dhcp_agent_id AS agent "
            "FROM neutron.networkdhcpagentbindings",
            columns={"network": UUID, "agent": UUID},
        ),
    },
    questions=(
        HostQuestion(
            name=SERVING,
            roles=(Role.COMPUTE, Role.NETWORK),
            ask=ask_serving,
            returns=ServingAnswer,
        ),
    ),
    compare=compare,
    order=60,
    repairs={
        "dhcp-agent": RepairCommand(
            does="give it to a DHCP agent",
            safe="the network has no agent; adding one affects no other",
            api=add_agent,
        )
    },
)
