"""Which machine is behind a BMC? Asked before its power is cut, at first and each later time.

A wrong ``bmc`` in cloud.yaml, or a BMC's address that was given to another server since, would
power off a machine that works. The host's own ids were noted with its backup; later in a run what
its BMC gave when it was fenced is compared.
"""

from collections.abc import Callable

from backstay.access.session import CloudSession
from backstay.backup.place import Place
from backstay.errors import BackstayError
from backstay.journal.action import Running
from backstay.runbooks.replace.steps import FENCE
from backstay.transports.hardware import Hardware, hardware_of, same_machine
from backstay.transports.power import Power, hardware_behind

Noted = Callable[[CloudSession, Running], Hardware]


class AnotherMachine(BackstayError):
    """A BMC is that of another machine than the one that is to be powered off."""


def noted_with_backup(site: CloudSession, running: Running) -> Hardware:
    """Return the ids that the lost host gave when its backup was taken; none where it gave none."""
    name = str(running.plan.settings.get("backup") or "")
    if not name:
        return Hardware()
    try:
        machine = Place(site.cloud).catalogue.named(name).machine
    except BackstayError:
        return Hardware()
    return hardware_of(str(machine.get("uuid", "")), str(machine.get("serial", "")))


def noted_at_fence(running: Running) -> Hardware:
    """Return the ids of the machine that was fenced in this run, as its BMC gave them."""
    fenced = running.find(FENCE)
    return Hardware() if fenced is None else hardware_of(fenced.uuid, fenced.serial)


async def require_same(power: Power, noted: Hardware, *, name: str, url: str) -> Hardware:
    """Return the ids of the machine behind a BMC. Raises AnotherMachine where it is another's.

    Where either side gives none they are not compared (``describe`` says so).
    """
    found = await hardware_behind(power)
    if same_machine(noted, found) is False:
        raise AnotherMachine(
            f"powering off {name}",
            came_back=f"the machine behind its BMC has the {found}, {name} has the {noted}",
            remedy=f"correct `bmc` of {name} in cloud.yaml: {url} is that of another machine, "
            "which was left alone",
        )
    return found


def describe(noted: Hardware, found: Hardware) -> str:
    """Return in words whether the machine behind a BMC was compared."""
    same = same_machine(noted, found)
    if same:
        return "its BMC is that of this machine"
    if not found.known:
        return "not compared which machine is behind its BMC: the BMC gives no UUID"
    return "not compared which machine is behind its BMC: the host's UUID is not noted"
