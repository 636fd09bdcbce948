"""From causes to incidents: which to open, to update, to resolve. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from backstay.watch.incidents.correlate import CandidateCause
from backstay.watch.incidents.describe import gone_by
from backstay.watch.incidents.incident import Cause, Incident, Kind, Urgency


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenIncident:
    """An incident is to be opened."""

    found: CandidateCause


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateIncident:
    """More, or something else, is known of an incident; ``notify`` if it is to be notified."""

    incident: Incident
    cause: Cause
    text: str
    notify: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolveIncident:
    """An incident is over."""

    incident: Incident
    text: str


def match_incidents(
    incidents: Sequence[Incident],
    found: Sequence[CandidateCause],
    over: Callable[[Cause], bool],
    now: float,
) -> list[OpenIncident | UpdateIncident | ResolveIncident]:
    """Return what is to be done about incidents; ``over`` says whether a cause is no more.

    An incident whose own cause has turned out to be another's symptom becomes that other's, unless
    that has one already: then it is closed for it.
    """
    by_key = {one.cause.key: one for one in found}
    left = {key: one for key, one in by_key.items() if one.ready}
    done: list[OpenIncident | UpdateIncident | ResolveIncident] = []
    mine = [one for one in incidents if one.cause.kind is not Kind.CHANNEL_FAILED]
    for incident in mine:
        if incident.cause.key in by_key:
            left.pop(incident.cause.key, None)
            done += _changed(incident, by_key[incident.cause.key].cause)
    taken = {one.cause.key for one in mine}
    for incident in mine:
        if incident.cause.key in by_key:
            continue
        behind = next((f for f in found if f.ready and _explains(f.cause, incident.cause)), None)
        if behind is not None and behind.cause.key not in taken:
            taken.add(behind.cause.key)
            left.pop(behind.cause.key, None)
            text = f"the cause is another: {behind.cause.title}"
            done.append(
                UpdateIncident(incident=incident, cause=behind.cause, text=text, notify=True)
            )
        elif behind is not None:
            text = f"explained by another incident: {behind.cause.title}"
            done.append(ResolveIncident(incident=incident, text=text))
        elif over(incident.cause):
            done.append(ResolveIncident(incident=incident, text=gone_by(now - incident.began)))
    return done + [OpenIncident(found=one) for one in left.values()]


def _changed(
    incident: Incident, cause: Cause
) -> list[OpenIncident | UpdateIncident | ResolveIncident]:
    """Return the change of an incident whose cause is known better by now, if there is any."""
    old = incident.cause
    worse = cause.urgency is Urgency.CRITICAL and old.urgency is not Urgency.CRITICAL
    if cause.kind is not old.kind or worse:
        return [UpdateIncident(incident=incident, cause=cause, text=cause.title, notify=True)]
    symptoms = set(cause.symptoms) | set(old.symptoms)
    if cause.title != old.title or symptoms != set(old.symptoms):
        new = sorted(set(cause.symptoms) - set(old.symptoms))
        text = f"also down because of it: {', '.join(new)}" if new else cause.title
        return [UpdateIncident(incident=incident, cause=cause, text=text, notify=False)]
    return []


def _explains(cause: Cause, other: Cause) -> bool:
    """Return whether a cause has another one among its symptoms."""
    if cause.key == other.key or not cause.symptoms:
        return False
    if other.kind is Kind.FINDING:
        return False
    prefix = f"{other.host or 'cloud'}/{other.service}/"
    return any(key.startswith(prefix) for key in cause.symptoms)
