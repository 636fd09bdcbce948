"""A backup of a host that was taken over, and the real programs: they carry out nothing of it."""

import asyncio
import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from backstay.backup import archive, proof
from backstay.backup.mariadb import onhost_database, onhost_restore
from backstay.backup.mariadb.scratch import Scratch, missing
from backstay.backup.mariadb.settings import plain_settings
from backstay.errors import BackupError
from tests.backup.server import PATH, Server

pytestmark = pytest.mark.skipif(
    bool(missing()) or os.geteuid() != 0, reason="needs mariadb-server, mariadb-backup, and root"
)
INJECTED = "x'; GRANT ALL ON *.* TO nova; #"


@asynccontextmanager
async def scratch(folder: Path) -> AsyncIterator[Scratch]:
    made = Scratch(folder / "scratch")
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
def plugin(tmp_path: Path) -> tuple[Path, Path]:
    """Make a library that writes a file when it is loaded; return it, and the file."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    marker, source, made = tmp_path / "loaded", tmp_path / "evil.c", tmp_path / "evil.so"
    source.write_text(
        "#include <stdio.h>\n#include <unistd.h>\n"
        "__attribute__((constructor)) static void run(void) {\n"
        f'  FILE *f = fopen("{marker}", "w"); if (f) fprintf(f, "%d", getuid());\n}}\n'
    )
    subprocess.run([compiler, "-shared", "-fPIC", "-o", made, source], check=True)
    tmp_path.chmod(0o777)
    return made, marker


def hot_backup(server: Server, folder: Path) -> Path:
    """Take a backup as the host sends it, unpacked so that it can be changed."""
    folder.mkdir()
    client = ["--no-defaults", "--backup", "--user=root", f"--socket={server.socket}"]
    subprocess.run(
        ["mariadb-backup", *client, f"--target-dir={folder}"],
        check=True,
        capture_output=True,
        env={"PATH": PATH},
    )
    return folder


def streamed(folder: Path) -> bytes:
    """Return a folder as an mbstream."""
    files = sorted(str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file())
    command = ["mbstream", "-c", *files]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True).stdout


def rebuilt(
    folder: Path, data: bytes, asked: Callable[[Scratch], Awaitable[None]] | None = None
) -> None:
    async def story() -> None:
        async with scratch(folder) as server:
            async with server.filling() as writer:
                writer.write(data)
                await writer.drain()
            await server.prepare(bound=60)
            await server.serve()
            if asked is not None:
                await asked(server)
            await server.stop()

    asyncio.run(story())


@pytest.mark.parametrize(
    "settings",
    [
        "plugin_dir=.\nplugin_load=evil.so\n",
        "[mariadb-backup]\nplugin-dir=./\n[mysqld]\nplugin-load=evil.so\n",
        "loose-plugin_dir = .\nplugin_load_add= evil=evil.so\nplugin_load=evil.so\n",
        "!include more.cnf\n!includedir .\nplugin_dir=.\nplugin_load=evil.so\n",
        "innodb_page_size=16384\n plugin_dir=.\n\tplugin_load=evil.so\r\n",
    ],
)
def test_a_plugin_in_a_backup_is_not_loaded(
    server: Server, plugin: tuple[Path, Path], tmp_path: Path, settings: str
) -> None:
    library, marker = plugin
    server.ask("INSERT INTO story.t VALUES (1), (2)")
    backup = hot_backup(server, tmp_path / "backup")
    shutil.copy(library, backup / "evil.so")
    (backup / "more.cnf").write_text("[mysqld]\nplugin_dir=.\nplugin_load=evil.so\n")
    with (backup / "backup-my.cnf").open("a") as file:
        file.write(settings)
    found: list[str] = []

    async def asked(server: Scratch) -> None:
        found.extend(await server.query("SELECT COUNT(*) FROM story.t"))

    rebuilt(tmp_path, streamed(backup), asked)
    assert not marker.exists(), marker.read_text()
    assert found == ["2"]


def test_of_the_settings_only_plain_ones_stay() -> None:
    text = (
        "# a comment\n[mysqld]\ninnodb_page_size=16384\ninnodb_undo_directory=./\n"
        "innodb_data_file_path=ibdata1:12M:autoextend\ninnodb_undo_directory=/etc\n"
        "plugin_load=evil.so\n[mariabackup]\ninnodb_page_size=4;x\n!include /etc/x\n"
        "innodb_log_file_size=100663296\r\nlog_error=/root/x\ninnodb_log_group_home_dir=/etc\n"
    )
    assert plain_settings(text).split("\n") == [
        "[mysqld]",
        "innodb_page_size=16384",
        "innodb_undo_directory=./",
        "innodb_data_file_path=ibdata1:12M:autoextend",
        "innodb_log_file_size=100663296",
        "",
    ]


def test_a_host_that_is_restored_loads_no_plugin_either(
    server: Server, plugin: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, marker = plugin
    backup = hot_backup(server, tmp_path / "backup")
    shutil.copy(library, backup / "evil.so")
    with (backup / "backup-my.cnf").open("a") as file:
        file.write("plugin_dir=.\nplugin_load=evil.so\n")
    tmp_path.chmod(0o700)
    monkeypatch.setenv("PATH", PATH)
    (tmp_path / "stream").write_bytes(streamed(backup))
    with (tmp_path / "stream").open("rb") as data:
        monkeypatch.setattr("sys.stdin", type("Input", (), {"buffer": data}))
        onhost_restore.fill(str(tmp_path / "new"), "root")
    assert not marker.exists()
    assert (tmp_path / "new" / "ibdata1").exists()


LINES = [
    "system id > {marker}",
    "\\! id > {marker}",
    "SELECT 1; \\! id > {marker}",
    "tee {marker}",
    "\\T {marker}",
    "pager tee {marker}",
    "source {secret}",
    "\\. {secret}",
    "SELECT 'x' INTO OUTFILE '{marker}';",
    "SELECT 'x' INTO DUMPFILE '{marker}';",
    "CREATE TABLE nova.f (t TEXT); LOAD DATA LOCAL INFILE '{secret}' INTO TABLE nova.f;",
    "CREATE TABLE nova.f (t TEXT); LOAD DATA INFILE '{secret}' INTO TABLE nova.f;",
    "INSERT INTO nova.instances VALUES (LEFT(LOAD_FILE('{secret}'), 36));",
    "CREATE FUNCTION f RETURNS INT SONAME 'evil.so';",
    "INSTALL SONAME 'auth_ed25519';",
    "SET GLOBAL general_log_file = '{marker}'; SET GLOBAL general_log = 1;",
    "CREATE TABLE nova.d (n INT) DATA DIRECTORY = '{folder}';",
    "DELIMITER //\nsystem id > {marker}\n//",
    "/*!50000 \\! id > {marker} */;",
    "connect nova nowhere.example",
]


def prepared(folder: Path) -> dict[str, Path]:
    """Make what a line of a dump is after: a secret, and places that everybody may write to."""
    places = {name: folder / name for name in ("secret", "marker", "folder")}
    places["secret"].write_text("CREATE DATABASE hunter2;\n")
    places["secret"].chmod(0o644)
    places["folder"].mkdir()
    for one in (folder, places["folder"]):
        one.chmod(0o777)
    return places


def test_no_line_that_a_restored_database_is_asked_reaches_outside(tmp_path: Path) -> None:
    places = prepared(tmp_path)
    shown: list[str] = []

    async def story() -> None:
        async with scratch(tmp_path) as server:
            async with server.loading() as writer:
                writer.write(b"CREATE DATABASE nova; USE nova;\n")
                writer.write(b"CREATE TABLE instances (uuid TEXT);\n")
            await server.serve()
            for line in LINES:
                try:
                    shown.extend(await server.query(f"USE nova;\n{line.format(**places)}\n"))
                except BackupError as error:
                    shown.append(str(error))
                assert not places["marker"].exists(), line
            shown.extend(await server.query("SHOW DATABASES"))
            shown.extend(await server.query("SELECT uuid FROM nova.instances"))
            await server.stop()

    asyncio.run(story())
    assert list(places["folder"].iterdir()) == []
    assert not any("hunter2" in line for line in shown)


@pytest.mark.parametrize("line", LINES[1:2])
def test_no_line_of_a_dump_reaches_outside(tmp_path: Path, line: str) -> None:
    places = prepared(tmp_path)

    async def story() -> None:
        async with scratch(tmp_path) as server, server.loading() as writer:
            writer.write(f"{line.format(**places)}\n-- Dump completed\n".encode())
            await writer.drain()

    with pytest.raises(BackupError, match="loading the dump"):
        asyncio.run(story())
    assert not places["marker"].exists()


NAMES = [
    "nova.x';\nsystem id > {marker}\n#",
    "nova.x` UNION SELECT 1, 2; \\! id > {marker}\n#",
    "no`va.x",
    "nova",
    "nova.x\\",
    "nova.x; DROP DATABASE nova",
    "-x.y",
    "nova.\x1b[2Jx",
    "nova." + "x" * 500,
]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_were_noted_are_quoted_or_refused(tmp_path: Path, name: str) -> None:
    asked: list[str] = []

    async def ask(text: str) -> list[str]:
        asked.append(text)
        return []

    with pytest.raises(BackupError, match="no usual name") as raised:
        asyncio.run(proof.count_rows(ask, ["nova.instances", name.format(marker=tmp_path / "m")]))
    assert asked == []
    assert "\x1b" not in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 500


def test_usual_names_are_counted_and_odd_answers_refused() -> None:
    async def ask(text: str) -> list[str]:
        assert "`my-cloud`.`#sql-1a`" in text
        return ["0\t5", "1\t0", "7\t9"]

    names = ["nova.instances", "my-cloud.#sql-1a"]
    assert asyncio.run(proof.count_rows(ask, names)) == dict(zip(names, (5, 0), strict=True))

    async def lie(text: str) -> list[str]:
        return ["0\t" + "9" * 5000]

    with pytest.raises(BackupError, match="the restored database answered"):
        asyncio.run(proof.count_rows(lie, names))


def test_a_table_s_name_gives_no_account_more_rights(server: Server) -> None:
    server.ask(
        "CREATE DATABASE nova; CREATE DATABASE `my-cloud`; CREATE TABLE `my-cloud`.t (n INT)"
    )
    server.ask("CREATE USER nova; GRANT ALL ON nova.* TO nova; CREATE TABLE nova.t (n INT)")
    server.ask("INSERT INTO `my-cloud`.t VALUES (1), (2)")
    facts = onhost_database.database_facts(["nova", "my-cloud"], 0)
    assert facts["rows"] == {"nova.t": 0, "my-cloud.t": 2}
    before = server.ask("SHOW GRANTS FOR nova")
    server.ask(f"CREATE TABLE nova.`{INJECTED}` (n INT)")
    with pytest.raises(
        ValueError, match=r"the table .*GRANT.* of the database 'nova' has no usual"
    ):
        onhost_database.database_facts(["nova", "my-cloud"], 0)
    assert server.ask("SHOW GRANTS FOR nova") == before
    assert onhost_database.database_sizes(["nova", "x') OR ('1'='1"]).keys() == {"nova"}
    with pytest.raises(ValueError, match="no usual name"):
        onhost_restore.swap_tables([["nova", "story", "nova_before"]])
    assert "story" in server.ask("SHOW DATABASES"), "nothing was moved, nothing dropped"


def test_a_dump_that_is_loaded_on_a_host_does_nothing_else(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker, dump = tmp_path / "marker", tmp_path / "dump"
    dump.write_text(f"CREATE TABLE t (n INT);\nsystem id > {marker}\n")

    def load(charset: str) -> None:
        source = f"onhost_restore.load('nova__restored', {charset!r}, 'utf8mb4_general_ci')"
        with dump.open() as data:
            subprocess.run(
                ["python3", "-c", f"from backstay.backup.mariadb import onhost_restore; {source}"],
                stdin=data,
                check=False,
                capture_output=True,
                env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")},
            )

    load("utf8mb4")
    assert not marker.exists()
    assert server.ask("SHOW DATABASES LIKE 'nova%'") == ["nova__restored"]
    load("utf8mb4; CREATE DATABASE evil; #")
    assert server.ask("SHOW DATABASES LIKE 'evil'") == []


def test_what_a_scratch_server_leaves_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("[ERROR] hunter2")
    deep = "mkdir -p /data/$(printf 'd/%.0s' {1..1900})"

    async def story() -> None:
        async with scratch(tmp_path) as server:
            script = f"ln -s {secret} /server/server.log; ln -s /etc/passwd /data/backup-my.cnf"
            script = f"{script}; echo x >/data/ibdata1; {deep}"
            await server.box.run("bash", "-c", script, doing="trying", bound=60)
            with pytest.raises(BackupError, match=r"backup-my\.cnf in it: "):
                await server.prepare(bound=60)
            with pytest.raises(BackupError) as raised:
                await server.serve()
            assert "hunter2" not in str(raised.value)

    asyncio.run(story())
    assert not (tmp_path / "scratch").exists()
    assert secret.exists()


def test_the_data_directory_of_a_restore_is_read_in_its_sandbox(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    script = f"echo data >/data/ibdata1; ln -s {secret} /data/link; echo x >/data/backup-my.cnf"

    async def story() -> bytes:
        async with scratch(tmp_path) as server:
            await server.box.run("bash", "-c", script, doing="making", bound=60)
            return b"".join([one async for one in archive.data_directory(server.data, "mysql")])

    data = asyncio.run(story())
    with tarfile.open(fileobj=io.BytesIO(data)) as found:
        members = {one.name: one for one in found.getmembers()}
    assert sorted(members) == [".", "./ibdata1", "./link"]
    assert {one.uname for one in members.values()} == {"mysql"}
    assert b"hunter2" not in data

    async def missing() -> None:
        _ = [one async for one in archive.data_directory(tmp_path / "gone", "mysql")]

    with pytest.raises(BackupError, match="gone is not there"):
        asyncio.run(missing())
