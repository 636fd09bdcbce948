"""Why a host did not run what it was sent: what real sudo, shells and python3 print."""

import pytest

from backstay.transports import ssh_errors
from backstay.transports.script_errors import explained
from backstay.transports.targets import SshTarget

SAID = [
    ("sudo: a password is required", "asks for a password", "NOPASSWD"),
    ("sudo: sorry, a password is required to run sudo", "asks for a password", "NOPASSWD"),
    ("sudo: no tty present and no askpass program specified", "asks for a password", "NOPASSWD"),
    (
        "sudo: a terminal is required to read the password; either use the -S option",
        "asks for a password",
        "'ops ALL=(root) NOPASSWD: ALL' >/etc/sudoers.d/backstay",
    ),
    ("sudo: sorry, you must have a tty to run sudo", "requiretty", "!requiretty"),
    (
        "ops is not in the sudoers file.  This incident will be reported.",
        "does not allow",
        "visudo",
    ),
    (
        "Sorry, user ops is not allowed to execute '/usr/bin/python3 -I -' as root on compute1.",
        "does not allow the user ops",
        "visudo -c",
    ),
    ("sudo: unable to allocate pty: No such device", "use_pty", "devpts"),
    (
        "sudo: /usr/bin/sudo must be owned by uid 0 and have the setuid bit set",
        "cannot become root",
        "chmod 4755",
    ),
    (
        'sudo: The "no new privileges" flag is set, which prevents sudo from running as root.',
        "cannot become root",
        "log in as root",
    ),
    ("/etc/sudoers:27:9: syntax error", "", ""),
    ("sudo: parse error in /etc/sudoers near line 27", "cannot be read by sudo", "visudo -c"),
    ("sudo: account validation failure, is your account locked?", "refuses the account", "chage"),
    (
        "not root, and sudo cannot be used: [Errno 2] No such file or directory: 'sudo'",
        "there is no sudo",
        "install sudo",
    ),
    ("sudo: python3: command not found", "finds no python3", "secure_path"),
    ("sh: 1: python3: not found", "it has no python3", "apt-get install -y python3"),
    ("bash: line 1: python3: command not found", "it has no python3", "python3"),
    ("zsh:1: command not found: python3", "", ""),
    ("bash: line 1: /usr/bin/python3: Permission denied", "may not run its python3", "noexec"),
    ("Unknown option: -I", "older than 3.6", "install a newer python3"),
    ("SyntaxError: invalid syntax", "too old", "3.6"),
    ("ModuleNotFoundError: No module named 'json'", "incomplete", "python3-minimal is not enough"),
    ("OSError: [Errno 28] No space left on device: '/tmp/x'", "its disk is full", "df -h"),
    ("touch: cannot touch '/x': Read-only file system", "read-only", "dmesg"),
    ("-bash: fork: retry: Resource temporarily unavailable", "no memory or no processes", "free"),
    ("rbash: python3: command not found", "a restricted one", "chsh -s /bin/sh ops"),
    ("Password change required but no TTY available.", "has expired", "chage"),
]


@pytest.mark.parametrize(("line", "means", "remedy"), [one for one in SAID if one[1]])
def test_what_is_printed_is_explained(line: str, means: str, remedy: str) -> None:
    found = explained("ops", 1, f"Warning: something\n{line}\n")
    assert found is not None
    assert means in found.came_back
    assert line[:30] in found.came_back
    assert remedy in found.remedy or remedy in found.came_back
    assert "{" not in found.came_back + found.remedy


@pytest.mark.parametrize(
    ("printed", "means"),
    [
        ("This account is currently not available.\n", "nologin"),
        ('Please login as the user "debian" rather than the user "root".\n\n', "cloud image"),
        ("Welcome to the appliance\nmenu> ", "something else than python3 answered"),
        ("System is booting up. Unprivileged users are not permitted to log in yet.", "nologin"),
    ],
)
def test_what_answers_instead_of_python(printed: str, means: str) -> None:
    found = explained(None, 1, "", printed)
    assert found is not None
    assert means in found.came_back


def test_statuses_of_the_shell_alone() -> None:
    missing, forbidden = explained("ops", 127, ""), explained("ops", 126, "")
    assert missing is not None
    assert forbidden is not None
    assert "no python3" in missing.came_back
    assert "noexec" in forbidden.came_back


def test_a_script_that_fails_itself_is_not_explained_away() -> None:
    assert explained("ops", 1, "ValueError: x") is None
    assert explained("ops", 3, "", '{"half": ') is None


def test_a_hostile_line_stays_one_line_and_is_no_command() -> None:
    target = SshTarget(name="c", address="10.0.0.1", user="ops; reboot")
    error = ssh_errors.failed(target, 1, None, "sudo: a password is required\x1b[2J; rm -rf /")
    assert "\x1b" not in error.came_back
    assert "rm -rf" not in error.remedy
    assert "'ops; reboot ALL=(root) NOPASSWD: ALL'" in error.remedy
