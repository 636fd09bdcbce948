"""Corroboration: what other hosts and the BMC report of a host that does not answer.

Quick: ARP and ping from everywhere and one exchange with the BMC, all at the same time. The whole
observation (``health.witness.observe``) takes longer and follows if a host answers pings only.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from backstay.access.session import CloudSession
from backstay.answers import BadAnswer, convert
from backstay.errors import BackstayError
from backstay.health.witness import onhost
from backstay.health.witness.evidence import (
    OPERATOR,
    HostEvidence,
    Login,
    Power,
    Witness,
    WitnessAnswer,
    read_witness,
)
from backstay.health.witness.judge import Verdict, judge
from backstay.health.witness.observe import (
    AskPower,
    Here,
    ask_here,
    ask_power,
    gather_evidence,
    power_seen,
)
from backstay.health.witness.selection import witnesses
from backstay.transports.threads import on_thread
from backstay.watch.incidents.incident import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Corroboration:
    """What is known of a host that does not answer: ``kind`` is None where it is there after all.

    ``reason`` is a sentence, ``statements`` what each witness says, ``power`` what the BMC says.
    ``answered_witnesses`` is how many other hosts could be asked, ``reached_by`` how many of them
    reach it.
    """

    kind: Kind | None
    reason: str
    statements: tuple[str, ...] = ()
    power: bool | None = None
    answered_witnesses: int = 0
    reached_by: int = 0


QUICK_BOUND = 4.0
"""Seconds within which a witness must have spoken."""
BMC_MORE = 0.7
"""Seconds for which the BMC is waited for when the witnesses have spoken."""
WHOLE_BOUND = 45.0
TRIES = 2
"""So often each witness asks: that all of them lose as many is no accident."""

QuickProbe = Callable[[str], Awaitable[dict[str, Any]]]


async def quick_probe_here(address: str) -> dict[str, Any]:
    """Ask this machine what the others are asked quickly. Raises TimeoutError."""
    return await on_thread(lambda: onhost.witness(address, [], True, TRIES), QUICK_BOUND)


class Corroborator:
    """Looks at suspects. ``power`` is asked by way of the BMC's library, which ``warm`` reads."""

    def __init__(
        self,
        site: CloudSession,
        *,
        here: Here = ask_here,
        quick_probe: QuickProbe = quick_probe_here,
        power: AskPower = ask_power,
    ) -> None:
        self.site = site
        self.here = here
        self.quick_probe = quick_probe
        self.power = power

    async def warm(self) -> None:
        """Read what asking a BMC needs: it would take a second out of the first alert."""
        with contextlib.suppress(TimeoutError, ImportError):
            await on_thread(_read_libraries, 60.0)

    async def quick(self, host: str, unreached: Collection[str]) -> Corroboration:
        """Look at a host by ARP, ping and BMC. ``unreached`` are the hosts that do not answer.

        Those are not asked as witnesses: they would only be waited for.
        """
        cloud, suspect = self.site.cloud, self.site.host(host)
        address = suspect.address
        powered = asyncio.ensure_future(power_seen(cloud, suspect, self.power))
        try:
            mine, *others = await asyncio.gather(
                self._mine(address),
                *(self._other(name, address, unreached) for name in witnesses(cloud, host)),
            )
            await asyncio.wait([powered], timeout=BMC_MORE)
            power = powered.result() if powered.done() else Power(on=None, message="no answer yet")
        finally:
            powered.cancel()
        seen = HostEvidence(
            suspect=host,
            address=address,
            operator=mine,
            others=tuple(others),
            power=power,
            login=Login(error="the channel to it is silent"),
        )
        return corroboration_of(seen)

    async def whole(self, host: str) -> Corroboration:
        """Observe a host that answers pings but sends no status, also by its ports and a login."""
        try:
            async with asyncio.timeout(WHOLE_BOUND):
                seen = await gather_evidence(self.site, host, here=self.here, power=self.power)
        except TimeoutError:
            return Corroboration(kind=None, reason=f"no verdict within {WHOLE_BOUND:g} s")
        return corroboration_of(seen)

    async def _mine(self, address: str) -> Witness:
        try:
            mine = convert(WitnessAnswer, await self.quick_probe(address))
        except TimeoutError:
            return Witness(name=OPERATOR, trouble="no answer in time")
        except BadAnswer as error:
            return Witness(name=OPERATOR, trouble=str(error))
        return read_witness(OPERATOR, mine)

    async def _other(self, name: str, address: str, unreached: Collection[str]) -> Witness:
        if name in unreached:
            return Witness(name=name, trouble="it does not answer either")
        try:
            async with asyncio.timeout(QUICK_BOUND):
                observation = await self.site.ask(
                    name, onhost.witness, address, [], True, TRIES, returns=WitnessAnswer
                )
        except TimeoutError:
            return Witness(name=name, trouble=f"no answer within {QUICK_BOUND:g} s")
        except BackstayError as error:
            return Witness(name=name, trouble=error.came_back)
        return read_witness(name, observation)


def corroboration_of(seen: HostEvidence) -> Corroboration:
    """Return what is to be thought of a host. Pure."""
    judged = judge(seen)
    kind = _KINDS.get(judged.verdict)
    if judged.verdict is Verdict.DEAD and seen.power.on is False:
        kind = Kind.HOST_OFF
    elif judged.verdict is Verdict.UNHEALTHY and seen.login.error and not seen.login.there:
        kind = Kind.HOST_UNREACHABLE
    statements = tuple(f"{one.witness}: {one.summary}" for one in judged.statements)
    return Corroboration(
        kind=kind,
        reason=judged.reason,
        statements=statements,
        power=seen.power.on,
        answered_witnesses=len(seen.spoke),
        reached_by=sum(bool(one.sign) for one in judged.statements[1:-1]),
    )


_KINDS: Mapping[Verdict, Kind] = {
    Verdict.DEAD: Kind.HOST_DEAD,
    Verdict.CUT_OFF_HERE: Kind.MONITORING_HOST_ISOLATED,
    Verdict.UNKNOWN: Kind.HOST_UNREACHABLE,
}


def _read_libraries() -> None:
    import backstay.transports.redfish  # noqa: F401, PLC0415 - sushy takes its time
