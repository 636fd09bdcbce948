"""Mismatches for a person and for programs: what differs, the evidence, and what to type."""

import json
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from backstay.answers import clean
from backstay.cli.output.terminal import style
from backstay.finding import Severity
from backstay.runbooks.reconcile.comparison import Missing, ReconcileObservation
from backstay.services.reconciliation import Mismatch, MismatchKind

SCHEMA = 1
"""Raised when a key changes its meaning or goes; new keys may come without."""
_INDENT = " " * 13
_SHOWN = 20
"""Of one kind; a restore of a wrong day makes thousands."""
_COLOURS = {MismatchKind.DANGER: "red", MismatchKind.TWICE: "red", MismatchKind.GONE: "red"}


def reconcile_table(observed: ReconcileObservation, *, width: int) -> str:
    """Return a headline, then each mismatch with its evidence, what to do and what to type.

    A command stays on one line, so that it can be copied.
    """
    lines = [_headline(observed)]
    for missing in observed.missing:
        lines += ["", *_missing(missing, width)]
    shown: Counter[tuple[str, MismatchKind]] = Counter()
    for one in observed.mismatches:
        shown[one.service, one.kind] += 1
        if shown[one.service, one.kind] <= _SHOWN:
            lines += ["", *_mismatch(one, width)]
    for (service, kind), count in shown.items():
        if count > _SHOWN:
            more = f"{count - _SHOWN} more {kind.value} of {service}"
            lines += ["", f"  and {more}: backstay reconcile -o json"]
    for finding in observed.guards:
        if finding.severity is Severity.WARNING:
            lines += ["", f"  warning    {finding.subject} on {finding.host}"]
            lines += [*_wrapped(finding.evidence, width), f"{_INDENT}-> {clean(finding.remedy)}"]
    if observed.notes:
        lines += ["", *(f"not compared: {note}" for note in observed.notes)]
    return "\n".join(lines) + "\n"


def _headline(observed: ReconcileObservation) -> str:
    records = f"{sum(observed.compared.values())} records compared in {observed.seconds:.1f} s"
    words = []
    if observed.mismatches:
        count, safe = len(observed.mismatches), len(observed.safe)
        words.append(f"{count} mismatch{'es' * (count != 1)}, {safe} of them safe to repair")
    if observed.missing:
        count = len(observed.missing)
        words.append(f"{count} question{'s' * (count != 1)} without an answer")
    if not words:
        return f"{style('OK', fg='green', bold=True)}: nothing differs ({records})"
    word, colour = ("DIFFERS", "yellow") if observed.mismatches else ("UNKNOWN", "magenta")
    return f"{style(word, fg=colour, bold=True)}: {'; '.join(words)} ({records})"


def _mismatch(one: Mismatch, width: int) -> Iterator[str]:
    word = style(f"{one.kind.value.upper():<10}", fg=_COLOURS.get(one.kind, "yellow"))
    where = f" on {one.host}" if one.host else ""
    yield f"  {word} {one.service}: {clean(one.subject)}{where}"
    yield from _wrapped(one.evidence, width)
    mark = style("safe, by --apply", fg="green") if one.safe else "by hand"
    proposal = textwrap.wrap(clean(one.proposal), width - len(_INDENT) - 3, break_on_hyphens=False)
    yield f"{_INDENT}{style('->', bold=True)} {''.join(proposal[:1])}"
    yield from (f"{_INDENT}   {line}" for line in proposal[1:])
    yield f"{_INDENT}   ({mark}) {clean(one.command)}"


def _missing(one: Missing, width: int) -> Iterator[str]:
    word = style(f"{'UNKNOWN':<10}", fg="magenta")
    yield f"  {word} {clean(one.what)}{f' on {one.host}' if one.host else ''}"
    yield from _wrapped(one.why, width)
    yield f"{_INDENT}{style('->', bold=True)} {clean(one.remedy)}"


def _wrapped(text: str, width: int) -> Iterator[str]:
    for line in textwrap.wrap(clean(text), width - len(_INDENT), break_on_hyphens=False):
        yield _INDENT + line


def reconcile_document(observed: ReconcileObservation) -> str:
    """Return the same as JSON text. What is ``safe`` is what ``--apply`` repairs."""
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "mismatches": [
            asdict(one) | {"kind": one.kind.value, "safe": one.safe} for one in observed.mismatches
        ],
        "kinds": Counter(one.kind.value for one in observed.mismatches),
        "unknown": [asdict(one) for one in observed.missing],
        "guards": [asdict(one) | {"severity": one.severity.value} for one in observed.guards],
        "notes": list(observed.notes),
        "compared": dict(observed.compared),
        "seconds": round(observed.seconds, 3),
    }
    return json.dumps(document, indent=2, ensure_ascii=False)
