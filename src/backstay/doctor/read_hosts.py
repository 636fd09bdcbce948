"""Ask every host in one round trip, as whoever logs in and as root."""

import asyncio
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from backstay.access.session import CloudSession
from backstay.access.shipping import as_answer, source_of
from backstay.backup.selection import keeps_databases
from backstay.doctor import onhost
from backstay.doctor.facts import HostFacts, Outside
from backstay.doctor.needs import Topic
from backstay.errors import HostError
from backstay.inventory.cloud import Cloud, Host
from backstay.inventory.enums import Role
from backstay.inventory.provision import Command, Puppet, on_the_host
from backstay.services.declaration import Service

DATABASE = "database"
"""The name of the question to the server of the databases."""
_ROOM = 5.0
"""Seconds less than the host's bound for what runs on it: its answer has to come back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """What a host is asked. ``sources`` are functions that are sent there, by name, with bounds."""

    programs: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    rpc: tuple[tuple[str, str, str], ...] = ()
    sources: Mapping[str, tuple[float, Callable[..., Any]]]


def questions_of(
    cloud: Cloud,
    host: Host,
    services: Iterable[Service],
    wanted: Collection[Topic],
    database: Callable[..., Any],
) -> Questions:
    """Return what a host is asked. ``database`` is sent to hosts that keep databases. Pure."""
    mine = [service for service in services if cloud.has_service(service.name, host)]
    programs, files = _builders(cloud, host) if Topic.PROVISION in wanted else ((), ())
    about = {Topic.DATABASE, Topic.DATABASE_LOG, Topic.DATABASE_PROGRAMS}
    asked = keeps_databases(cloud, host, mine) and about & set(wanted)
    rpc = [
        (one.binary, PurePosixPath(one.config).parent.name, one.config)
        for service in mine
        for one in service.rpc_endpoints
        if Topic.RPC_PING in wanted
    ]
    return Questions(
        programs=programs,
        files=files,
        rpc=tuple(rpc),
        sources={DATABASE: (onhost.QUESTION_BOUND, database)} if asked else {},
    )


def _builders(cloud: Cloud, host: Host) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the programs and files by which a host is built that must be on it.

    A spare gets them with its packages and its host's files.
    """
    means = cloud.provision_of(host)
    if means is None or Role.SPARE in host.roles:
        return (), ()
    if isinstance(means.given, Puppet):
        return ("puppet",), tuple(map(str, on_the_host(means)))
    if isinstance(means.given, Command) and means.given.on == "host":
        return (means.given.argv[0],), ()
    return (), ()


async def read_hosts(
    session: CloudSession, questions: Mapping[str, Questions]
) -> Mapping[str, HostFacts | HostError]:
    """Ask all hosts at the same time. Errors are part of what comes back: nothing is raised."""
    answers = await asyncio.gather(
        *(_read(session, name, asked) for name, asked in questions.items())
    )
    return dict(zip(questions, answers, strict=True))


async def _read(session: CloudSession, name: str, asked: Questions) -> HostFacts | HostError:
    bound = session.cloud.bounds.host_seconds
    target = session.cloud.ssh_target(session.host(name))
    try:
        answer = await session.shell.answer(target, assemble(asked, bound), bound=bound)
        outside = as_answer(Outside, answer, host=name)
    except HostError as error:
        return error
    # The host's two readings lie between this machine's two: four times give offset and error
    # bound, as NTP has them (https://www.rfc-editor.org/rfc/rfc5905#section-8).
    before = outside.started - answer.sent_at
    after = answer.received_at - outside.finished
    return HostFacts(outside=outside, offset=(before - after) / 2, uncertainty=(before + after) / 2)


def assemble(asked: Questions, bound: float) -> str:
    """Return a Python program for ``python3 -I -`` that prints the host's answers as JSON."""
    spec = {
        "programs": asked.programs,
        "files": asked.files,
        "rpc": asked.rpc,
        "sources": [
            (name, seconds, source_of(function), function.__name__)
            for name, (seconds, function) in asked.sources.items()
        ],
    }
    within = f"{source_of(onhost.examine)}\nexamine(json.loads({json.dumps(json.dumps(spec))}))\n"
    least = max(1.0, bound - _ROOM)
    return (
        f"import json\nimport sys\n{source_of(onhost.outside)}\n"
        f"sys.stdout.write(json.dumps(outside({within!r}, {least!r})))\n"
    )
