"""Rule 1: no host gets another's identity before that one is known to be off."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from backstay.access.session import CloudSession
from backstay.backup.catalogue import Backup
from backstay.backup.place import Place
from backstay.errors import BackstayError, BackupError, HostKeyRefused
from backstay.inventory.cloud import Cloud
from backstay.journal.action import Refused, Result, Running
from backstay.journal.plan import Plan, Step
from backstay.runbooks.replace import onhost
from backstay.runbooks.replace.identity import Adopt, host_name
from backstay.transports import limits
from backstay.transports.targets import Answer, SshTarget

HOSTS = {
    "controller": {"address": "192.0.2.11", "roles": ["controller"]},
    "spare1": {"address": "192.0.2.31", "roles": ["spare"]},
}
FENCED: Mapping[str, Result] = {
    "controller.fence": {"how": "power"},
    "controller.prepare": {"addresses": ["192.0.2.11", "192.0.2.31"]},
}


class Hosts:
    """A spare whose answers are given by the function that it is asked to call."""

    def __init__(self, answers: dict[str, dict[str, Any] | Exception]) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.sent = 0
        self.dropped: list[str] = []

    async def answer(
        self, target: SshTarget, script: str, *, bound: float, most: int = limits.ANSWER
    ) -> Answer:
        del bound
        name = script.partition("print_as_root(lambda: ")[2].partition("(")[0]
        self.asked.append(f"{target.name}.{name}")
        found = self.answers[f"{target.name}.{name}"]
        if isinstance(found, Exception):
            raise found
        return Answer(stdout=json.dumps(found), sent_at=0, received_at=0)

    async def send(self, target: SshTarget, script: str, data: Any, *, silence: float) -> None:
        del script, silence
        self.asked.append(f"{target.name}.send")
        async for _ in data:
            self.sent += 1

    async def stream(self, *_: Any, **__: Any) -> str:
        raise AssertionError("nothing is streamed")

    def drop(self, target: SshTarget) -> None:
        self.dropped.append(target.name)


async def still_fenced(_site: CloudSession, _running: Running, *, adopted: Sequence[str]) -> None:
    """Nothing else answers: ``test_fencing`` tries what this really does."""
    assert set(adopted) <= {"aa"}


def adopting(folder: Path, hosts: Hosts, results: Mapping[str, Result]) -> tuple[Adopt, Running]:
    cloud = Cloud.model_validate(
        {"credentials": {"openrc": "o"}, "hosts": HOSTS, "backup": {"folder": str(folder)}}
    )
    place = Place(cloud)
    place.catalogue.write(
        Backup(name="controller-1", cloud="cloud", host="controller", taken_at=0, seconds=1)
    )
    files = folder / "restore" / "m" / "files"
    (files / "content" / "etc").mkdir(parents=True)
    (files / "content" / "etc" / "hostname").write_text("controller.example\n")
    entries = [["/etc/hostname", "f", 0o644, 0, 0, 19, 5, ""]]
    (files / "manifest.json").write_text(
        json.dumps({"entries": entries, "users": {"0": "root"}, "groups": {"0": "root"}})
    )
    step = Step(id="controller.adopt", action="adopt", target="controller", does="", bound=60)
    settings = {"spare": "spare1", "backup": "controller-1", "to": "", "service": "", "mark": "m"}
    plan = Plan(
        runbook="replace",
        cloud="cloud",
        targets=("controller", "spare1"),
        steps=(step,),
        settings=settings,
    )
    running = Running(
        run="replace-1", plan=plan, step=step, results=results, started=1.0, report=lambda _: None
    )
    site = CloudSession(cloud=cloud, shell=hosts, api=BackupError("x", came_back="x", remedy="x"))
    return Adopt(site, place, still_fenced), running


def spare(**more: dict[str, Any] | Exception) -> dict[str, dict[str, Any] | Exception]:
    adopted = {"boot_id": "b", "device": "eth0", "configured": [], "kept": ""}
    return {
        "spare1.holds": {"has": False, "mac": "aa"},
        "controller.holds": {"has": True, "mac": "aa"},
        "spare1.boot_id": {"boot_id": "b"},
        "spare1.listing": {"entries": []},
        "spare1.adopt": adopted,
        "controller.boot_id": {"boot_id": "b"},
        **{name.replace("_x_", "."): value for name, value in more.items()},
    }


def test_without_a_fence_nothing_is_asked_and_nothing_is_done(tmp_path):
    hosts = Hosts(spare())
    several: tuple[Mapping[str, Result], ...] = (
        {},
        {"controller.fence": {}},
        {"spare1.fence": {"how": "power"}},
    )
    for results in several:
        action, running = adopting(tmp_path / str(len(str(results))), hosts, results)
        with pytest.raises(Refused, match="no step of this run has made sure"):
            asyncio.run(action.do(running))
    assert hosts.asked == []


def test_the_spare_is_proved_to_answer_as_the_host_and_then_asked_by_that_name_alone(tmp_path):
    hosts = Hosts(spare())
    action, running = adopting(tmp_path, hosts, FENCED)
    result = asyncio.run(action.do(running))
    assert hosts.asked == [
        "spare1.holds",
        "spare1.boot_id",
        "spare1.listing",
        "spare1.send",
        "spare1.adopt",
        "controller.boot_id",
    ]
    assert hosts.sent
    assert hosts.dropped == ["controller", "spare1"]
    assert "NOT at boots" in result.summary


def test_a_host_that_still_answers_keeps_its_address(tmp_path):
    hosts = Hosts(spare(spare1_x_adopt={"others": ["52:54:00:00:00:01"]}))
    action, running = adopting(tmp_path, hosts, FENCED)
    with pytest.raises(BackstayError, match="52:54:00:00:00:01"):
        asyncio.run(action.do(running))
    assert "controller.boot_id" not in hosts.asked


def test_another_machine_at_the_address_is_no_proof(tmp_path):
    hosts = Hosts(spare(controller_x_boot_id={"boot_id": "another"}))
    action, running = adopting(tmp_path, hosts, FENCED)
    with pytest.raises(BackstayError, match="not the spare's"):
        asyncio.run(action.do(running))


@pytest.mark.parametrize(("mark", "well"), [("m", True), ("other", False), ("", False)])
def test_adopted_already_it_is_known_by_its_run_s_mark_only(tmp_path, mark, well):
    """Interrupted after its keys were changed it is a stranger under its own name."""
    refused = HostKeyRefused("a", came_back="b", remedy="c")
    hosts = Hosts(
        spare(
            spare1_x_boot_id=refused,
            controller_x_adopted={"boot_id": "b", "mark": mark},
            controller_x_listing={"entries": []},
            controller_x_adopt={"boot_id": "b", "device": "eth0", "configured": ["/a"], "kept": ""},
        )
    )
    action, running = adopting(tmp_path, hosts, FENCED)
    if well:
        assert "at boots by /a" in asyncio.run(action.do(running)).summary
    else:
        with pytest.raises(BackstayError, match="another run's spare, or the host itself"):
            asyncio.run(action.do(running))
        assert "controller.adopt" not in hosts.asked


def test_what_answers_with_the_address_is_found_before_anything_is_changed(monkeypatch):
    done: list[str] = []
    monkeypatch.setattr(onhost, "interface", lambda a: ("e", 24) if a.endswith(".31") else None)
    monkeypatch.setattr(onhost, "others_at", lambda *_: ["52:54:00:00:00:01"])
    for name in ("place_files", "put_aside", "configure", "note", "announce", "reload_sshd"):
        monkeypatch.setattr(onhost, name, lambda *_, name=name: done.append(name))
    given = {
        "mark": "m",
        "name": "c",
        "old": "192.0.2.11",
        "own": "192.0.2.31",
        "staging": "/none",
        "folders": [],
        "declared": [],
        "keys": [],
    }
    assert onhost.adopt(given) == {"others": ["52:54:00:00:00:01"]}
    assert done == []


@pytest.mark.parametrize(
    ("written", "name"),
    [
        (b"contr\xff\xfeoller\n", "contr\ufffd\ufffdoller"),
        (b"a\x1b[2Jb", "a\ufffd[2Jb"),
        (b"x" * 5000, ""),
    ],
)
def test_the_name_in_a_backup_is_read_whatever_it_is(tmp_path, written, name):
    path = tmp_path / "content" / "etc" / "hostname"
    path.parent.mkdir(parents=True)
    path.write_bytes(written)
    context = cast("Any", SimpleNamespace(files=tmp_path))
    assert host_name(context) == name


def test_the_name_in_a_backup_is_not_read_through_a_link(tmp_path):
    (tmp_path / "own").write_text("OPERATOR-PRIVATE-KEY")
    path = tmp_path / "files" / "content" / "etc" / "hostname"
    path.parent.mkdir(parents=True)
    path.symlink_to(tmp_path / "own")
    assert host_name(cast("Any", SimpleNamespace(files=tmp_path / "files"))) == ""
