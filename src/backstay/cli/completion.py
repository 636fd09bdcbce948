"""What the shell completes: names from cloud.yaml, the journal and the catalogue of backups.

A key press must neither wait nor print: whatever goes wrong, nothing is completed.
"""

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem

    from backstay.inventory.cloud import Cloud

_RUNS = 50


def words(
    names: Iterable[str], incomplete: str, helps: Callable[[str], str] = lambda _: ""
) -> "list[CompletionItem]":
    """Return the names that begin with what was typed, each with its help."""
    from click.shell_completion import CompletionItem

    return [
        CompletionItem(name, help=helps(name) or None)
        for name in names
        if name.startswith(incomplete)
    ]


def hosts(
    ctx: "click.Context", param: "click.Parameter", incomplete: str
) -> "list[CompletionItem]":
    """Complete the hosts of cloud.yaml, without those that are on the line already."""
    with contextlib.suppress(Exception):
        cloud = _cloud(ctx)
        typed = ctx.params.get(param.name or "") or ()
        names = [name for name in cloud.hosts if name not in typed]
        return words(names, incomplete, lambda name: ", ".join(cloud.hosts[name].roles))
    return []


def spares(
    ctx: "click.Context", _param: "click.Parameter", incomplete: str
) -> "list[CompletionItem]":
    """Complete the hosts of cloud.yaml with the role `spare`."""
    with contextlib.suppress(Exception):
        from backstay.inventory.enums import Role

        return words([host.name for host in _cloud(ctx).with_role(Role.SPARE)], incomplete)
    return []


def windows(
    ctx: "click.Context", _param: "click.Parameter", incomplete: str
) -> "list[CompletionItem]":
    """Complete the maintenance windows of cloud.yaml."""
    with contextlib.suppress(Exception):
        return words(_cloud(ctx).windows, incomplete)
    return []


def channels(
    ctx: "click.Context", _param: "click.Parameter", incomplete: str
) -> "list[CompletionItem]":
    """Complete the notification channels of cloud.yaml."""
    with contextlib.suppress(Exception):
        return words(_cloud(ctx).watch.channels, incomplete)
    return []


def services(
    ctx: "click.Context", _param: "click.Parameter", incomplete: str
) -> "list[CompletionItem]":
    """Complete the services of the cloud."""
    with contextlib.suppress(Exception):
        from backstay.services.registry import all_services

        cloud = _cloud(ctx)
        names = [service.name for service in all_services() if cloud.has_service(service.name)]
        return words(names, incomplete)
    return []


def gates(
    _ctx: "click.Context", _param: "click.Parameter", incomplete: str
) -> "list[CompletionItem]":
    """Complete the gates that may be skipped."""
    with contextlib.suppress(Exception):
        from backstay.maintenance.gates import MAY_BE_SKIPPED

        return words(MAY_BE_SKIPPED, incomplete)
    return []


def runs(
    _ctx: "click.Context", _param: "click.Parameter", incomplete: str
) -> "list[CompletionItem]":
    """Complete the newest runs of the journal, the newest first."""
    with contextlib.suppress(Exception):
        from backstay.journal.place import journal_url
        from backstay.journal.store import Store

        readable, _ = Store(journal_url(), busy=0.5).readable_runs(limit=_RUNS)
        found = {run.id: run for run in readable}
        return words(found, incomplete, lambda name: found[name].state.value)
    return []


def incidents(
    ctx: "click.Context", _param: "click.Parameter", incomplete: str
) -> "list[CompletionItem]":
    """Complete the newest incidents of the journal, the newest first."""
    with contextlib.suppress(Exception):
        from backstay.journal.place import journal_url
        from backstay.watch.incidents.store import WatchStore

        store = WatchStore(journal_url(), _cloud(ctx).name)
        found = {incident.name: incident for incident in store.incidents(limit=_RUNS)}
        return words(found, incomplete, lambda name: found[name].cause.title)
    return []


def backups(
    ctx: "click.Context", _param: "click.Parameter", incomplete: str
) -> "list[CompletionItem]":
    """Complete the backups of the catalogue, the newest first."""
    with contextlib.suppress(Exception):
        from backstay.backup.catalogue import Catalogue, folder_of

        catalogue = Catalogue(folder_of(_cloud(ctx)) / Catalogue.FOLDER)
        found = {backup.name: backup for backup in catalogue.backups()}
        return words(found, incomplete, lambda name: found[name].state.value)
    return []


def backups_and_hosts(
    ctx: "click.Context", param: "click.Parameter", incomplete: str
) -> "list[CompletionItem]":
    """Complete hosts and the backups of the catalogue."""
    return [*hosts(ctx, param, incomplete), *backups(ctx, param, incomplete)]


def _cloud(ctx: "click.Context") -> "Cloud":
    """Return the cloud of the line that is being typed. Raises anything."""
    from backstay.cli.session import open_cloud

    given: Any = ctx.params.get("cloud")
    return open_cloud(Path(given) if given else None, quiet=True)
