"""The streams of a cloud's hosts: received together until cancelled, and how far each one is."""

import asyncio
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from backstay.backup.follow import Follow
from backstay.backup.mariadb.source import SshSource
from backstay.backup.mariadb.stream import Stream, running
from backstay.backup.mariadb.stream_state import StreamState
from backstay.backup.place import Place
from backstay.backup.selection import selection
from backstay.inventory.cloud import Cloud
from backstay.services.declaration import Service
from backstay.transports.ssh import HostShell


async def receive(
    cloud: Cloud,
    place: Place,
    shell: HostShell,
    hosts: Sequence[str],
    services: Sequence[Service],
    *,
    report: Callable[[StreamState], None],
) -> None:
    """Receive the binary logs of hosts, and the files that change, until cancelled.

    ``report`` gets each state. Raises BackupError where another stream of a host runs here, and
    where the folder is not the one that has the backups.
    """
    place.catalogue.readable()
    work = []
    for host in hosts:
        target = cloud.ssh_target(cloud.hosts[host])
        stream = Stream(
            host,
            SshSource(shell, target),
            place.logs(host),
            backups=functools.partial(place.catalogue.backups, host=host),
            say=report,
        )
        chosen = selection(cloud, cloud.hosts[host], services)
        follow = Follow(
            shell,
            target,
            place.followed(host),
            paths=chosen.followed,
            leave_out=chosen.leave_out,
            known=place.mirror(host).known,
        )
        work += [stream.run(), follow.run()]
    await asyncio.gather(*work)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStatus:
    """How far the stream of one host is.

    Attributes:
        state: what the stream reported last, None where it never did.
        running: whether its process runs on this machine.
        lagging: whether it, or its files, are behind for longer than `stream_lag`.
        files_at: when all files that change were here (Unix seconds), None where never.
        files_error: why they could not be received.

    """

    host: str
    state: StreamState | None
    running: bool
    lagging: bool
    files_at: float | None
    files_error: str


def status_of(cloud: Cloud, place: Place, host: str, now: float) -> StreamStatus:
    """Return how far the stream of a host is at ``now`` (Unix seconds). Raises BackupError."""
    logs, followed = place.logs(host), place.followed(host).state()
    state, limit = logs.state(), cloud.backup.stream_lag
    late = state is None or state.behind_for(now) > limit or followed.behind_for(now) > limit
    return StreamStatus(
        host=host,
        state=state,
        running=running(logs.folder),
        lagging=late,
        files_at=followed.whole_at,
        files_error=followed.error,
    )
