"""RabbitMQ: the broker through which the APIs give work to their agents.

That its port is open says little. So a client's whole login is done, as the services do it, with
their own credentials (which never leave the host): after the broker has forgotten its users it
answers and refuses every service. Alarms (memory, disk: all publishers are blocked) and
partitions come from the management API, or from rabbitmqctl where that is not to be had.
"""

import base64
import json
import re
import socket
import ssl
import struct
import subprocess
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from backstay.finding import Severity
from backstay.inventory.words import Role
from backstay.services.declaration import HostProbe, Service, Unit, Verdict


def rabbit_credentials() -> dict[str, Any] | None:
    """Return host, port, user, password and virtual host from a service's ``transport_url``.

    Runs on the host. The form is rabbit://user:password@host:port[,…]/vhost:
    https://docs.openstack.org/oslo.messaging/latest/reference/transport.html
    """
    for name in ("nova/nova", "neutron/neutron", "cinder/cinder"):
        try:
            text = Path(f"/etc/{name}.conf").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        found = re.search(
            r"^transport_url\s*=\s*rabbit://([^:@/\s]*):([^@/\s]*)@\[?([^\],:/\s]+)\]?(?::(\d+))?"
            r"[^/\s]*(?:/([^?\s]*))?(\?\S*)?",
            text,
            re.MULTILINE,
        )
        if found:
            user, password, host, port, vhost, options = found.groups()
            return {
                "user": unquote(user),
                "password": unquote(password),
                "host": host,
                "port": int(port or 5672),
                "vhost": unquote(vhost or "") or "/",
                "tls": "ssl=1" in (options or "") or "ssl=true" in (options or "").lower(),
            }
    return None


def rabbit_frame(stream: Any) -> bytes:  # noqa: ANN401 - a socket's file
    """Read one AMQP method frame and return its payload. Runs on the host.

    A frame is type, channel, size, payload, 0xCE: https://www.rabbitmq.com/amqp-0-9-1-protocol
    """
    head = stream.read(7)
    if len(head) < 7:
        raise ConnectionError("the broker closed the connection")
    if head[:4] == b"AMQP":
        raise ConnectionError("the broker speaks another version of AMQP")
    size = struct.unpack(">BHI", head)[2]
    payload: bytes = stream.read(size + 1)[:-1]
    return payload


def rabbit_send(stream: Any, method: int, arguments: bytes) -> None:  # noqa: ANN401 - as above
    """Write one method of AMQP's class "connection". Runs on the host."""
    payload = struct.pack(">HH", 10, method) + arguments
    stream.write(struct.pack(">BHI", 1, 0, len(payload)) + payload + b"\xce")
    stream.flush()


def rabbit_open(stream: Any, access: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - as above
    """Answer the broker's greeting up to an open connection, then close it. Runs on the host."""
    response = f"\x00{access['user']}\x00{access['password']}".encode()
    sized = struct.pack(">I", len(response)) + response
    rabbit_send(stream, 11, struct.pack(">I", 0) + b"\x05PLAIN" + sized + b"\x05en_US")
    try:
        tune = rabbit_frame(stream)
    except ConnectionError:
        # A client that names no capabilities is refused by closing the connection:
        # https://www.rabbitmq.com/docs/auth-notification
        return {"refused": "the broker refuses the services' user and password"}
    rabbit_send(stream, 31, tune[4:12])
    vhost = access["vhost"].encode()
    rabbit_send(stream, 40, bytes([len(vhost)]) + vhost + b"\x00\x00")
    opened = rabbit_frame(stream)
    if opened[:4] != struct.pack(">HH", 10, 41):
        why = opened[7:].split(b"\x00")[0].decode(errors="replace")
        return {"refused": f"the broker refuses the virtual host: {why}"}
    rabbit_send(stream, 50, struct.pack(">HBHH", 200, 0, 0, 0))
    return {"login": "done"}


def rabbit_login(access: dict[str, Any] | None, seconds: float) -> dict[str, Any]:
    """Open an AMQP connection as a service would and close it. Runs on the host.

    Without ``access`` only the broker's greeting is awaited.
    """
    host, port = (access["host"], access["port"]) if access else ("127.0.0.1", 5672)
    try:
        with socket.create_connection((host, port), timeout=seconds) as plain:
            connection = plain
            if access and access["tls"]:
                context = ssl._create_unverified_context()  # noqa: S323 - to itself
                connection = context.wrap_socket(plain)
            stream = connection.makefile("rwb")
            stream.write(b"AMQP\x00\x00\x09\x01")
            stream.flush()
            if rabbit_frame(stream)[:4] != struct.pack(">HH", 10, 10):
                return {"failed": f"port {port} does not greet as a broker does"}
            if access is None:
                return {"login": "not tried: no transport_url found on this host"}
            return rabbit_open(stream, access)
    except OSError as error:
        return {"failed": f"{host}:{port}: {error}"}


def rabbit_management(access: dict[str, Any] | None, path: str) -> Any:  # noqa: ANN401 - JSON
    """Return the decoded answer of the management API on this host. Runs on the host."""
    if access is None:
        raise OSError("no credentials")
    pair = base64.b64encode(f"{access['user']}:{access['password']}".encode()).decode()
    request = urllib.request.Request(f"http://127.0.0.1:15672/api/{path}")
    request.add_header("Authorization", f"Basic {pair}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=5) as answer:
        return json.loads(answer.read().decode())


def ask_broker() -> dict[str, Any]:
    """Log in, then ask for alarms and partitions. Runs on the host: see HostProbe."""
    access = rabbit_credentials()
    answer = rabbit_login(access, 5)
    if "failed" in answer:
        return answer
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


def judge_broker(answer: Mapping[str, Any]) -> Sequence[Verdict]:
    """Judge the answer of ``ask_broker``: the login, and the alarms and partitions."""
    login = _judge_login(answer)
    if "failed" in answer:
        return [login]
    return [login, *_judge_state(answer)]


def _judge_login(answer: Mapping[str, Any]) -> Verdict:
    if "failed" in answer:
        remedy = (
            "{ssh} journalctl -u rabbitmq-server -n 50; {ssh} systemctl restart rabbitmq-server"
        )
        return _verdict("login", Severity.FAILED, f"no AMQP greeting: {answer['failed']}", remedy)
    if "refused" in answer:
        remedy = (
            "{ssh} rabbitmqctl list_users; make the user of transport_url in /etc/nova/nova.conf "
            "again: rabbitmqctl add_user, rabbitmqctl set_permissions"
        )
        return _verdict("login", Severity.FAILED, str(answer["refused"]), remedy)
    if answer.get("login") != "done":
        remedy = "look into transport_url in /etc/nova/nova.conf"
        return _verdict("login", Severity.UNKNOWN, str(answer.get("login")), remedy)
    version = (answer.get("overview") or {}).get("rabbitmq_version", "")
    return _verdict("login", Severity.OK, f"RabbitMQ {version} takes the services' login".strip())


def _judge_state(answer: Mapping[str, Any]) -> list[Verdict]:
    if "nodes" in answer:
        alarms, parted, running, known = _from_management(answer["nodes"])
    elif "status" in answer:
        alarms, parted, running, known = _from_rabbitmqctl(answer["status"])
    else:
        evidence = str(answer.get("unknown", "not asked"))
        return [_verdict("alarms", Severity.UNKNOWN, evidence, "{ssh} rabbitmqctl cluster_status")]
    verdicts = [_judge_alarms(alarms, answer), _judge_partitions(parted, known)]
    stopped = sorted(set(known) - set(running))
    if stopped:
        evidence = f"not running: {', '.join(stopped)}"
        remedy = "start rabbitmq-server on those hosts"
        verdicts.append(_verdict("cluster members", Severity.FAILED, evidence, remedy))
    return verdicts


def _judge_alarms(alarms: Sequence[str], answer: Mapping[str, Any]) -> Verdict:
    if alarms:
        remedy = "free memory or disk there; see {ssh} rabbitmqctl cluster_status"
        evidence = f"{', '.join(alarms)}: nothing can be published, requests hang"
        return _verdict("alarms", Severity.FAILED, evidence, remedy)
    totals = (answer.get("overview") or {}).get("object_totals") or {}
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


def _from_management(nodes: Sequence[Mapping[str, Any]]) -> _State:
    """Return alarms, partitions, running and known members."""
    kinds = {"mem_alarm": "memory", "disk_free_alarm": "disk"}
    alarms = [
        f"{kind} alarm on {node['name']}"
        for node in nodes
        for key, kind in kinds.items()
        if node.get(key)
    ]
    parted = [
        f"{node['name']} without {' '.join(node['partitions'])}"
        for node in nodes
        if node.get("partitions")
    ]
    known = [str(node["name"]) for node in nodes]
    return alarms, parted, [str(node["name"]) for node in nodes if node.get("running")], known


def _from_rabbitmqctl(status: Mapping[str, Any]) -> _State:
    """Return alarms, partitions, running and known members."""
    alarms = [
        f"{alarm.get('resource', 'unknown')} alarm on {alarm.get('node', '?')}"
        if isinstance(alarm, Mapping)
        else str(alarm)
        for alarm in status.get("alarms") or []
    ]
    partitions = status.get("partitions") or {}
    parted = [f"{node} without {' '.join(others)}" for node, others in partitions.items()]
    known = [*(status.get("disk_nodes") or []), *(status.get("ram_nodes") or [])]
    return alarms, parted, list(status.get("running_nodes") or []), known


def _verdict(subject: str, severity: Severity, evidence: str, remedy: str = "") -> Verdict:
    return Verdict(subject=subject, severity=severity, evidence=evidence, remedy=remedy)


def import_definitions(exports: Mapping[str, str]) -> dict[str, Any]:
    """Make users, permissions and policies as they were. Runs on the host: see Service.

    Queues, exchanges and bindings are left out: clients make their own, and those of clients that
    are gone would only fill up. https://www.rabbitmq.com/docs/definitions
    """
    told = json.loads(exports["rabbitmq-definitions.json"])
    kept = ("rabbit_version", "rabbitmq_version", "vhosts", "users", "permissions",
            "topic_permissions", "parameters", "global_parameters", "policies")  # fmt: skip
    done = subprocess.run(  # noqa: UP022 - capture_output came with Python 3.7
        ["rabbitmqctl", "--silent", "import_definitions"],
        input=json.dumps({key: told[key] for key in kept if key in told}).encode(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise OSError(done.stderr.decode(errors="replace").strip()[-300:])
    return {}


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
            judge=judge_broker,
            bound=16.0,
        ),
    ),
)
