"""What the operator is told where the spare is out of reach: it may be as dead as the lost host."""

import contextlib
from collections.abc import Iterator

from backstay.errors import HostUnreachable
from backstay.journal.action import Running


@contextlib.contextmanager
def hinted(running: Running) -> Iterator[None]:
    """Say in the error of this block which machine it is where the spare cannot be reached.

    By its name alone nobody would know: once the spare has the lost host's place, it is called so.
    """
    try:
        yield
    except HostUnreachable as error:
        error.remedy = remedy(error, running)
        raise


def remedy(error: HostUnreachable, running: Running) -> str:
    """Return what to do; the error's own remedy where it is about another host. Pure."""
    host, spare = running.plan.targets[0], str(running.plan.settings["spare"])
    if not {host, spare} & set(error.attempted.split()):
        return error.remedy
    adopted = any(
        step.action == "adopt" and step.id in running.results for step in running.plan.steps
    )
    which = f"that is {spare}, which has the place of {host} by now: " if adopted else ""
    return (
        f"{which}see at its BMC and console what is the matter, then: backstay runs resume "
        f"{running.run}; where it is lost too, or has another disk: power it off, backstay runs "
        f"abandon {running.run}, and begin anew with another spare"
    )
