"""memcached: where the APIs and the storage proxy keep validated tokens."""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backstay.answers import Line, clean
from backstay.finding import Severity
from backstay.inventory.enums import Role
from backstay.services.declaration import HostProbe, Service, Unit, Verdict

LONGEST_ANSWER = 1 << 20
"""Bytes that are read: any user of the host may listen at the port while memcached does not."""


def ask_cache() -> dict[str, Any]:
    """Write a value, read it back, delete it, on the host. Runs there: see HostProbe.

    The address is that of ``/etc/memcached.conf``, whose lines are command line options:
    https://github.com/memcached/memcached/wiki/ConfiguringServer
    """
    address, port = "127.0.0.1", 11211
    try:
        lines = Path("/etc/memcached.conf").read_text().splitlines()
        options = [line.split() for line in lines if line.startswith("-")]
    except OSError:
        options = []
    for option in options:
        if option[0] == "-l" and len(option) > 1:
            address = option[1].split(",")[0]
        if option[0] == "-p" and len(option) > 1:
            port = int(option[1])
    if address in ("0.0.0.0", "::"):  # noqa: S104 - it listens on all
        address = "127.0.0.1"
    key = f"backstay-check-{os.getpid()}"
    question = f"set {key} 0 60 2\r\nok\r\nget {key}\r\ndelete {key}\r\nstats\r\n"
    answer = b""
    try:
        with socket.create_connection((address, port), timeout=4) as connection:
            connection.sendall(question.encode())
            while b"\nEND\r\n" not in answer.partition(b"DELETED")[2]:
                more = connection.recv(65536)
                if not more:
                    break
                answer += more
                if len(answer) > LONGEST_ANSWER:
                    raise OSError("what answers there has no end")
    except OSError as error:
        return {"failed": f"{address}:{port}: {error}"}
    return {
        "address": f"{address}:{port}",
        "answer": answer.decode(errors="replace").replace("\r\n", "\n"),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheAnswer:
    """The answer of ``ask_cache``: what the server said, or why it said nothing."""

    address: Line = ""
    answer: str = ""
    failed: Line = ""


def judge_cache(answer: CacheAnswer) -> Sequence[Verdict]:
    """Judge the answer of ``ask_cache``: the value must come back."""
    said = answer.answer  # its lines end with \r\n, until they are cleaned
    if not said.startswith("STORED\nVALUE ") or "\nok\n" not in said:
        evidence = answer.failed or f"a value does not come back: {said[:80]!r}"
        remedy = "{ssh} systemctl restart memcached (nothing is lost but validated tokens)"
        return [
            Verdict(subject="cache", severity=Severity.FAILED, evidence=evidence, remedy=remedy)
        ]
    rows = [line.split(" ", 2) for line in said.splitlines() if line.startswith("STAT ")]
    stats = {row[1]: clean(row[2], longest=20) for row in rows if len(row) == 3}
    evidence = (
        f"stores and returns a value; {stats.get('curr_connections', '?')} connections, "
        f"{stats.get('evictions', '?')} evictions"
    )
    return [Verdict(subject="cache", severity=Severity.OK, evidence=evidence)]


_PURPOSE = "every request has its token validated by keystone again: slow"

SERVICE = Service(
    name="memcached",
    title="memcached",
    restore_order=25,
    units=(
        Unit(name="memcached", role=Role.CONTROLLER, purpose=_PURPOSE, ports=(11211,)),
        Unit(name="memcached", role=Role.STORAGE_PROXY, purpose=_PURPOSE, ports=(11211,)),
    ),
    paths=("/etc/memcached.conf",),
    host_probes=(
        HostProbe(
            name="cache",
            roles=(Role.CONTROLLER, Role.STORAGE_PROXY),
            ask=ask_cache,
            returns=CacheAnswer,
            judge=judge_cache,
        ),
    ),
)
