"""Agents for a person and for programs: what each is like, why, and what will be done."""

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from backstay.answers import clean
from backstay.cli.output.terminal import style
from backstay.health.rpc.diagnosis import AgentDiagnosis, Signature
from backstay.quantities import duration

_COLOURS = {
    Signature.ATTACHED: "green",
    Signature.SETTLING: "cyan",
    Signature.UNKNOWN: "magenta",
}
_WORST = (
    Signature.NAME,
    Signature.NETWORK,
    Signature.PORT,
    Signature.TLS,
    Signature.LOGIN,
    Signature.VHOST,
    Signature.DOWN,
    Signature.FROZEN,
    Signature.DEAF,
    Signature.HALF_OPEN,
    Signature.REFUSED,
    Signature.UNKNOWN,
    Signature.SETTLING,
    Signature.ATTACHED,
)


def agents_table(
    judged: Sequence[AgentDiagnosis],
    actions: Mapping[int, str],
    *,
    width: int,
    broker_up: float | None,
) -> str:
    """Return a line for each agent, the worst first, and under it what will be done and why.

    ``actions`` are by the place in ``judged``; an agent without one is left alone.
    """
    count = Counter(one.signature for one in judged)
    words = [f"{count[kind]} {kind.value}" for kind in _WORST if count[kind]]
    up = f"; the broker is up {duration(broker_up)}" if broker_up is not None else ""
    lines = [f"{len(judged)} agent{'s' * (len(judged) != 1)}: {', '.join(words)}{up}", ""]
    order = sorted(
        range(len(judged)), key=lambda at: (_WORST.index(judged[at].signature), judged[at].name)
    )
    wide = max((len(one.name) for one in judged), default=0)
    for at in order:
        lines += _agent(judged[at], actions.get(at, ""), wide, width)
    return "\n".join(lines) + "\n"


def _agent(one: AgentDiagnosis, action: str, wide: int, width: int) -> Iterator[str]:
    word = one.signature.value.ljust(9)
    coloured = style(word, fg=_COLOURS.get(one.signature, "red"), bold=not _quiet(one))
    indent = " " * (wide + 13)
    evidence = textwrap.wrap(clean(one.evidence), max(30, width - wide - 13)) or [""]
    yield f"  {coloured} {one.name.ljust(wide)} {evidence[0]}"
    yield from (f"{indent}{line}" for line in evidence[1:])
    if action:
        yield f"{indent}-> {action}"


def _quiet(one: AgentDiagnosis) -> bool:
    return one.signature in {Signature.ATTACHED, Signature.SETTLING}


def agents_document(
    judged: Sequence[AgentDiagnosis], actions: Mapping[int, str]
) -> list[dict[str, Any]]:
    """Return the same as JSON data."""
    return [
        {
            "binary": one.seen.agent.binary,
            "host": one.seen.host or one.seen.agent.host,
            "signature": one.signature.value,
            "evidence": one.evidence,
            "reported_seconds_ago": one.seen.age,
            "action": actions.get(at, ""),
            "remedy": one.remedy,
        }
        for at, one in enumerate(judged)
    ]
