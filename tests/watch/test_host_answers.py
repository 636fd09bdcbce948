"""What a host tells each second, as signs; and the program that tells it, run here."""

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

from backstay.access.shipping import source_of, stream
from backstay.inventory.enums import Role
from backstay.services.declaration import HostLivenessProbe, Unit
from backstay.watch.detect.host_answers import (
    HostAnswer,
    HostProbes,
    StatusLine,
    probe_results,
    read_line,
)
from backstay.watch.detect.onhost import family, watch_host
from backstay.watch.detect.probe import Outcome

NOVA = Unit(name="nova-api", role=Role.CONTROLLER, purpose="servers cannot be listed")
LIBVIRT = Unit(name="libvirtd", role=Role.COMPUTE, purpose="x", socket="libvirtd.socket")
PROBE = HostLivenessProbe(name="query", roles=(Role.CONTROLLER,), ask=lambda _: "")
WATCHED = HostProbes(
    host="c1",
    units=(("nova", NOVA), ("libvirt", LIBVIRT)),
    probes=(("mariadb", PROBE),),
)
RUNS = ["loaded", "active", "running", "success", "", 400]


def line(content: Any) -> StatusLine:
    return read_line(json.dumps(content).encode(), most=2**20)


def looks(**units: list[Any]) -> dict[str, tuple[Outcome, bool]]:
    told = HostAnswer()
    told.take(line({"n": 0, "units": {"libvirtd": RUNS, **units}}))
    return {one.subject.name: (one.outcome, one.sure) for one in probe_results(WATCHED, told, 5.0)}


def test_a_unit_looks_as_systemd_and_the_kernel_have_it() -> None:
    def nova(*shown: str) -> tuple[Outcome, bool]:
        return looks(**{"nova-api": [*shown, 400]})["nova-api"]

    assert nova("loaded", "active", "running", "success", "") == (Outcome.OK, False)
    assert nova("loaded", "active", "running", "success", "T") == (Outcome.LATE, True)
    assert nova("loaded", "active", "running", "success", "X") == (Outcome.REFUSED, False)
    assert nova("loaded", "failed", "failed", "signal", "") == (Outcome.FAILED, True)
    assert nova("loaded", "inactive", "dead", "success", "") == (Outcome.FAILED, True)
    assert nova("loaded", "activating", "auto-restart", "exit-code", "") == (Outcome.FAILED, False)
    assert nova("not-found", "inactive", "dead", "success", "") == (Outcome.UNKNOWN, False)


def test_a_unit_that_need_not_be_there_is_not_waited_for() -> None:
    perhaps = replace(NOVA, name="ovn-controller", if_found=True)
    told = HostAnswer()
    told.take(line({"n": 0, "units": {"ovn-controller": ["not-found", *RUNS[1:]]}}))
    [one] = probe_results(replace(WATCHED, units=(("neutron", perhaps),), probes=()), told, 5.0)
    assert one.outcome is Outcome.OK
    assert "is not there" in one.evidence


def test_a_unit_may_rest_while_its_socket_listens() -> None:
    rests = ["loaded", "inactive", "dead", "success", "", 0]
    assert looks(**{"libvirtd": rests, "libvirtd.socket": RUNS})["libvirtd"] == (Outcome.OK, False)
    assert looks(**{"libvirtd": rests, "libvirtd.socket": rests})["libvirtd"][0] is Outcome.FAILED


def test_lines_bring_only_what_is_new_and_an_answer_is_one_sign() -> None:
    told = HostAnswer()
    told.take(
        line(
            {
                "units": {"nova-api": RUNS, "libvirtd": RUNS},
                "answers": {"query": [1, "ok", "answers", 0.01]},
            }
        )
    )
    first = {one.subject.name: one for one in probe_results(WATCHED, told, 5.0)}
    assert first["query"].seconds == 0.01
    told.take(line({"lag": 0.7, "waits": 0.9}))
    assert [one.subject.name for one in probe_results(WATCHED, told, 6.0)] == [
        "nova-api",
        "libvirtd",
    ]
    told.take(line({"answers": {"query": [2, "late", "no answer yet", 1.6]}}))
    late = probe_results(WATCHED, told, 7.0)[-1]
    assert (late.outcome, late.sure, late.seconds) == (Outcome.LATE, False, None)
    told.take(line({"answers": {"query": [3, "failed", "refused", 0.1]}}))
    assert probe_results(WATCHED, told, 8.0)[-1].sure


def test_how_long_a_unit_runs_is_known_by_its_hosts_clock() -> None:
    told = HostAnswer()
    told.take(
        line(
            {"clock": 460, "units": {"nova-api": RUNS, "libvirtd": ["loaded", "failed", *RUNS[2:]]}}
        )
    )
    assert told.age("nova-api") == 60
    assert told.age("libvirtd") is told.age("unheard of") is None
    assert {one.subject.name: one.age for one in probe_results(WATCHED, told, 6.0)} == {
        "nova-api": 60,
        "libvirtd": None,
    }
    told.take(line({"clock": 400}))
    assert told.age("nova-api") == 0, "it was started this very second"


def counts(state: dict[str, Any]) -> str:
    state["count"] = state.get("count", 0) + 1
    if state["count"] == 3:
        raise ConnectionError("the third time")
    return f"asked {state['count']} times"


def test_the_shipped_program_tells_until_its_time_is_over() -> None:
    spec = {
        "units": [],
        "probes": [["counting", 0.05, 1.0, source_of(counts), "counts"]],
        "every": 0.1,
        "lasts": 1.0,
    }
    done = subprocess.run(
        [sys.executable, "-I", "-"],
        input=stream(watch_host, spec),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["n"] for line in lines] == list(range(len(lines)))
    assert len(lines) >= 5
    told = {tuple(line["answers"]["counting"][1:3]) for line in lines if "answers" in line}
    assert ("ok", "asked 1 times") in told or ("ok", "asked 2 times") in told
    assert {ended for ended, _ in told} == {"ok", "failed"}
    assert not any("3" in said for ended, said in told if ended == "ok")  # started again after it


def test_a_process_family_is_seen_to_be_stopped() -> None:
    with subprocess.Popen(["sh", "-c", "sleep 60 & wait"]) as parent:
        try:
            while len(family(parent.pid)) < 2:
                pass
            assert "T" not in family(parent.pid)
        finally:
            subprocess.run(["pkill", "-P", str(parent.pid)], check=False)
            parent.kill()
    assert family(parent.pid) == ""
