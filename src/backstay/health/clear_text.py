"""Passwords that would go over a network in the clear. Pure."""

from collections.abc import Collection, Iterator

from backstay.finding import Finding, Severity
from backstay.inventory.bmc import Bmc
from backstay.inventory.cloud import Cloud


def findings(cloud: Cloud, chosen: Collection[str]) -> list[Finding]:
    """Return a warning for each BMC that is reached by http, of ``chosen`` and of fenced hosts."""
    return [
        Finding(
            host=name,
            service="BMC",
            subject="password in the clear",
            severity=Severity.WARNING,
            evidence="`url` is http: whoever is on the way can read its password, and cut the "
            "host's power",
            remedy=f"use https for the BMC of {name} in cloud.yaml, with `ca` for a certificate of "
            "your own; where its network is closed to others, say `clear: true` under `bmc`",
        )
        for name, bmc in _bmcs(cloud, chosen)
        if bmc is not None and bmc.sends_in_the_clear
    ]


def sentence(cloud: Cloud) -> str:
    """Return one line for whoever uses the cloud, empty where no password goes in the clear."""
    names = [
        name
        for name, bmc in _bmcs(cloud, tuple(cloud.hosts))
        if bmc is not None and bmc.sends_in_the_clear
    ]
    if not names:
        return ""
    shown = ", ".join(names[:_MOST_NAMED])
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return (
        f"the password of the BMC of {shown}{more} goes over the network in the clear (http): use "
        f"https in {cloud.path}, or `clear: true` under `bmc` where its network is closed to others"
    )


_MOST_NAMED = 5


def _bmcs(cloud: Cloud, chosen: Collection[str]) -> Iterator[tuple[str, Bmc | None]]:
    for name in chosen:
        yield name, cloud.hosts[name].bmc
    for name, host in cloud.fenced.items():
        yield name, host.bmc
