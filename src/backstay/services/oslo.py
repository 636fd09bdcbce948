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
    ``/etc/PROJECT/PROJECT.conf.d`` and ``PROGRAM.conf.d``, then the files and folders of the
    command line in its order; only without such files are the usual ones read before the folders.
    An environment variable wins over all. https://docs.openstack.org/oslo.config/latest/reference/
    (cfg.ConfigOpts). ``stale`` says that a file was changed after the program had read it.
    """
    process = running(program)
    started = process[0] if process else None
    order = [one for one in read_order(project, program, files, process) if os.path.exists(one)]  # noqa: PTH110 - as short
    value, where = lookup([(one, parsed(one)) for one in order], process, section, option)
    changed = max([os.path.getmtime(one) for one in order] or [0.0])  # noqa: PTH204 - as short
    return {
        "value": value,
        "where": where,
        "last": order[-1] if order else "",
        "running": process is not None,
        "stale": started is not None and changed > started + 1,
    }


def lookup(contents: list[Any], process: Any, section: str, option: str) -> Any:  # noqa: ANN401 - see running
    """Return an option's value, None where it is not set, and the file or variable that has it.

    ``contents`` are pairs of a file and what ``parsed`` returned, in the order of reading. Sections
    go by any case but for DEFAULT, and none has what stands in another.
    """
    value, where = None, ""
    for path, parser in contents:
        for name in parser.sections():
            same = name == section if section == "DEFAULT" else name.lower() == section.lower()
            if same and parser.has_option(name, option) and parser.get(name, option) is not None:
                value, where = parser.get(name, option), path
    variable = "OS_" + section.upper() + "__" + option.upper()
    if process and variable in process[2]:
        value, where = process[2][variable], "the environment variable " + variable
    return value, where


def read_order(project: str, program: str, files: list[str], process: Any) -> list[str]:  # noqa: ANN401 - see running
    """Return the files that a program reads, whether they exist or not; the last one wins."""
    words = process[1] if process else []
    given = []
    for at, one in enumerate(words):
        for flag in ("--config-file", "--config-dir"):
            if one.startswith(flag + "="):
                given.append((flag, one.partition("=")[2]))
            elif one == flag and at + 1 < len(words):
                given.append((flag, words[at + 1]))
    flags = [flag for flag, _ in given]
    order: list[str] = []
    if "--config-file" not in flags:
        share = "/usr/share/" + project + "/" + project + "-dist.conf"
        order += [share, *files]
    if "--config-dir" not in flags:
        for name in (project, program):
            order += inside("/etc/" + project + "/" + name + ".conf.d")
    for flag, value in given:
        order += [value] if flag == "--config-file" else inside(value)
    return order


def inside(folder: str) -> list[str]:
    """Return the files of a folder of configuration in the order in which they are read."""
    return sorted(glob.glob(folder + "/*.conf"))  # noqa: PTH207 - as short


def parsed(path: str) -> Any:  # noqa: ANN401 - a parser
    """Return the content of one file; raises what keeps it from being read."""
    parser = configparser.RawConfigParser(
        strict=False, allow_no_value=True, default_section="there is none of this name"
    )
    with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - as short
        parser.read_string(file.read())
    return parser


def running(program: str) -> Any:  # noqa: ANN401 - a tuple or None
    """Return start (Unix seconds), command line and environment of the oldest such process."""
    return all_running([program]).get(program)


def all_running(programs: list[str]) -> dict[str, Any]:
    """Return the oldest process of each program, as ``running`` does, looking at each once."""
    with open("/proc/stat") as file:  # noqa: PTH123 - as short
        boot = next(float(line.split()[1]) for line in file if line.startswith("btime"))
    oldest: dict[str, Any] = {}
    for one in glob.glob("/proc/[0-9]*"):  # noqa: PTH207 - as short
        try:
            with open(one + "/cmdline", "rb") as file:  # noqa: PTH123
                words = file.read().decode(errors="replace").split("\0")
            program = program_of(words)
            if program not in programs:
                continue
            with open(one + "/stat") as file:  # noqa: PTH123
                ticks = float(file.read().rpartition(")")[2].split()[19])
            with open(one + "/environ", "rb") as file:  # noqa: PTH123
                pairs = file.read().decode(errors="replace").split("\0")
        except (OSError, IndexError):
            continue  # it has ended meanwhile
        environment = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        only = {name: value for name, value in environment.items() if name.startswith("OS_")}
        process = (boot + ticks / os.sysconf("SC_CLK_TCK"), words, only)
        if program not in oldest or process[0] < oldest[program][0]:
            oldest[program] = process
    return oldest


def program_of(words: list[str]) -> str:
    """Return the name of the program of a command line: a script's own, not its interpreter's."""
    names = [os.path.basename(word) for word in words[:4]]  # noqa: PTH119 - as short
    if names and names[0].startswith("python"):
        scripts = [name for name in names[1:] if not name.startswith("-")]
        return scripts[0] if scripts else names[0]
    return names[0] if names else ""


def age_of(program: str) -> Any:  # noqa: ANN401 - seconds or None
    """Return for how many seconds a program's oldest process runs, None where none does."""
    process = running(program)
    return time.time() - process[0] if process else None
