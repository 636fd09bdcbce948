"""``backstay replace`` against the clock, and against building the same host anew by Puppet alone.

On the lab, from the command to every check green, and to the end of the run, which takes and proves
a new backup after that: a bare spare, and one that was prepared. In the same run the base line: the
packages and a plain ``puppet apply`` of the same manifest on the same bare spare, which gives a
host without any data. The disks of the lab's hosts are as first built afterwards:
``python -m bench.replace [HOST...]``.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

from backstay.backup.place import Place
from backstay.inventory.load import load
from bench.lab import lab_cloud_file
from bench.reboot import run, wait_green
from bench.replace_base import Base, base_line

HOSTS = ("controller", "proxy")
SPARE = "spare1"
BOUND = 900.0
ONLY_FENCED = {"fenced host"}


@contextmanager
def cloud_file(folder: Path) -> Iterator[Path]:
    """Give a cloud.yaml of the lab whose backups are kept in ``folder``."""
    lab = lab_cloud_file()
    yaml = YAML(typ="safe")
    described = yaml.load(lab)
    described["backup"] = described.get("backup", {}) | {"folder": str(folder / "backups")}
    file = lab.with_name("bench.yaml")
    yaml.dump(described, file)
    try:
        yield file
    finally:
        for one in lab.parent.glob("bench.yaml*"):
            one.unlink()


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds from the command to all checks green, and to the end of the run."""

    green: float
    whole: float


def until_green(cloud: Path) -> None:
    """Wait until a check finds nothing but that the lost host is only fenced."""
    end = time.monotonic() + BOUND
    while True:
        output = run("check", "-o", "json", "--cloud", str(cloud), ok=(0, 1, 2, 3))
        findings = json.loads(output)["findings"]
        if {one["subject"] for one in findings if one["severity"] != "ok"} <= ONLY_FENCED:
            return
        if time.monotonic() > end:
            sys.exit(f"not green after {BOUND:g} s")
        time.sleep(0.5)


def replaced(host: str, cloud: Path, what: str) -> Took:
    """Replace a host that is dead, and print what it took, phase by phase.

    Green is when the run's own checks have all passed: the host, every API, every agent. The run is
    believed only where a check from outside finds the same at its end.
    """
    started = time.time()
    output = json.loads(
        run("replace", host, "--with", SPARE, "--yes", "-o", "json", "--cloud", str(cloud))
    )
    whole = time.time() - started
    until_green(cloud)
    later = time.time() - started - whole
    [report] = output["reports"]
    took = Took(green=output["began"] + report["until_working"] - started, whole=whole)
    phases = ", ".join(
        f"{one['name']} {one['ends'] - one['begins']:.0f}" for one in report["phases"]
    )
    print(
        f"  {what}: {took.green:.0f} s to all checks green, {took.whole:.0f} s to the end of "
        f"the run ({phases}), {later:.0f} s later seen from outside",
        flush=True,
    )
    return took


def kill(host: str) -> None:
    """Let a host's board die."""
    run("lab", "break", "dead-board", host)


def renew(*hosts: str) -> None:
    """Give hosts the disks that they were first built with; first whoever has another's address."""
    for host in hosts:
        kill(host)
        run("lab", "new-board", host)


def measure(host: str, folder: Path) -> None:
    """Measure one host: the base line, a bare spare, a prepared one; leave the lab as built."""
    with cloud_file(folder) as cloud:
        run("backup", "create", host, "--verify", "--cloud", str(cloud))
        kill(host)
        described = load(cloud)
        base: Base = base_line(described, host, SPARE, Place(described).mirror(host).folder)
        renew(SPARE)
        print(
            f"  base line: packages {base.packages:.0f} s, puppet apply {base.puppet:.0f} s",
            flush=True,
        )
        bare = replaced(host, cloud, "bare spare")
    renew(SPARE, host)
    wait_green()
    with cloud_file(folder) as cloud:
        run("backup", "create", host, "--verify", "--cloud", str(cloud))
        run("spare", "prepare", SPARE, "--for", host, "--cloud", str(cloud))
        kill(host)
        prepared = replaced(host, cloud, "prepared spare")
    renew(SPARE, host)
    wait_green()
    print(
        f"{host}: all checks green after {bare.green:.0f} s with a bare spare, "
        f"{prepared.green:.0f} s with a prepared one; packages and puppet apply alone "
        f"{base.whole:.0f} s: {bare.green / base.whole:.2f} times as long, "
        f"prepared {prepared.green / base.whole:.2f}",
        flush=True,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the hosts that are named, or a controller and a storage proxy."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("hosts", nargs="*", default=HOSTS)
    chosen = options.parse_args(arguments)
    for host in chosen.hosts:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["BACKSTAY_JOURNAL"] = f"sqlite:///{folder}/journal.db"
            os.environ["BACKSTAY_LOCKS"] = f"file://{folder}/locks"
            measure(host, Path(folder))


if __name__ == "__main__":
    main()
