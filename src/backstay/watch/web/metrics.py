"""Metrics for Prometheus, from the snapshot and the journal. Names are stable: docs/watch-page.md.

https://prometheus.io/docs/practices/naming/
"""

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from backstay.watch.detect.status import Snapshot, State
from backstay.watch.incidents.incident import Kind, Urgency
from backstay.watch.web.records import Records

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_UP = {State.UP: 1.0, State.SUSPECT: 1.0, State.RECOVERING: 0.0, State.DOWN: 0.0}
"""A suspect target counts as up until it is confirmed down; a recovering one still as down."""

_TARGET_LABELS = ("host", "service", "name")


def exposition(snapshot: Snapshot, records: Records, now: float) -> bytes:
    """Return all metrics at ``now`` (Unix) in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_WatchCollector(snapshot, records, now))
    return generate_latest(registry)


class _WatchCollector(Collector):
    def __init__(self, snapshot: Snapshot, records: Records, now: float) -> None:
        self._snapshot, self._records, self._now = snapshot, records, now

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield every metric, including those without a sample."""
        yield from _watch_metrics(self._snapshot, self._records, self._now)
        yield from _target_metrics(self._snapshot)
        yield from _incident_metrics(self._records)
        yield from _backup_metrics(self._records, self._now)


def _watch_metrics(snapshot: Snapshot, records: Records, now: float) -> Iterator[GaugeMetricFamily]:
    for name, text, value in (
        ("leading", "1 if this process is the leader, 0 if it stands by", snapshot.leading),
        ("age_seconds", "seconds since the last round of probes", max(0.0, now - snapshot.at)),
        ("problems", "number of problems of the watch itself", len(snapshot.problems)),
        ("journal_readable", "1 if the journal can be read", not records.error),
    ):
        yield GaugeMetricFamily(f"backstay_watch_{name}", text, value=float(value))
    if snapshot.checked_at is not None:
        yield GaugeMetricFamily(
            "backstay_check_age_seconds",
            "seconds since the last full check",
            value=max(0.0, now - snapshot.checked_at),
        )
    silenced = GaugeMetricFamily(
        "backstay_host_silenced",
        "1 while notifications about the host are silenced, and the run that silences them",
        labels=("host", "run"),
    )
    for silence in snapshot.silences:
        silenced.add_metric((silence.host, silence.run), 1.0)
    yield silenced


def _target_metrics(snapshot: Snapshot) -> Iterator[GaugeMetricFamily]:
    up = GaugeMetricFamily(
        "backstay_target_up",
        "1 if the target is up or suspect, 0 if down or recovering",
        labels=_TARGET_LABELS,
    )
    state = GaugeMetricFamily(
        "backstay_target_state",
        "1 for the current state of the target",
        labels=(*_TARGET_LABELS, "state"),
    )
    latency = GaugeMetricFamily(
        "backstay_target_latency_seconds",
        "latency of the last successful probe",
        labels=_TARGET_LABELS,
    )
    for target in snapshot.targets.values():
        labels = (target.subject.host, target.subject.service, target.subject.name)
        if target.state in _UP:
            up.add_metric(labels, _UP[target.state])
        state.add_metric((*labels, target.state.value), 1.0)
        if target.seconds is not None:
            latency.add_metric(labels, target.seconds)
    yield from (up, state, latency)


def _incident_metrics(records: Records) -> Iterator[GaugeMetricFamily]:
    """Yield the number of open incidents of every kind, also 0: alert rules need the zeros."""
    count = Counter((incident.cause.kind, incident.cause.urgency) for incident in records.open)
    incidents = GaugeMetricFamily(
        "backstay_incidents_open", "number of open incidents", labels=("kind", "urgency")
    )
    for kind in Kind:
        for urgency in Urgency:
            incidents.add_metric((kind.value, urgency.value), float(count[kind, urgency]))
    yield incidents
    notifications = GaugeMetricFamily(
        "backstay_notifications",
        "notifications in the journal, by delivery state",
        labels=("channel", "state"),
    )
    for (channel, state), number in sorted(records.notifications.items()):
        notifications.add_metric((channel, state.value), float(number))
    yield notifications
    yield GaugeMetricFamily(
        "backstay_runs_active", "number of runbook runs in progress", value=float(len(records.runs))
    )


def _backup_metrics(records: Records, now: float) -> Iterator[GaugeMetricFamily]:
    age = GaugeMetricFamily(
        "backstay_backup_age_seconds", "age of the newest verified backup", labels=("host",)
    )
    rpo = GaugeMetricFamily(
        "backstay_rpo_seconds",
        "changes that would be lost if the host failed now",
        labels=("host",),
    )
    took = GaugeMetricFamily(
        "backstay_rto_seconds",
        "duration of the latest recovery of that kind",
        labels=("operation",),
    )
    for host in records.recovery.hosts:
        if host.verified_at is not None:
            age.add_metric((host.host,), max(0.0, now - host.verified_at))
        lost = host.rpo_at(now)
        if lost is not None:
            rpo.add_metric((host.host,), lost)
    for recovery in records.recovery.recoveries:
        took.add_metric((recovery.operation,), recovery.seconds)
    yield from (age, rpo, took)
