"""Incidents for a person at a terminal."""

from collections.abc import Sequence
from datetime import datetime

from backstay.answers import clean
from backstay.cli.output.text import columns, local_time
from backstay.quantities import duration
from backstay.watch.incidents.incident import Incident


def incidents_table(incidents: Sequence[Incident], now: float) -> str:
    """Return incidents, one a line, the newest first: since when, how long, what."""
    rows = [("incident", "since", "duration", "urgency", "cause")]
    for one in incidents:
        lasted = (one.closed or now) - one.began
        over = "" if one.closed is None else " (resolved)"
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
        f"  started    {local_time(incident.began)}",
    ]
    if incident.closed is not None:
        lines.append(f"  resolved   after {duration(incident.closed - incident.began)}")
    lines += [f"  users lose {clean(cause.impact)}"] if cause.impact else []
    lines += [f"  what to do {clean(cause.remedy)}"] if cause.remedy else []
    lines += [f"  run        backstay runs show {incident.run}"] if incident.run else []
    lines += ["", *(f"  {clean(one)}" for one in cause.evidence)]
    if cause.symptoms:
        lines += ["", f"  also down because of it: {', '.join(cause.symptoms)}"]
    lines.append("")
    wide = max((len(event.kind) for event in incident.timeline), default=0)
    for event in incident.timeline:
        at = f"{datetime.fromtimestamp(event.at):%H:%M:%S}"
        lines.append(f"  {at}  {event.kind:<{wide}}  {clean(event.text)}")
    return "\n".join(lines) + "\n"
