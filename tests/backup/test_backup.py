"""What is chosen, kept and proved, without a cloud."""

import asyncio
import errno
import json
import os
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.backup import onhost, proof
from backstay.backup.catalogue import Backup, Catalogue, State
from backstay.backup.files import Mirror, needed
from backstay.backup.manifest import Entry, from_document
from backstay.backup.mariadb import onhost_database
from backstay.backup.place import Place, unwritable
from backstay.backup.prune import to_forget
from backstay.backup.selection import HOST, OTHER, contents, invariants, selection
from backstay.errors import BackupError, RemoteFailure
from backstay.inventory.backup import Keep
from backstay.inventory.cloud import Cloud
from backstay.runbooks.backup.plan import plan
from backstay.runbooks.backup.prove import missing_files, wrong_files
from backstay.services.declaration import Invariant
from backstay.services.registry import all_services

DATA = Path(__file__).parent / "data"


def cloud(**more: Any) -> Cloud:
    hosts = {
        "controller": {"address": "192.0.2.11", "roles": ["controller"]},
        "proxy": {"address": "192.0.2.12", "roles": ["storage-proxy"]},
    }
    return Cloud.model_validate({"credentials": {"openrc": "openrc"}, "hosts": hosts} | more)


def backup(name: str, at: float, state: State = State.TAKEN, host: str = "controller") -> Backup:
    return Backup(name=name, cloud="lab", host=host, taken_at=at, seconds=1.0, state=state)


def test_a_controller_s_backup_holds_all_that_its_services_name() -> None:
    chosen = selection(cloud(), cloud().hosts["controller"], all_services())
    assert {
        "keystone",
        "glance",
        "nova",
        "nova_api",
        "nova_cell0",
        "neutron",
        "cinder",
        "placement",
    } == set(chosen.databases)
    assert {"/etc/keystone", "/var/lib/glance/images", "/etc/ssh", "/etc/hostname"} <= set(
        chosen.paths
    )
    assert "/var/lib/nova/instances/*" in chosen.leave_out
    assert "rabbitmq-definitions.json" in chosen.exports


def test_the_site_s_own_paths_are_in_every_backup() -> None:
    named = cloud(backup={"paths": ["/srv/site//hiera/", "/etc/ssh"]})
    for host in named.hosts.values():
        paths = selection(named, host, all_services()).paths
        assert "/srv/site/hiera" in paths
        assert paths.count("/etc/ssh") == 1
    for wrong in ("hiera", "/srv/../etc", ""):
        with pytest.raises(ValueError, match="not the absolute path"):
            cloud(backup={"paths": [wrong]})


def test_accounts_and_grants_that_are_missing_are_told() -> None:
    noted = [f"nova@192.0.2.{n}" for n in range(7)] + ["nova@% on nova"]

    async def ask(_text: str) -> list[str]:
        return noted[:1]

    [told] = asyncio.run(proof.lost_grants(ask, noted))
    assert told.startswith("accounts or grants are missing: nova@% on nova, nova@192.0.2.1")
    assert told.endswith(" and 2 more")
    assert asyncio.run(proof.lost_grants(ask, noted[:1])) == []
    assert asyncio.run(proof.lost_grants(ask, [])) == []


def test_a_proxy_s_backup_holds_rings_and_builders_and_no_database() -> None:
    chosen = selection(cloud(), cloud().hosts["proxy"], all_services())
    assert chosen.databases == ()
    assert {"/etc/swift", "/var/backups/swift"} <= set(chosen.paths)
    steps = plan(cloud(), ["proxy"], all_services(), verify=True).steps
    assert [step.action for step in steps] == ["repository", "bring", "files", "record", "verify"]


def test_invariants_of_services_that_are_not_there_are_not_asked() -> None:
    without = cloud(services={"without": ["cinder"]})
    assert not any("cinder" in one.needs for one in invariants(without, all_services()))
    assert any("cinder" in one.needs for one in invariants(cloud(), all_services()))


def test_the_catalogue_lists_what_is_whole(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    catalogue.write(backup("a", 1.0))
    catalogue.write(backup("b", 2.0, State.VERIFIED).with_part("files", "1234", 10, 5))
    (tmp_path / "c.part").write_text("{")
    assert [one.name for one in catalogue.backups()] == ["b", "a"]
    assert catalogue.named("controller").name == "b"
    assert catalogue.named("b").snapshots == {"files": "1234"}
    assert catalogue.verified_at("controller") == 2.0
    catalogue.write(backup("b", 2.0).proved(State.FAILED, {"problems": ["x"]}))
    assert catalogue.verified_at("controller") is None
    with pytest.raises(BackupError, match="none of that name"):
        catalogue.named("proxy")
    with pytest.raises(BackupError, match=r"folder /gone/catalogue is not there"):
        Catalogue(Path("/gone/catalogue")).named("proxy")
    (tmp_path / "d.json").write_text("[]")
    with pytest.raises(BackupError, match="not a catalogue file of a backup"):
        catalogue.backups()


def test_why_a_hot_backup_failed_without_what_the_page_held() -> None:
    lines = (DATA / "mariadb-backup-damaged.txt").read_text().splitlines()
    told = onhost_database.why_not(lines)
    assert told.startswith("the table glance.backstay_story is damaged on its disk: Error: failed")
    assert "hex" not in told
    assert onhost_database.why_not(lines[-1:]) == "mariabackup: Error: failed to copy datafile."
    assert onhost_database.why_not([" len 16384; hex 736563726574"]) == (
        "mariadb-backup failed without a reason"
    )


@given(
    st.lists(
        st.tuples(st.floats(0, 4e7), st.sampled_from(State)), max_size=40, unique_by=lambda t: t[0]
    ),
    st.builds(
        Keep,
        last=st.integers(1, 5),
        daily=st.integers(0, 7),
        weekly=st.integers(0, 4),
        monthly=st.integers(0, 6),
    ),
)
def test_what_is_kept(times: list[tuple[float, State]], keep: Keep) -> None:
    there = [backup(str(n), at, state) for n, (at, state) in enumerate(times)]
    gone = {one.name for one in to_forget(there, keep, UTC)}
    newest = sorted(there, key=lambda one: one.taken_at, reverse=True)
    assert not gone & {one.name for one in newest[: keep.last]}
    verified = [one.name for one in newest if one.state is State.VERIFIED]
    assert not gone & set(verified[:1]), "the last verified one is never removed"
    most = keep.last + keep.daily + keep.weekly + keep.monthly + 1
    assert len(there) - len(gone) <= most
    left = [one for one in there if one.name not in gone]
    assert to_forget(left, keep, UTC) == [], "pruning again removes nothing more"


def test_one_of_each_day_is_kept() -> None:
    hours = [
        backup(f"{d}-{h}", datetime(2026, 11, d, h, tzinfo=UTC).timestamp())
        for d in range(1, 6)
        for h in (1, 13)
    ]
    gone = {one.name for one in to_forget(hours, Keep(last=1, daily=3, weekly=0, monthly=0), UTC)}
    assert {one.name for one in hours} - gone == {"5-13", "4-13", "3-13"}
    failed = [replace(one, state=State.FAILED) if "13" in one.name else one for one in hours]
    gone = {one.name for one in to_forget(failed, Keep(last=1, daily=3, weekly=0, monthly=0), UTC)}
    assert {one.name for one in hours} - gone == {"5-13", "5-1", "4-1", "3-1"}


def entry(path: str, size: int = 3, changed: int = 1, kind: str = "f") -> Entry:
    return Entry(path, kind, 0o644, 0, 0, size, changed, "to" if kind == "l" else "")


def test_only_what_is_new_travels() -> None:
    known = [entry("/a"), entry("/b"), entry("/c"), entry("/d", kind="d")]
    now = [
        entry("/a"),
        entry("/b", size=4),
        entry("/c", changed=2),
        entry("/e"),
        entry("/l", kind="l"),
    ]
    need = needed(now, known)
    assert set(need.fetch) == {"/b", "/c", "/e"}
    assert need.remove == ()
    assert needed([entry("/a")], known).remove == ("/b", "/c")


def test_a_mirror_takes_an_archive_and_misses_what_did_not_come(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "nova.conf").write_text("abc")
    told = from_document(onhost.manifest([str(source)], ["*/left-out*"]))
    mirror = Mirror(tmp_path / "mirror")
    with pytest.raises(BackupError, match="1 are missing"):
        mirror.note(told)

    async def fetch() -> None:
        tar = await asyncio.create_subprocess_exec(
            "tar", "-c", str(source / "nova.conf"), stdout=asyncio.subprocess.PIPE
        )
        assert tar.stdout is not None
        async with mirror.extracting(told.regular(), host="controller") as take:
            await take(await tar.stdout.read())
        await tar.wait()

    asyncio.run(fetch())
    assert mirror.has(told.entries)
    mirror.note(told)
    assert needed(told.entries, mirror.known()).fetch == ()
    (mirror.content / str(source).lstrip("/") / "nova.conf").write_text("torn by a crash")
    assert needed(told.entries, mirror.known()).fetch == (str(source / "nova.conf"),)


def test_a_torn_archive_is_told(tmp_path: Path) -> None:
    async def torn() -> None:
        async with Mirror(tmp_path).extracting([entry("/a")], host="proxy") as take:
            await take(b"this is no archive" * 100)

    with pytest.raises(RemoteFailure, match=r"files of proxy: .*not one of tar"):
        asyncio.run(torn())


def test_the_manifest_leaves_out_what_it_is_told_to(tmp_path: Path) -> None:
    (tmp_path / "instances" / "1").mkdir(parents=True)
    (tmp_path / "instances" / "1" / "disk").write_text("x")
    (tmp_path / "keep").symlink_to("nowhere")
    told = onhost.manifest([str(tmp_path)], [f"{tmp_path}/instances/*"])["entries"]
    assert [one[0] for one in told] == [
        str(tmp_path),
        f"{tmp_path}/instances",
        f"{tmp_path}/keep",
    ]
    assert told[2][1] == "l"
    assert told[2][7] == "nowhere"


def test_rows_that_are_neither_before_nor_after_nor_between() -> None:
    before = {"nova.instances": 10, "nova.migrations": 5, "cinder.volumes": 3}
    after = {"nova.instances": 12, "nova.migrations": 5, "cinder.volumes": 3}
    assert proof.lost_rows(before, after, before) == []
    assert proof.lost_rows(before, after, {**after, "nova.instances": 11}) == []
    assert proof.lost_rows(before, after, {**after, "nova.instances": 9}) == [
        "nova.instances has 9 rows instead of 10 to 12"
    ]
    restored = {"nova.instances": 10, "nova.migrations": 0}
    assert proof.lost_rows(before, after, restored) == [
        "nova.migrations has 0 rows instead of 5",
        "cinder.volumes is missing",
    ]


def test_tables_in_which_rows_come_and_go() -> None:
    before, after = {"cinder.workers": 1, "nova.services": 4}, {"cinder.workers": 1}
    touched = ["cinder.workers"]
    assert proof.lost_rows(before, after, {"cinder.workers": 3, "nova.services": 4}, touched) == []
    assert proof.lost_rows(before, after, {"cinder.workers": 0, "nova.services": 4}, touched) == [
        "cinder.workers is empty, and had 1 rows"
    ]


def test_an_invariant_that_is_broken_names_what_breaks_it() -> None:
    async def ask(text: str) -> list[str]:
        return [f"uuid-{n}" for n in range(7)] if "nova" in text else []

    held = Invariant(says="volumes without x", broken="SELECT cinder", needs=())
    broken = Invariant(says="instances without y", broken="SELECT nova", needs=())
    [told] = asyncio.run(proof.broken_invariants(ask, [held, broken]))
    assert told.startswith("7 instances without y: uuid-0, ")
    assert told.endswith("and 2 more")


def test_another_schema_is_told() -> None:
    noted = {"nova": ["abc"], "cinder": ["1", "2"]}
    assert proof.other_schemas(noted, noted) == []
    [told] = proof.other_schemas(noted, {"nova": ["abd"], "cinder": ["1", "2"]})
    assert told == "nova has schema abd instead of abc"


def test_images_are_compared_with_their_records(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"abc")
    right = ["/image", "sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"]
    assert wrong_files(tmp_path, [right]) == []
    found = wrong_files(tmp_path, [["/image", "sha512", "00"], ["/gone", "sha512", "00"]])
    assert found == ["/image has another digest than its record", "/gone is missing"]


def test_restored_files_are_compared_with_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "content").mkdir()
    (tmp_path / "content" / "a").write_text("abc")
    entries = [entry("/a"), entry("/b"), entry("/d", kind="d")]
    (tmp_path / "manifest.json").write_text(json.dumps({"entries": entries}))
    assert missing_files(tmp_path) == ["1 file is missing or incomplete: /b"]


def test_a_repository_on_the_host_itself_is_refused(tmp_path: Path) -> None:
    there = cloud(
        backup={"repository": "sftp:root@192.0.2.11:/srv/backups", "folder": str(tmp_path)}
    )
    with pytest.raises(BackupError, match="it would be lost with it"):
        Place(there).refuse_on(there.hosts["controller"])
    Place(there).refuse_on(there.hosts["proxy"])


def test_the_password_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    place = Place(cloud(backup={"folder": str(tmp_path / "b")}))
    place.restic()
    file = tmp_path / "b" / "password"
    first = file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    place.restic()
    assert file.read_text() == first
    assert len(first) > 30


def test_what_was_begun_is_remembered_until_it_ends(tmp_path: Path) -> None:
    place = Place(cloud(backup={"folder": str(tmp_path)}))
    assert place.unfinished() == set()
    place.begin("controller-1")
    place.begin("controller-2")
    place.end("controller-1")
    assert place.unfinished() == {"controller-2"}
    long_ago = time.time() - 2 * 86400
    os.utime(tmp_path / "under-way" / "controller-2", (long_ago, long_ago))
    assert place.unfinished() == {"controller-2"}, "looked for once more"
    assert place.unfinished() == set()


def test_room_is_asked_for_before_anything_travels(tmp_path: Path) -> None:
    place = Place(cloud(backup={"folder": str(tmp_path)}))
    place.require_room(1, "bringing files here")
    with pytest.raises(BackupError, match=r"it needs .* TiB in .*, where .* are free") as raised:
        place.require_room(1 << 60, "bringing files here")
    assert "free space there" in raised.value.remedy


@pytest.mark.parametrize(
    ("number", "first"),
    [
        (errno.ENOSPC, "free space there, or name"),
        (errno.EACCES, f"as root: install -d -m 0700 -o {os.geteuid()} /srv/none; or name"),
        (errno.EROFS, "name a `folder`"),
    ],
)
def test_a_folder_that_cannot_be_written_to_has_the_remedy_of_its_error(
    number: int, first: str
) -> None:
    error = unwritable(Path("/srv/none"), OSError(number, os.strerror(number)))
    assert error.remedy.startswith(first)


def test_what_a_backup_holds_is_sorted_by_what_it_belongs_to() -> None:
    entries = [
        entry("/etc/keystone/keystone.conf", 100),
        entry("/etc/keystone", 4096, kind="d"),
        entry("/var/lib/glance/images/a/b", 5000),
        entry("/etc/glance/glance-api.conf", 10),
        entry("/etc/ssh/ssh_host_rsa_key", 7),
        entry("/etc/keystones", 1),
    ]
    sizes = {"keystone": 1000, "nova": 10, "nova_api": 20, "nova_cell0": 30}
    exports = {"rabbitmq-definitions.json": "{}"}
    assert contents(entries, all_services(), exports, sizes) == {
        "keystone": {"files": 1, "bytes": 100, "databases": {"keystone": 1000}},
        "glance": {"files": 2, "bytes": 5010, "databases": {}},
        "nova": {
            "files": 0,
            "bytes": 0,
            "databases": {"nova": 10, "nova_api": 20, "nova_cell0": 30},
        },
        "rabbitmq": {"files": 1, "bytes": 2, "databases": {}},
        HOST: {"files": 1, "bytes": 7, "databases": {}},
        OTHER: {"files": 1, "bytes": 1, "databases": {}},
    }
