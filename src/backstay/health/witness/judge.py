"""Judge whether a host is dead, from what several places saw of it. Pure.

Any sign of life, seen by anybody, is enough to be not dead: the other way round two hosts would
answer with one address. That no witness sees one proves nothing where too few were asked: this
machine may be in the smaller half of a parted network, together with some of the witnesses.
"""

from dataclasses import dataclass
from enum import StrEnum

from backstay.health.witness.evidence import OPERATOR, HostEvidence, PortState, Witness
from backstay.health.witness.selection import needed
from backstay.quantities import duration


class Verdict(StrEnum):
    """What is to be thought of a host. ``UNKNOWN`` is never a yes."""

    DEAD = "dead"
    CUT_OFF_HERE = "cut-off-here"
    ALIVE = "alive"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessStatement:
    """What one witness reports, in one line; ``sign`` is None where it could not observe."""

    witness: str
    summary: str
    sign: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostVerdict:
    """The verdict on a host: ``reason`` in a sentence, what each witness reports, what to do.

    ``remedy`` is empty for a dead host: it may be replaced. ``doubted`` are the witnesses by which
    alone it is not dead: the operator may leave them out.
    """

    suspect: str
    verdict: Verdict
    reason: str
    statements: tuple[WitnessStatement, ...]
    remedy: str = ""
    doubted: tuple[str, ...] = ()


def judge(seen: HostEvidence) -> HostVerdict:
    """Return the verdict on what was seen."""
    verdict, reason, remedy = _verdict(seen)
    statements = (
        WitnessStatement(witness=OPERATOR, summary=_operator(seen), sign=seen.alive_for_operator),
        *(WitnessStatement(witness=w.name, summary=_said(w), sign=_sign(w)) for w in seen.others),
        WitnessStatement(witness="BMC", summary=_power(seen), sign=seen.power.on),
    )
    without = _or_without(seen)
    return HostVerdict(
        suspect=seen.suspect,
        verdict=verdict,
        reason=reason,
        statements=statements,
        remedy=remedy,
        doubted=tuple(w.name for w in seen.alive_for)
        if without and remedy.endswith(without)
        else (),
    )


_Reasoned = tuple[Verdict, str, str]


def _verdict(seen: HostEvidence) -> _Reasoned:
    if not seen.anybody:
        return _silent(seen)
    if seen.power.on is False:
        return (
            Verdict.UNKNOWN,
            f"its BMC reports that its power is off, and yet {_names(seen)} {_sees(seen)} its "
            "address answer",
            f"find out who has {seen.address}, and whether `bmc` of {seen.suspect} in cloud.yaml "
            f"is that host's{_or_without(seen)}",
        )
    if not seen.alive_for_operator:
        return _not_from_here(seen)
    return _there(seen)


def _silent(seen: HostEvidence) -> _Reasoned:
    """Judge a host of which no witness saw a sign of life."""
    asked, spoke = len(seen.others), len(seen.spoke)
    observed = spoke + seen.operator.spoke
    nothing = f"none of {observed} witnesses sees any sign of it{_left_out(seen)}"
    if seen.power.on is False:
        return Verdict.DEAD, f"its BMC reports that its power is off, and {nothing}", ""
    if spoke < needed(asked):
        return (
            Verdict.UNKNOWN,
            f"{nothing}, but only {spoke} of {asked} others could be asked, and at least "
            f"{needed(asked)} must be: this machine may be the one that is cut off",
            "repair the network between this machine and the hosts that could not be asked: "
            "backstay check; or switch its power off at its BMC, which proves that it is off",
        )
    if seen.power.on:
        return (
            Verdict.DEAD,
            f"{nothing}; its BMC reports power on: it hangs, or half of it died",
            "",
        )
    return Verdict.DEAD, f"{nothing}; its BMC does not report whether it has power", ""


def _left_out(seen: HostEvidence) -> str:
    """Return which witnesses were left out, in words that end a clause."""
    names = seen.left_out
    return f" (left out by the operator: {', '.join(names)})" if names else ""


def _or_without(seen: HostEvidence) -> str:
    """Return how the witnesses that see the host are left out, where nobody else sees it."""
    if seen.alive_for_operator or not seen.alive_for:
        return ""
    options = " ".join(f"--without-witness {witness.name}" for witness in seen.alive_for[:5])
    which = "that witness is" if len(seen.alive_for) == 1 else "those witnesses are"
    return f"; where {which} proved to be wrong, replace it with {options}"


def _not_from_here(seen: HostEvidence) -> _Reasoned:
    """Judge a host that others see and this machine does not."""
    see, spoke = len(seen.alive_for), len(seen.spoke)
    repair = (
        f"repair the network between this machine and {seen.address}: ip route get {seen.address}"
    )
    if 2 * see < spoke:
        return (
            Verdict.UNKNOWN,
            f"the witnesses disagree: {_names(seen)} {_sees(seen)} it, the other {spoke - see} and "
            "this machine do not: the network is parted",
            f"{repair}; then backstay check {seen.suspect}{_or_without(seen)}",
        )
    hung = all(witness.services is False for witness in seen.alive_for)
    remark = ", though none of its services answers them" if hung else ""
    return (
        Verdict.CUT_OFF_HERE,
        f"only this machine does not reach it: {see} of {spoke} others do{remark}",
        f"{repair}; then backstay check {seen.suspect}",
    )


def _there(seen: HostEvidence) -> _Reasoned:
    """Judge a host that this machine sees."""
    blind = [witness.name for witness in seen.spoke if not witness.signs]
    remark = f"; {', '.join(blind[:5])} cannot reach it" if blind else ""
    wrong = _wrong(seen)
    if not wrong:
        return Verdict.ALIVE, f"it answers{remark}", f"backstay check {seen.suspect}"
    return (
        Verdict.UNHEALTHY,
        f"it is there, and not healthy: {'; '.join(wrong[:4])}{remark}",
        _mend(seen),
    )


def _mend(seen: HostEvidence) -> str:
    """Return what to do about a host that is there and not healthy."""
    if seen.login.boot_id:
        return (
            f"backstay check {seen.suspect}; where that does not fix it: backstay reboot "
            f"{seen.suspect} --now; where its data are damaged: backstay backup restore "
            f"{seen.suspect}"
        )
    return (
        f"check its console; where it hangs, power-cycle it by its BMC, then: backstay check "
        f"{seen.suspect}"
    )


def _wrong(seen: HostEvidence) -> list[str]:
    """Return what is wrong with a host that is there."""
    found = []
    if seen.login.error:
        found.append(f"SSH: {seen.login.error}")
    asked = [witness for witness in (seen.operator, *seen.others) if witness.ports]
    states: dict[int, set[PortState]] = {}
    for witness in asked:
        for port in witness.ports:
            states.setdefault(port.number, set()).add(port.state)
    hung = [str(n) for n, found_ in sorted(states.items()) if found_ == {PortState.ACCEPTED}]
    if hung:
        found.append(f"it accepts connections to {', '.join(hung)} and sends nothing")
    if seen.failed is None and not seen.login.error:
        found.append("its check was not finished in time")
    return found + list(seen.failed or ())


def _names(seen: HostEvidence) -> str:
    names = [OPERATOR] if seen.alive_for_operator else []
    names += [witness.name for witness in seen.alive_for]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def _sees(seen: HostEvidence) -> str:
    return "see" if len(seen.alive_for) + seen.alive_for_operator > 1 else "sees"


def _sign(witness: Witness) -> bool | None:
    return bool(witness.signs) if witness.spoke or witness.signs else None


def _said(witness: Witness) -> str:
    """Return what a witness reports in one line."""
    if witness.left_out:
        return "left out by the operator (--without-witness)"
    if witness.trouble:
        return f"could not be asked: {witness.trouble}"
    if not witness.spoke and not witness.signs:
        return "could not observe: it may neither ping nor ask by ARP"
    parts = list(witness.signs) or [_nothing(witness)]
    if witness.established and not (witness.heard is not None and witness.heard < witness.seconds):
        last = f", silent for {duration(witness.heard)}" if witness.heard is not None else ""
        parts.append(f"{witness.established} open connections{last}")
    return "; ".join(parts)


def _nothing(witness: Witness) -> str:
    asked = ["ARP"] if witness.macs is not None else []
    asked += ["ping"] if witness.pings is not None else []
    if witness.ports:
        asked.append(f"{len(witness.ports)} ports")
    return f"no answer by {', '.join(asked)}"


def _operator(seen: HostEvidence) -> str:
    ssh = f"SSH: {seen.login.error}" if seen.login.error else "SSH answers"
    return f"{_said(seen.operator)}; {ssh}"


def _power(seen: HostEvidence) -> str:
    if seen.power.on is None:
        return f"not known: {seen.power.message}"
    return "power on" if seen.power.on else "power off"
