"""The command that starts a program in namespaces of its own, and whether this machine can do that.

Everything in it is of util-linux: unshare(1), mount(8), pivot_root(8), prlimit(1), setpriv(1). The
new root is a file system of its own (pivot_root(2)) with /usr and what is given; the network
namespace has no interface. The program has no capabilities and gets none (PR_SET_NO_NEW_PRIVS),
nothing that it can write to can be executed or loaded (noexec), and it ends with this process.

Run by root, it is a user that nobody else is. Where systemd runs this machine it is in a scope of
its own besides, whose memory and tasks are limited (systemd-run(1)). Run by another user it needs
user namespaces (user_namespaces(7)); outside of them it is then that user, who sees as little.
"""

import contextlib
import functools
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from backstay import lacking
from backstay.errors import BackupError
from backstay.transports.programs import words

FIRST_USER, USERS = 2_100_000_000, 40_000_000
"""The users of sandboxes: the first, and how many there are.

No distribution gives these numbers: https://systemd.io/UIDS-GIDS/ ("unused").
"""
DATA = "/data"
"""Where a sandbox's first folder is for the program in it."""
EMPTY = "/empty"
"""A folder in which there is nothing, and into which nobody can write."""
SETUP_FAILED = 125
"""The exit status where the namespaces could not be made."""
MEMORY = 8 << 30
"""Bytes of memory that the programs of a sandbox may use."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TASKS, _OPEN_FILES = 512, 8192
_TRY_BOUND = 20.0
_PROGRAMS = ("unshare", "mount", "umount", "pivot_root", "prlimit", "setpriv")
_SYSTEMD = Path("/run/systemd/system")  # sd_booted(3)
_NEW_ROOT = "/sys"  # it is on every machine, and no folder of backups is below it
_REMEDY = (
    "run Backstay as root, or let this user make user namespaces: "
    "sysctl -w user.max_user_namespaces=10000 kernel.unprivileged_userns_clone=1 "
    "kernel.apparmor_restrict_unprivileged_userns=0 (those that this machine has)"
)

# What it is given: the user, the mounts, the places for folders, those for files, and the program.
# What has failed is on standard error, with an exit status of its own.
_SETUP = f"""
user=$1 mounts=$2 folders=$3 files=$4 limits=$5
shift 5
echo 500 2>/dev/null >/proc/self/oom_score_adj
{{
mount -n -t tmpfs -o mode=0755,size=1m,nosuid,nodev tmpfs {_NEW_ROOT} &&
cd {_NEW_ROOT} &&
mkdir -p etc proc tmp empty $folders &&
for file in etc/mounts $files; do : >"$file" || exit {SETUP_FAILED}; done &&
for link in bin sbin lib lib32 lib64 libx32; do
    [ ! -L "/$link" ] || ln -s "usr/$link" "$link" || exit {SETUP_FAILED}
done &&
echo "backstay:x:$user:$user::{DATA}:/usr/sbin/nologin" >etc/passwd &&
echo "backstay:x:$user:" >etc/group &&
echo "127.0.0.1 localhost" >etc/hosts &&
printf '%s\\n' "$mounts" >etc/mounts &&
mount -n -a -T etc/mounts &&
: >etc/mounts &&
pivot_root . . &&
umount -n -l / &&
mount -n -o remount,bind,ro,nosuid,nodev / &&
cd {DATA}
}} >&2 || exit {SETUP_FAILED}
exec prlimit $limits -- "$@"
"""

_DESCRIPTION = "Backstay: a program that reads data of a host"
# The limits of the calling process's own groups: cgroup v2 has one (its "kind" is empty), v1 one
# for each kind. https://docs.kernel.org/admin-guide/cgroup-v2.html#processes
_PRINT_LIMITS = """
while IFS=: read -r _ kind path; do
    cd "/sys/fs/cgroup/$kind$path" && cat memory.max memory.limit_in_bytes pids.max
done </proc/self/cgroup 2>/dev/null
exit 0
"""


class SandboxError(BackupError):
    """No sandbox can be made on this machine."""


def command(
    path: str,
    *arguments: str,
    user: int,
    folders: Mapping[str, Path],
    sockets: Mapping[str, Path],
) -> list[str]:
    """Return the words that start a program, ``path`` below /usr, confined.

    ``folders``, which it may write to, and ``sockets`` say where each is for the program, and where
    it is here.
    """
    mounts = _mounts(folders, sockets)
    places = [(source, target.removeprefix(f"{_NEW_ROOT}/")) for source, target, _, _ in mounts]
    files = [place for source, place in places if source[0] == "/" and not Path(source).is_dir()]
    inside = [place for _, place in places if place not in files]
    table = [f"{_word(a)} {_word(b)} {kind} {options} 0 0" for a, b, kind, options in mounts]
    root = os.geteuid() == 0
    return [
        *("setpriv", "--pdeathsig=KILL", "--", *_scope()),
        *("unshare", *(() if root else ("--user", "--map-root-user"))),
        *("--mount", "--pid", "--net", "--ipc", "--uts", "--propagation=private"),
        *("--fork", "--kill-child=KILL", "--", "sh", "-c", _SETUP, "sh", str(user)),
        "\n".join(table),
        " ".join([*inside, DATA.lstrip("/"), "dev"]),
        " ".join(files),
        _limits(folders.values()),
        *(_as_user(user) if root else _as_itself(user)),
        path,
        *arguments,
    ]


@functools.cache
def require() -> None:
    """Try whether this machine can make a sandbox. Raises SandboxError where it cannot.

    Takes the time of starting one; the answer is remembered.
    """
    lacking_here = [name for name in _PROGRAMS if shutil.which(name, path=PATH) is None]
    if lacking_here:
        raise SandboxError(
            "starting a program in a sandbox",
            came_back=f"this machine has no {', '.join(lacking_here)}",
            remedy=lacking.remedy(lacking.install(lacking.PACKAGES[name] for name in lacking_here)),
        )
    tried = _tried(command("true", user=unused_user(), folders={}, sockets={}))
    if tried is None or tried.returncode != 0:
        raise cannot(_why(tried) if tried else f"it did not end within {_TRY_BOUND:g} s")


def form() -> str:
    """Say in which way programs that read data of hosts are confined. Raises SandboxError."""
    require()
    if os.geteuid() != 0:
        return "this user in a user namespace, without network, and can read /usr alone"
    limits = "limits of a systemd scope" if _scope() else "limits for each process"
    return f"a user of their own in namespaces, without network, can read /usr alone, with {limits}"


def cannot(came_back: str) -> SandboxError:
    """Return the error for a machine that cannot make a sandbox."""
    return SandboxError(
        "starting a program in a sandbox",
        came_back=f"{came_back or 'it was refused'}: data of hosts is not read without one",
        remedy=_REMEDY
        if os.geteuid() != 0
        else "allow this container to mount and to make "
        "namespaces (CAP_SYS_ADMIN), or run Backstay outside of it; in a systemd unit leave out "
        "RestrictNamespaces=, PrivateUsers=, and a SystemCallFilter= or CapabilityBoundingSet= "
        "that forbids it",
    )


def _mounts(
    folders: Mapping[str, Path], sockets: Mapping[str, Path]
) -> list[tuple[str, str, str, str]]:
    """Return what is mounted in the new root: source, target, type and options."""
    closed = "nosuid,nodev,noexec"
    system = ["/usr", *(f"/{name}" for name in ("bin", "sbin", "lib", "lib32", "lib64"))]
    config = ["/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives"]
    devices = ["/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"]
    found = [
        (one, one, "none", "bind,ro,nosuid,nodev")
        for one in system
        if Path(one).is_dir() and not Path(one).is_symlink()
    ]
    found += [
        (one, one, "none", f"bind,ro,{closed}")
        for one in [*config, "/etc/localtime"]
        if Path(one).exists()
    ]
    found += [(one, one, "none", "bind,nosuid,noexec") for one in devices]
    # Not the machine's settings, only the sandbox's own processes.
    own = ",subset=pid" if _kernel() >= (5, 8) else ""
    found += [
        ("proc", "/proc", "proc", f"{closed}{own}"),
        ("tmpfs", "/tmp", "tmpfs", f"{closed},mode=1777,size=256m"),  # noqa: S108 - its own
    ]
    given = [*folders.items(), *sockets.items()]
    found += [(str(here), name, "none", f"bind,{closed}") for name, here in given]
    return [(source, f"{_NEW_ROOT}{target}", kind, opts) for source, target, kind, opts in found]


def _limits(folders: Iterable[Path]) -> str:
    """Return prlimit's options: a file may not take all that is free now."""
    found = [f"--as={MEMORY}", f"--nofile={_OPEN_FILES}", "--core=0"]
    found += [f"--nproc={_TASKS}"] if os.geteuid() == 0 else []
    with contextlib.suppress(OSError):
        free = [shutil.disk_usage(folder).free for folder in folders]
        found += [f"--fsize={min(free) * 9 // 10}"] if free else []
    return " ".join(found)


def _word(text: str) -> str:
    """Return a path as fstab(5) has it."""
    for character in ("\\", " ", "\t", "\n"):
        text = text.replace(character, f"\\{ord(character):03o}")
    return text


def _as_user(user: int) -> Sequence[str]:
    return (
        *("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--inh-caps=-all"),
        *("--bounding-set=-all", "--no-new-privs", "--pdeathsig=KILL", "--"),
    )


def _as_itself(user: int) -> Sequence[str]:
    return (
        *("unshare", "--user", f"--map-user={user}", f"--map-group={user}", "--"),
        *("setpriv", "--no-new-privs", "--pdeathsig=KILL", "--"),
    )


@functools.cache
def _scope() -> tuple[str, ...]:
    """Return the words that limit memory and tasks of a program, where systemd does that.

    The kernel is asked, not systemd: in a container that may not set limits systemd makes the scope
    and leaves them out without an error.
    """
    program = shutil.which("systemd-run", path=PATH)
    if os.geteuid() != 0 or program is None or not _SYSTEMD.is_dir():
        return ()
    properties = (
        *(f"MemoryMax={MEMORY}", "MemorySwapMax=0", f"TasksMax={_TASKS}"),
        # The first process of a PID namespace, and unshare(1) above it, ignore SIGTERM.
        "KillSignal=SIGKILL",
    )
    scoped = (
        # By default the description is the whole command: systemd writes it into the unit as it is,
        # and takes its second line on for settings when it reads its units again.
        *(program, "--scope", "--quiet", "--collect", f"--description={_DESCRIPTION}"),
        *(*(f"--property={one}" for one in properties), "--"),
    )
    tried = _tried([*scoped, "sh", "-c", _PRINT_LIMITS])
    in_force = tried.stdout.decode(errors="replace").split() if tried is not None else []
    return scoped if {str(MEMORY), str(_TASKS)} <= set(in_force) else ()


def _why(tried: subprocess.CompletedProcess[bytes]) -> str:
    return words(tried.stderr) or f"exit status {tried.returncode}"


def _tried(command: Sequence[str]) -> subprocess.CompletedProcess[bytes] | None:
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TRY_BOUND,
            check=False,
            env=environment(),
        )
    except subprocess.TimeoutExpired:
        return None


def environment() -> dict[str, str]:
    """Return what a program in a sandbox gets: nothing of ours, which may hold secrets."""
    kept = {name: os.environ[name] for name in ("TZ",) if name in os.environ}
    return kept | {"PATH": PATH, "HOME": DATA, "TMPDIR": "/tmp", "LANG": "C.UTF-8"}  # noqa: S108


def unused_user() -> int:
    """Return the number of an unused user; without root's rights, that of this process."""
    return FIRST_USER + secrets.randbelow(USERS) if os.geteuid() == 0 else os.geteuid()


def _kernel() -> tuple[int, int]:
    major, minor, *_ = os.uname().release.split(".")
    return int(major), int("".join(filter(str.isdigit, minor)) or 0)
