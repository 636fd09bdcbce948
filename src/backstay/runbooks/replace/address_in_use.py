"""Who answers with the address of the host that is replaced? Every witness asks by ARP."""

from collections.abc import Collection, Sequence

from backstay.access.session import CloudSession
from backstay.errors import BackstayError
from backstay.health.witness.evidence import Witness
from backstay.health.witness.observe import Here, ask_address, ask_here
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


def answers_of(found: Sequence[Witness], adopted: Collection[str] = ()) -> list[str]:
    """Return who finds the address in use, and by whom.

    ``adopted`` are the hardware addresses that may use it. Once the spare has adopted it only
    hardware addresses tell the two hosts apart.
    """
    answers = []
    for witness in found:
        strange = sorted(set(witness.macs or ()) - set(adopted))
        if strange:
            answers.append(f"{witness.name}: {' and '.join(strange)}")
        elif witness.signs and not adopted:
            answers.append(f"{witness.name}: {', '.join(witness.signs)}")
    return answers


def in_use(running: Running, address: str, answers: Sequence[str]) -> NotFenced:
    """Return the error for an address that is in use."""
    return NotFenced(
        f"fencing {running.plan.targets[0]}",
        came_back=f"something answers with its address {address}: {'; '.join(answers)}",
        remedy="find what has that hardware address (the switch's address table, ip neigh) and "
        f"take it from the network; then: {running.resume}",
    )
