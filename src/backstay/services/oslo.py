"""One setting as a running service of OpenStack's sees it. Shipped as text: Python 3.6."""

import configparser
import glob
import os
import time
from typing import Any

from backstay.jsondata import Json


def setting(project: str, program: str, files: list[str], section: str, option: str) -> Json:
    """Return an option's value with its file, as oslo.config reads it, None where it is not set.

    ``files`` are read where the program does not run. Whoever is read last wins: first the folders
    ``/etc/PROJECT/PROJECT.conf.d`` and ``PROGRAM.conf.d``, then the files of the command line; only
    without such files are the usual ones read before the folders. An environment variable wins over
    all. https://docs.openstack.org/oslo.config/latest/reference/ (cfg.ConfigOpts). ``stale`` says
    that a file was changed after the program had read it.
    """
    process = running(program)
    words, started = (process[1], process[0]) if process else ([], None)
    given = named(words, "--config-file")
    folders = named(words, "--config-dir") or [
        "/etc/" + project + "/" + name + ".conf.d" for name in (project, program)
    ]
    inside = [one for folder in folders for one in sorted(glob.glob(folder + "/*.conf"))]  # noqa: PTH207 - as short
    order = [*inside, *given] if given else [*files, *inside]
    order = [one for one in order if os.path.exists(one)]  # noqa: PTH110 - as short
    value, where = None, ""
    for path in order:
        found = read(path, section, option)
        if found is not None:
            value, where = found, path
    variable = "OS_" + section.upper() + "__" + option.upper()
    if process and variable in process[2]:
        value, where = process[2][variable], "the environment variable " + variable
    changed = max([os.path.getmtime(one) for one in order] or [0.0])  # noqa: PTH204 - as short
    return {
        "value": value,
        "where": where,
        "last": order[-1] if order else "",
        "running": process is not None,
        "stale": started is not None and changed > started + 1,
    }


def read(path: str, section: str, option: str) -> Any:  # noqa: ANN401 - text or None
    """Return an option of one file; raises what keeps it from being read."""
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - as short
        parser.read_string(file.read())
    values = dict(parser.defaults())
    if section != "DEFAULT":
        values = dict(parser.items(section)) if parser.has_section(section) else {}
    return values.get(option)


def named(words: list[str], flag: str) -> list[str]:
    """Return what a command line gives for a flag, ``--flag X`` and ``--flag=X``."""
    found = [one.partition("=")[2] for one in words if one.startswith(flag + "=")]
    return found + [words[at + 1] for at, one in enumerate(words[:-1]) if one == flag]


def running(program: str) -> Any:  # noqa: ANN401 - a tuple or None
    """Return start (Unix seconds), command line and environment of the oldest such process."""
    with open("/proc/stat") as file:  # noqa: PTH123 - as short
        boot = next(float(line.split()[1]) for line in file if line.startswith("btime"))
    found = []
    for one in glob.glob("/proc/[0-9]*"):  # noqa: PTH207 - as short
        try:
            with open(one + "/cmdline", "rb") as file:  # noqa: PTH123
                words = file.read().decode(errors="replace").split("\0")
            if program not in [os.path.basename(word) for word in words[:2]]:  # noqa: PTH119
                continue
            with open(one + "/stat") as file:  # noqa: PTH123
                ticks = float(file.read().rpartition(")")[2].split()[19])
            with open(one + "/environ", "rb") as file:  # noqa: PTH123
                pairs = file.read().decode(errors="replace").split("\0")
        except (OSError, IndexError):
            continue  # it has ended meanwhile
        environment = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        only = {name: value for name, value in environment.items() if name.startswith("OS_")}
        found.append((boot + ticks / os.sysconf("SC_CLK_TCK"), words, only))
    return min(found, key=lambda process: process[0]) if found else None


def age_of(program: str) -> Any:  # noqa: ANN401 - seconds or None
    """Return for how many seconds a program's oldest process runs, None where none does."""
    process = running(program)
    return time.time() - process[0] if process else None
