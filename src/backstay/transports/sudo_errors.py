"""Why sudo did not run what it was given, in the operator's words, with the line to add.

What it says is recognised in English (``access.onhost`` asks for that), of sudo and of sudo-rs.
"""

import re
from dataclasses import dataclass

from backstay.commands import command
from backstay.transports.script_errors import LONGEST, Explanation, shown

FILE = "/etc/sudoers.d/backstay"
"""Where the remedies put what is missing; without a dot in its name, else sudo ignores it."""
_SUDO = r"^sudo(-rs)?: .*"
_ASKS = re.compile(
    _SUDO + r"((a|interactive) (password|terminal|authentication) is required"
    r"|no tty present|no password was provided|sorry, a password is required)"
)
_NO_TERMINAL = re.compile(_SUDO + r"you must have a tty")
_NO_RIGHT = re.compile(
    r"^(?P<user>\S+) is not in the sudoers file"
    r"|^Sorry, user (?P<other>\S+) (is not allowed|may not run)"
    r"|^(?P<third>\S+) is not allowed to run sudo"
    r"|" + _SUDO + r"I'm sorry (?P<fourth>[^\s.]+)\. I'm afraid I can't do that"
)
_LOCKED = re.compile(_SUDO + r"(account validation failure|expired|PAM (account|authentication))")
_DAMAGED = re.compile(
    r"^(sudo(-rs)?: |>>> )?/etc/sudoers\S*:? .*(syntax error|parse error|is (world|group) writable"
    r"|is owned by)|"
    + _SUDO
    + r"(syntax error|parse error|no valid sudoers sources|unable to (open|stat) /etc/sudo"
    r"|error initializing)"
)
_NO_PTY = re.compile(_SUDO + r"unable to (allocate|create|open) pty")
_NOT_ROOT = re.compile(
    _SUDO + r"(effective uid is not 0|must be owned by uid 0|no new privileges)|"
    r"^sudo does not make this user root"
)
_MISSING = re.compile(
    r"^not root, and sudo cannot be used: (?P<why>.*)"
    r"|^\S*sh: .*\bsudo: (?P<found>(command )?not found)"
)
_NO_PYTHON = re.compile(_SUDO + r"python3: (command not found|No such file)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal(Explanation):
    """Why sudo ran nothing; ``line`` is what sudoers(5) lacks, empty where it is not that."""

    line: str = ""


def refusal(errors: str, user: str) -> Refusal | None:
    """Return why sudo ran nothing; None where its standard error does not say so. Pure.

    ``user`` is who is logged in; the host may name another one.
    """
    lines = [line.strip() for line in errors[-LONGEST:].splitlines() if line.strip()]
    for judge in (_of_settings, _of_rights, _of_installation):
        for line in lines:
            found = judge(line, user)
            if found is not None:
                return found
    return None


def _of_rights(line: str, user: str) -> Refusal | None:
    if _NO_TERMINAL.search(line):
        means = f"sudo wants a terminal of {user}, and Backstay has none there"
        return _lacking(means, line, f"Defaults:{_written(user)} !requiretty")
    if _ASKS.search(line):
        return _lacking(f"sudo asks {user} for a password", line, _allowed(user))
    found = _NO_RIGHT.search(line)
    if found:
        named = next(filter(None, found.groupdict().values()), user)
        return _lacking(f"sudo does not let {user} run python3 as root", line, _allowed(named))
    return None


def _of_settings(line: str, user: str) -> Refusal | None:
    if _DAMAGED.search(line):
        return _found(
            "sudo cannot read its settings",
            line,
            "as root at the host's console: visudo -c names the line; correct it",
        )
    if _LOCKED.search(line):
        return _found(
            f"sudo refuses the account {user}",
            line,
            f"as root on the host: {command('chage', '-l', user)}, then extend or unlock it: "
            f"{command('chage', '-M', '-1', '-E', '-1', user)}",
        )
    if _NO_PYTHON.search(line):
        return _found(
            "sudo finds no python3",
            line,
            "install python3 on the host (apt-get install python3-minimal), or add its folder to "
            "secure_path in /etc/sudoers: visudo",
        )
    return None


def _of_installation(line: str, user: str) -> Refusal | None:
    found = _MISSING.search(line)
    if found:
        return _found(
            f"{user} is not root there, and sudo cannot be used",
            found["why"] or found["found"],
            f"as root on the host: apt-get install sudo, then {_with_lines(_allowed(user))}; or "
            "log in as root (`user` under `ssh` in cloud.yaml)",
        )
    if _NOT_ROOT.search(line):
        return _found(
            "sudo makes nobody root there",
            line,
            "as root on the host: ls -l /usr/bin/sudo (it is to be root's, with mode 4755, on a "
            "file system without nosuid, in a container that lets it), and visudo (without "
            "runas_default)",
        )
    if _NO_PTY.search(line):
        return _found(
            "sudo could not make a terminal for the command (use_pty)",
            line,
            "look at /dev/pts on the host: mount | grep devpts; sysctl kernel.pty.nr "
            "kernel.pty.max",
        )
    return None


def _found(means: str, said: str, remedy: str) -> Refusal:
    return Refusal(came_back=f"{means}: {shown(said)}", remedy=remedy)


def _lacking(means: str, said: str, line: str) -> Refusal:
    return Refusal(came_back=f"{means}: {shown(said)}", remedy=_with_lines(line), line=line)


def _written(user: str) -> str:
    """Return a name as sudoers(5) has it."""
    return re.sub(r"([^\w.-])", r"\\\1", user)


def _allowed(user: str) -> str:
    """Return the line of sudoers(5) that lets a user do what Backstay does."""
    return f"{_written(user)} ALL=(root) NOPASSWD: /usr/bin/python3"


def _with_lines(line: str) -> str:
    """Return the command that adds a line, as root on the host, and has it checked."""
    return (
        f"as root on the host: {command('echo', line)} >> {FILE} && chmod 0440 {FILE} && "
        f"visudo -c (docs/ssh.md has all lines)"
    )
