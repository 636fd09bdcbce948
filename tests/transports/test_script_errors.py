"""Why a host did not run what it was sent: what real shells and python3 print (sudo: test_sudo)."""

import pytest

from backstay.errors import NoPython, RemoteFailure, SudoRefused
from backstay.transports import ssh_errors
from backstay.transports.script_errors import explained
from backstay.transports.targets import SshTarget

SAID = [
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


def test_each_error_is_of_the_kind_that_says_whose_it_is() -> None:
    """Of sudo, of a missing python3, of another thing of the host; the script's own is left."""
    target = SshTarget(name="c", address="10.0.0.1", user="ops")

    def kind(status: int, errors: str) -> type[Exception]:
        return type(ssh_errors.failed(target, status, None, errors, user="ops"))

    assert kind(1, "sudo: a password is required") is SudoRefused
    assert kind(1, "sudo: python3: command not found") is SudoRefused
    assert kind(127, "sh: 1: python3: not found") is NoPython
    assert kind(1, "OSError: [Errno 28] No space left on device") is RemoteFailure
    assert kind(1, "ValueError: x") is RemoteFailure


def test_the_user_that_is_logged_in_is_named_where_cloud_yaml_names_none() -> None:
    target = SshTarget(name="c", address="10.0.0.1")
    error = ssh_errors.failed(target, 1, None, "sudo: a password is required", user="ops")
    assert "asks ops for a password" in error.came_back
    error = ssh_errors.failed(target, 1, None, "rbash: x", user="ops")
    assert "of the user ops" in error.came_back


def test_a_signal_is_not_explained() -> None:
    target = SshTarget(name="c", address="10.0.0.1", user="ops")
    error = ssh_errors.failed(target, None, ("KILL",), "sudo: a password is required")
    assert type(error) is RemoteFailure
    assert "signal KILL" in error.came_back


def test_a_hostile_line_stays_one_line_and_is_no_command() -> None:
    target = SshTarget(name="c", address="10.0.0.1", user="ops; reboot")
    error = ssh_errors.failed(target, 1, None, "sudo: a password is required\x1b[2J; rm -rf /")
    assert "\x1b" not in error.came_back
    assert "rm -rf" not in error.remedy
    assert r"echo 'ops\;\ reboot ALL=(root) NOPASSWD: /usr/bin/python3'" in error.remedy
