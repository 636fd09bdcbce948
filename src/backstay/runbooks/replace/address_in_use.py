"""Who answers with the address of the host that is replaced? Every witness asks by ARP."""

from collections.abc import Collection, Sequence

from backstay.access.session import CloudSession
from backstay.commands import command
from backstay.errors import BackstayError
from backstay.health.witness.evidence import Witness
from backstay.health.witness.observe import Here, ask_address, ask_here
from backstay.health.witness.selection import exclusion_blocker
from backstay.inventory.cloud import Cloud
from backstay.journal.action import Running
from backstay.runbooks.replace.steps import WITHOUT_WITNESSES


class NotFenced(BackstayError):
    """A host that was powered off is not out of the way: the run can be resumed later."""


async def who_answers(
    site: CloudSession, running: Running, here: Here = ask_here
) -> tuple[Witness, ...]:
    """Return what every witness finds by ARP at the address of the host of this run."""
    suspect, spare = running.plan.targets[0], str(running.plan.settings["spare"])
    return await ask_address(site, suspect, also=[spare], without=left_out(running), here=here)


def left_out(running: Running) -> list[str]:
    """Return the witnesses that the operator leaves out of this run (``--without-witness``)."""
    return list(running.plan.settings.get(WITHOUT_WITNESSES) or ())


def again_without(running: Running, cloud: Cloud, names: Collection[str]) -> str:
    """Return the command that starts the replacement anew without these witnesses too.

    Empty where there are none, or where they cannot be left out.
    """
    suspect, settings = running.plan.targets[0], running.plan.settings
    without = list(dict.fromkeys([*left_out(running), *names]))
    if not names or exclusion_blocker(cloud, suspect, without):
        return ""
    confirmed = ["--confirm-fenced", suspect] if settings.get("confirmed_fenced") else []
    options = [word for name in without for word in ("--without-witness", name)]
    return command(
        "backstay", "replace", suspect, "--with", str(settings["spare"]), *confirmed, *options
    )


def answers_of(found: Sequence[Witness], adopted: Collection[str] = ()) -> list[str]:
    """Return who finds the address in use, and by whom.

    ``adopted`` are the hardware addresses that may use it. Once the spare has adopted it only
    hardware addresses tell the two hosts apart.
    """
    return [f"{name}: {seen}" for name, seen in _seen(found, adopted).items()]


def _seen(found: Sequence[Witness], adopted: Collection[str]) -> dict[str, str]:
    """Return what witnesses see, by their names."""
    seen = {}
    for witness in found:
        strange = sorted(set(witness.macs or ()) - set(adopted))
        if strange:
            seen[witness.name] = " and ".join(strange)
        elif witness.signs and not adopted:
            seen[witness.name] = ", ".join(witness.signs)
    return seen


def in_use(
    running: Running,
    cloud: Cloud,
    found: Sequence[Witness],
    adopted: Collection[str] = (),
) -> NotFenced:
    """Return the error for an address that is in use, as witnesses found."""
    suspect = running.plan.targets[0]
    # Once the spare has the address, to abandon the run would end the spare.
    again = "" if adopted else again_without(running, cloud, _seen(found, adopted))
    doubt = f"; or, where only a witness says so and is proved to be wrong: {running.abandon}; "
    return NotFenced(
        f"fencing {suspect}",
        came_back=f"something answers with its address {cloud.hosts[suspect].address}: "
        f"{'; '.join(answers_of(found, adopted))}",
        remedy="find what has that hardware address (the switch's address table, ip neigh) and "
        f"take it from the network; then: {running.resume}{doubt + again if again else ''}",
    )
