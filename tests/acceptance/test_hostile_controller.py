"""A controller and a proxy that were taken over try to reach the operator's machine by backups.

Whoever is root there tries it against the real nightly backup with its proof, the stream and the
restore. The backups of the other hosts stay proved, and once the host is honest again so are its.
"""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backstay.backup.place import Place
from backstay.inventory.load import load
from tests.acceptance.conftest import Lab
from tests.acceptance.reboots import cloud_with
from tests.acceptance.taken_over import HOME, Outside, taken_over
from tests.acceptance.test_backup import create, listed
from tests.acceptance.test_restore import forget_what_was_kept, restore
from tests.acceptance.test_stream import caught_up, status, streaming

pytestmark = pytest.mark.lab


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    found = Outside(tmp_path / "outside")
    yield found
    found.assert_untouched(*(tmp_path / "backups" / name for name in ("mirror", "followed")))


@pytest.fixture
def cloud(
    lab: Lab, tmp_path: Path, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    monkeypatch.setenv("BACKSTAY_LOCKS", f"file://{tmp_path}/locks")
    with cloud_with(lab, f"backup: {{folder: {tmp_path}/backups}}\n") as file:
        yield file
    forget_what_was_kept(lab)


def states(lab: Lab, cloud: Path) -> dict[str, set[str]]:
    """The states of all backups, by host."""
    found: dict[str, set[str]] = {}
    for one in listed(lab, cloud):
        found.setdefault(one["host"], set()).add(one["state"])
    return found


def refused(lab: Lab, cloud: Path, host: str) -> str:
    """Back up with a proof, which must fail as a finding about that host; return what is said."""
    done = create(lab, cloud, host, "--verify", ok=False)
    text = str(done.stdout + done.stderr)
    assert done.returncode == 2, text
    assert host in text
    assert "an error in Backstay itself" not in text
    return text


def in_manifest(*rows: list[Any]) -> str:
    """An answer of ``manifest`` to which these entries are added, as the honest ones are."""
    return (
        "def manifest(ask):\n"
        "    answer = json.loads(ask())\n"
        f"    answer['entries'] = sorted(answer['entries'] + {list(rows)!r})\n"
        "    return json.dumps(answer).encode()\n"
    )


def row(path: str, size: int = 20, kind: str = "f", target: str = "") -> list[Any]:
    return [path, kind, 0o600, 0, 0, size, 1, target]


def linked(name: str, target: str, kind: str = "SYMTYPE") -> str:
    """A member of their archive that is a link."""
    return f"({name!r}, b'', {{'type': tarfile.{kind}, 'linkname': {target!r}}})"


def test_names_and_archives_of_a_proxy_lead_nowhere(
    lab: Lab, cloud: Path, outside: Outside
) -> None:
    create(lab, cloud, "controller", "proxy", "--verify")
    up, there = "/etc/swift" + "/.." * 16, str(outside.folder)
    with taken_over(lab, "proxy") as evil:
        # Texts of programs, under names that are paths.
        names = [f"{there}/new", f"{'../' * 16}{there[1:]}/new"]
        texts = f"dict.fromkeys({names!r}, 'x')"
        evil.answers(f"def exported(ask): return json.dumps({texts}).encode()\n")
        create(lab, cloud, "proxy", "--verify")

        # A link, and then a file beyond it, in one archive and in two.
        link = linked("etc/swift/way", there)
        file = "('etc/swift/way/new', b'x' * 20, {})"
        sends = "def send_files(ask): return archive({})\n"
        for members in (f"{link}, {file}", link, file):
            evil.answers(in_manifest(row("/etc/swift/way/new")) + sends.format(members))
            text = create(lab, cloud, "proxy", ok=False).stdout
            assert "send_files" in evil.called()
            assert members == file or "not the archive that was asked for" in text

        # What is listed once and left out afterwards is removed.
        evil.answers(in_manifest(*[row(f"{up}{there}/secret", n) for n in range(30)]))
        assert "not of the expected form" in refused(lab, cloud, "proxy")
        evil.answers("")
        create(lab, cloud, "proxy", "--verify")
        outside.assert_untouched()

        # A file of this machine in the place of one of theirs: as a link, and as a hard link.
        for kind in ("SYMTYPE", "LNKTYPE"):
            secret = linked("etc/swift/key", f"{there}/secret", kind)
            evil.answers(in_manifest(row("/etc/swift/key")) + sends.format(secret))
            assert "is no regular file" in refused(lab, cloud, "proxy")
        assert states(lab, cloud)["controller"] == {"verified"}
        lab.backstay("backup", "verify", "controller", "--cloud", str(cloud), bound=600)
    create(lab, cloud, "proxy", "--verify")
    assert restore(lab, cloud, "proxy", "--yes").returncode == 0
    lab.wait_green()


@pytest.mark.slow
def test_archives_of_the_stream_lead_nowhere(lab: Lab, cloud: Path, outside: Outside) -> None:
    there = str(outside.folder)
    new = row("/var/lib/glance/images/story/new")
    with taken_over(lab, "controller") as evil, streaming(cloud):
        caught_up(lab, cloud)
        link = linked("var/lib/glance/images/story", there)
        evil.answers(
            "def watch(ask):\n"
            f"    answer = dict(entries=[{new!r}], users={{}}, groups={{}}, clock=1e10)\n"
            "    return (json.dumps(answer) + chr(10)).encode()\n"
            f"def send_files(ask): return archive({link}, "
            "('var/lib/glance/images/story/new', b'x' * 20, {}))\n"
        )
        # The honest watch that runs there is ended: the next is theirs.
        lab.shell("controller", "pkill -f '[p]ython3 -I -' || true")
        lab.wait_until(
            lambda: "archive" in str(status(lab, cloud)[1].get("files_error")),
            what="the stream reports the archive",
            bound=60,
        )
        evil.answers("def watch(ask): return b'x' * (80 << 20)")
        lab.wait_until(
            lambda: "a line of more than" in str(status(lab, cloud)[1].get("files_error")),
            what="the stream reports the line",
            bound=60,
        )
        evil.answers(
            "def binary_logs(ask):\n"
            "    answer = json.loads(ask())\n"
            f"    answer['files'][-1][0] = '../../../..{outside.mark}.000001'\n"
            "    return json.dumps(answer).encode()\n"
        )
        lab.shell("controller", "systemctl restart mariadb")
        lab.wait_until(
            lambda: "binary_logs" in evil.called() and status(lab, cloud)[0] != 0,
            what="their name of a log was seen",
            bound=90,
        )
        evil.answers("")
        caught_up(lab, cloud)
    lab.wait_green()


LOADED = """#include <stdio.h>
#include <stdlib.h>
__attribute__((constructor)) static void ran(void) {
    FILE *mark = fopen("%s", "w");
    if (mark) fclose(mark);
    system("id > %s");
}
"""


@pytest.fixture
def library(tmp_path: Path, outside: Outside) -> bytes:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler here")
    source, made = tmp_path / "evil.c", tmp_path / "evil.so"
    source.write_text(LOADED % (outside.mark, outside.mark))
    subprocess.run([compiler, "-shared", "-fPIC", "-o", made, source], check=True)
    return made.read_bytes()


REPACKED = f"""#!/bin/bash
# A hot backup with a library in it, and settings that load it.
case " $* " in *" --backup "*) ;; *) exec /usr/bin/mariadb-backup "$@" ;; esac
set -e -o pipefail
rm -rf {HOME}/backup; mkdir -p {HOME}/backup; cd {HOME}/backup
/usr/bin/mariadb-backup "$@" | mbstream -x
cp {HOME}/evil.so .
printf 'plugin_dir=.\\nplugin_load=evil.so\\nplugin_load_add=evil=evil.so\\n' >> backup-my.cnf
find . -type f -printf '%P\\n' | xargs mbstream -c
"""


@pytest.mark.slow
def test_a_proof_runs_nothing_of_the_controller(
    lab: Lab, cloud: Path, outside: Outside, library: bytes
) -> None:
    create(lab, cloud, "proxy", "--verify")
    with taken_over(lab, "controller") as evil:
        evil.write(f"{HOME}/evil.so", library)
        evil.program("mariadb-backup", REPACKED)
        done = create(lab, cloud, "controller", "--verify", ok=False)
        assert done.returncode in (0, 2), done.stdout
        outside.assert_untouched()
        # It is put back on the controller: there it may do what it likes, here nothing.
        if done.returncode == 0:
            assert restore(lab, cloud, "controller", "--service", "keystone", "--yes", ok=False)
            outside.assert_untouched()
    with taken_over(lab, "controller") as evil:
        mark = str(outside.mark)
        names = [
            f"nova.x';\nsystem id > {mark}\n#",
            f"nova.x`; SELECT 'x' INTO OUTFILE '{mark}'; #",
            f"nova.$(touch {mark})",
            "--help.x",
        ]
        evil.answers(
            "def database_facts(ask):\n"
            "    answer = json.loads(ask())\n"
            f"    answer['rows'].update(dict.fromkeys({names!r}, 1))\n"
            "    return json.dumps(answer).encode()\n"
        )
        refused(lab, cloud, "controller")
        assert "database_facts" in evil.called()
    assert states(lab, cloud)["proxy"] == {"verified"}
    create(lab, cloud, "controller", "proxy", "--verify")


@pytest.mark.slow
def test_a_dump_runs_nothing_of_the_controller(
    lab: Lab, tmp_path: Path, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    monkeypatch.setenv("BACKSTAY_LOCKS", f"file://{tmp_path}/locks")
    text = f"backup: {{folder: {tmp_path}/backups, engine: dump}}\n"
    mark = outside.mark
    lines = (
        f"system id > {mark}",
        f"\\! id > {mark}",
        f"tee {mark}",
        f"SELECT 'x' INTO OUTFILE '{mark}';",
        f"LOAD DATA LOCAL INFILE '{outside.secret}' INTO TABLE keystone.project;",
    )
    with cloud_with(lab, text) as cloud, taken_over(lab, "controller") as evil:
        for line in lines:
            evil.answers(f"def send_dump(ask): return ask() + {line!r}.encode() + bytes([10])\n")
            create(lab, cloud, "controller", "--verify", ok=False)
            assert "send_dump" in evil.called()
            outside.assert_untouched()
    with cloud_with(lab, text) as cloud:
        create(lab, cloud, "controller", "--verify")


@pytest.mark.slow
def test_an_account_of_one_service_gains_no_rights(lab: Lab, cloud: Path) -> None:
    account, password = "'backstay_story'@'localhost'", "story"
    own = "backstay_story"
    mariadb = "mariadb -BNe"
    table = "x'; GRANT ALL ON *.* TO backstay_story@localhost; #"
    rights = f'{mariadb} "SHOW GRANTS FOR {account}"'
    lab.shell(
        "controller",
        f"mariadb <<'END'\nCREATE USER {account} IDENTIFIED BY '{password}';\n"
        f"GRANT ALL ON nova.* TO {account};\nEND",
    )
    try:
        before = lab.shell("controller", rights)
        lab.shell(
            "controller",
            f"mariadb -u{own} -p{password} nova <<'END'\nCREATE TABLE `{table}` (n INT);\nEND",
        )
        text = refused(lab, cloud, "controller")
        assert "GRANT ALL" in text, "the odd name is reported"
        assert lab.shell("controller", rights) == before
    finally:
        lab.shell(
            "controller",
            f"mariadb <<'END'\nDROP TABLE IF EXISTS nova.`{table}`;\nDROP USER {account};\nEND",
        )
    create(lab, cloud, "controller", "--verify")


@pytest.mark.slow
def test_a_service_gains_no_folder_by_a_restore(lab: Lab, cloud: Path) -> None:
    folder, secret = "/var/lib/nova/story", "/root/backstay-story"
    as_nova = "runuser -u nova --"
    lab.shell(
        "controller",
        f"rm -rf {folder} {secret}; mkdir -m 700 {secret}; echo private > {secret}/key; "
        f"chmod 600 {secret}/key; {as_nova} mkdir -m 750 {folder} {folder}/inner; "
        f"{as_nova} sh -c 'echo own > {folder}/file; echo own > {folder}/inner/key'; "
        f"{as_nova} ln -s /etc/shadow {folder}/shadow",
    )
    looks = f"stat -c '%n %U %a %F' {secret} {secret}/key; cat {secret}/key"
    try:
        before = lab.shell("controller", looks)
        create(lab, cloud, "controller", "--verify")
        content = Place(load(cloud)).mirror("controller").content
        assert (content / "var/lib/nova/story/file").read_text() == "own\n"
        shadow = content / "var/lib/nova/story/shadow"
        assert not shadow.exists(), "a link is stored as a link"
        for links in (
            f"rm -rf {folder}; ln -s {secret} {folder}",
            f"rm -rf {folder}/inner; ln -s {secret} {folder}/inner; "
            f"rm {folder}/file; ln -s {secret}/key {folder}/file",
        ):
            lab.shell("controller", f"{as_nova} sh -c '{links}'")
            restore(lab, cloud, "controller", "--service", "nova", "--yes")
            assert lab.shell("controller", looks) == before
            there = f"stat -c '%n %U %a %F' {folder} {folder}/file {folder}/inner/key"
            assert lab.shell("controller", there).splitlines() == [
                f"{folder} nova 750 directory",
                f"{folder}/file nova 644 regular file",
                f"{folder}/inner/key nova 644 regular file",
            ]
        lab.wait_green()
    finally:
        lab.shell("controller", f"rm -rf {folder} {secret}")
