"""The headline, and the summary of hosts."""

from dataclasses import replace
from pathlib import Path

from backstay.finding import Finding, Severity
from backstay.watch.detect.probe import Subject
from backstay.watch.detect.status import Snapshot, State
from backstay.watch.incidents.incident import Incident, Urgency
from backstay.watch.web.summary import STALE, Level, headline, hosts
from tests.watch.web.fake_cloud import DOWN, MARIADB, cloud, snapshot

NOW = 1_800_000_000.0
INCIDENT = Incident(id=3, cloud="amber", cause=MARIADB, began=NOW - 60, opened=NOW - 57)
WARNING = replace(
    INCIDENT, id=4, began=NOW - 500, cause=replace(MARIADB, urgency=Urgency.WARNING, title="a disk")
)


def changed(key: str, state: State, base: Snapshot | None = None) -> Snapshot:
    base = base or snapshot(NOW)
    target_status = replace(base.targets[key], state=state, since=NOW - 2)
    return replace(base, targets={**base.targets, key: target_status})


def test_operational_since_the_last_incident() -> None:
    top = headline(snapshot(NOW), (), now=NOW)
    assert (top.level, top.text, top.since) == (
        Level.OK,
        "All systems operational",
        NOW - 7 * 3600,
    )
    later = headline(snapshot(NOW), (), now=NOW, resolved_at=NOW - 30)
    assert later.since == NOW - 30


def test_the_most_urgent_incident_is_named_first() -> None:
    top = headline(snapshot(NOW, down=DOWN), (WARNING, INCIDENT), now=NOW)
    assert top.level is Level.CRITICAL
    assert top.text == f"2 incidents, 1 critical: {MARIADB.title}"
    assert top.since == NOW - 60
    only = headline(snapshot(NOW), (WARNING,), now=NOW)
    assert (only.level, only.text) == (Level.WARNING, "1 incident: a disk")


def test_suspect_targets_are_a_warning() -> None:
    top = headline(changed("proxy/swift/object", State.SUSPECT), (), now=NOW)
    assert (top.level, top.text) == (Level.WARNING, "Possible fault: proxy swift object")
    back = headline(changed("proxy/swift/object", State.RECOVERING), (), now=NOW)
    assert (back.level, back.text) == (Level.WARNING, "No target is down, 1 recovering")


def test_silence_covers_its_host_only() -> None:
    silenced = snapshot(NOW, silence="proxy")
    assert (
        headline(changed("proxy/swift/object", State.DOWN, silenced), (), now=NOW).level is Level.OK
    )
    other = changed("controller/nova/servers", State.DOWN, silenced)
    assert headline(other, (), now=NOW).level is Level.WARNING


def test_a_stale_snapshot_is_critical() -> None:
    top = headline(snapshot(NOW), (), now=NOW + STALE + 1)
    assert top.level is Level.CRITICAL
    assert top.text.startswith("No probe results for 16 s")
    with_one = headline(snapshot(NOW), (INCIDENT,), now=NOW + STALE + 1)
    assert "No probe results" in with_one.text
    assert MARIADB.title in with_one.text


def test_a_standby_names_the_leader() -> None:
    top = headline(replace(snapshot(NOW), leading=False), (), now=NOW)
    assert top.level is Level.WARNING
    assert "the leader is root@ops1, process 4711" in top.text


def test_without_results_nothing_is_claimed() -> None:
    empty = replace(snapshot(NOW), targets={})
    assert headline(empty, (), now=NOW).level is Level.WARNING
    unknown = snapshot(NOW)
    for key in unknown.targets:
        unknown = changed(key, State.UNKNOWN, unknown)
    assert headline(unknown, (), now=NOW).level is Level.WARNING


def test_hosts_with_faults_come_first_and_silenced_ones_last(tmp_path: Path) -> None:
    down = snapshot(
        NOW, down=("compute2/agent/nova-compute", "proxy/swift/object"), silence="proxy"
    )
    views = hosts(down, cloud(tmp_path))
    assert [one.name for one in views] == [
        "compute2",
        "controller",
        "storage1",
        "compute1",
        "proxy",
    ]
    assert views[0].summary == "1 of 3 down"
    assert views[0].targets[0].subject == Subject(
        host="compute2", service="agent", name="nova-compute"
    )
    assert views[1].summary == "all 20 up"
    assert views[-1].silence is not None


def test_what_is_up_and_has_no_latency_is_named_only(tmp_path: Path) -> None:
    down = snapshot(NOW, down=("controller/nova/nova-api",))
    controller = next(one for one in hosts(down, cloud(tmp_path)) if one.name == "controller")
    assert controller.detailed[0].subject.name == "nova-api"
    assert "nova-scheduler" in [one.subject.name for one in controller.compact]
    assert len(controller.detailed) + len(controller.compact) == 20


def test_incomplete_observations_are_a_warning() -> None:
    blind = replace(snapshot(NOW), problems=("no token within 10 s",))
    top = headline(blind, (), now=NOW)
    assert (top.level, "the watch itself has a problem" in top.text) == (Level.WARNING, True)
    failed = Finding(
        host="controller",
        service="keystone",
        subject="token",
        severity=Severity.FAILED,
        evidence="no route",
        remedy="is it up?",
    )
    checked = replace(snapshot(NOW), findings=(failed,))
    top = headline(checked, (), now=NOW)
    assert (top.level, top.since) == (Level.WARNING, checked.checked_at)
    assert top.text.endswith("but the last check reported 1 problem")
    silenced = replace(snapshot(NOW, silence="controller"), findings=(failed,))
    assert headline(silenced, (), now=NOW).level is Level.OK
    some = changed("proxy/swift/object", State.UNKNOWN)
    assert headline(some, (), now=NOW).level is Level.WARNING
