"""RabbitMQ: the broker through which the APIs give work to their agents.

That its port is open says little. So a client's whole login is done, as the services do it, with
their own credentials (which never leave the host): after the broker has forgotten its users it
answers and refuses every service. Alarms (memory, disk: all publishers are blocked) and
partitions come from the management API, or from rabbitmqctl where that is not available.
"""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backstay.answers import Count, Line
from backstay.finding import Severity
from backstay.inventory.enums import Role
from backstay.services.declaration import (
    Broker,
    HostLivenessProbe,
    HostProbe,
    Service,
    Unit,
    Verdict,
)
from backstay.services.rabbitmq.liveness import message_pulse, poll_messaging
from backstay.services.rabbitmq.login import (
    rabbit_credentials,
    rabbit_knows,
    rabbit_login,
    rabbit_management,
)
from backstay.services.rabbitmq.queues import (
    MessagingAnswer,
    ask_messaging,
    ask_messaging_quickly,
    read_messaging,
    refused_remedy,
)
from backstay.services.rabbitmq.way import (
    WaysAnswer,
    ask_way,
    judge_ways,
    knock_broker,
    read_knock,
)


def ask_broker() -> dict[str, Any]:
    """Log in, then ask for alarms and partitions. Runs on the host: see HostProbe."""
    access = rabbit_credentials()
    answer = rabbit_login(access, 5)
    if "failed" in answer:
        return answer
    if "user" in answer:
        answer["user_known"] = rabbit_knows(answer["user"])
    try:
        fields = "name,running,mem_alarm,disk_free_alarm,partitions"
        answer["nodes"] = rabbit_management(access, f"nodes?columns={fields}")
        columns = "rabbitmq_version,object_totals,queue_totals.messages"
        answer["overview"] = rabbit_management(access, f"overview?columns={columns}")
    except (OSError, ValueError):
        # No plug-in, no right to ask, or no such user any more: rabbitmqctl needs none of them.
        command = ["rabbitmqctl", "-q", "-t", "7", "--formatter", "json", "cluster_status"]
        try:
            done = subprocess.run(  # noqa: UP022 - capture_output came with Python 3.7
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=9, check=False
            )
            status = json.loads(done.stdout.decode())
            wanted = ("alarms", "partitions", "running_nodes", "disk_nodes", "ram_nodes")
            answer["status"] = {key: status.get(key) for key in wanted}
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            answer["unknown"] = f"neither the management API nor rabbitmqctl answers: {error}"
    return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A member of the cluster, as the management API describes it."""

    name: Line
    running: bool = False
    mem_alarm: bool = False
    disk_free_alarm: bool = False
    partitions: tuple[Line, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """An alarm, as rabbitmqctl describes it."""

    resource: Line = "unknown"
    node: Line = "?"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterStatus:
    """The cluster, as rabbitmqctl describes it: mappings without content are lists there."""

    alarms: tuple[Alarm | Line, ...] | None = ()
    partitions: Mapping[Line, tuple[Line, ...]] | tuple[Line, ...] | None = None
    running_nodes: tuple[Line, ...] | None = ()
    disk_nodes: tuple[Line, ...] | None = ()
    ram_nodes: tuple[Line, ...] | None = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The management API's overview: mappings without content are lists there."""

    rabbitmq_version: Line = ""
    object_totals: Mapping[Line, Count] | tuple[Line, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAnswer:
    """The answer of ``ask_broker``: how the login ended, then what tells of the cluster."""

    failed: Line = ""
    refused: Line = ""
    user: Line = ""
    vhost: Line = ""
    user_known: bool | None = None
    login: Line = ""
    nodes: tuple[Node, ...] | None = None
    overview: Overview | None = None
    status: ClusterStatus | None = None
    unknown: Line = "not asked"


def judge_broker(answer: BrokerAnswer) -> Sequence[Verdict]:
    """Judge the answer of ``ask_broker``: the login, and the alarms and partitions."""
    login = _judge_login(answer)
    if answer.failed:
        return [login]
    return [login, *_judge_state(answer)]


def _judge_login(answer: BrokerAnswer) -> Verdict:
    if answer.failed:
        remedy = (
            "{ssh} journalctl -u rabbitmq-server -n 50; {ssh} systemctl restart rabbitmq-server"
        )
        return _verdict("login", Severity.FAILED, f"no AMQP greeting: {answer.failed}", remedy)
    if answer.refused:
        remedy = refused_remedy(answer.user, known=answer.user_known, vhost=answer.vhost)
        return _verdict("login", Severity.FAILED, answer.refused, f"{{ssh}} {remedy}")
    if answer.login != "done":
        remedy = "check transport_url in /etc/nova/nova.conf"
        return _verdict("login", Severity.UNKNOWN, answer.login or "not tried", remedy)
    version = answer.overview.rabbitmq_version if answer.overview else ""
    return _verdict("login", Severity.OK, f"RabbitMQ {version} takes the services' login".strip())


def _judge_state(answer: BrokerAnswer) -> list[Verdict]:
    if answer.nodes is not None:
        alarms, parted, running, known = _from_management(answer.nodes)
    elif answer.status is not None:
        alarms, parted, running, known = _from_rabbitmqctl(answer.status)
    else:
        remedy = "{ssh} rabbitmqctl cluster_status"
        return [_verdict("alarms", Severity.UNKNOWN, answer.unknown, remedy)]
    verdicts = [_judge_alarms(alarms, answer), _judge_partitions(parted, known)]
    stopped = sorted(set(known) - set(running))
    if stopped:
        evidence = f"not running: {', '.join(stopped)}"
        remedy = "start rabbitmq-server on those hosts"
        verdicts.append(_verdict("cluster members", Severity.FAILED, evidence, remedy))
    return verdicts


def _judge_alarms(alarms: Sequence[str], answer: BrokerAnswer) -> Verdict:
    if alarms:
        remedy = "free memory or disk there; see {ssh} rabbitmqctl cluster_status"
        evidence = f"{', '.join(alarms)}: nothing can be published, requests hang"
        return _verdict("alarms", Severity.FAILED, evidence, remedy)
    found = answer.overview.object_totals if answer.overview else None
    totals = found if isinstance(found, Mapping) else {}
    counts = ", ".join(
        f"{totals[key]} {key}" for key in ("connections", "queues", "consumers") if key in totals
    )
    return _verdict("alarms", Severity.OK, "no alarms" + (f"; {counts}" if counts else ""))


def _judge_partitions(parted: Sequence[str], known: Sequence[str]) -> Verdict:
    if parted:
        remedy = (
            "decide which side is right, restart rabbitmq-server on the other: "
            "https://www.rabbitmq.com/docs/partitions"
        )
        evidence = f"the cluster is parted: {', '.join(parted)}"
        return _verdict("partitions", Severity.FAILED, evidence, remedy)
    members = f"{len(known)} member{'' if len(known) == 1 else 's'}"
    return _verdict("partitions", Severity.OK, f"no partitions among {members}")


_State = tuple[list[str], list[str], list[str], list[str]]


def _from_management(nodes: Sequence[Node]) -> _State:
    """Return alarms, partitions, running and known members."""
    alarms = [
        f"{kind} alarm on {node.name}"
        for node in nodes
        for kind, there in (("memory", node.mem_alarm), ("disk", node.disk_free_alarm))
        if there
    ]
    parted = [
        f"{node.name} without {' '.join(node.partitions)}" for node in nodes if node.partitions
    ]
    return alarms, parted, [node.name for node in nodes if node.running], [n.name for n in nodes]


def _from_rabbitmqctl(status: ClusterStatus) -> _State:
    """Return alarms, partitions, running and known members."""
    alarms = [
        one if isinstance(one, str) else f"{one.resource} alarm on {one.node}"
        for one in status.alarms or ()
    ]
    partitions = status.partitions if isinstance(status.partitions, Mapping) else {}
    parted = [f"{node} without {' '.join(others)}" for node, others in partitions.items()]
    known = [*(status.disk_nodes or ()), *(status.ram_nodes or ())]
    return alarms, parted, list(status.running_nodes or ()), known


def _verdict(subject: str, severity: Severity, evidence: str, remedy: str = "") -> Verdict:
    return Verdict(subject=subject, severity=severity, evidence=evidence, remedy=remedy)


def import_definitions(exports: Mapping[str, str]) -> dict[str, Any]:
    """Make users, permissions and policies as they were. Runs on the host: see Service.

    Queues, exchanges and bindings are left out: clients make their own, and those of clients that
    are gone would only fill up. https://www.rabbitmq.com/docs/definitions
    """
    definitions = json.loads(exports["rabbitmq-definitions.json"])
    chosen = (
        "rabbit_version",
        "rabbitmq_version",
        "vhosts",
        "users",
        "permissions",
        "topic_permissions",
        "parameters",
        "global_parameters",
        "policies",
    )
    # A broker that starts anew makes this administrator, whose password is public. Both
    # programs take seconds to start: at the same time.
    guest = None
    if "guest" not in [user["name"] for user in definitions.get("users", [])]:
        guest = subprocess.Popen(
            ["rabbitmqctl", "--silent", "delete_user", "guest"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    done = subprocess.run(  # noqa: UP022 - capture_output came with Python 3.7
        ["rabbitmqctl", "--silent", "import_definitions"],
        input=json.dumps({key: definitions[key] for key in chosen if key in definitions}).encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    if done.returncode != 0:
        raise OSError(done.stderr.decode(errors="replace").strip()[-300:])
    if guest is not None:
        guest.wait(60)
    return {}


# What it brings is judged with what the APIs report of the agents.
_MESSAGING = HostProbe(
    name="messaging",
    roles=(Role.CONTROLLER,),
    ask=ask_messaging_quickly,
    returns=MessagingAnswer,
    judge=lambda _: (),
    bound=10.0,
)
AGENTS_ON = (Role.COMPUTE, Role.NETWORK, Role.STORAGE)
"""The roles of hosts whose services reach the broker from elsewhere."""
SERVICE = Service(
    name="rabbitmq",
    title="RabbitMQ",
    restore_order=20,
    units=(
        Unit(
            name="rabbitmq-server",
            role=Role.CONTROLLER,
            purpose="nothing is built, attached or deleted: the APIs cannot reach their agents",
            ports=(5672,),
        ),
    ),
    paths=("/etc/rabbitmq", "/var/lib/rabbitmq/.erlang.cookie"),
    # https://www.rabbitmq.com/docs/definitions: users, permissions, policies, exchanges, queues
    exports={"rabbitmq-definitions.json": ("rabbitmqctl", "--silent", "export_definitions", "-")},
    put_back=import_definitions,
    host_probes=(
        HostProbe(
            name="broker",
            roles=(Role.CONTROLLER,),
            ask=ask_broker,
            returns=BrokerAnswer,
            judge=judge_broker,
            bound=16.0,
        ),
        HostProbe(
            name="way to the broker",
            roles=AGENTS_ON,
            ask=ask_way,
            returns=WaysAnswer,
            judge=judge_ways,
            bound=7.0,
        ),
    ),
    host_liveness=(
        HostLivenessProbe(name="message", roles=(Role.CONTROLLER,), ask=message_pulse),
        HostLivenessProbe(
            name="way to the broker",
            roles=AGENTS_ON,
            ask=knock_broker,
            every=5.0,
            bound=4.8,
            way=read_knock,
        ),
    ),
    broker=Broker(
        ask=ask_messaging,
        returns=MessagingAnswer,
        read=read_messaging,
        probe=_MESSAGING,
        poll=poll_messaging,
        ports=(5672, 5671),
        role=Role.CONTROLLER,
    ),
)
