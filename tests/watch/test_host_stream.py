"""The status stream of a host: lines put together within bounds, over real SSH; hosts that lie."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backstay.answers import BadAnswer
from backstay.inventory.cloud import Cloud
from backstay.services.registry import all_services
from backstay.transports.ssh import HostShell
from backstay.transports.targets import SshTarget
from backstay.watch.detect import lines
from backstay.watch.detect.host_answers import HostAnswer, probe_results, read_line
from backstay.watch.detect.host_stream import HostStream, streams
from backstay.watch.detect.lines import BURST, LineReader
from backstay.watch.detect.probe import Outcome, ProbeResult
from tests.fuzz.mutate import Mutator
from tests.hostile import memory, ssh
from tests.hostile.ssh import Behaviour, HostileHost, hostile_host

UNIT = ["loaded", "active", "running", "success", "", 400]


def test_lines_are_put_together_from_pieces_of_any_size():
    text = b"".join(b"%d%s\n" % (n, b"x" * (n % 7)) for n in range(50))
    for size in (1, 2, 3, 10, 1000):
        reader = LineReader(every=1.0)
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        found = [line for piece in pieces for line in reader.feed(piece, now=0.0)]
        assert found == text.split(b"\n")[:-1]


def fed(reader: LineReader, piece: bytes, times: int) -> None:
    for _ in range(times):
        reader.feed(piece, now=0.0)


def test_a_line_without_end_is_refused_whatever_its_pieces():
    for size in (1, 1000):
        reader = LineReader(longest=5000, every=1.0)
        with pytest.raises(BadAnswer, match="5000 bytes"):
            fed(reader, b"x" * size, 5002)
        reader.clear()
        assert reader.feed(b"y\n", now=0.0) == [b"y"]


def test_lines_that_come_too_fast_are_refused_and_a_burst_after_a_pause_is_not():
    reader = LineReader(every=1.0)
    for second in range(100):
        assert reader.feed(b"{}\n", now=float(second)) == [b"{}"]
    assert len(reader.feed(b"{}\n" * BURST, now=200.0)) == BURST
    with pytest.raises(BadAnswer, match="lines within"):
        reader.feed(b"{}\n" * BURST, now=201.0)


def test_bytes_that_come_too_fast_are_refused():
    reader = LineReader(longest=1000, every=1.0)
    with pytest.raises(BadAnswer, match="bytes within"):
        fed(reader, b"x" * 900 + b"\n", 6)


def cloud_of(host: HostileHost, *, roles: str = "compute") -> Cloud:
    there = host.target
    reached = {
        "port": there.port,
        "user": "root",
        "key": str(there.key),
        "known_hosts": str(there.known_hosts),
    }
    hosts = {"compute1": {"address": "127.0.0.1", "roles": [roles], "ssh": reached}}
    return Cloud.model_validate({"credentials": {"environment": True}, "hosts": hosts})


def streamed(
    folder: Path, behaviour: Behaviour, until: Callable[[HostStream, list[ProbeResult]], bool]
) -> tuple[HostStream, list[ProbeResult], HostileHost]:
    """Stream from a host until something is so."""
    results: list[ProbeResult] = []

    async def story(host: HostileHost) -> HostStream:
        async with HostShell() as shell:
            found = streams(
                cloud_of(host), all_services(), shell, lambda _host, found, _: results.extend(found)
            )
            (stream,) = found.values()
            task = asyncio.ensure_future(stream.run())
            async with asyncio.timeout(60):
                while not until(stream, results):
                    assert not task.done(), task.exception()
                    await asyncio.sleep(0.02)
            task.cancel()
            return stream

    with hostile_host(folder, behaviour) as host:
        return asyncio.run(story(host)), results, host


def stopped(stream: HostStream, _results: list[ProbeResult]) -> bool:
    return stream.refused


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        (ssh.endless_line, "more than 1048576 bytes"),
        (ssh.endless_string, "more than 1048576 bytes"),
        (ssh.endless_stdout, "within 10 s"),
        (ssh.says(b"[1]\n"), "an object expected"),
        (ssh.says(b"Welcome to compute1!\n"), "not JSON"),
        (ssh.says(b"[" * 20_000 + b"\n"), "nested too deeply"),
        (ssh.says(b'{"units": 3}\n'), "units"),
    ],
)
def test_a_host_whose_lines_are_none_is_dropped_and_nothing_of_it_is_known(
    tmp_path: Path, behaviour: Behaviour, why: str
):
    stream, results, host = streamed(tmp_path, behaviour, stopped)
    assert why in stream.trouble
    assert stream.nonsense
    assert stream.trouble.isprintable()
    assert len(host.commands) == 1, "it is not asked again at once"
    assert {one.outcome for one in results} == {Outcome.UNKNOWN}
    assert {one.subject.name for one in results} >= {"nova-compute", "libvirtd"}
    assert all(why in one.evidence for one in results)


def test_a_key_that_is_missing_here_tells_nothing_about_the_host(tmp_path: Path):
    def tried(stream: HostStream, _results: list[ProbeResult]) -> bool:
        (tmp_path / "id").unlink(missing_ok=True)  # before it is read for the first time
        return stream.trouble != "not asked yet"

    stream, _, _ = streamed(tmp_path, ssh.endless_line, tried)
    assert "No such file" in stream.trouble
    assert stream.unasked
    assert not stream.refused


_WATCH = """
import asyncio, sys
from pathlib import Path
from backstay.inventory.load import load
from backstay.services.registry import all_services
from backstay.transports.ssh import HostShell
from backstay.watch.detect.host_stream import streams
cloud = load(Path(sys.argv[1]))
async def main():
    async with HostShell() as shell:
        (stream,) = streams(cloud, all_services(), shell, lambda *_: None).values()
        stream._script()
        measured()
        task = asyncio.ensure_future(stream.run())
        while not stream.refused:
            await asyncio.sleep(0.02)
        task.cancel()
        print(stream.trouble)
asyncio.run(asyncio.wait_for(main(), 60))
"""


def test_a_line_without_end_takes_no_memory(tmp_path: Path):
    with hostile_host(tmp_path, ssh.endless_line) as host:
        file = tmp_path / "cloud.yaml"
        file.write_text(f"credentials: {{environment: true}}\nhosts:\n{host.hosts_entry}")
        ran = memory.run(_WATCH, str(file))
    assert "1048576 bytes" in ran.output
    assert ran.grew < 60


def probed() -> tuple[HostStream, HostAnswer]:
    nobody: Any = None
    host = HostileHost(SshTarget(name="compute1", address="127.0.0.1"))
    cloud = cloud_of(host, roles="controller")
    (stream,) = streams(cloud, all_services(), nobody, lambda *_: None).values()
    return stream, HostAnswer(asked=stream.reported.asked)


def whole_line(number: int = 1) -> dict[str, Any]:
    stream, _ = probed()
    return {
        "n": 0,
        "lag": 0.01,
        "clock": 4000,
        "waits": 0.1,
        "boot": "5a2a98db-2a8e-4c57-8d55-ae311c5c69ab",
        "units": {unit.name: UNIT for _, unit in stream.watched.units},
        "answers": {
            "query": [number, "ok", "answers a query in 2 ms", 0.002],
            "message": [number, "ok", "a message came back in 3 ms", 0.003],
        },
    }


@pytest.mark.parametrize(
    ("part", "name", "wrong"),
    [
        ("units", "nova-api", ["loaded", "active"]),
        ("units", "nova-api", ["loaded", 3, "running", "success", "", 400]),
        ("units", "nova-api", "active"),
        ("units", "nova-api", ["loaded", "active", "running", "success", "", "400"]),
        ("answers", "query", [1, "fine", "x", 0.1]),
        ("answers", "query", [1, "ok", {"x": 1}, 0.1]),
        ("answers", "query", [1, "ok", "x", "0.1"]),
        ("answers", "query", [float("nan"), "ok", "x", 0.1]),
        ("answers", "query", None),
    ],
)
def test_a_wrong_value_in_a_line_is_unknown_and_the_others_are_not(part, name, wrong):
    stream, reported = probed()
    line = whole_line()
    line[part][name] = wrong
    reported.take(read_line(json.dumps(line).encode(), most=lines.LINE))
    found = {one.subject.name: one for one in probe_results(stream.watched, reported, 5.0)}
    assert found[name].outcome is Outcome.UNKNOWN
    assert name in found[name].evidence
    assert {one.outcome for key, one in found.items() if key != name} == {Outcome.OK}
    reported.take(read_line(json.dumps(whole_line(2)).encode(), most=lines.LINE))
    found = {one.subject.name: one for one in probe_results(stream.watched, reported, 6.0)}
    assert found[name].outcome is Outcome.OK


def test_what_was_not_asked_for_is_not_kept():
    _, reported = probed()
    for number in range(100):
        line = {"units": {f"u{number}": UNIT}, "answers": {f"a{number}": [1, "ok", "x", 0.1]}}
        reported.take(read_line(json.dumps(line).encode(), most=lines.LINE))
    assert reported.units == {}
    assert reported.answers == {}


def test_mutated_lines_become_probe_results_or_a_bad_answer():
    stream, reported = probed()
    mutator, refused = Mutator(5), 0
    for _ in range(300):
        try:
            line = read_line(mutator.answer(whole_line()).replace(b"\n", b""), most=lines.LINE)
        except BadAnswer:
            refused += 1
            continue
        reported.take(line)
        for one in probe_results(stream.watched, reported, 5.0):
            assert one.evidence.isprintable()
            assert len(one.evidence) < 1000
        stream.reported = reported
        assert len(stream.excuse) < 200
    assert 0 < refused < 200
