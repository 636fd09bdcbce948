"""Who is connected to the broker, and which queues are bound and consumed.

The management API answers in milliseconds; rabbitmqctl, which needs neither a plug-in nor a user,
in seconds. What is asked for distinguishes an agent that does not process RPC messages:
https://www.rabbitmq.com/docs/management#http-api, https://www.rabbitmq.com/docs/man/rabbitmqctl.8
"""

import json
import subprocess
import time
from dataclasses import dataclass
from typing import Any

from backstay.answers import Count, Line, Seconds
from backstay.commands import command
from backstay.jsondata import Json
from backstay.services.messaging import Messaging, Queue
from backstay.services.rabbitmq.login import (
    rabbit_credentials,
    rabbit_knows,
    rabbit_login,
    rabbit_management,
)

# A queue whose process is gone, or that has no quorum: it takes nothing and gives nothing.
LOST = frozenset(("down", "crashed", "stopped", "minority"))


def ask_messaging() -> dict[str, Any]:
    """Return what the broker knows of queues and connections. Runs on the host: see HostProbe."""
    answer = ask_messaging_quickly()
    if "user" in answer:
        answer["user_known"] = rabbit_knows(answer["user"])
    if "by hand" not in answer:
        return answer
    try:
        answer.update(rabbit_by_ctl())
        del answer["trouble"]
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        answer["trouble"] = f"neither the management API nor rabbitmqctl answers: {error}"
    return answer


def ask_messaging_quickly() -> dict[str, Any]:
    """Return the same, or that the management API does not answer. Runs on the host."""
    access = rabbit_credentials()
    answer: dict[str, Any] = {"clock": time.time(), "up": rabbit_up()}
    login = rabbit_login(access, 5)
    if "failed" in login:
        answer["trouble"] = login["failed"]
        return answer
    if "refused" in login:
        answer.update(refused=login["refused"], user=login["user"], vhost=login["vhost"])
    try:
        answer.update(rabbit_by_management(access))
    except (OSError, ValueError, KeyError) as error:
        answer["by hand"] = True
        answer["trouble"] = f"the management API does not answer: {error}"
    return answer


def rabbit_up() -> float | None:
    """Return for how many seconds the broker has been serving, None unknown. Runs on the host."""
    command = ["systemctl", "show", "--property=ActiveEnterTimestampMonotonic,ActiveState"]
    try:
        shown = subprocess.run(
            [*command, "rabbitmq-server"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=5,
            check=False,
        ).stdout.decode()
    except (OSError, subprocess.SubprocessError):
        return None
    properties = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    if properties.get("ActiveState") != "active":
        return None
    return time.monotonic() - int(properties.get("ActiveEnterTimestampMonotonic") or 0) / 1e6


def rabbit_by_management(access: dict[str, Any] | None) -> dict[str, Any]:
    """Ask the management API. Runs on the host."""
    fields = "queue.name,channel_details.peer_host,channel_details.peer_port"
    consumers = [
        [
            one["queue"]["name"],
            one["channel_details"]["peer_host"],
            one["channel_details"]["peer_port"],
        ]
        for one in rabbit_management(access, "consumers?columns=" + fields)
        if one.get("channel_details")
    ]
    queues = [
        [one["name"], one.get("state", ""), one.get("messages", 0)]
        for one in rabbit_management(access, "queues?columns=name,state,messages")
    ]
    bindings = rabbit_management(access, "bindings?columns=source,destination,destination_type")
    bound = {one["destination"] for one in bindings if one["source"]}
    connections = rabbit_management(access, "connections?columns=peer_host,peer_port,state")
    return {
        "consumers": consumers,
        "queues": queues,
        "bound": sorted(bound),
        "connections": [
            [one["peer_host"], one["peer_port"]] for one in connections if "peer_port" in one
        ],
    }


def rabbit_by_ctl() -> dict[str, Any]:
    """Ask rabbitmqctl for the same. Runs on the host."""

    def listed(what: str, *columns: str) -> Json:
        command = ["rabbitmqctl", "-q", "-t", "10", "--formatter", "json", what, *columns]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=14, check=True
        )
        return json.loads(done.stdout.decode())

    def peer(name: str) -> list[Any]:
        """Return address and port from ``10.0.0.21:41084 -> 10.0.0.11:5672 (1)``."""
        address, _, port = name.partition(" ")[0].rpartition(":")
        return [address, int(port)]

    channels = {one["pid"]: one["name"] for one in listed("list_channels", "pid", "name")}
    consumers = [
        [one["queue_name"], *peer(channels[one["channel_pid"]])]
        for one in listed("list_consumers", "queue_name", "channel_pid")
        if one["channel_pid"] in channels
    ]
    bindings = listed("list_bindings", "source_name", "destination_name")
    return {
        "consumers": consumers,
        "queues": [
            [one["name"], one["state"], one["messages"]]
            for one in listed("list_queues", "name", "state", "messages")
        ],
        "bound": sorted({one["destination_name"] for one in bindings if one["source_name"]}),
        "connections": [peer(one["name"]) for one in listed("list_connections", "name")],
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagingAnswer:
    """The answer of ``ask_messaging``. A port is a text where the broker does not know it."""

    clock: Seconds = 0.0
    up: float | None = None
    refused: Line = ""
    user: Line = ""
    vhost: Line = ""
    user_known: bool | None = None
    trouble: Line = ""
    queues: tuple[tuple[Line, Line, Count | Line | None], ...] = ()
    """Names, states, and how many messages wait: a text or None where that is not known yet."""
    consumers: tuple[tuple[Line, Line, Count | Line], ...] = ()
    bound: tuple[Line, ...] = ()
    connections: tuple[tuple[Line, Count | Line], ...] = ()


def read_messaging(answer: MessagingAnswer) -> Messaging:
    """Turn the answer of ``ask_messaging`` into what it says. Pure."""
    return Messaging(
        up=answer.up,
        clock=answer.clock,
        refused=answer.refused,
        refused_remedy=refused_remedy(answer.user, known=answer.user_known, vhost=answer.vhost)
        if answer.refused
        else "",
        trouble=answer.trouble,
        queues=tuple(
            Queue(
                name=name,
                messages=messages if isinstance(messages, int) else 0,
                lost=state in LOST,
            )
            for name, state, messages in answer.queues
        ),
        consumers=tuple(
            (queue, (_plain(host), port))
            for queue, host, port in answer.consumers
            if isinstance(port, int)
        ),
        bound=frozenset(answer.bound),
        connections=frozenset(
            (_plain(host), port) for host, port in answer.connections if isinstance(port, int)
        ),
    )


def refused_remedy(user: str, *, known: bool | None, vhost: str) -> str:
    """Return what to do where the broker refuses the services' own user. Pure.

    ``known`` is whether the broker has such a user; a user that is there cannot be added again:
    https://www.rabbitmq.com/docs/man/rabbitmqctl.8
    """
    who = user or "USER"
    again = command("rabbitmqctl", "change_password", who)
    add = command("rabbitmqctl", "add_user", who)
    permit = command("rabbitmqctl", "set_permissions", "-p", vhost or "/", who, ".*", ".*", ".*")
    asks = "it asks for the password: that of transport_url in the services' configuration"
    if known:
        return f"{again} ({asks}); and: {permit}"
    if known is False:
        return f"{add} ({asks}); then: {permit}"
    return f"rabbitmqctl list_users; where {who} is listed: {again}, else: {add} ({asks}); {permit}"


def _plain(address: str) -> str:
    """Return an IPv4 address that is written as one mapped into IPv6 as itself."""
    return address.removeprefix("::ffff:")
