"""Metrics for Prometheus, from the board and the journal. Their names are stable: see the docs.

https://prometheus.io/docs/practices/naming/
"""

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from backstay.watch.detect.status import Snapshot, State
from backstay.watch.incidents.incident import Kind, Urgency
from backstay.watch.web.reading import Records

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_UP = {State.UP: 1.0, State.SUSPECT: 1.0, State.RECOVERING: 0.0, State.DOWN: 0.0}
"""What is in doubt is up until it is sure that it is not; what recovers is not yet."""

_OF_SUBJECTS = ("host", "service", "subject")


def exposition(snapshot: Snapshot, records: Records, now: float) -> bytes:
    """Return all metrics at ``now`` (Unix) in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Of(snapshot, records, now))
    return generate_latest(registry)


class _Of(Collector):
    def __init__(self, snapshot: Snapshot, records: Records, now: float) -> None:
        self._snapshot, self._records, self._now = snapshot, records, now

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Give every metric, those without a sample as well."""
        yield from _of_the_watch(self._snapshot, self._records, self._now)
        yield from _of_subjects(self._snapshot)
        yield from _of_incidents(self._records)
        yield from _of_backups(self._records, self._now)


def _of_the_watch(snapshot: Snapshot, records: Records, now: float) -> Iterator[GaugeMetricFamily]:
    for name, says, value in (
        ("leading", "1 where this process is the one that watches", snapshot.leading),
        ("age_seconds", "how long ago the watch looked last", max(0.0, now - snapshot.at)),
        ("troubles", "what is wrong with the watch itself", len(snapshot.troubles)),
        ("journal_readable", "1 where the journal can be read", not records.trouble),
    ):
        yield GaugeMetricFamily(f"backstay_watch_{name}", says, value=float(value))
    if snapshot.checked_at is not None:
        yield GaugeMetricFamily(
            "backstay_check_age_seconds",
            "how long ago everything was checked",
            value=max(0.0, now - snapshot.checked_at),
        )
    silenced = GaugeMetricFamily(
        "backstay_host_silenced",
        "1 where nobody is told about the host: why",
        labels=("host", "why"),
    )
    for one in snapshot.silences:
        silenced.add_metric((one.host, one.why), 1.0)
    yield silenced


def _of_subjects(snapshot: Snapshot) -> Iterator[GaugeMetricFamily]:
    up = GaugeMetricFamily(
        "backstay_subject_up", "1 where it works, 0 where it does not", labels=_OF_SUBJECTS
    )
    state = GaugeMetricFamily(
        "backstay_subject_state", "1 for the state in which it is", labels=(*_OF_SUBJECTS, "state")
    )
    latency = GaugeMetricFamily(
        "backstay_subject_latency_seconds", "how long the last answer took", labels=_OF_SUBJECTS
    )
    for one in snapshot.standings.values():
        labels = (one.subject.host, one.subject.service, one.subject.name)
        if one.state in _UP:
            up.add_metric(labels, _UP[one.state])
        state.add_metric((*labels, one.state.value), 1.0)
        if one.seconds is not None:
            latency.add_metric(labels, one.seconds)
    yield from (up, state, latency)


def _of_incidents(records: Records) -> Iterator[GaugeMetricFamily]:
    """Give how many are open, of every kind: an alert rule needs the zeros as well."""
    count = Counter((one.cause.kind, one.cause.urgency) for one in records.open)
    incidents = GaugeMetricFamily(
        "backstay_incidents_open", "how many incidents are open", labels=("kind", "urgency")
    )
    for kind in Kind:
        for urgency in Urgency:
            incidents.add_metric((kind.value, urgency.value), float(count[kind, urgency]))
    yield incidents
    notifications = GaugeMetricFamily(
        "backstay_tellings",
        "messages that the journal keeps, by how far they are",
        labels=("channel", "state"),
    )
    for (channel, state), number in sorted(records.told.items()):
        notifications.add_metric((channel, state.value), float(number))
    yield notifications
    yield GaugeMetricFamily(
        "backstay_runs_active", "runbooks' runs under way", value=float(len(records.runs))
    )


def _of_backups(records: Records, now: float) -> Iterator[GaugeMetricFamily]:
    age = GaugeMetricFamily(
        "backstay_backup_age_seconds", "age of the newest proved backup", labels=("host",)
    )
    rpo = GaugeMetricFamily(
        "backstay_rpo_seconds", "changes that would be lost with the host now", labels=("host",)
    )
    took = GaugeMetricFamily(
        "backstay_rto_seconds", "how long it took the last time", labels=("what",)
    )
    for one in records.kept.hosts:
        if one.verified_at is not None:
            age.add_metric((one.host,), max(0.0, now - one.verified_at))
        lost = one.rpo(now)
        if lost is not None:
            rpo.add_metric((one.host,), lost)
    for each in records.kept.measured:
        took.add_metric((each.what,), each.seconds)
    yield from (age, rpo, took)
