"""The power of a machine, switched by its BMC: the only module that does so.

Before each order the machine behind the BMC is compared with the one that is meant. So a wrong
``bmc`` in cloud.yaml, or an address that was given to another server since, costs no other machine
its power. ``tests/structure`` checks that no other module gives such an order.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from backstay.errors import PowerError, PowerOrdered
from backstay.runbooks.common.which_machine import AnotherMachine, require_same
from backstay.transports.hardware import Hardware
from backstay.transports.power import Power


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """A BMC and the machine that must be behind it.

    ``name`` is the machine's, ``url`` the BMC's as cloud.yaml has it; ``noted`` are the machine's
    ids, as it or its BMC gave them before.
    """

    name: str
    url: str
    power: Power
    noted: Hardware = field(default_factory=Hardware)

    async def require_same(self) -> Hardware:
        """Return the ids of the machine that is behind it now. Raises AnotherMachine."""
        return await require_same(self.power, self.noted, name=self.name, url=self.url)


async def cut(board: Board, before: Callable[[], None] | None = None) -> None:
    """Take the machine's power by force; return when it is read back as off.

    ``before`` is called once it is known to be this machine; what it raises keeps its power.
    Raises PowerError, PowerOrdered where its power may be cut all the same, and AnotherMachine
    where nothing was done because it is another machine's.
    """
    await board.require_same()
    if before is not None:
        before()
    await board.power.off()


async def cut_for_good(board: Board) -> list[str]:
    """Take the machine's power and set what keeps it off; return what could not be set, and why.

    Raises what ``cut`` does; once its power was cut PowerOrdered alone.
    """
    await cut(board)
    missed = await board.power.keep_off()
    try:
        await cut(board)  # the mains may have come back before it was set to stay off
    except (PowerError, AnotherMachine) as error:
        raise PowerOrdered(
            error.attempted,
            came_back=f"its power was cut, and read back as off; then, once more: "
            f"{error.came_back}",
            remedy=error.remedy,
        ) from error
    return missed


async def cycle(board: Board) -> Hardware:
    """Restart the machine by force; return the ids of the machine behind the BMC.

    Raises what ``cut`` does.
    """
    found = await board.require_same()
    await board.power.cycle()
    return found
