"""Files that others could change are refused, whatever way leads to them."""

import asyncio
import contextlib
import os
import pwd
import shlex
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from backstay.errors import BackstayError, HookFailed, InventoryError
from backstay.inventory.clouds_yaml import read_clouds_yaml
from backstay.inventory.exposure import exposed_secrets
from backstay.inventory.load import load
from backstay.inventory.openrc import read_openrc
from backstay.inventory.provision import ProvisionMethod
from backstay.inventory.secret import Secret
from backstay.ownership import (
    NotTrusted,
    TooLong,
    check_command,
    check_own_tree,
    open_own,
    read_own,
)
from backstay.provision.methods import method_of
from backstay.transports.hook import call_command

GOOD = """\
name: amber
credentials: {openrc: openrc}
hosts:
  controller: {address: 10.0.0.11, roles: [controller]}
"""
OPENRC = "export OS_AUTH_URL=http://10.0.0.11:5000 OS_PASSWORD=x\n"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
NOBODY = pwd.getpwnam("nobody").pw_uid


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "inner").mkdir()
    path = tmp_path / "inner" / "cloud.yaml"
    path.write_text(GOOD)
    (tmp_path / "inner" / "openrc").write_text(OPENRC)
    for one in (path, path.with_name("openrc")):
        one.chmod(0o600)
    yield tmp_path / "inner"
    (tmp_path / "inner").chmod(0o755)


def test_what_only_this_user_may_change_is_read(folder: Path) -> None:
    assert load(folder / "cloud.yaml").name == "amber"
    (folder / "link").symlink_to("cloud.yaml")
    (folder.parent / "other").symlink_to(folder)
    assert load(folder / "link").name == "amber"
    assert load(folder.parent / "other" / ".." / "inner" / "link").name == "amber"
    assert read_openrc(folder / "openrc")["OS_PASSWORD"] == "x"


def give_by_acl(path: Path, rights: int, tag: int = 2) -> None:
    """Give rights to nobody (a user, or with 8 the group) by an access control list."""

    def entry(tag: int, rights: int, number: int = 0xFFFFFFFF) -> bytes:
        return struct.pack("<HHI", tag, rights, number)

    listed = [entry(1, 7), *([entry(2, rights, NOBODY)] if tag == 2 else []), entry(4, 0)]
    listed += [entry(8, rights, NOBODY)] if tag == 8 else []
    listed += [entry(0x10, rights), entry(0x20, 0)]
    try:
        os.setxattr(path, "system.posix_acl_access", struct.pack("<I", 2) + b"".join(listed))
    except OSError:
        pytest.skip("no access control lists here")


@pytest.mark.parametrize("tag", [2, 8])
def test_what_a_list_lets_others_write_is_refused(folder: Path, tag: int) -> None:
    give_by_acl(folder / "openrc", 6, tag)
    with pytest.raises(InventoryError, match="access control list lets others write") as raised:
        read_openrc(folder / "openrc")
    assert raised.value.remedy == f"setfacl -b {folder}/openrc"
    give_by_acl(folder, 7, tag)
    with pytest.raises(InventoryError, match="access control list"):
        load(folder / "cloud.yaml")


def test_what_a_list_lets_others_read_is_a_warning(folder: Path) -> None:
    give_by_acl(folder / "openrc", 4)
    cloud = load(folder / "cloud.yaml")
    assert [found.subject for found in exposed_secrets(cloud)] == [f"file {folder}/openrc"]


def test_a_second_name_where_others_make_names_is_refused(folder: Path) -> None:
    public = folder / "public"
    public.mkdir()
    public.chmod(0o1777)
    os.link(folder / "openrc", public / "openrc")
    with pytest.raises(InventoryError, match="second name of a file"):
        read_openrc(public / "openrc")
    assert read_openrc(folder / "openrc")


@pytest.mark.parametrize("mode", [0o602, 0o622, 0o646, 0o666, 0o777])
def test_a_file_that_everybody_may_write_is_refused(folder: Path, mode: int) -> None:
    for name in ("cloud.yaml", "openrc"):
        (folder / name).chmod(mode)
    with pytest.raises(InventoryError, match="everybody may write to") as raised:
        load(folder / "cloud.yaml")
    assert raised.value.remedy == f"chmod o-w {folder}/cloud.yaml"
    with pytest.raises(InventoryError, match="everybody may write to"):
        read_openrc(folder / "openrc")
    with pytest.raises(InventoryError, match="everybody may write to"):
        read_clouds_yaml("amber", folder / "cloud.yaml")
    with pytest.raises(InventoryError, match="everybody may write to"):
        Secret(file=folder / "openrc").reveal()


@pytest.mark.parametrize("mode", [0o777, 0o757])
def test_a_folder_that_everybody_may_write_is_refused(folder: Path, mode: int) -> None:
    folder.chmod(mode)
    for call in (load, read_openrc):
        with pytest.raises(InventoryError, match=f"everybody may write to {folder}"):
            call(folder / "cloud.yaml")
    folder.chmod(0o1777)  # as /tmp: what is in it cannot be exchanged by others
    assert load(folder / "cloud.yaml").name == "amber"


def test_a_link_is_judged_by_where_it_leads(folder: Path) -> None:
    (folder.parent / "open").mkdir(mode=0o777)
    (folder.parent / "open").chmod(0o777)
    (folder.parent / "open" / "cloud.yaml").write_text(GOOD)
    (folder / "link").symlink_to("../open/cloud.yaml")
    (folder / "absolute").symlink_to(folder.parent / "open")
    (folder.parent / "open" / "back").symlink_to(folder)
    for path in ("link", "absolute/cloud.yaml", "absolute/back/cloud.yaml"):
        with pytest.raises(InventoryError, match="everybody may write to"):
            load(folder / path)


@as_root
def test_what_belongs_to_another_user_is_refused(folder: Path) -> None:
    os.chown(folder / "openrc", NOBODY, -1)
    with pytest.raises(InventoryError, match="belongs to nobody") as raised:
        read_openrc(folder / "openrc")
    assert "chown root" in raised.value.remedy
    os.chown(folder / "openrc", 0, -1)
    os.chown(folder, NOBODY, -1)
    with pytest.raises(InventoryError, match="belongs to nobody") as raised:
        load(folder / "cloud.yaml")
    assert "chown" not in raised.value.remedy, "it may be somebody's home"
    assert "a copy" in raised.value.remedy
    folder.chmod(0o1777)
    with pytest.raises(InventoryError, match="belongs to nobody") as raised:
        load(folder / "cloud.yaml")
    assert "chown" not in raised.value.remedy, "it may be somebody's home"
    assert "a copy" in raised.value.remedy
    os.chown(folder, 0, -1)
    (folder / "link").symlink_to("cloud.yaml")
    os.chown(folder / "link", NOBODY, -1, follow_symlinks=False)
    with pytest.raises(InventoryError, match="belongs to nobody"):
        load(folder / "link")


@as_root
def test_groups_of_others_may_not_write(folder: Path) -> None:
    nogroup = pwd.getpwnam("nobody").pw_gid
    path = folder / "cloud.yaml"
    path.chmod(0o660)
    assert load(path).name == "amber"  # root's group is root's alone
    os.chown(path, -1, nogroup)
    with pytest.raises(InventoryError, match="the group nogroup may write to"):
        load(path)


@as_root
def test_the_script_that_was_checked_is_the_one_that_runs(folder: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    evil = tmp_path / "evil"
    evil.write_text(f"id > {ran}\n{OPENRC}")
    opened = open_own(folder / "openrc")
    evil.replace(folder / "openrc")
    assert opened.file.read().decode() == OPENRC
    opened.file.close()
    os.chown(folder / "openrc", NOBODY, -1)
    with pytest.raises(InventoryError):
        read_openrc(folder / "openrc")
    assert not ran.exists()


@as_root
@pytest.mark.parametrize("command", ["{}", "{} a b", "sh {}", "/bin/sh -e {}", "env python3 {}"])
def test_programs_of_others_are_not_run(folder: Path, command: str) -> None:
    hook = folder / "hook.sh"
    hook.write_text(f"#!/bin/sh\nid > {folder}/ran\n")
    hook.chmod(0o755)
    os.chown(hook, NOBODY, -1)
    line = command.format(hook)
    with pytest.raises(HookFailed, match="belongs to nobody"):
        asyncio.run(call_command(line, {}, bound=10))
    given = {"command": {"argv": line.split(), "on": "here"}}
    with pytest.raises(BackstayError, match="belongs to nobody"):
        method_of(ProvisionMethod.model_validate(given)).work("c", "10.0.0.1")
    for part in (
        f"maintenance: {{hooks: {{before: ['{line}']}}}}\n",
        f"provision: {{default: {{command: {{argv: [{', '.join(line.split())}], on: here}}}}}}\n",
    ):
        (folder / "cloud.yaml").write_text(GOOD + part)
        with pytest.raises(InventoryError, match="belongs to nobody"):
            load(folder / "cloud.yaml")
    assert not (folder / "ran").exists()


def test_a_playbook_of_others_is_not_run(folder: Path) -> None:
    playbook = folder / "site.yml"
    playbook.write_text("[]")
    playbook.chmod(0o666)
    given = {"ansible": {"playbook": str(playbook)}}
    with pytest.raises(BackstayError, match="everybody may write"):
        method_of(ProvisionMethod.model_validate(given)).work("c", "10.0.0.1")


@pytest.mark.parametrize(
    "line",
    [
        "timeout 10 {}",
        "nice -n 5 {}",
        "ionice -c 3 nohup {}",
        "sudo -u root {}",
        "env A=1 B=2 {} x",
        "sh -c '{} x'",
        "sh -ec 'cd / && exec {}'",
        ". {}",
        "cd /tmp; {}",
        "cd /tmp && {}",
        "true|{}",
        "(true)&&{}",
        "echo $({} a)",
        "flock /etc/passwd {}",
        "true --with {}",
        "sh {} /etc/passwd",
    ],
)
@as_root
def test_what_a_program_or_a_shell_runs_is_judged(folder: Path, line: str) -> None:
    script = folder / "script"
    script.write_text("true\n")
    script.chmod(0o755)
    words = shlex.split(line.format(script))
    check_command(words)
    odd = folder / "a (b) c"
    odd.write_text("true\n")
    os.chown(odd, NOBODY, -1)
    with pytest.raises(NotTrusted):
        check_command([str(odd)])
    os.chown(script, NOBODY, -1)
    with pytest.raises(NotTrusted, match="belongs to nobody"):
        check_command(words)


@as_root
def test_data_of_others_may_be_given_to_a_program(folder: Path) -> None:
    data = folder / "data.log"
    data.write_text("")
    os.chown(data, NOBODY, -1)
    for line in (f"grep x {data}", f"sh -c 'tail {data}'", f"cat < {data} | wc -l"):
        check_command(shlex.split(line.replace("<", "")))
    check_command(["a\0b", "/a\0b", "/" + "x" * 5000])


def test_a_command_that_is_not_there_is_left_to_its_use() -> None:
    check_command(["/nowhere/at-all"])
    check_command([])
    check_command(["true"])


def test_a_key_that_others_may_use_is_refused_as_by_ssh(folder: Path) -> None:
    key = folder / "id_ed25519"
    key.write_text("key")
    for mode, refused in ((0o600, False), (0o400, False), (0o640, True), (0o644, True)):
        key.chmod(mode)
        (folder / "cloud.yaml").write_text(f"{GOOD}ssh: {{key: id_ed25519}}\n")
        if refused:
            with pytest.raises(InventoryError, match="chmod 600"):
                load(folder / "cloud.yaml")
        else:
            load(folder / "cloud.yaml")


def test_secrets_that_others_may_read_are_a_warning(folder: Path) -> None:
    path = folder / "cloud.yaml"
    path.write_text(
        f"{GOOD}  spare:\n    address: 10.0.0.12\n    roles: [spare]\n"
        "    bmc: {url: 'https://10.0.0.5', username: x, password: {file: bmc}}\n"
        "watch: {page: {people: {anna: {token: 0123456789abcdef}}}}\n"
    )
    (folder / "bmc").write_text("secret")
    names = ("cloud.yaml", "openrc", "bmc")
    for name in names:
        (folder / name).chmod(0o644)
    found = exposed_secrets(load(path))
    assert {one.subject for one in found} == {f"file {folder / name}" for name in names}
    assert {one.severity.value for one in found} == {"warning"}
    for name in names:
        (folder / name).chmod(0o600)
    assert exposed_secrets(load(path)) == []


def test_only_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "a", Path("/dev/null"), tmp_path / "no"):
        with pytest.raises(OSError, match=str(path)):
            open_own(path)
    (tmp_path / "long").write_bytes(b"x" * 11)
    with pytest.raises(TooLong):
        read_own(tmp_path / "long", most=10)
    assert read_own(tmp_path / "long", most=11) == b"x" * 11


def test_nothing_is_left_open(folder: Path) -> None:
    for mode in (0o600, 0o666):
        (folder / "openrc").chmod(mode)
        for _ in range(20):
            try:
                read_own(folder / "openrc", most=1000)
            except NotTrusted:
                assert mode == 0o666
            assert not list(_open_beneath(folder))


def _open_beneath(folder: Path) -> Iterator[Path]:
    """Yield this process's open files there; files of others come and go meanwhile."""
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if (target := descriptor.readlink()).is_relative_to(folder):
                yield target


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder of code, with a link as virtual environments have them."""
    inner = tmp_path / "lib" / "package" / "inner"
    inner.mkdir(parents=True)
    (inner / "module.py").touch()
    (tmp_path / "lib64").symlink_to("lib")
    (inner / "python").symlink_to("module.py")
    (inner / "gone").symlink_to("nothing")
    check_own_tree(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("where", "mode"),
    [
        ("lib/package/inner/module.py", 0o666),
        ("lib/package/inner", 0o777),
        ("lib/package", 0o775),
        (".", 0o777),
    ],
)
def test_what_others_may_write_to_anywhere_in_a_folder_is_found(tree, where, mode):
    # A group of many: root's own is of root alone.
    os.chown(tree / where, os.geteuid(), pwd.getpwnam("nobody").pw_gid)
    (tree / where).chmod(mode)
    with pytest.raises(NotTrusted, match="may write to"):
        check_own_tree(tree)
    (tree / where).chmod(0o755)


@as_root
@pytest.mark.parametrize("where", ["lib/package/inner/module.py", "lib/package/inner/python"])
def test_what_another_owns_anywhere_in_a_folder_is_found(tree, where):
    os.chown(tree / where, NOBODY, -1, follow_symlinks=False)
    with pytest.raises(NotTrusted, match="belongs to nobody"):
        check_own_tree(tree)


def test_a_link_to_a_file_of_others_and_a_folder_that_others_can_make_are_found(tree, tmp_path):
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "open" / "beside").mkdir()
    (tmp_path / "open" / "beside").chmod(0o777)  # it is not what is asked about
    check_own_tree(tmp_path / "open" / "not" / "there.zip")
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(NotTrusted, match=r"everybody may write to .*open"):
        check_own_tree(tmp_path / "open" / "not" / "there.zip")
    (tmp_path / "open").chmod(0o755)
    (tmp_path / "open" / "beside").rmdir()
    (tmp_path / "open" / "code.py").touch()
    (tmp_path / "open" / "code.py").chmod(0o666)
    (tree / "lib" / "code.py").symlink_to(tmp_path / "open" / "code.py")
    with pytest.raises(NotTrusted, match=r"everybody may write to .*code\.py"):
        check_own_tree(tree / "lib")
