"""Installing the packages of a lost host on a spare. Shipped as text: see ``onhost``.

Nothing is started: ``policy-rc.d`` says no for as long as it lasts
(https://manpages.debian.org/bookworm/sysvinit-utils/invoke-rc.d.8.en.html), and units that shall
not start at the next boot either are disabled again.

Much of the processor time of an installation is Python packages being compiled one by one and
systemd reading its units again after each: the first is done beside it, the second once.
"""

import errno
import fcntl
import glob
import json
import os
import subprocess
import sys
import time
from typing import Any

from backstay.provision.onhost_compile import begin_compiling

POLICY = "/usr/sbin/policy-rc.d"
NO = "#!/bin/sh\n# backstay: nothing is started while packages are installed\nexit 101\n"
ALLOW = (
    f"grep -qs backstay: {POLICY} && rm -f {POLICY}; "
    f"[ ! -e {POLICY}.before-backstay ] || mv {POLICY}.before-backstay {POLICY}"
)
ARCHIVES = "/var/cache/apt/archives"
DISABLED = "/var/lib/backstay/spare/disabled.json"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
RELOAD = """#!/bin/sh
case "$*" in *daemon-reload) exit 0 ;; esac
exec /bin/systemctl "$@"
"""
RESULT = "backstay-result: "


def install(wanted: list[list[str]], manual: list[str], disable: bool, compiler: str) -> None:
    """Install packages, name and version each; ends the process with 1 where that fails.

    ``manual`` are those that were asked for by name, if known: the others are marked as come with
    them. ``disable`` keeps what they start from the next boots too; without it, what was disabled
    so before is enabled again. ``compiler`` is a program that calls ``compile_noted``. Writes what
    it does to standard output; the last line says how the host differs from what is wanted.
    """
    os.environ.update(PATH=PATH, DEBIAN_FRONTEND="noninteractive", LC_ALL="C.UTF-8")
    enabled = unit_files("enabled")
    refuse_starts()
    try:
        bring(wanted, compiler)
    finally:
        allow_starts()
    if manual:
        automatic = sorted({name for name, _ in wanted} - set(manual))
        run(["apt-mark", "auto", *automatic], quiet=True)
    if disable:
        keep_from_starting(sorted(unit_files("enabled") - enabled))
    else:
        let_start()
    print(RESULT + json.dumps(difference(wanted, installed())))
    sys.stdout.flush()


def bring(wanted: list[list[str]], compiler: str) -> None:
    """Install what is missing; exits where APT fails."""
    have = installed()
    missing = [one for one in wanted if have.get(one[0]) != one[1]]
    if not missing:
        print("all %d packages are there" % len(wanted))
        return
    run(["dpkg", "--force-confdef", "--force-confold", "--configure", "-a"])
    names = [name for name, _ in missing]
    asked = chosen(missing, have, available(names), staged())
    if asked["inexact"]:
        print("not all versions are known here: asking the repositories")
        run(["apt-get", "-q", "-o", "Acquire::Retries=1", "update"], bound=180)
        asked = chosen(missing, have, available(names), staged())
    if not asked["specs"] or apt(asked["specs"], compiler):
        return
    if asked["specs"] != asked["names"]:
        print("W: these versions do not fit together: installing those that do")
        if apt(asked["names"], compiler):
            return
    sys.exit("E: apt-get could not install the packages")


def chosen(
    missing: list[list[str]],
    have: dict[str, str],
    available: dict[str, list[str]],
    staged: dict[str, str],
) -> dict[str, list[str]]:
    """Return what APT is to be asked for: a version, else a file of that version, else any.

    What is there in another version stays where its own is nowhere. ``inexact`` are those that
    will not be as wanted; ``names`` are the same as ``specs``, in whatever versions.
    """
    found: dict[str, list[str]] = {"specs": [], "names": [], "inexact": []}
    for name, version in missing:
        file = staged.get(name + "_" + version.replace(":", "%3a"))
        if version in available.get(name, []):
            found["specs"].append(name + "=" + version)
            found["names"].append(name)
        elif file:
            found["specs"].append(file)
            found["names"].append(file)
        else:
            found["inexact"].append(name)
            if name in available and name not in have:
                found["specs"].append(name)
                found["names"].append(name)
    return found


def difference(wanted: list[list[str]], have: dict[str, str]) -> dict[str, Any]:
    """Return the names that are not installed, and name, version wanted and there of others."""
    return {
        "missing": [name for name, _ in wanted if name not in have],
        "differ": [[n, v, have[n]] for n, v in wanted if n in have and have[n] != v],
    }


def apt(specs: list[str], compiler: str) -> bool:
    """Install them, and say whether that went well."""
    await_lock()
    folder = begin_compiling(compiler)
    with open(os.path.join(folder, "systemctl"), "w") as file:
        file.write(RELOAD)
    os.chmod(os.path.join(folder, "systemctl"), 0o755)
    done = run(
        [
            "apt-get",
            "-q",
            "-y",
            "--no-install-recommends",
            "-o",
            "DPkg::Lock::Timeout=300",
            "-o",
            "DPkg::Path=" + folder + ":" + PATH,
            "-o",
            "Dpkg::Options::=--force-confdef",
            "-o",
            "Dpkg::Options::=--force-confold",
            # It is a spare: after a crash it is installed again.
            "-o",
            "Dpkg::Options::=--force-unsafe-io",
            "-o",
            "Dpkg::Use-Pty=0",
            "install",
            *specs,
        ]
    )
    run(["systemctl", "daemon-reload"], quiet=True)
    os.sync()
    return done == 0


def installed() -> dict[str, str]:
    """Return the version of every package that is installed, by name."""
    shown = said(["dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Package} ${Version}\\n"])
    rows = [line.split() for line in shown.splitlines()]
    return {row[1]: row[2] for row in rows if len(row) == 3 and row[0] == "ii"}


def available(names: list[str]) -> dict[str, list[str]]:
    """Return the versions that the repositories have, as this host knows them."""
    found: dict[str, list[str]] = {}
    for line in said(["apt-cache", "madison", *names]).splitlines():
        row = [part.strip() for part in line.split("|")]
        if len(row) == 3 and row[2].endswith("Packages"):
            found.setdefault(row[0], []).append(row[1])
    return found


def staged() -> dict[str, str]:
    """Return the package files that lie on this host, by name and version as APT names them."""
    files = glob.glob(ARCHIVES + "/*.deb")
    return {os.path.basename(file).rpartition("_")[0]: file for file in files}


def refuse_starts() -> None:
    """Let nothing be started by packages; a policy of the site's own is kept aside."""
    if os.path.exists(POLICY) and NO not in "".join(line + "\n" for line in lines(POLICY)):
        os.rename(POLICY, POLICY + ".before-backstay")
    with open(POLICY, "w") as file:
        file.write(NO)
    os.chmod(POLICY, 0o755)


def allow_starts() -> None:
    """Undo it. The unit does so too, if this is killed: ``ALLOW``."""
    subprocess.run(["/bin/sh", "-c", ALLOW], check=False)


def keep_from_starting(units: list[str]) -> None:
    """Disable units, and remember which."""
    if units:
        run(["systemctl", "disable", "--quiet", *units], quiet=True)
        os.makedirs(os.path.dirname(DISABLED), mode=0o700, exist_ok=True)
        known = json.loads("".join(lines(DISABLED)) or "[]")
        with open(DISABLED, "w") as file:
            json.dump(sorted(set(known) | set(units)), file)
    print("%d units are kept from starting" % len(units))


def let_start() -> None:
    """Enable again what was disabled so."""
    units = json.loads("".join(lines(DISABLED)) or "[]")
    if units:
        run(["systemctl", "enable", "--quiet", *units], quiet=True)
        os.unlink(DISABLED)


def unit_files(state: str) -> set[str]:
    """Return the names of the unit files in this state."""
    listing = said(["systemctl", "list-unit-files", "--no-legend", "--state=" + state])
    return {line.split()[0] for line in listing.splitlines() if line.strip()}


def await_lock() -> None:
    """Wait until no other process uses APT's package folder: it may be shared, and APT would fail.

    Bounded: APT says the rest.
    """
    until = time.monotonic() + 300
    while time.monotonic() < until:
        try:
            with open(ARCHIVES + "/lock", "a") as file:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                return
            time.sleep(1)
        else:
            return


def run(command: list[str], bound: float | None = None, quiet: bool = False) -> int:
    """Run a program whose words go into the log; return its exit status, -1 if it took too long."""
    sys.stdout.flush()
    out = subprocess.DEVNULL if quiet else None
    try:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=out, timeout=bound, check=False
        ).returncode
    except subprocess.TimeoutExpired:
        return -1


def said(command: list[str]) -> str:
    """Return what a program prints."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return done.stdout.decode(errors="replace")


def lines(path: str) -> list[str]:
    """Return a file's lines, none where it is not there."""
    try:
        with open(path, errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []
