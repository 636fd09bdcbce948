"""The way from a host to its broker, asked on that host. Shipped: Python 3.6.

For the check it is tried as far as needed: whoever has no connection to any of its brokers logs in
as its service would. The watch asks all the time, and only opens and closes a connection: a login
each few seconds would fill the broker's log.
"""

import json
import os
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from backstay.answers import BadAnswer, Line, read
from backstay.finding import Severity
from backstay.services.amqp import try_brokers
from backstay.services.broker_way import BrokenLink, WayAnswer, broken_link, worst
from backstay.services.connections import sockets
from backstay.services.declaration import Verdict
from backstay.services.transport_url import transport_of

PROJECTS = ("nova", "neutron", "cinder")
SUBJECT = "way to the broker"


def ask_way() -> dict[str, Any]:
    """Return how far each service's way to its broker leads. Runs on the host: see HostProbe."""
    transports = own_transports()

    def tried(transport: dict[str, Any]) -> dict[str, Any]:
        ports = [one["port"] for one in transport["brokers"]]
        return try_brokers(transport, not sockets(ports))

    with ThreadPoolExecutor(max(1, len(transports))) as pool:
        return {"hostname": socket.gethostname(), "ways": list(pool.map(tried, transports))}


def own_transports() -> list[dict[str, Any]]:
    """Return the transports of the services that have a configuration on this host, each once."""
    files = [(name, "/etc/" + name + "/" + name + ".conf") for name in PROJECTS]
    found: dict[str, dict[str, Any]] = {}
    for name, path in files:
        one = transport_of(name, "", [path]) if os.path.exists(path) else {}  # noqa: PTH110
        if "brokers" in one:
            found.setdefault(json.dumps([one["brokers"], one["vhost"], one["tls"]]), one)
    return list(found.values())


def knock_broker(state: dict[str, Any]) -> str:
    """Open a connection to a broker and close it. Raises OSError where none takes it.

    The files are read again when one of them has changed. Runs on the host: HostLivenessProbe.
    """
    paths = ["/etc/" + name + "/" + name + ".conf" for name in PROJECTS]
    stamps = [os.path.getmtime(path) if os.path.exists(path) else 0.0 for path in paths]  # noqa: PTH110, PTH204
    if state.get("stamps") != stamps:
        state.update(stamps=stamps, transports=own_transports())
    if not state["transports"]:
        raise OSError("no service of this host has a broker in its configuration")
    for transport in state["transports"]:
        tries = try_brokers(transport, False)["tries"]
        if not any(one["ended"] == "ok" for one in tries):
            text = json.dumps({"tries": tries, "config": transport["config"]})
            if any(one["ended"] == "late" for one in tries):
                raise TimeoutError(text)
            raise OSError(text)
    return "the broker takes connections from here"


@dataclass(frozen=True, slots=True, kw_only=True)
class WaysAnswer:
    """The answer of ``ask_way``."""

    hostname: Line = ""
    ways: tuple[WayAnswer, ...] = ()


def read_knock(said: str, host: str, name_of: Callable[[str], str]) -> BrokenLink | None:
    """Turn the error of ``knock_broker`` into what is broken; None where it says nothing of it."""
    try:
        way = read(WayAnswer, said)
    except BadAnswer:
        return None
    return broken_link(way, host, name_of)


def judge_ways(answer: WaysAnswer) -> Sequence[Verdict]:
    """Judge the answer of ``ask_way``: one verdict; none where nothing here uses a broker."""
    broken = [
        found for way in answer.ways if (found := broken_link(way, answer.hostname)) is not None
    ]
    first = worst(broken)
    if first is not None:
        return [_failed(first)]
    if not any(way.tries for way in answer.ways):
        return []
    evidence = "a broker takes connections from here"
    return [Verdict(subject=SUBJECT, severity=Severity.OK, evidence=evidence)]


def _failed(broken: BrokenLink) -> Verdict:
    return Verdict(
        subject=SUBJECT,
        severity=Severity.FAILED,
        evidence=broken.text,
        remedy=broken.remedy,
    )
