"""Why a host that let Backstay log in did not run what it was sent: the first broken link. Pure.

After the login come the user's shell, python3 and the host's disk. Each complains in words of its
own, on standard error or, as shells and forced commands do, on standard output. What sudo says is
in ``sudo_errors``.
"""

import re
from dataclasses import dataclass

from backstay.answers import clean
from backstay.commands import quoted

NO_PYTHON = "it has no python3"
LONGEST = 1 << 14
"""How much of what was printed is looked through, in characters."""
_SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What came back, and what to do."""

    came_back: str
    remedy: str


_PACKAGE = (
    "install python3 on the host, as root: apt-get install -y python3 (or dnf install -y python3)"
)
# What is printed -> what it means, what to do; ``{user}`` is the login's. The first counts.
_TABLE: tuple[tuple[str, str, str], ...] = (
    (
        r"account is currently not available|This account is (not )?available",
        "the login shell of the user {user} lets nobody work (nologin)",
        "give it a shell, as root on the host: chsh -s /bin/sh {user}; or use another `user` under "
        "`ssh` in cloud.yaml",
    ),
    (
        r"Please login as the user .{1,40}rather than",
        "the host runs another command for this login (a cloud image that does not let root in)",
        "use the user that it names, as `user` under `ssh` in cloud.yaml",
    ),
    (
        r"[Pp]assword (has expired|change required)|required to change your password",
        "the password of the user {user} has expired: nothing is run before it is changed",
        "as root on the host: chage -d now {user} && chage -M -1 {user}",
    ),
    (
        r"System is (going down|booting up)|Unprivileged users are not permitted|pam_nologin",
        "the host is starting or going down, and lets only root in (/run/nologin)",
        "wait until it is up; where it is: rm /run/nologin, as root on the host",
    ),
    (
        r"No space left on device|Disk quota exceeded",
        "its disk is full",
        "make room on the host: df -h; df -i; journalctl --vacuum-size=200M",
    ),
    (
        r"Read-only file system",
        "a file system that it needs is read-only",
        "see why on the host: dmesg | grep -i -E 'remount|I/O error'; findmnt -O ro",
    ),
    (
        r"Cannot allocate memory|MemoryError|Resource temporarily unavailable"
        r"|fork: retry|Cannot fork",
        "it has no memory or no processes left for another program",
        "look on the host: free -m; ulimit -u; ps -eo user= | sort | uniq -c | sort -n | tail",
    ),
    (
        r"[Uu]nknown option: -I",
        "its python3 is older than 3.6",
        "install a newer python3 on the host (3.6 at least): python3 --version",
    ),
    (
        r"(SyntaxError: (invalid syntax|f-string)|capture_output|has no attribute)",
        "its python3 is too old for what it was sent, which needs 3.6",
        "install a newer python3 on the host (3.6 at least): python3 --version",
    ),
    (
        r"(ModuleNotFoundError|ImportError): No module named|Could not find platform"
        r"|No module named .?encodings",
        "its python3 is incomplete: a module of the standard library is missing",
        _PACKAGE + "; python3-minimal is not enough",
    ),
    (
        r"python3: error while loading shared libraries|Exec format error",
        "its python3 cannot be started",
        "install python3 on the host again: apt-get install --reinstall python3-minimal python3",
    ),
    (
        r"rbash: |restricted: cannot|restricted shell",
        "the login shell of the user {user} is a restricted one",
        "give it a shell, as root on the host: chsh -s /bin/sh {user}",
    ),
    (
        r"(env|sh|bash|dash|zsh|ksh).*python3.*(not found|No such file)"
        r"|python3: (command )?not found|python3.*: not found",
        NO_PYTHON,
        _PACKAGE,
    ),
    (
        r"python3: .*Permission denied|Permission denied.*python3",
        "the user {user} may not run its python3 (its mode, or a file system with noexec)",
        "look on the host: ls -lL /usr/bin/python3; findmnt -T /usr/bin/python3",
    ),
)
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126  # of every POSIX shell


def explained(
    user: str | None, status: int | None, errors: str, printed: str = ""
) -> Explanation | None:
    """Return why a script did not run, None where it is the script itself that failed.

    ``user`` is the login's, None where ``~/.ssh/config`` names it; ``errors`` and ``printed`` are
    what came on standard error and on standard output.
    """
    name = user or "of the login"
    for text in (errors[-LONGEST:], printed[:LONGEST]):
        for line in text.splitlines():
            for pattern, came_back, remedy in _TABLE:
                if re.search(pattern, line):
                    return Explanation(
                        came_back=came_back.replace("{user}", name) + f": {shown(line)}",
                        remedy=remedy.replace("{user}", quoted(user or "USER")),
                    )
    if status == _NOT_FOUND:
        return Explanation(came_back=NO_PYTHON, remedy=_PACKAGE)
    if status == _NOT_EXECUTABLE:
        return Explanation(
            came_back="its python3 may not be run (its mode, or a file system with noexec)",
            remedy="look on the host: ls -lL /usr/bin/python3; findmnt -T /usr/bin/python3",
        )
    said = next((line for line in printed.splitlines() if line.strip()), "")
    if said and not errors.strip() and not printed.lstrip().startswith("{"):
        return Explanation(
            came_back="something else than python3 answered the login (a forced command, or a "
            f"shell that prints text and ends): {shown(said)}",
            remedy="look for command= in ~/.ssh/authorized_keys, ForceCommand in sshd_config, and "
            "for exit or exec in that user's ~/.bashrc on the host",
        )
    return None


def shown(line: str) -> str:
    """Return a line of a host's as an error has it."""
    return clean(line.strip(), longest=_SHOWN)
