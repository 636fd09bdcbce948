"""What hosts answer to the check, the watch, witnesses and reconcile."""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from backstay.access.session import CloudSession
from backstay.answers import is_uuid, read
from backstay.cli.output.agents import agents_document, agents_table
from backstay.cli.output.findings import Report, findings_document, findings_table, plugin_line
from backstay.cli.output.reconcile import reconcile_document, reconcile_table
from backstay.doctor.judge_hosts import judge_hosts
from backstay.doctor.read_hosts import Questions, read_hosts
from backstay.finding import Finding
from backstay.health import addresses
from backstay.health.impact import observe as impact
from backstay.health.impact.judge import judge as judge_impact
from backstay.health.impact.onhost import connections
from backstay.health.judge_agents import RpcTopology
from backstay.health.judge_host import judge_host
from backstay.health.observation import parse
from backstay.health.read_hosts import unit_names
from backstay.health.rpc.agents import findings as agent_findings
from backstay.health.rpc.diagnosis import after_restart
from backstay.health.rpc.observe import observe_agents
from backstay.health.rpc.signatures import judge_all
from backstay.health.witness.judge import judge as judge_witnesses
from backstay.health.witness.observe import ask_address
from backstay.inventory.enums import Role
from backstay.inventory.limits import Limits
from backstay.runbooks.reconcile import observe as reconcile
from backstay.runbooks.reconcile.plan import plan as reconcile_plan
from backstay.services.declaration import Agent, Service
from backstay.services.rabbitmq.queues import MessagingAnswer, read_messaging
from backstay.services.registry import all_services, named
from backstay.services.reporting import ReportTimes
from backstay.transports.arp import own_macs
from backstay.watch.detect.corroboration import Corroborator
from backstay.watch.detect.host_stream import POLL, HostStream, streams
from backstay.watch.detect.probe import ProbeResult
from tests.answering import as_asked
from tests.doctor import test_hosts as of_doctor
from tests.fuzz.reader import RECORDED, Reader, expect_clean, expect_clean_findings, printed
from tests.health import recorded as of_check
from tests.health.rpc import recorded as of_agents
from tests.health.rpc.recorded import CLOUD
from tests.health.test_addresses import A, B
from tests.health.test_addresses import Session as AddressSession
from tests.health.witness import recorded as of_witnesses
from tests.runbooks import reconciled

C = "52:54:00:00:00:0c"
ROLES = (Role.CONTROLLER, Role.COMPUTE, Role.STORAGE, Role.STORAGE_PROXY)


def readers() -> Iterator[Reader]:
    """Give a reader for each recorded answer of a host."""
    for role in ROLES:
        text = (of_check.DATA / f"{role}.json").read_text(encoding="utf-8")
        yield Reader(
            name=f"check of {role}", recorded=json.loads(text), digest=_Check(role), share=40
        )
    yield from _status_lines()
    yield from _agents()
    yield from _witnesses()
    yield from _reconcile()
    yield Reader(name="times of reports", recorded=TIMES, digest=take_times)
    yield Reader(name="doctor", recorded=of_doctor.HOST | CLOCK, digest=examine_host)
    yield Reader(name="broker", recorded=_messaging(), digest=judge_messaging, share=20)
    yield from _impact()
    yield Reader(
        name="who answers for addresses", recorded={"192.0.2.11": [A, B]}, digest=judge_addresses
    )
    yield Reader(name="own hardware addresses", recorded=[A, B], digest=judge_own)


TIMES = {
    "down_after": 60,
    "intervals": {"nova-compute": 10.0},
    "names": ["compute1.example"],
    "complete": True,
}
CLOCK = {"started": 1.7e9 + 1, "finished": 1.7e9 + 1.5}


def take_times(data: bytes) -> None:
    """Take what a service's configuration says of its agents' reports."""
    expect_clean(read(ReportTimes, data).names)


class _Printing:
    """A host that prints what is given."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    async def answer(self, *_: Any, **__: Any) -> Any:
        return printed(self.data)


def examine_host(data: bytes) -> None:
    """Judge what ``doctor`` found on a host."""
    shell: Any = _Printing(data)
    session = CloudSession(cloud=CLOUD, shell=shell, api=reconciled.Recorded.api)
    found = asyncio.run(read_hosts(session, {"controller": Questions(sources={})}))
    for point in judge_hosts(CLOUD, found, of_doctor.ALL):
        expect_clean([point.what, point.evidence, point.remedy, point.command])


class _Check:
    """The check of a host of one role."""

    def __init__(self, role: Role) -> None:
        self.units, self.probes = of_check.units_of(role), of_check.probes_of(role)
        self.names = unit_names([unit for _, unit in self.units])

    def __call__(self, data: bytes) -> None:
        observed = parse(printed(data), self.names, [one for _, one in self.probes], host="host")
        found = judge_host(
            observed, of_check.TARGET, units=self.units, probes=self.probes, limits=Limits()
        )
        assert {finding.host for finding in found} == {"host"}
        assert [one for one in found if "cannot be judged" in one.evidence] == []
        show(found)


def show(found: list[Finding]) -> None:
    """Render findings in every form."""
    expect_clean_findings(found)
    report = Report(cloud="c", at=datetime.now(UTC), seconds=1.0, findings=found)
    for text in (findings_document(report), plugin_line(report), findings_table(report)):
        text.encode()


def _status_lines() -> Iterator[Reader]:
    """Give the status lines of the watch, the controller's with the broker's report."""
    nobody: Any = None
    by_host = streams(CLOUD, list(all_services()), nobody, lambda *_: None)
    for name in ("controller", "proxy", "storage1", "compute1"):
        watched = by_host[name].watched
        line: dict[str, Any] = {
            "n": 0,
            "lag": 0.01,
            "clock": 4000,
            "waits": 0.1,
            "boot": "5a2a98db-2a8e-4c57-8d55-ae311c5c69ab",
            "units": {
                unit.name: ["loaded", "active", "running", "success", "", 400.5]
                for _, unit in watched.units
            },
            "answers": {
                probe.name: [1, "ok", "answers in 2 ms", 0.002] for _, probe in watched.probes
            },
        }
        if by_host[name].broker is not None:
            line["answers"][POLL] = [1, "ok", _messaging(), 0.2]
        if name == "compute1":
            line["units"]["an-odd-one"] = "active"
        yield Reader(
            name=f"status line of {name}", recorded=line, digest=_take_line(name), share=40
        )


def _take_line(name: str) -> Callable[[bytes], None]:
    taken: list[Sequence[ProbeResult]] = []
    nobody: Any = None

    def take(host: str, found: Sequence[ProbeResult], polled: Any) -> None:
        del polled
        assert host == name
        taken.append(found)

    stream = streams(CLOUD, list(all_services()), nobody, take)[name]
    watched, broker = stream.watched, stream.broker

    def digest(data: bytes) -> None:
        taken.clear()
        fresh = HostStream(watched, broker, CLOUD, nobody, take)
        asyncio.run(fresh._receive(data.replace(b"\n", b" ") + b"\n"))
        for found in taken:
            expect_clean(one.evidence for one in found)
        expect_clean([fresh.excuse])

    return digest


def _agents() -> Iterator[Reader]:
    """Give what each host answered about agents, in each recording."""
    for name in sorted(path.stem for path in of_agents.DATA.glob("*.json")):
        recording = of_agents.Recording(name)
        count = len(_diagnosed(recording))
        for key, answer in sorted(recording.answers.items()):
            yield Reader(
                name=f"agents, {name}, {key}",
                recorded=answer,
                digest=_judge_agents(name, key, count),
                share=1,
            )


def _diagnosed(recording: of_agents.Recording) -> list[Any]:
    observed = asyncio.run(observe_agents(recording))  # type: ignore[arg-type]
    return judge_all(observed, reconnect=90.0)


def _judge_agents(name: str, key: str, count: int) -> Callable[[bytes], None]:
    def digest(data: bytes) -> None:
        recording = of_agents.Recording(name)
        recording.answers[key] = data
        found = _diagnosed(recording)
        assert len(found) == count
        expect_clean(after_restart(one) for one in found)
        expect_clean_findings(agent_findings(found))
        agents_table(found, {}, width=100, broker_up=9.0).encode()
        json.dumps(agents_document(found, {})).encode()

    return digest


def _witnesses() -> Iterator[Reader]:
    """Give what each witness, the suspect and this machine said, in each recording."""
    for name in sorted(path.stem for path in of_witnesses.DATA.glob("*.json")):
        told = of_witnesses.Recorded(name).told
        for host, answer in sorted(told["hosts"].items()):
            yield Reader(
                name=f"witness, {name}, {host}",
                recorded=answer,
                digest=_judge_witness(name, "hosts", host),
                share=2,
            )
        for place in ("login", "here"):
            yield Reader(
                name=f"witness, {name}, {place}",
                recorded=told[place],
                digest=_judge_witness(name, place),
                share=2,
            )


def _judge_witness(name: str, *place: str) -> Callable[[bytes], None]:
    def digest(data: bytes) -> None:
        seen = of_witnesses.Recorded(name)
        holder: Any = seen.told
        for step in place[:-1]:
            holder = holder[step]
        # What this machine sees is a value already, however odd.
        holder[place[-1]] = read(Any, data) if place == ("here",) else data
        judged = judge_witnesses(seen.look())
        texts = [judged.reason, judged.remedy, *(one.summary for one in judged.statements)]
        expect_clean(texts, longest=5000)
        asyncio.run(_ask_on(seen))

    return digest


async def _ask_on(seen: Any) -> None:
    """Ask as the watch does before an alert, and as a fence does."""

    async def quick_probe(_address: str) -> Any:
        await asyncio.sleep(0)
        return seen.told["here"]

    asks = Corroborator(seen, quick_probe=quick_probe, power=seen.power)
    found = await asks.quick(seen.suspect, [])
    expect_clean([found.reason, *found.statements])
    await ask_address(seen, seen.suspect, here=seen.here)


def _reconcile() -> Iterator[Reader]:
    """Give what hosts answered about records and reality: every host once, and each moment."""
    reconcile.AGAIN_AFTER = 0.0
    for path in sorted(reconciled.DATA.glob("*.json")):
        answers = json.loads(path.read_text(encoding="utf-8"))
        hosts = sorted(answers) if path.stem == "green" else ["controller", "compute1"]
        for host in hosts:
            yield Reader(
                name=f"reconcile, {path.stem}, {host}",
                recorded=answers[host],
                digest=_compare(answers, host),
                share=1,
            )


class _Reconciled:
    """A cloud whose hosts answer what is in ``given``."""

    cloud = CLOUD
    services: Sequence[Service] = list(all_services())
    api = reconciled.Recorded.api

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given = given

    async def ask(self, host: str, *_: Any, returns: Any = None, **_bounds: float) -> Any:
        return as_asked(self.given[host], returns, host)


def _compare(answers: Mapping[str, Any], host: str) -> Callable[[bytes], None]:
    others = {name: json.dumps(one).encode() for name, one in answers.items()}

    def digest(data: bytes) -> None:
        site: Any = _Reconciled(others | {host: data})
        found = asyncio.run(reconcile.mismatches(site))
        for one in found.mismatches:
            expect_clean([one.subject, one.evidence, one.command])
            assert all(map(is_uuid, one.repair.arguments.values() if one.repair else ()))
        for missing in found.missing:
            expect_clean([missing.what, missing.why, missing.remedy])
        expect_clean([*found.notes, *(one.evidence for one in found.guards)])
        reconcile_plan(CLOUD, found.mismatches)
        reconcile_table(found, width=100).encode()
        reconcile_document(found).encode()

    return digest


ENDPOINTS = tuple(one for service in all_services() for one in service.rpc_endpoints)


def _messaging() -> Any:
    text = (of_agents.DATA / "all-well.json").read_text(encoding="utf-8")
    return json.loads(text)["answers"]["controller ask_messaging"]


def judge_messaging(data: bytes) -> None:
    """Judge an agent of each kind by what the broker reports."""
    messaging = read_messaging(read(MessagingAnswer, data))
    topology = RpcTopology(messaging=messaging, rpc_endpoint=ENDPOINTS, reconnect=60.0)
    for endpoint in ENDPOINTS:
        one = Agent(
            binary=endpoint.binary,
            host="compute1",
            up=True,
            enabled=True,
            heartbeat=datetime.now(UTC),
            interval=10.0,
            down_after=60.0,
        )
        expect_clean([topology.trouble(one)])
        topology.takes(one)
    assert all(isinstance(port, int) for _, port in messaging.connections)
    expect_clean([messaging.refused])


def _impact() -> Iterator[Reader]:
    """Give what a host answers about those that depend on another."""
    ss = (RECORDED / "health" / "data" / "ss-compute1.txt").read_text(encoding="utf-8")
    about = {"connections": [list(one) for one in connections(ss)], "resumes": True}
    for host in ("controller", "compute1"):
        yield Reader(name=f"impact, {host}", recorded=about, digest=_judge_impact(host, about))


class _Lost(CloudSession):
    """A cloud whose hosts answer what is in ``given``, or what is usual."""

    def __init__(self, given: Mapping[str, Any], usual: Any) -> None:
        super().__init__(cloud=CLOUD, shell=None, api=reconciled.Recorded.api)  # type: ignore[arg-type]
        self.given, self.usual = given, usual

    @property
    def services(self) -> Sequence[Service]:
        return [named("nova")]

    async def ask(  # type: ignore[override]
        self, host: str, _function: Any, *_: Any, **options: Any
    ) -> Any:
        return as_asked(self.given.get(host, self.usual), options["returns"], host)

    async def catalogue(self) -> Any:
        return []

    workloads = agents = catalogue


def _judge_impact(host: str, usual: Any) -> Callable[[bytes], None]:
    async def check_hosts(*_: Any, **__: Any) -> list[Any]:
        return []

    setattr(impact, "check_hosts", check_hosts)  # noqa: B010 - what it imports from elsewhere

    def digest(data: bytes) -> None:
        found = judge_impact(asyncio.run(impact.observe_impact(_Lost({host: data}, usual), host)))
        expect_clean(text for one in found for text in (one.what, one.why))

    return digest


class _Asked(AddressSession):
    """Two hosts of which one, or the suspect itself, prints what is given."""

    def __init__(self, own: bytes | None = None, answer: bytes | None = None) -> None:
        both = {"192.0.2.11": [A, B], "192.0.2.21": [C]}
        super().__init__({"here": {}, "controller": both, "compute1": both})
        self.mine, self.answer = own, answer

    def printed(self, host: str, function: Any, *arguments: Any, bound: float) -> Any:
        if function is own_macs:
            return self.mine if self.mine is not None else [A]
        if self.answer is not None and host == "controller":
            return self.answer
        return super().printed(host, function, *arguments, bound=bound)


def judge_addresses(data: bytes) -> None:
    """Judge by what a host says of who answers."""
    _find_shared(_Asked(answer=data))


def judge_own(data: bytes) -> None:
    """Judge by what a host says of its own interfaces."""
    _find_shared(_Asked(own=data))


def _find_shared(session: Any) -> None:
    addresses._AGAIN = 0.0
    show(asyncio.run(addresses.findings(session, here=session.here)))
