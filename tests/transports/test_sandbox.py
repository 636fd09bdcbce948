"""A program in a sandbox tries to get out, by real programs in real namespaces."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from backstay.errors import BackupError
from backstay.transports import namespaces
from backstay.transports.namespaces import FIRST_USER, SandboxError
from backstay.transports.sandbox import Program, sandbox

SOURCE = Path(__file__).parents[2] / "src"
BOUND = 60.0


def possible() -> bool:
    try:
        namespaces.require()
    except SandboxError:
        return False
    return True


pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not possible(), reason="needs root, and namespaces"
)


def tried(folder: Path, script: str, **given: Path) -> str:
    """Return what a shell script in a sandbox prints: all that fails in it is printed too."""
    box = sandbox(folder, sockets={f"/{name}": there for name, there in given.items()})
    return asyncio.run(
        box.run("bash", "-c", f"exec 2>&1\n{script}\ntrue", doing="trying", bound=BOUND)
    )


def started(folder: Path, script: str, story: Callable[[Program], Awaitable[None]]) -> None:
    async def run() -> None:
        program = await sandbox(folder).start(
            *("bash", "-c", script),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            await asyncio.wait_for(story(program), BOUND)
        finally:
            await program.kill()

    asyncio.run(run())


def processes_of(user: int) -> list[int]:
    found = []
    for one in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if one.stat().st_uid == user:
                found.append(int(one.name))
    return found


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + BOUND
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_it_reads_nothing_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "openrc"
    secret.write_text("OS_PASSWORD=hunter2")
    secret.chmod(0o644)
    tmp_path.chmod(0o755)
    monkeypatch.setenv("OS_PASSWORD", "hunter2")
    (tmp_path / "box").mkdir()
    (tmp_path / "box" / "link").symlink_to(secret)
    said = tried(
        tmp_path / "box",
        f"cat {secret} /data/link /etc/shadow /proc/1/environ /proc/*/cmdline\n"
        f"ls /root /home /var /run /etc/ssh /etc/backstay /work /boot /sys {tmp_path}\n"
        "ls -A /; env; cat /proc/kcore /dev/mem /dev/vda | head -c 10",
    )
    assert "hunter2" not in said
    assert "root:" not in said
    assert str(tmp_path.parent) not in said.replace(str(tmp_path), "")
    listed = said.split("\n")
    assert {"usr", "data", "etc", "tmp", "proc", "dev"} <= set(listed)
    for name in ("root", "home", "var", "run", "sys", "srv", "opt", "boot", "mnt"):
        assert name not in listed, said


def test_it_writes_to_its_folder_alone(tmp_path: Path) -> None:
    beside = tmp_path / "beside"
    beside.mkdir(mode=0o777)
    said = tried(
        tmp_path / "box",
        "for one in /x /etc/x /usr/x /usr/local/bin/x /dev/x /proc/x /empty/x /data/../x; do\n"
        '  touch "$one" && echo "WROTE $one"; done\n'
        f"mkdir -p {beside}; touch {beside}/x; touch /tmp/mine /data/here; ls /tmp",
    )
    assert "WROTE" not in said
    assert "mine" in said
    assert list(beside.iterdir()) == []
    assert [one.name for one in (tmp_path / "box").iterdir()] == ["here"]
    assert (tmp_path / "box" / "here").stat().st_uid >= FIRST_USER
    assert "mine" not in tried(tmp_path / "box", "ls /tmp"), "each has a /tmp of its own"


def test_it_has_no_network(tmp_path: Path) -> None:
    abstract = f"\0backstay-{os.getpid()}"
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as hidden,
        socket.socket(socket.AF_UNIX) as given,
    ):
        server.settimeout(0)
        hidden.bind(abstract)
        hidden.listen()
        given.bind(str(tmp_path / "s"))
        given.listen()
        port = server.getsockname()[1]
        python = (
            "import socket\n"
            "for where in (%r, '/given', '/run/systemd/private', '/run/dbus/system_bus_socket'):\n"
            "    try: socket.socket(socket.AF_UNIX).connect(where)\n"
            "    except OSError: continue\n"
            "    print('REACHED', ascii(where))\n"
        )
        said = tried(
            tmp_path / "box",
            f"exec 3<>/dev/tcp/127.0.0.1/{port} && echo REACHED tcp\ncat /proc/net/route\n"
            f'/usr/bin/python3 -I -c "{python % abstract}"',
            given=tmp_path / "s",
        )
        with pytest.raises(BlockingIOError):
            server.accept()
    assert [line for line in said.split("\n") if "REACHED" in line] == ["REACHED '/given'"]


def test_it_gains_no_rights_and_runs_nothing_of_its_own(tmp_path: Path) -> None:
    said = tried(
        tmp_path / "box",
        "cp /usr/bin/true /data/program && chmod 4777 /data/program\n"
        "/data/program && echo RAN\ncp /usr/bin/true /tmp/program; /tmp/program && echo RAN\n"
        "mount -t tmpfs none /tmp && echo MOUNTED\nchroot / true && echo CHROOT\n"
        "grep -E '^(Cap|NoNewPrivs|Uid|Groups)' /proc/self/status",
    )
    assert "RAN" not in said
    assert "MOUNTED" not in said
    assert "CHROOT" not in said
    status = dict(line.split(":\t") for line in said.split("\n") if ":\t" in line)
    for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb"):
        assert int(status[f"Cap{kind}"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert status["Groups"].strip() == ""
    assert all(int(user) >= FIRST_USER for user in status["Uid"].split("\t"))


def test_it_sees_and_ends_no_process_of_others(tmp_path: Path) -> None:
    victim = subprocess.Popen(["sleep", "600"])
    try:
        said = tried(
            tmp_path / "box",
            f"kill -9 {victim.pid} {os.getpid()} {os.getppid()}; kill -9 -1; ls /proc",
        )
        seen = [line for line in said.split("\n") if line.isdigit()]
        assert len(seen) < 5, said
        assert victim.poll() is None
    finally:
        victim.kill()
        victim.wait()


def test_a_fork_bomb_is_bounded_and_ends_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(namespaces, "_TASKS", 64)
    user: list[int] = []

    async def story(program: Program) -> None:
        user.append(int(await program.stdout.readline()))
        assert b"BOUNDED" in await program.stdout.readline()
        assert 60 < len(processes_of(user[0])) <= 64

    # The inner shell gives up where it can start no more; what it has started stays.
    bomb = "sh -c 'while true; do sleep 600 & done' 2>/dev/null"
    started(tmp_path / "box", f"id -u; {bomb}; echo BOUNDED; exec sleep 600", story)
    until(lambda: not processes_of(user[0]))


def test_its_memory_its_files_and_its_answer_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(namespaces, "MEMORY", 96 << 20)
    assert "memory exhausted" in tried(tmp_path / "box", "tail /dev/zero")
    limits = tried(tmp_path / "box", "ulimit -f; ulimit -c")
    assert "unlimited" not in limits
    with pytest.raises(BackupError, match="more than 16777216 bytes"):
        tried(tmp_path / "box", "head -c 17000000 /dev/zero")


def test_what_it_prints_is_clean_and_short_in_an_error(tmp_path: Path) -> None:
    async def story() -> None:
        await sandbox(tmp_path / "box").run(
            *(
                "bash",
                "-c",
                r"yes | head -c 1000000 >&2; printf '\033]0;title\007%0999d' 1 >&2; exit 3",
            ),
            doing="trying",
            bound=BOUND,
        )

    with pytest.raises(BackupError, match="trying: ") as raised:
        asyncio.run(story())
    assert "\x1b" not in str(raised.value)
    assert len(str(raised.value)) < 400


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    program = (
        "import asyncio, pathlib, sys\n"
        "from backstay.transports.sandbox import sandbox\n"
        "async def story():\n"
        "    box = sandbox(pathlib.Path(sys.argv[1]))\n"
        "    print(box.user, flush=True)\n"
        "    await box.run('bash', '-c', 'setsid sleep 600 & sleep 600', doing='', bound=600)\n"
        "asyncio.run(story())\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "box")],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
    )
    assert parent.stdout is not None
    user = int(parent.stdout.readline())
    until(lambda: len(processes_of(user)) >= 3)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    until(lambda: not processes_of(user))


def test_it_is_asked_to_end(tmp_path: Path) -> None:
    async def story(program: Program) -> None:
        await program.stdout.readline()
        program.terminate()
        assert await program.wait() == 7

    started(tmp_path / "box", "trap 'exit 7' TERM; echo ready; sleep 600 & wait", story)


def test_folders_may_have_any_name_and_stay_their_user_s(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    folder = tmp_path / "a b\\040\tc\n#d" / "e"
    first = tried(folder, "echo one >file; id -u")
    assert tried(folder, "cat file; id -u") == f"one\n{first}"
    assert (folder / "file").read_text() == "one\n"
    assert tried(tmp_path / "other", "id -u") != first


def test_that_it_was_killed_is_said_and_why(tmp_path: Path) -> None:
    async def story(program: Program) -> None:
        await program.stdout.readline()
        os.kill(children(program.pid)[0], signal.SIGKILL)
        await program.end_well("trying")

    with pytest.raises(BackupError, match="more than 8 GB of memory"):
        started(tmp_path / "box", "echo ready; exec sleep 600", story)


IN_FORCE = "echo 512; echo 8589934592"


@pytest.mark.parametrize(
    ("starts", "limits", "scope"),
    [(True, IN_FORCE, True), (True, "echo 512; echo max", False), (False, IN_FORCE, False)],
)
def test_where_systemd_runs_each_is_in_a_scope_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, starts: bool, limits: str, scope: bool
) -> None:
    # Stands in for systemd-run, which starts the program in its own place as this does. In a
    # container it may make the scope without its limits (tests/acceptance/test_sandbox.py).
    asked = tmp_path / "asked"
    program = tmp_path / "systemd-run"
    program.write_text(
        f'#!/bin/sh\necho "$*" >>{asked}\n{"" if starts else "exit 1"}\n'
        'while [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setattr(shutil, "which", which_first(tmp_path))
    monkeypatch.setattr(namespaces, "_SYSTEMD", tmp_path)
    monkeypatch.setattr(namespaces, "_PRINT_LIMITS", limits)
    namespaces._scope.cache_clear()
    try:
        assert ("limits of a systemd scope" in namespaces.form()) is scope
        assert int(tried(tmp_path / "box", "id -u")) >= FIRST_USER
        words = namespaces._scope()
    finally:
        namespaces._scope.cache_clear()
    first = asked.read_text().splitlines()[0]
    assert first.startswith("--scope --quiet --collect --description=Backstay: ")
    assert " --property=MemoryMax=8589934592 --property=MemorySwapMax=0 " in first
    assert not any("\n" in word for word in words), "systemd takes a second line for a setting"
    assert asked.read_text().count("--scope") == (2 if scope else 1)


def which_first(folder: Path) -> Callable[..., str | None]:
    real = shutil.which

    def which(name: str, path: str | None = None) -> str | None:
        return real(name, path=f"{folder}:{path}")

    return which


def test_where_no_sandbox_can_be_made_nothing_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    namespaces.require.cache_clear()
    monkeypatch.setattr(namespaces, "_NEW_ROOT", "/proc/none")
    monkeypatch.setattr(namespaces, "_SETUP", namespaces._SETUP.replace("/sys", "/proc/none"))
    try:
        with pytest.raises(SandboxError, match="data of hosts is not read") as raised:
            tried(tmp_path / "box", "echo started")
        assert "namespaces" in raised.value.remedy
    finally:
        namespaces.require.cache_clear()


@pytest.fixture
def as_nobody(tmp_path: Path) -> Iterator[Callable[[str], subprocess.CompletedProcess[str]]]:
    """Give what runs a program as a user that is not root, with this machine's own Python."""
    python = Path("/usr/bin/python3")
    version = "import sys; sys.exit(sys.version_info < (3, 11))"
    if not python.exists() or subprocess.run([python, "-c", version], check=False).returncode:
        pytest.skip("needs Python 3.11 in /usr/bin")
    for one in (tmp_path, *tmp_path.parents[:2]):
        one.chmod(one.stat().st_mode | 0o011)
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)

    def run(text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
                *(str(python), "-c", text, str(home)),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE)},
        )

    yield run
    for one in tmp_path.parents[:2]:
        one.chmod(0o700)


def test_another_user_s_is_as_closed(
    as_nobody: Callable[[str], subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = as_nobody(
        "import asyncio, pathlib, sys\n"
        "from backstay.transports import namespaces\n"
        "from backstay.transports.sandbox import sandbox\n"
        "home = pathlib.Path(sys.argv[1])\n"
        "(home / 'secret').write_text('hunter2')\n"
        "try: print(namespaces.form())\n"
        "except namespaces.SandboxError as error: sys.exit('impossible: ' + str(error))\n"
        "script = f'exec 2>&1; cat {home}/secret; ls -A /; touch /x /etc/x {home}/x /data/here;'\n"
        "script += 'cat /proc/net/route; grep -E ^Cap.*: /proc/self/status; kill -9 -1; true'\n"
        "box = sandbox(home / 'box')\n"
        "print(asyncio.run(box.run('bash', '-c', script, doing='trying', bound=60)))\n"
    )
    if "impossible: " in done.stderr:
        pytest.skip("this machine gives users no namespaces")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("this user in a user namespace, without network")
    assert "hunter2" not in done.stdout
    assert "root" not in done.stdout.split("\n")
    assert "CapEff:\t0000000000000000" in done.stdout
    assert sorted(one.name for one in (tmp_path / "home").iterdir()) == ["box", "secret"]
    assert [one.name for one in (tmp_path / "home" / "box").iterdir()] == ["here"]
