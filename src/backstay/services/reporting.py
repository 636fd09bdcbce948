"""How a service's agents report to its API, as its configuration on a host says.

A cloud may have raised how often its agents report and after how long they count as down. Judged by
OpenStack's defaults, agents that their API calls up would be failures.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from backstay.answers import Line, Seconds
from backstay.services.declaration import Verdict
from backstay.services.oslo import all_running, lookup, parsed, read_order


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTimes:
    """What the configuration of one service on one host says; None is not known.

    Attributes:
        down_after: seconds without a report after which the API counts an agent as down, as the
            API's program on this host has it.
        intervals: seconds between two reports, by the agents' binaries.
        names: the names under which the host's agents report, where they are set there.
        complete: whether every file that may set such a name was read.

    """

    down_after: Seconds | None = None
    intervals: Mapping[Line, Seconds] = field(default_factory=dict)
    names: tuple[Line, ...] = ()
    complete: bool = False


def not_judged(_answer: ReportTimes) -> Sequence[Verdict]:
    """Return nothing: agents are judged by it, it is nothing to judge itself."""
    return ()


def report_times(
    project: str,
    files: list[str],
    apis: list[str],
    down: list[Any],
    agents: dict[str, list[Any]],
) -> dict[str, Any]:
    """Return a ``ReportTimes`` as JSON data. Runs on the host.

    ``apis`` are the programs one of which runs the API, ``down`` the option and its default by
    which that counts agents as down; ``agents`` has section, option and default of the interval by
    binary. What is no number, or was changed after its program had read it, is not known: so is
    everything on a host that has neither the program nor a file.
    """
    processes, contents = all_running([*apis, *agents]), {}
    complete = True

    def read(program: str) -> Any:  # noqa: ANN401 - contents, or None
        nonlocal complete
        process, found = processes.get(program), []
        for path in read_order(project, program, files, process):
            if not os.path.exists(path):  # noqa: PTH110 - as short
                continue
            if process and os.path.getmtime(path) > process[0] + 1:  # noqa: PTH204 - as short
                complete = False
                return None
            try:
                if path not in contents:
                    contents[path] = parsed(path)
            except Exception:  # whatever is wrong with one file, nothing is known then
                complete = False
                return None
            found.append((path, contents[path]))
        return found or None

    intervals, names = {}, []
    for program, (section, option, default) in agents.items():
        found = read(program)
        if found is None:
            continue
        process = processes.get(program)
        interval = number(lookup(found, process, section, option)[0], default)
        if interval is not None:
            intervals[program] = interval
        names += own_names(found, process)
    api = next((program for program in apis if program in processes), apis[0])
    found, down_after = read(api), None
    if found is not None:
        down_after = number(lookup(found, processes.get(api), "DEFAULT", down[0])[0], down[1])
        # nova and cinder raise it themselves where it is not longer than the interval:
        # https://github.com/openstack/nova/blob/master/nova/servicegroup/api.py
        longest = max([*intervals.values(), 0.0])
        if down_after is not None and down_after <= longest:
            down_after = 2.5 * longest
    return {
        "down_after": down_after,
        "intervals": intervals,
        "names": sorted(set(names))[:50],
        "complete": complete and bool(contents),
    }


def number(text: Any, default: float) -> Any:  # noqa: ANN401 - a number, or None
    """Return a setting as a number of seconds, its default where it is not set, None if odd."""
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value <= 1e9 else None


def own_names(contents: list[Any], process: Any) -> list[str]:  # noqa: ANN401 - see oslo.running
    """Return the names that a program's configuration gives its host, without a back end's."""
    enabled = lookup(contents, process, "DEFAULT", "enabled_backends")[0] or ""
    places = [("DEFAULT", "host"), ("DEFAULT", "backend_host")]
    places += [(section.strip(), "backend_host") for section in enabled.split(",")]
    found = [lookup(contents, process, section, option)[0] for section, option in places]
    return [one.strip().partition("@")[0][:255] for one in found if one and one.strip()]
