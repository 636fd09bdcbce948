"""Incidents for a person at a terminal."""

from collections.abc import Sequence
from datetime import datetime

from backstay.cli.output.text import clean, columns, local_time
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
                local_time(one.began),
                f"{duration(lasted)}{over}",
                one.cause.urgency.value,
                clean(one.cause.title),
            )
        )
    return columns(rows)


def incident_text(incident: Incident) -> str:
    """Return all that is known of one incident."""
    cause = incident.cause
    lines = [
        f"{incident.name}: {cause.title} ({cause.urgency.value})",
        f"  began      {local_time(incident.began)}",
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
    for one in incident.timeline:
        at = f"{datetime.fromtimestamp(one.at):%H:%M:%S}"
        lines.append(f"  {at}  {one.kind:<9} {clean(one.text)}")
    return "\n".join(lines) + "\n"
