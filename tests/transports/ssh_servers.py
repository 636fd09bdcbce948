"""OpenSSH's own servers on loopback, in namespaces of their own, for the comparison with ``ssh``.

Run as ``python -m tests.transports.ssh_servers SSHD CASES`` by ``unshare --mount --net``: root's
home, /etc/ssh and the names in /etc/hosts are then this process's alone. Prints one JSON object
for each case: what ``ssh HOST true`` came to, and what Backstay did.
"""

import asyncio
import base64
import contextlib
import hmac
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from backstay.errors import HostError, HostKeyRefused, LoginRefused, NotAsked
from backstay.transports.ssh import HostShell
from backstay.transports.targets import SshTarget

SERVERS = {"s1": "10.99.0.1", "s2": "10.99.0.2", "s3": "10.99.0.3", "s4": "10.99.0.4"}
SERVERS |= {"s5": "10.99.0.5", "s6": "10.99.0.6"}
HOST_KEYS = {"s1": ("ed25519", "rsa", "ecdsa"), "s4": ("rsa",)}
CERTIFIED = {"s2": "s2,s2.example", "s5": "another", "s6": "*.example"}
"""Servers with a certificate, and the names in it."""
USER_KEYS = (
    "good",
    "second",
    "stranger",
    "locked",
    "certified",
    "rsa",
    *(f"x{n}" for n in range(7)),
)
AUTHORIZED = ("good", "second", "locked", "rsa")
HOME, OTHER_HOME = Path("/srv/root"), Path("/srv/elsewhere")
WORK = Path("/run/ssh-cases")
SALT = bytes(range(20))


@dataclass
class Case:
    """One machine's files: ``files`` by name; the rest is from the lines at the top."""

    name: str
    host: str
    files: dict[str, tuple[str, str]]
    cloud: dict[str, str] = field(default_factory=dict)
    agent: list[str] = field(default_factory=list)
    outcome: str = ""
    words: str = ""
    remedy: str = ""

    @classmethod
    def read(cls, file: Path) -> "Case":
        """Read a case: lines ``# word: value``, then files, each after a line ``== NAME``."""
        head, *parts = re.split(r"^== (.+)\n", file.read_text(), flags=re.MULTILINE)
        said = dict(re.findall(r"^# (\w+): (.*)$", head, flags=re.MULTILINE))
        files = {}
        for title, text in zip(parts[::2], parts[1::2], strict=True):
            name, _, how = title.partition(" ")
            files[name] = (how, text)
        return cls(
            name=file.stem,
            host=said["host"],
            files=files,
            cloud=dict(pair.split("=") for pair in said.get("cloud", "").split()),
            agent=said.get("agent", "").split(),
            outcome=said.get("outcome", ""),
            words=said.get("words", ""),
            remedy=said.get("remedy", ""),
        )


def main(sshd: str, folder: str, pattern: str = "*") -> None:
    """Try the cases whose names match, and print what came of each."""
    _prepare()
    _make_keys()
    with _servers(sshd):
        for file in sorted(Path(folder).glob(f"{pattern}.case")):
            print(json.dumps(_tried(Case.read(file))), flush=True)


def _tried(case: Case) -> dict[str, str]:
    _place(case, HOME)
    with _agent(case.agent):
        reference, said = by_ssh(case)
        _place(case, HOME)
        found, error, remedy = by_backstay(case, HOME)
        after = _after_remedy(case, remedy) if case.remedy else ""
        _place(case, OTHER_HOME)
        elsewhere, _, _ = by_backstay(case, OTHER_HOME)
    return {
        "name": case.name,
        "outcome": case.outcome,
        "words": case.words,
        "reference": reference,
        "said": said,
        "found": found,
        "error": error,
        "elsewhere": elsewhere,
        "remedy": remedy,
        "after": after,
    }


def by_ssh(case: Case) -> tuple[str, str]:
    """Return what ``ssh HOST true`` comes to, and what it said."""
    options = ["-o", "BatchMode=yes"]
    for name, option in (("port", "-p"), ("user", "-l"), ("key", "-i")):
        options += [option, _full(case.cloud[name], HOME)] if name in case.cloud else []
    options += ["-o", "IdentitiesOnly=yes"] if "key" in case.cloud else []
    if "known_hosts" in case.cloud:
        options += ["-o", f"UserKnownHostsFile={_full(case.cloud['known_hosts'], HOME)}"]
    marks = _marks()
    done = subprocess.run(
        ["ssh", *options, case.host, "true"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.stdout:
        return _reached(done.stdout, marks), done.stderr
    return next((kind for kind, words in _SAID if re.search(words, done.stderr)), "?"), done.stderr


_SAID = (
    ("changed", "IDENTIFICATION HAS CHANGED|differs from the key for the IP"),
    ("revoked", "REVOKED HOST KEY|revoked by file|Error checking host key"),
    ("too short", "Invalid key length"),
    ("unknown", "Host key verification failed"),
    ("refused", "Permission denied|Too many authentication"),
    ("no name", "Could not resolve hostname"),
    ("config", "terminating|Bad owner|jumphost loop|Bad configuration"),
    ("no algorithm", "no matching|Unable to negotiate"),
    ("unreachable", "Connection refused|Connection timed out|Connection closed|No route|banner"),
)


def by_backstay(case: Case, home: Path) -> tuple[str, str, str]:
    """Return what Backstay comes to, what it said, and its remedy."""
    os.environ["HOME"] = str(home)
    files = {
        name: Path(_full(case.cloud[name], home))
        for name in ("key", "known_hosts")
        if name in case.cloud
    }
    target = SshTarget(
        name=case.host,
        address=case.host,
        port=int(case.cloud["port"]) if "port" in case.cloud else None,
        user=case.cloud.get("user"),
        key=files.get("key"),
        known_hosts=files.get("known_hosts"),
    )

    async def ask() -> str:
        async with HostShell(connect_bound=20) as shell:
            return await shell.ask(target, "print(1)", bound=20)

    marks = _marks()
    try:
        return _reached(asyncio.run(ask()), marks), "", ""
    except HostError as error:
        return _kind(error), str(error), error.remedy
    finally:
        os.environ["HOME"] = str(HOME)


def _kind(error: HostError) -> str:
    text = error.came_back
    if isinstance(error, HostKeyRefused):
        words = {
            "RequiredRSASize says": "too short",
            "has changed": "changed",
            "revoked": "revoked",
        }
        usual = "unknown"
    elif isinstance(error, NotAsked):
        words = {"is not known": "no name", "cannot be used": "config", "is not used": "config"}
        words |= {"in a circle": "config", "does not support": "unsupported"}
        usual = "unreachable"
    else:
        words = {"KexAlgorithms": "no algorithm"}
        text = error.remedy
        usual = "refused" if isinstance(error, LoginRefused) else "unreachable"
    return next((kind for word, kind in words.items() if word in text), usual)


def _after_remedy(case: Case, remedy: str) -> str:
    """Do what the remedy says, answering yes; return what Backstay comes to then."""
    commands = re.findall(r"(ssh-keygen -f .*?-R \S+|ssh -o StrictHostKeyChecking.*$)", remedy)
    for one in commands:
        line = one.rstrip(",").replace(
            "StrictHostKeyChecking=ask", "StrictHostKeyChecking=accept-new"
        )
        subprocess.run(["sh", "-c", line], capture_output=True, timeout=60, check=False)
    return by_backstay(case, HOME)[0]


# The machine.


def _prepare() -> None:
    run("ip", "link", "set", "lo", "up")
    for address in SERVERS.values():
        run("ip", "address", "add", f"{address}/32", "dev", "lo")
    run("ip", "address", "add", "fd99::1/128", "dev", "lo", "nodad")
    for folder in ("/run", "/srv", "/etc/ssh"):
        run("mount", "-t", "tmpfs", "tmpfs", folder)
    for made in (WORK, Path("/run/sshd"), HOME, OTHER_HOME):
        made.mkdir(parents=True)
    names = [
        f"{address} {name} {name}.example {name}.example." for name, address in SERVERS.items()
    ]
    _replaced("/etc/hosts", "\n".join(["127.0.0.1 localhost", *names, "fd99::1 six", ""]))
    _replaced("/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    _replaced(
        "/etc/passwd",
        f"root:x:0:0:root:{HOME}:/bin/sh\nsshd:x:60000:65534::/run/sshd:/usr/sbin/nologin\n"
        "ops:*:60001:65534::/:/bin/sh\n",
    )
    os.environ |= {"HOME": str(HOME), "LOGNAME": "root", "USER": "root", "SHELL": "/bin/sh"}
    os.environ.pop("SSH_AUTH_SOCK", None)


def _replaced(name: str, text: str) -> None:
    file = WORK / name.replace("/", "_")
    file.write_text(text)
    run("mount", "--bind", str(file), name)


def run(*words: str, given: str = "") -> str:
    """Return what a program prints; raise where it fails."""
    done = subprocess.run(words, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{words}: {done.stderr}")
    return done.stdout


def _make_keys() -> None:
    def make(name: str, kind: str = "ed25519", phrase: str = "") -> Path:
        path = WORK / name
        size = ["-b", "2048"] if kind == "rsa" else []
        run("ssh-keygen", "-q", "-t", kind, *size, "-N", phrase, "-C", name, "-f", str(path))
        return path

    make("host-ca"), make("user-ca"), make("stale")
    for name in SERVERS:
        for kind in HOST_KEYS.get(name, ("ed25519",)):
            make(f"{name}.{kind}", kind)
    for name, principals in CERTIFIED.items():
        sign("host-ca", f"{name}.ed25519", principals, "-h")
    for name in USER_KEYS:
        make(name, "rsa" if name == "rsa" else "ed25519", "secret" if name == "locked" else "")
    sign("user-ca", "certified", "ops,root")
    authorized = "".join((WORK / f"{name}.pub").read_text() for name in AUTHORIZED)
    (WORK / "authorized").write_text(authorized)
    (WORK / "revoked-keys").write_text((WORK / "s1.ed25519.pub").read_text())
    run("ssh-keygen", "-k", "-q", "-f", str(WORK / "krl"), str(WORK / "s1.ed25519.pub"))


def sign(authority: str, key: str, names: str, *options: str) -> None:
    """Make a certificate."""
    ca = str(WORK / authority)
    run("ssh-keygen", "-q", "-s", ca, "-I", key, "-n", names, *options, str(WORK / f"{key}.pub"))


@contextlib.contextmanager
def _servers(sshd: str) -> Iterator[None]:
    running = []
    for name, address in SERVERS.items():
        kinds = HOST_KEYS.get(name, ("ed25519",))
        lines = [
            *(f"HostKey {WORK}/{name}.{kind}" for kind in kinds),
            *(f"ListenAddress {address}:{port}" for port in (22, 2222)),
            *(["ListenAddress [fd99::1]:22", "ListenAddress 127.0.0.1:22"] if name == "s1" else []),
            *([f"HostCertificate {WORK}/{name}.ed25519-cert.pub"] if name in CERTIFIED else []),
            f"AuthorizedKeysFile {WORK}/authorized",
            f"TrustedUserCAKeys {WORK}/user-ca.pub",
            "PermitRootLogin prohibit-password",
            "StrictModes no",
            "UsePAM no",
            "UseDNS no",
            "ExposeAuthInfo yes",
            f"SetEnv SERVER={name}",
            'ForceCommand echo "$SERVER $USER $(cat $SSH_USER_AUTH)"',
            f"PidFile {WORK}/{name}.pid",
        ]
        (WORK / f"{name}.config").write_text("\n".join([*lines, ""]))
        log = (WORK / f"{name}.log").open("w")
        command = [sshd, "-D", "-e", "-f", str(WORK / f"{name}.config")]
        running.append(subprocess.Popen(command, stderr=log, stdin=subprocess.DEVNULL))
    for address in SERVERS.values():
        _wait_for(address)
    try:
        yield
    finally:
        for process in running:
            process.terminate()


def _wait_for(address: str) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            socket.create_connection((address, 22), timeout=5).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def _marks() -> dict[str, int]:
    return {name: (WORK / f"{name}.log").stat().st_size for name in SERVERS}


def _reached(printed: str, marks: dict[str, int]) -> str:
    """Return who was reached, as whom, by which key, and who let one in on the way."""
    server, user, _, kind, blob = printed.split()[:5]
    key = next(
        (
            name
            for name in USER_KEYS
            for end in (".pub", "-cert.pub")
            if (file := WORK / f"{name}{end}").exists() and blob in file.read_text()
        ),
        kind,
    )
    via = [
        f"{name} as {user}"
        for name in SERVERS
        for user in re.findall("Accepted publickey for (.*?) from", _log_after(name, marks))
        if name != server
    ]
    return " via ".join([f"{server} as {user} by {key}", *sorted(set(via))])


def _log_after(name: str, marks: dict[str, int]) -> str:
    with (WORK / f"{name}.log").open() as log:
        log.seek(marks[name])
        return log.read()


# The files of one case.


def _place(case: Case, home: Path) -> None:
    for folder in (HOME, OTHER_HOME):
        shutil.rmtree(folder / ".ssh", ignore_errors=True)
    for one in Path("/etc/ssh").iterdir():
        one.unlink()
    keys = home / ".ssh/keys"
    keys.mkdir(parents=True, mode=0o700)
    for name in USER_KEYS:
        for end in ("", ".pub", "-cert.pub"):
            if (WORK / f"{name}{end}").exists():
                shutil.copy2(WORK / f"{name}{end}", keys)
    for name, (how, text) in case.files.items():
        file = Path(_full(name, home))
        file.parent.mkdir(parents=True, exist_ok=True)
        said = dict(pair.split("=") for pair in how.split())
        if "key" in said:
            shutil.copy2(WORK / said["key"], file)
        else:
            file.write_text(filled(text, home))
        if "mode" in said:
            file.chmod(int(said["mode"], 8))
        if "owner" in said:
            os.chown(file, int(said["owner"]), 65534)


def filled(text: str, home: Path) -> str:
    """Put in what is written ``{home}``, ``{work}``, ``{hash NAME}`` and ``{s1.ed25519}``."""

    def hashed(found: "re.Match[str]") -> str:
        digest = hmac.digest(SALT, found[1].encode(), "sha1")
        return f"|1|{base64.b64encode(SALT).decode()}|{base64.b64encode(digest).decode()}"

    text = re.sub(r"\{hash (\S+?)\}", hashed, text)
    text = text.replace("{home}", str(home)).replace("{work}", str(WORK))
    return re.sub(
        r"\{([a-z][\w.-]+)\}",
        lambda found: " ".join((WORK / f"{found[1]}.pub").read_text().split()[:2]),
        text,
    )


def _full(name: str, home: Path) -> str:
    return f"{home}/{name[2:]}" if name.startswith("~/") else name


@contextlib.contextmanager
def _agent(keys: list[str]) -> Iterator[None]:
    if not keys:
        yield
        return
    path = WORK / "agent"
    process = subprocess.Popen(
        ["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    )
    until = time.monotonic() + 30
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.01)
    os.environ["SSH_AUTH_SOCK"] = str(path)
    ask = WORK / "askpass"
    ask.write_text("#!/bin/sh\necho secret\n")
    ask.chmod(0o700)
    env = os.environ | {"SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force"}
    for key in keys:
        subprocess.run(["ssh-add", "-q", str(WORK / key)], env=env, check=True)
    try:
        yield
    finally:
        del os.environ["SSH_AUTH_SOCK"]
        process.terminate()
        process.wait()
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
