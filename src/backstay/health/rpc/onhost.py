"""What is read on hosts about agents. Shipped as text: standard library, Python 3.6.

``ping`` alone needs a library of the host's: oslo.messaging, which is wherever a service is.
"""

import importlib
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


def read_agents(endpoints: list[tuple[str, str]], ports: list[int]) -> dict[str, Any]:
    """Return what systemd, the kernel and the logs have about the agents on this host.

    ``endpoints`` are pairs of a unit and its log file, ``ports`` the broker's. Ages are in seconds.
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
    return {"hostname": socket.gethostname(), "units": found}


def unit_pids(main: int) -> list[int]:
    """Return a process and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1]
            except (OSError, IndexError):
                continue  # it has ended meanwhile
            children.setdefault(int(parent), []).append(int(entry.name))
    found, waiting = [], [main]
    while waiting:
        found.append(waiting.pop())
        waiting.extend(children.get(found[-1], ()))
    return found


def inodes_of(pids: list[int]) -> set[str]:
    """Return the inodes of the sockets that processes hold."""
    found = set()
    for pid in pids:
        try:
            names = list(Path(f"/proc/{pid}/fd").iterdir())
        except OSError:
            continue
        for name in names:
            try:
                target = os.readlink(str(name))  # noqa: PTH115 - Path's is newer than 3.6
            except OSError:
                continue
            if target.startswith("socket:["):
                found.add(target[8:-1])
    return found


def sockets(ports: list[int]) -> dict[str, list[Any]]:
    """Return established connections to or from ``ports``, by inode.

    Each is local address and port, peer's address and port, bytes that the peer has not
    acknowledged, and how often the kernel has retransmitted the first of them.
    https://www.kernel.org/doc/html/latest/networking/proc_net_tcp.html
    """
    found: dict[str, list[Any]] = {}
    for name in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/net/" + name).read_text().splitlines()[1:]
        except OSError:
            continue  # a host without IPv6
        for line in lines:
            fields = line.split()
            if fields[3] != "01":
                continue
            local, peer = endpoint(fields[1]), endpoint(fields[2])
            if local[1] in ports or peer[1] in ports:
                unsent = int(fields[4].split(":")[0], 16)
                found[fields[9]] = [*local, *peer, unsent, int(fields[6], 16)]
    return found


def broker_sockets(ports: list[int]) -> list[list[Any]]:
    """Return the established connections of the broker's clients, as ``sockets`` has them."""
    return [one for one in sockets(ports).values() if one[1] in ports]


def endpoint(text: str) -> tuple[str, int]:
    """Return address and port of the kernel's ``0B004D0A:1628``."""
    address, port = text.split(":")
    words = [bytes.fromhex(address[at : at + 8])[::-1] for at in range(0, len(address), 8)]
    raw = b"".join(words)
    if len(raw) == 16 and raw.startswith(b"\0" * 10 + b"\xff\xff"):
        raw = raw[12:]
    family = socket.AF_INET if len(raw) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, raw), int(port, 16)


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
