"""Incidents for a person at a terminal."""

from collections.abc import Sequence
from datetime import datetime

from backstay.cli.output.report import clean
from backstay.quantities import duration
from backstay.watch.incidents.incident import Incident


def incidents_table(incidents: Sequence[Incident], now: float) -> str:
    """Return incidents, one a line, the newest first: since when, how long, what."""
    rows = [("incident", "since", "lasts", "urgency", "what is the matter")]
    for one in incidents:
        lasted = (one.closed or now) - one.began
        over = "" if one.closed is None else " (over)"
        rows.append(
            (
                one.name,
                f"{datetime.fromtimestamp(one.began):%Y-%m-%d %H:%M:%S}",
                f"{duration(lasted)}{over}",
                one.cause.urgency.value,
                clean(one.cause.title),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        + "\n"
        for row in rows
    )


def incident_text(incident: Incident) -> str:
    """Return all that is known of one incident."""
    cause = incident.cause
    lines = [
        f"{incident.name}: {cause.title} ({cause.urgency.value})",
        f"  began      {datetime.fromtimestamp(incident.began):%Y-%m-%d %H:%M:%S}",
    ]
    if incident.closed is not None:
        lines.append(f"  over after {duration(incident.closed - incident.began)}")
    lines += [f"  users lose {clean(cause.impact)}"] if cause.impact else []
    lines += [f"  to do      {clean(cause.remedy)}"] if cause.remedy else []
    lines += [f"  run        backstay runs show {incident.run}"] if incident.run else []
    lines += ["", *(f"  {clean(one)}" for one in cause.evidence)]
    if cause.symptoms:
        lines += ["", f"  also down because of it: {', '.join(cause.symptoms)}"]
    lines.append("")
    for one in incident.happened:
        at = f"{datetime.fromtimestamp(one.at):%H:%M:%S}"
        lines.append(f"  {at}  {one.kind:<9} {clean(one.text)}")
    return "\n".join(lines) + "\n"
