"""What is read on hosts about agents. Shipped as text: standard library, Python 3.6.

``ping`` alone needs a library of the host's: oslo.messaging, which is wherever a service is.
"""

import importlib
import json
import logging
import os
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from backstay.access.onhost import run
from backstay.health.onhost import family_states
from backstay.services.amqp import try_brokers
from backstay.services.connections import inodes_of, sockets, unit_pids
from backstay.services.transport_url import transport_of

AT_ONCE = 30  # oslo.messaging keeps as many connections at most (rpc_conn_pool_size)
LOG_TAIL = 1 << 16
PROPERTIES = (
    "Id,LoadState,UnitFileState,ActiveState,SubState,Result,MainPID,ActiveEnterTimestampMonotonic"
)
# Log messages that matter: the kind, and what oslo.messaging writes (_drivers/impl_rabbit.py and
# _drivers/amqpdriver.py).
MESSAGES = (
    ("refused by the broker", r"ACCESS_REFUSED|invalid credentials|Login was refused"),
    ("a reply queue is gone", r"reply_\w+ doesn't exist|missing queue \(reply_"),
    ("its calls time out", r"MessagingTimeout|Timed out waiting for a reply"),
    ("lost the broker", r"AMQP server .*(?:unreachable|closed)|Too many heartbeats missed"),
    ("reconnected", r"Reconnected to AMQP server"),
)


def read_agents(
    endpoints: list[tuple[str, str]],
    ports: list[int],
    ways: dict[str, list[Any]],
    log_in: Any,  # noqa: ANN401 - a list of units, or None
) -> dict[str, Any]:
    """Return what systemd, the kernel and the logs have about the agents on this host.

    ``endpoints`` are pairs of a unit and its log file, ``ports`` the broker's. Ages are in seconds.
    ``ways`` are project, program and files of configuration by unit: each unit's way to its broker
    is tried, by a login for those in ``log_in``; with None, for those without a connection, and for
    those being stopped or started: a connection that is seen is the ended process's then.
    """
    found = {}
    shown = run(
        [
            "systemctl",
            "show",
            "--no-pager",
            "--property=" + PROPERTIES,
            *(unit + ".service" for unit, _ in endpoints),
        ],
        10,
    )
    shown_units = [
        dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        for block in shown.split("\n\n")
    ]
    pids = [int(unit.get("MainPID") or 0) for unit in shown_units]
    states = family_states([pid for pid in pids if pid])
    connections = sockets(ports)
    for (name, log), unit, pid in zip(endpoints, shown_units, pids):  # noqa: B905 - Python 3.6
        if unit.get("LoadState") == "not-found":
            continue
        entered = int(unit.get("ActiveEnterTimestampMonotonic") or 0) / 1e6
        inodes = inodes_of(unit_pids(pid)) if pid else set()
        found[name] = {
            "load": unit.get("LoadState"),
            "boot": unit.get("UnitFileState"),
            "active": unit.get("ActiveState"),
            "sub": unit.get("SubState"),
            "result": unit.get("Result"),
            "since": time.monotonic() - entered if entered else None,
            "states": states.get(pid, ""),
            "sockets": [one for inode, one in connections.items() if inode in inodes],
            "log": last_messages(log),
        }
    wanted = {
        name: log_in is not None or not found[name]["sockets"] or found[name]["active"] != "active"
        for name in found
        if name in ways and found[name]["load"] != "masked" and (log_in is None or name in log_in)
    }
    for name, way in tried_ways({name: ways[name] for name in wanted}, wanted).items():
        found[name]["way"] = way
    return {"hostname": socket.gethostname(), "units": found}


def tried_ways(ways: dict[str, list[Any]], log_in: dict[str, bool]) -> dict[str, Any]:
    """Return how far each unit's way to its broker leads; one that several share is tried once."""
    transports = {name: transport_of(*way) for name, way in ways.items()}
    jobs: dict[str, list[Any]] = {}
    for name, transport in transports.items():
        same = [transport.get(part) for part in ("brokers", "vhost", "tls", "trouble")]
        key = json.dumps([same, log_in[name]], sort_keys=True)
        jobs.setdefault(key, [transport, log_in[name], []])[2].append(name)
    found = {}
    with ThreadPoolExecutor(max(1, len(jobs))) as pool:
        answers = pool.map(lambda job: try_brokers(job[0], job[1]), jobs.values())
        for (_, _, names), answer in zip(jobs.values(), answers):  # noqa: B905 - Python 3.6
            found.update(dict.fromkeys(names, answer))
    return found


def broker_sockets(ports: list[int]) -> list[list[Any]]:
    """Return the established connections of the broker's clients, as ``sockets`` has them."""
    return [one for one in sockets(ports).values() if one[1] in ports]


def last_messages(log: str) -> list[list[Any]]:
    """Return for each kind of message that matters the last one's age in seconds, newest first.

    oslo.log begins lines with local time: 2026-11-24 18:24:56.755.
    """
    try:
        with Path(log).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_TAIL))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return []
    found: dict[str, float] = {}
    for line in lines:
        for kind, pattern in MESSAGES:
            if re.search(pattern, line):
                try:
                    at = time.mktime(time.strptime(line[:19], "%Y-%m-%d %H:%M:%S"))
                except ValueError:
                    continue  # a line of a traceback
                found[kind] = time.time() - at
    return [[kind, age] for kind, age in sorted(found.items(), key=lambda pair: pair[1])]


def ping(config: str, targets: list[list[str]], seconds: float) -> list[list[Any]]:
    """Call each agent by a message, and return for each whether it answered, and what.

    ``targets`` are exchange, topic and server; ``config`` is the service's own file, which has the
    credentials: they stay here. An error that the agent sends back is an answer, too: so this works
    where ``rpc_ping_enabled`` is off. https://docs.openstack.org/oslo.messaging/latest/configuration/opts.html
    """
    logging.disable(logging.CRITICAL)
    library = importlib.import_module("oslo_messaging")
    conf = importlib.import_module("oslo_config.cfg").CONF
    conf([], project="backstay", default_config_files=[config])
    transport = library.get_rpc_transport(conf)
    # The queue for the answers is left behind for that long, instead of half an hour.
    conf.set_override("rabbit_transient_queues_ttl", 60, group="oslo_messaging_rabbit")
    make = getattr(library, "get_rpc_client", library.RPCClient)

    def call(target: list[str]) -> list[Any]:
        exchange, topic, server = target
        client = make(transport, library.Target(exchange=exchange, topic=topic, server=server))
        started = time.monotonic()
        try:
            # What cinder's context must have to be read at the other end.
            client.prepare(timeout=seconds, retry=0).call(
                {"read_deleted": "no"}, "oslo_rpc_server_ping"
            )
            reason, answered = "", True
        except Exception as error:
            reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            # Errors of the agent's own come back as RemoteError, or as what they were there.
            answered = isinstance(error, library.RemoteError) or not (
                isinstance(error, (library.MessagingException, OSError))
                or type(error).__module__.split(".")[0] in ("amqp", "kombu", "oslo_messaging")
            )
        return [answered, reason[:200], time.monotonic() - started]

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(call, targets))
