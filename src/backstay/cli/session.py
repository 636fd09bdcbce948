"""A cloud opened for a command: hosts, APIs, and what backups add to the whole check."""

import asyncio
import difflib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backstay.cli.group import report_loop_errors
from backstay.cli.output.terminal import echo
from backstay.errors import BackstayError
from backstay.finding import Finding, Severity
from backstay.transports import limits
from backstay.transports.threads import on_thread

if TYPE_CHECKING:
    from backstay.access.session import CloudSession
    from backstay.backup.place import Place
    from backstay.inventory.account import Credentials
    from backstay.inventory.cloud import Cloud
    from backstay.transports.openstack import OpenStackApi
    from backstay.transports.ssh import HostShell
    from backstay.transports.targets import Answer, SshTarget

_IMPORT_BOUND = 60.0  # seconds to read asyncssh from a slow disk


def open_cloud(given: Path | None, *, quiet: bool = False, warns: bool = False) -> "Cloud":
    """Return the cloud that the command is about; print a line where it is the lab.

    Another one where passwords of BMCs go in the clear, unless the command ``warns`` of it itself.
    With ``quiet`` neither.

    Raises InventoryError where there is none, or where its file holds mistakes.
    """
    from backstay.cli.lab import current_cloud_file
    from backstay.inventory.load import find, load
    from backstay.services.registry import all_services

    found = find(given, current_cloud_file)
    if found.of_lab and not quiet:
        echo(f"backstay: no cloud.yaml given or found here: using {found.path}", err=True)
    cloud = load(found.path, services=[service.name for service in all_services()])
    if not quiet and not warns:
        from backstay.health.clear_text import sentence

        if warning := sentence(cloud):
            echo(f"backstay: warning: {warning}", err=True)
    return cloud


def require_hosts(hosts: Sequence[str], cloud: "Cloud", *, hint: str = "HOST") -> None:
    """Raise click's error for a host that cloud.yaml does not have, with the nearest it has."""
    for host in hosts:
        if host not in cloud.hosts:
            near = difflib.get_close_matches(host, cloud.hosts, n=1)
            other = f"did you mean {near[0]}?" if near else f"it has {', '.join(cloud.hosts)}"
            raise click.BadParameter(f"{cloud.path} has no host {host}; {other}", param_hint=hint)


@asynccontextmanager
async def open_session(cloud: "Cloud") -> "AsyncIterator[CloudSession]":
    """Open a cloud: its hosts over SSH and its APIs. Nothing is asked yet, nothing raised."""
    from backstay.access.session import CloudSession

    report_loop_errors(asyncio.get_running_loop())
    shell = LateShell(cloud.bounds.connect_seconds)
    try:
        yield CloudSession(cloud=cloud, shell=shell, api=open_api(cloud), sources=SOURCES)
    finally:
        shell.close()


def open_api(cloud: "Cloud") -> "OpenStackApi | BackstayError":
    """Return the APIs, or the error that becomes a finding: hosts are checked all the same."""
    return _api(cloud, cloud.credentials)


def open_probe_api(cloud: "Cloud") -> "OpenStackApi | BackstayError | None":
    """Return the APIs by the watch's own account, None where it has none; else as ``open_api``."""
    own = cloud.watch.credentials
    return None if own is None else _api(cloud, own)


def _api(cloud: "Cloud", credentials: "Credentials") -> "OpenStackApi | BackstayError":
    from backstay.inventory.credentials import variables
    from backstay.transports.openstack import OpenStackApi

    try:
        return OpenStackApi(
            variables(credentials),
            region=cloud.region,
            interface=cloud.interface,
            bound=cloud.bounds.api_seconds,
        )
    except BackstayError as error:
        return error


def backups_of(cloud: "Cloud") -> "Place":
    """Return where the backups of a cloud are on this machine."""
    from backstay.backup.place import Place

    return Place(cloud)


async def read_backups(cloud: "Cloud", hosts: Collection[str]) -> list[Finding]:
    """Judge the backups on this machine, on a thread: their disk may be another's, and hang."""

    def read() -> list[Finding]:
        from backstay.backup.findings import findings

        return findings(cloud, hosts, now=time.time())

    try:
        return await on_thread(read, cloud.bounds.host_seconds)
    except TimeoutError:
        return [
            Finding(
                host=None,
                service="backup",
                subject="catalogue",
                severity=Severity.UNKNOWN,
                evidence=f"not read within {cloud.bounds.host_seconds:g} s",
                remedy="check the disk that `folder` under `backup` is on",
            )
        ]


async def read_exposed_secrets(cloud: "Cloud", hosts: Collection[str]) -> list[Finding]:
    """Judge who on this machine may read the secrets that the cloud is operated with."""
    from backstay.inventory.exposure import exposed_secrets

    if hosts:
        return []
    try:
        return await on_thread(lambda: exposed_secrets(cloud), cloud.bounds.host_seconds)
    except TimeoutError:
        return []


SOURCES = (read_backups, read_exposed_secrets)
"""What this machine adds to the whole check."""


class LateShell:
    """The hosts' shell, imported on a thread: keystone makes the token meanwhile.

    Importing asyncssh and making a token take about as long, and each waits for nothing else.
    """

    def __init__(self, connect_bound: float) -> None:
        self.connect_bound = connect_bound
        self._shell: asyncio.Future[HostShell] | None = None

    def close(self) -> None:
        """Close all connections."""
        if self._shell and self._shell.done() and not self._shell.cancelled():
            self._shell.result().close()

    async def answer(
        self, target: "SshTarget", script: str, *, bound: float, most: int = limits.ANSWER
    ) -> "Answer":
        """Ask a host as ``HostShell.answer`` does."""
        return await (await self._opened()).answer(target, script, bound=bound, most=most)

    async def stream(
        self,
        target: "SshTarget",
        script: str,
        receive: Callable[[bytes], Awaitable[None]],
        *,
        silence: float,
    ) -> str:
        """Run a script as ``HostShell.stream`` does."""
        return await (await self._opened()).stream(target, script, receive, silence=silence)

    async def send(
        self, target: "SshTarget", script: str, data: AsyncIterator[bytes], *, silence: float
    ) -> None:
        """Run a script as ``HostShell.send`` does."""
        await (await self._opened()).send(target, script, data, silence=silence)

    def drop(self, target: "SshTarget") -> None:
        """Close the connection to a host."""
        if self._shell and self._shell.done():
            self._shell.result().drop(target)

    async def _opened(self) -> "HostShell":
        if self._shell is None:
            self._shell = asyncio.ensure_future(on_thread(self._imported, _IMPORT_BOUND))
        return await asyncio.shield(self._shell)

    def _imported(self) -> "HostShell":
        from backstay.transports.ssh import HostShell

        return HostShell(connect_bound=self.connect_bound)
