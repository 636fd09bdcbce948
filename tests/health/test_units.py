"""Stories of units: what systemd says, and what the operator must read."""

import pytest

from backstay.finding import Severity
from backstay.health.judge_units import NOTHING_KNOWN, Works, judge_unit, together
from backstay.health.observation import HostObservation, UnitState
from backstay.inventory.enums import Role
from backstay.services.declaration import Unit
from backstay.transports.targets import SshTarget

NOVA = Unit(name="nova-api", role=Role.CONTROLLER, purpose="nothing starts", ports=(8774,))
LIBVIRT = Unit(name="virtlogd", role=Role.COMPUTE, purpose="no console", socket="virtlogd.socket")
ROOT = SshTarget(name="controller", address="10.0.0.11", user="root")


def state(name="nova-api", **changes) -> UnitState:
    steady = {
        "load": "loaded",
        "active": "active",
        "sub": "running",
        "boot": "enabled",
        "result": "success",
        "restarts": 0,
        "main_pid": 7,
        "exit_status": 0,
        "since": 9000.0,
        "processes": "SSS",
    }
    return UnitState(name=name, **{**steady, **changes})


def judged(
    *states: UnitState,
    unit: Unit = NOVA,
    listening=(8774,),
    target=ROOT,
    running=(),
    works=NOTHING_KNOWN,
):
    observed = HostObservation(
        hostname="controller",
        boot_id="b",
        uptime=1e5,
        load=0.1,
        processors=2,
        offset=0.0,
        uncertainty=0.1,
        seconds=0.2,
        units={s.name: s for s in states},
        failed_units=(),
        listening=frozenset(listening),
        memory=(4, 4),
        file_systems=(),
        probes={},
        troubles={},
        running=running,
    )
    return judge_unit("nova", unit, observed, target, works)


DEAD = {"active": "inactive", "sub": "dead", "main_pid": 0, "processes": ""}
STORIES = [
    ("steady", {}, "ok", "running for 2 h, port 8774", ""),
    ("steady after restarts long ago", {"restarts": 9}, "ok", "restarted 9 times before", ""),
    (
        "stopped",
        DEAD | {"since": 200.0},
        "failed",
        "not running, stopped 3 min ago",
        "systemctl start nova-api",
    ),
    (
        "never enabled",
        DEAD | {"boot": "disabled", "since": None},
        "failed",
        "not running",
        "systemctl enable --now nova-api",
    ),
    (
        "died",
        DEAD | {"active": "failed", "sub": "failed", "result": "exit-code", "exit_status": 1},
        "failed",
        "failed (exit-code 1)",
        "systemctl restart",
    ),
    (
        "killed and masked until the boot",
        DEAD | {"active": "failed", "load": "masked", "boot": "masked-runtime", "result": "signal"},
        "failed",
        "and masked",
        "systemctl unmask --runtime nova-api && systemctl start nova-api",
    ),
    ("runs but masked", {"load": "masked", "boot": "masked"}, "warning", "masked", "unmask"),
    (
        "waits for its next restart",
        {
            "active": "activating",
            "sub": "auto-restart",
            "restarts": 40,
            "main_pid": 0,
            "processes": "",
        },
        "failed",
        "restart loop: restarted 40 times",
        "journalctl -u nova-api",
    ),
    (
        "loop seen in its running moment",
        {"restarts": 12, "since": 4.0},
        "failed",
        "restart loop: restarted 12 times, the last time 4 s ago",
        "journalctl",
    ),
    ("restarted some minutes ago", {"restarts": 4, "since": 300.0}, "warning", "check again", ""),
    ("one restart is no loop", {"restarts": 1, "since": 40.0}, "ok", "", ""),
    (
        "starting",
        {"active": "activating", "sub": "start", "since": 5.0},
        "warning",
        "still starting for 5 s",
        "",
    ),
    (
        "stopped by a signal",
        {"processes": "TTT"},
        "failed",
        "hung: 3 of 3 processes",
        "systemctl kill -s CONT nova-api",
    ),
    ("all workers stopped", {"processes": "STT"}, "failed", "hung: 2 of 3", "CONT"),
    ("one worker stopped", {"processes": "SST"}, "warning", "hung: 1 of 3", "CONT"),
    ("waits for a disk", {"processes": "D"}, "warning", "waits for a disk", "dmesg"),
    ("main process gone", {"processes": ""}, "failed", "main process 7 is gone", "restart"),
    (
        "active without process",
        {"sub": "exited", "main_pid": 0, "processes": ""},
        "failed",
        "its process has ended",
        "restart",
    ),
    (
        "not at boot",
        {"boot": "disabled"},
        "warning",
        "will not start at the next boot",
        "systemctl enable nova-api",
    ),
]


@pytest.mark.parametrize(
    ("changes", "severity", "evidence", "remedy"),
    [story[1:] for story in STORIES],
    ids=[story[0] for story in STORIES],
)
def test_story(changes, severity, evidence, remedy):
    finding = judged(state(**changes))
    assert (finding.severity.value, finding.subject) == (severity, "unit nova-api")
    assert evidence in finding.evidence
    assert remedy in finding.remedy
    assert bool(finding.remedy) == (severity != "ok")


GONE = DEAD | {"load": "not-found", "boot": ""}


def test_a_unit_that_systemd_does_not_know_and_nothing_does_its_work_is_a_failure():
    finding = judged(state(**GONE), listening=())
    assert finding.severity is Severity.FAILED
    assert "systemd knows no such unit" in finding.evidence
    assert "install" not in finding.remedy
    other = judged(state(**GONE), listening=(), running=("cron", "glance-api", "apache2-htcache"))
    assert other.severity is Severity.FAILED


@pytest.mark.parametrize(
    ("unit", "listening", "works", "seen"),
    [
        (NOVA, (8774,), Works(), "port 8774 is served"),
        (NOVA, (), Works(services=frozenset({"nova"})), "the API of nova answers"),
        (NOVA, (), Works(probes=frozenset({"nova"})), "nova answers on this host"),
        (
            Unit(name="nova-api", role=Role.CONTROLLER, purpose="", agent="nova-api"),
            (),
            Works(agents=frozenset({"nova-api"})),
            "its agent reports",
        ),
    ],
)
def test_a_unit_by_another_name_is_asked_for_and_not_installed(unit, listening, works, seen):
    finding = judged(state(**GONE), unit=unit, listening=listening, works=works)
    assert finding.severity is Severity.WARNING
    assert seen in finding.evidence
    assert "which units are these?" in finding.evidence
    assert "not installed" not in finding.evidence
    assert "install" not in finding.remedy


@pytest.mark.parametrize(
    ("running", "like"),
    [
        (("cron", "openstack-nova-api", "openstack-nova-conductor"), "openstack-nova-api, "),
        (("kolla-nova_api-container", "kolla-nova_scheduler-container"), "kolla-nova_api-"),
        (("tripleo_nova_api", "ssh"), "running here: tripleo_nova_api:"),
        (("httpd", "sshd"), "running here: httpd:"),
    ],
)
def test_units_that_may_be_it_are_named_and_prove_nothing(running, like):
    finding = judged(state(**GONE), listening=(), running=running)
    assert finding.severity is Severity.UNKNOWN
    assert like in finding.evidence


def test_many_units_of_other_names_are_one_finding():
    strangers = [judged(state(**GONE)) for _ in range(9)]
    rest = judged(state(**DEAD))
    assert together(strangers[:3], ROOT) == strangers[:3]
    [first, one] = together([*strangers, rest], ROOT)
    assert first == rest
    assert (one.subject, one.severity) == ("unit names", Severity.WARNING)
    assert "which units are these?" in one.evidence


def test_a_unit_that_need_not_be_there_is_not_missed():
    perhaps = Unit(name="nova-api", role=Role.COMPUTE, purpose="", if_found=True)
    assert judged(state(**GONE), unit=perhaps) is None
    assert judged(state(**DEAD), unit=perhaps).severity is Severity.FAILED


def test_failures_say_what_users_lose():
    assert judged(state(**DEAD)).evidence.endswith(": nothing starts")


def test_a_closed_port_is_a_failure_unless_the_unit_has_just_been_started():
    closed = judged(state(), listening=())
    assert closed.severity is Severity.FAILED
    assert "nothing listens on port 8774" in closed.evidence
    assert judged(state(since=3.0), listening=()).severity is Severity.WARNING


def test_a_unit_that_its_socket_starts_may_rest():
    resting = state("virtlogd", **(DEAD | {"boot": "indirect", "since": None}))
    socket = state("virtlogd.socket", sub="listening", main_pid=0, processes="")
    assert judged(resting, socket, unit=LIBVIRT).severity is Severity.OK
    closed = state("virtlogd.socket", **DEAD)
    assert judged(resting, closed, unit=LIBVIRT).severity is Severity.FAILED


def test_another_user_s_remedy_uses_sudo_and_his_key(tmp_path):
    target = SshTarget(name="c", address="10.0.0.11", user="ops", key=tmp_path / "k", port=2222)
    remedy = judged(state(**DEAD), target=target).remedy
    assert remedy == f"ssh -i {tmp_path}/k -p 2222 ops@10.0.0.11 sudo systemctl start nova-api"
