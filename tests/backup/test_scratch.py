"""A real scratch server: what it loads, and what it makes of what is torn."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from backstay.backup.mariadb.scratch import USER, Scratch, missing
from backstay.backup.proof import schema_heads
from backstay.errors import BackupError

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"not installed: {', '.join(missing())}")

DUMP = b"""
CREATE DATABASE nova; USE nova;
CREATE TABLE instances (uuid CHAR(36) PRIMARY KEY);
INSERT INTO instances VALUES ('a'), ('b');
-- Dump completed
"""
USERS = b"""
CREATE USER IF NOT EXISTS `mariadb.sys`@`localhost` ACCOUNT LOCK PASSWORD EXPIRE;
CREATE USER IF NOT EXISTS `root`@`localhost` IDENTIFIED VIA mysql_native_password USING 'invalid';
CREATE USER IF NOT EXISTS `nova`@`%` IDENTIFIED BY 'x';
CREATE ROLE IF NOT EXISTS mariadb_dump_import_role;
GRANT mariadb_dump_import_role TO CURRENT_USER();
SET ROLE mariadb_dump_import_role;
GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost`
  IDENTIFIED VIA mysql_native_password USING 'invalid' WITH GRANT OPTION;
GRANT ALL PRIVILEGES ON `nova`.* TO `nova`@`%`;
SET ROLE NONE;
DROP ROLE mariadb_dump_import_role;
-- Dump completed
"""


@asynccontextmanager
async def scratch(folder: Path) -> AsyncIterator[Scratch]:
    made = Scratch(folder / "scratch")
    try:
        yield made
    finally:
        await made.close()


async def load(server: Scratch, *texts: bytes) -> None:
    async with server.loading() as writer:
        for text in texts:
            writer.write(text)
            await writer.drain()


def test_a_dump_is_loaded_with_its_users(tmp_path: Path) -> None:
    async def story() -> None:
        async with scratch(tmp_path) as server:
            await load(server, DUMP, USERS)
            # The dump has locked root out; the scratch server is asked all the same.
            await server.serve()
            assert await server.query("SELECT uuid FROM nova.instances") == ["a", "b"]
            accounts = await server.query("SELECT CONCAT(User, '@', Host) FROM mysql.user")
            assert {"nova@%", "root@localhost"} <= set(accounts)
            mine = f"{USER}@localhost"
            assert set(accounts) <= {"nova@%", "root@localhost", "mariadb.sys@localhost", mine}
            assert await server.query("SELECT Db FROM mysql.db WHERE User = 'nova'") == ["nova"]
            await server.stop()

    asyncio.run(story())
    assert list(tmp_path.iterdir()) == []


SCHEMAS = b"""
CREATE DATABASE nova COLLATE utf8mb3_general_ci; CREATE DATABASE `my-cloud` COLLATE latin1_bin;
CREATE DATABASE glance COLLATE utf8mb3_unicode_ci; CREATE DATABASE empty;
CREATE TABLE nova.alembic_version (version_num VARCHAR(32));
CREATE TABLE `my-cloud`.alembic_version (version_num VARCHAR(32));
CREATE TABLE glance.alembic_version (version_num VARCHAR(32));
INSERT INTO nova.alembic_version VALUES ('b'), ('a');
INSERT INTO glance.alembic_version VALUES ('wallaby');
"""


def test_the_schema_versions_are_asked_for_at_once(tmp_path: Path) -> None:
    async def story() -> None:
        async with scratch(tmp_path) as server:
            await load(server, SCHEMAS)
            await server.serve()
            heads = await schema_heads(server.query, ["nova", "my-cloud", "glance", "empty", "no"])
            assert heads == {"nova": ["a", "b"], "my-cloud": [], "glance": ["wallaby"]}
            assert await server.check_tables(["nova", "my-cloud"], bound=60) == []
            await server.stop()

    asyncio.run(story())


def test_what_a_killed_one_has_left_is_in_nobody_s_way(tmp_path: Path) -> None:
    data = tmp_path / "scratch" / "data"
    data.mkdir(parents=True)
    (data / "ibdata1").write_bytes(b"half")

    async def story() -> None:
        async with scratch(tmp_path) as server:
            await load(server, DUMP)
            await server.serve()
            assert await server.query("SELECT uuid FROM nova.instances") == ["a", "b"]
            await server.stop()

    asyncio.run(story())


def test_a_statement_that_fails_fails_the_load(tmp_path: Path) -> None:
    async def story() -> None:
        async with scratch(tmp_path) as server:
            with pytest.raises(BackupError, match=r"loading the dump.*nova"):
                await load(server, DUMP, b"INSERT INTO nova.gone VALUES (1);\n", DUMP * 20_000)

    asyncio.run(story())


def test_what_is_no_backup_is_told(tmp_path: Path) -> None:
    async def story() -> None:
        async with scratch(tmp_path) as server, server.filling() as writer:
            writer.write(b"this is no mbstream" * 100_000)
            await writer.drain()

    with pytest.raises(BackupError, match="unpacking"):
        asyncio.run(story())


def test_what_unpacks_ends_where_the_reader_gives_up(tmp_path: Path) -> None:
    async def story() -> None:
        async with scratch(tmp_path) as server, server.filling() as writer:
            writer.write(b"XBSTCK01")
            raise RuntimeError("the repository is gone")

    with pytest.raises(RuntimeError, match="is gone"):
        asyncio.run(asyncio.wait_for(story(), 30))
