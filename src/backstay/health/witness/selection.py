"""Which hosts are asked about another, and which of them the operator may leave out. Pure."""

from collections.abc import Collection

from backstay.inventory.cloud import Cloud
from backstay.inventory.enums import Role

MOST = 60
"""So many other hosts are asked at most: more would be a load for a host that may only be slow."""


def candidates(cloud: Cloud, suspect: str) -> list[str]:
    """Return the names of the hosts that can be witnesses about another: all but spares."""
    return [
        host.name
        for host in cloud.hosts.values()
        if host.name != suspect and set(host.roles) - {Role.SPARE}
    ]


def witnesses(cloud: Cloud, suspect: str, without: Collection[str] = ()) -> list[str]:
    """Return the hosts that are asked about another, at most ``MOST``, but those in ``without``."""
    names = [name for name in candidates(cloud, suspect) if name not in without]
    if len(names) <= MOST:
        return names
    return [names[at * len(names) // MOST] for at in range(MOST)]


def needed(asked: int) -> int:
    """Return how many of ``asked`` witnesses must observe before their silence proves anything."""
    return max(1, (asked + 1) // 2)


def exclusion_blocker(cloud: Cloud, suspect: str, without: Collection[str]) -> str:
    """Return why witnesses cannot be left out, empty where they can.

    Those that are left out count among all: without them more than the others could be gone, too.
    """
    all_names = candidates(cloud, suspect)
    strangers = [name for name in without if name not in all_names]
    if strangers:
        return f"{strangers[0]} is no witness about {suspect}: {', '.join(all_names) or 'none'} are"
    left, least = len(all_names) - len(set(without)), needed(len(all_names))
    if without and left < least:
        return (
            f"that leaves {left} of {len(all_names)} witnesses about {suspect}, and at least "
            f"{least} must be asked; a witness that is switched off counts as not asked"
        )
    return ""
