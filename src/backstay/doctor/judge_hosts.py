"""Judge what the hosts answered. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from backstay.answers import BadAnswer, Line, convert
from backstay.backup.mariadb import needs as database
from backstay.commands import command, quoted
from backstay.doctor.facts import HostFacts, Inside
from backstay.doctor.judge_here import TEMPORARY_ROOM
from backstay.doctor.needs import Topic
from backstay.doctor.onhost import OLDEST
from backstay.doctor.point import Point, State, lacking, refused, there, unknown
from backstay.doctor.read_hosts import DATABASE
from backstay.errors import HostError, HostUnreachable, NoPython, RemoteFailure
from backstay.finding import Severity
from backstay.health.judge_host import duration_exact
from backstay.health.remedy import on, ssh
from backstay.inventory.cloud import Cloud
from backstay.lacking import PACKAGES, Lack, install
from backstay.quantities import size
from backstay.transports.sudo_errors import FILE, refusal
from backstay.transports.targets import SshTarget

_TRUE = frozenset({"true", "1", "on", "yes"})
_MANY = 2
Answers = Mapping[str, HostFacts | HostError]


@dataclass(frozen=True, slots=True)
class _Asked:
    """One host that answered: what is judged of it, and how it is reached."""

    cloud: Cloud
    host: str
    facts: HostFacts

    @property
    def target(self) -> SshTarget:
        return self.cloud.ssh_target(self.cloud.hosts[self.host])

    @property
    def inside(self) -> Inside | None:
        root = self.facts.outside.root
        return root if root is not None and root.is_root else None

    def ok(self, topic: Topic, what: str, evidence: str) -> Point:
        return there(topic, what, evidence, host=self.host)

    def lack(self, topic: Topic, lack: Lack) -> Point:
        return lacking(topic, lack, host=self.host, ssh=ssh(self.target))


def judge_hosts(cloud: Cloud, answers: Answers, wanted: Collection[Topic]) -> list[Point]:
    """Return what is there, missing and unknown of the hosts."""
    found: list[Point] = []
    silent = all(isinstance(answer, HostUnreachable) for answer in answers.values())
    for name, answer in answers.items():
        if isinstance(answer, HostError):
            direct = cloud.ssh_target(cloud.hosts[name]).jumps is None
            found += _not_asked(name, answer, hint=_BASTION if silent and direct else "")
        else:
            asked = _Asked(cloud, name, answer)
            found += [*_login(asked), *_root(asked), *_inside(asked, wanted)]
    found += _clocks(cloud, answers)
    return [point for point in found if point.topic in wanted]


_BASTION = "; no host is reached: if a bastion is in front of them, name it in `jumps`: docs/ssh.md"
"""Added to what is to be done where not one host answers, as on a machine that is new."""


def _not_asked(host: str, error: HostError, *, hint: str = "") -> Iterator[Point]:
    if isinstance(error, NoPython):
        yield there(Topic.LOGIN, "login", "it lets this user in", host=host)
        yield refused(Topic.PYTHON, "python3", error, host=host)
    elif isinstance(error, RemoteFailure):
        yield refused(Topic.PYTHON, "questions", error, host=host, state=State.UNKNOWN)
    elif isinstance(error, HostUnreachable):
        point = refused(Topic.LOGIN, "connection", error, host=host, state=State.UNKNOWN)
        yield replace(point, remedy=f"{point.remedy}{hint}")
    else:
        yield refused(Topic.LOGIN, "login", error, host=host)


def _login(asked: _Asked) -> Iterator[Point]:
    outside = asked.facts.outside
    yield asked.ok(Topic.LOGIN, "login", f"as {outside.user}, its key is known")
    version = ".".join(map(str, outside.python))
    if outside.python[:2] >= OLDEST:
        yield asked.ok(Topic.PYTHON, "python3", version)
    else:
        oldest = ".".join(map(str, OLDEST))
        yield asked.lack(
            Topic.PYTHON,
            Lack(
                what="python3",
                evidence=f"it is {version}; {oldest} or newer is needed",
                remedy="install a newer one, so that `python3` is that",
            ),
        )


def _root(asked: _Asked) -> Iterator[Point]:
    outside = asked.facts.outside
    if outside.python[:2] < OLDEST:
        return  # nothing was asked as root
    if asked.inside is not None:
        by = "" if outside.is_root else " by sudo, without a question"
        yield asked.ok(Topic.ROOT, "root", f"{outside.user} is root{by}")
    elif outside.root is not None:
        yield _refused_by_sudo(asked, ["sudo does not make this user root"])
    elif outside.is_root:  # it is root: what failed is not sudo
        evidence = f"the questions ended: {'; '.join(outside.refused) or 'no answer'}"
        yield unknown(Topic.PYTHON, "questions", evidence, host=asked.host)
    else:
        yield _refused_by_sudo(asked, outside.refused)


def _refused_by_sudo(asked: _Asked, said: Sequence[str]) -> Point:
    """Judge what sudo said, as ``sudo_errors`` does."""
    found = refusal("\n".join(said), asked.facts.outside.user)
    if found is None:
        return unknown(
            Topic.ROOT,
            "sudo",
            "; ".join(said) or "it said nothing",
            host=asked.host,
            remedy=f"try by hand: {_terminal(asked.target)} sudo -n true",
        )
    if found.line:
        return asked.lack(Topic.ROOT, _rule_is_missing(asked, found.came_back, found.line))
    lack = Lack(what="sudo", evidence=found.came_back, remedy=found.remedy)
    return asked.lack(Topic.ROOT, lack)


def _rule_is_missing(asked: _Asked, evidence: str, line: str) -> Lack:
    """Return the lack of a line of sudoers(5), and the command that adds it.

    That command may ask for a password, on a terminal.
    """
    text = f"echo {quoted(line)} | sudo tee -a {FILE}"
    return Lack(
        what="sudo (requiretty)" if line.startswith("Defaults") else "sudo (NOPASSWD)",
        evidence=evidence,
        remedy="as a user who may use sudo there; docs/ssh.md has all lines",
        command=f"{_terminal(asked.target)} {quoted(text)}",
    )


def _terminal(target: SshTarget) -> str:
    """Return the command that reaches a host as its login, with a terminal."""
    return ssh(target).removesuffix(" sudo").replace("ssh ", "ssh -t ", 1)


def _inside(asked: _Asked, wanted: Collection[Topic]) -> Iterator[Point]:
    """Give what root has answered; nothing where root was not reached: that is a point already."""
    if asked.inside is None:
        return
    yield from _systemd(asked)
    yield from _temporary(asked)
    if Topic.RPC_PING in wanted:
        yield from _rpc_ping(asked)
    if Topic.PROVISION in wanted:
        yield from _provision(asked)
    if DATABASE in asked.inside.answers:
        yield from _database(asked)


def _value(asked: _Asked, name: str, kind: type, topic: Topic) -> object:
    """Return an answer as a value of a type, or the point of one that is not known."""
    answer = asked.inside.answers.get(name) if asked.inside else None
    if answer is None or answer.trouble:
        return unknown(topic, name, answer.trouble if answer else "not answered", host=asked.host)
    try:
        return convert(kind, answer.value)
    except BadAnswer as error:
        return unknown(topic, name, f"could not read: {error}", host=asked.host)


def _systemd(asked: _Asked) -> Iterator[Point]:
    found = _value(asked, "systemd", bool, Topic.SYSTEMD)
    if isinstance(found, Point):
        yield found
    elif found:
        yield asked.ok(Topic.SYSTEMD, "systemd", "it is the host's init")
    else:
        lack = Lack(
            what="systemd",
            evidence="it is not the host's init: its services cannot be read or restarted",
            remedy="Backstay needs it on hosts: services in containers are not known to it",
        )
        yield asked.lack(Topic.SYSTEMD, lack)


def _temporary(asked: _Asked) -> Iterator[Point]:
    found = _value(asked, "temporary", tuple[Line, int], Topic.TEMPORARY)
    if isinstance(found, Point):
        yield found
        return
    assert isinstance(found, tuple)  # noqa: S101 - as it was read
    folder, free = found
    if free >= TEMPORARY_ROOM:
        yield asked.ok(Topic.TEMPORARY, "folder for temporary files", f"{size(free)} free")
        return
    lack = Lack(
        what="folder for temporary files",
        evidence=f"{folder}: {size(free)} are free",
        command=on(asked.target, f"du -xh {quoted(folder)} | sort -h | tail -n 20"),
    )
    yield asked.lack(Topic.TEMPORARY, lack)


def _rpc_ping(asked: _Asked) -> Iterator[Point]:
    found = _value(asked, "rpc", list[tuple[Line, Line, Line]], Topic.RPC_PING)
    if isinstance(found, Point):
        yield found
        return
    assert isinstance(found, list)  # noqa: S101 - as it was read
    off: dict[str, list[str]] = {}
    for binary, value, file in found:
        if value.lower() not in _TRUE:
            off.setdefault(file, []).append(binary)
    for file, binaries in off.items():
        edit = command(
            *("sed", "-i", "-e", "/^rpc_ping_enabled/d"),
            *("-e", "/^\\[DEFAULT\\]/a rpc_ping_enabled = true", file),
        )
        line = f"{edit} && {command('systemctl', 'restart', *binaries)}"
        yield asked.lack(
            Topic.RPC_PING,
            Lack(
                what="rpc_ping_enabled",
                evidence=f"off for {', '.join(binaries)}: each question to them is an error in "
                "their logs",
                remedy="it restarts them",
                command=on(asked.target, line),
                optional=True,
            ),
        )
    if found and not off:
        yield asked.ok(Topic.RPC_PING, "rpc_ping_enabled", f"on for {len(found)} agents")


def _provision(asked: _Asked) -> Iterator[Point]:
    """Give what builds hosts and is not on this one, whose backup has it for the spare."""
    topic, lacks = Topic.PROVISION, False
    for question, what in (("programs", "program"), ("files", "file")):
        missing = _value(asked, question, list[Line], topic)
        if isinstance(missing, Point):
            yield missing
            continue
        assert isinstance(missing, list)  # noqa: S101 - as it was read
        for name in missing:
            lacks = True
            package = PACKAGES.get(name, "")
            yield asked.lack(
                topic,
                Lack(
                    what=f"{what} {name}",
                    evidence="`provision` in cloud.yaml names it, and it is not there",
                    remedy="" if package else "put it there, or correct `provision`",
                    packages=(package,) if package else (),
                    command=on(asked.target, install([package])) if package else "",
                ),
            )
    if not lacks:
        yield asked.ok(topic, "provision", "what builds it is there")


def _database(asked: _Asked) -> Iterator[Point]:
    topic = Topic.DATABASE
    answer = asked.inside.answers[DATABASE] if asked.inside else None
    if answer is not None and answer.trouble:
        lack = asked.lack(topic, database.no_answer(answer.trouble))
        yield unknown(topic, lack.what, lack.evidence, host=asked.host, remedy=lack.command)
        return
    found = _value(asked, DATABASE, database.Readiness, topic)
    if isinstance(found, Point):
        yield found
        return
    assert isinstance(found, database.Readiness)  # noqa: S101 - as it was read
    lacks = database.missing_on_host(found, asked.cloud.backup.engine)
    yield from (asked.lack(topic, lack) for lack in lacks)
    if not lacks:
        yield asked.ok(topic, "databases", f"{found.version}, and what copies them is there")
    log = database.missing_log(found)
    if log is not None:
        yield asked.lack(Topic.DATABASE_LOG, log)
    else:
        yield asked.ok(Topic.DATABASE_LOG, "log of the databases", "it is written")


def server_versions(answers: Answers) -> Mapping[str, str]:
    """Return the versions of the servers of databases, by host."""
    found = {}
    for name, answer in answers.items():
        root = None if isinstance(answer, HostError) else answer.outside.root
        asked = root.answers.get(DATABASE) if root else None
        if asked is not None and isinstance(asked.value, dict):
            found[name] = str(asked.value.get("version", ""))[:100]
    return {name: version for name, version in found.items() if version}


def _clocks(cloud: Cloud, answers: Answers) -> Iterator[Point]:
    """Give each clock's offset; where all hosts differ likewise it is this machine's that is wrong.

    Only what is sure counts as an offset.
    """
    read = {name: one for name, one in answers.items() if isinstance(one, HostFacts)}
    sure = {name: _sure_offset(one) for name, one in read.items()}
    limit = cloud.limits.clock_offset_seconds
    severities = {name: limit.severity(abs(offset)) for name, offset in sure.items()}
    off = {name: sure[name] for name, one in severities.items() if one is not Severity.OK}
    one_way = len({offset > 0 for offset in off.values()}) == 1
    if len(off) >= _MANY and len(off) == len(read) and one_way:
        least = min(off.values(), key=abs)
        direction = "behind" if least > 0 else "ahead of"
        lack = _clock(f"{duration_exact(abs(least))} or more {direction} all {len(off)} hosts'")
        yield lacking(Topic.CLOCK, lack)
        return
    for name, offset in sure.items():
        if name not in off:
            evidence = f"{abs(offset):.1f} s" if offset else "the same"
            yield there(Topic.CLOCK, "clock", evidence, host=name)
            continue
        direction = "ahead of" if offset > 0 else "behind"
        target = cloud.ssh_target(cloud.hosts[name])
        optional = severities[name] is Severity.WARNING
        lack = _clock(
            f"{duration_exact(abs(offset))} {direction} this machine's", target, optional=optional
        )
        yield lacking(Topic.CLOCK, lack, host=name)


def _sure_offset(facts: HostFacts) -> float:
    sure = max(0.0, abs(facts.offset) - facts.uncertainty)
    return sure if facts.offset > 0 else -sure


def _clock(evidence: str, target: SshTarget | None = None, *, optional: bool = False) -> Lack:
    line = command("timedatectl", "set-ntp", "true")
    return Lack(
        what="clock",
        evidence=evidence,
        remedy="let it follow a time server; where nothing does that: "
        f"{install(['systemd-timesyncd'])}",
        command=on(target, line) if target else line,
        optional=optional,
    )
