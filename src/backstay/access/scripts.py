"""The one script that is sent to a host: the questions that its roles bring."""

import json
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

from backstay.access import hostside
from backstay.access.shipping import source_of
from backstay.jsondata import Json
from backstay.services.declaration import HostProbe, Unit


def assemble(units: Sequence[Unit], probes: Iterable[HostProbe]) -> str:
    """Return a Python program for ``python3 -I -`` that prints the host's answers as JSON.

    ``probes`` must have different names. What it prints is read by ``observation.parse``.
    """
    spec = {
        "units": unit_names(units),
        "probes": [
            (probe.name, probe.bound, _shipped(probe), probe.ask.__name__) for probe in probes
        ],
    }
    program = f"{_common()}\nSPEC = {json.dumps(json.dumps(spec))}\n"
    # The program holds its own text, so that another user's login can hand it on to sudo.
    return f"{program}main(json.loads(SPEC), {program + HANDED_ON!r})\n"


HANDED_ON = "main(json.loads(SPEC), '')\n"


def program(function: Callable[..., Json], *arguments: Json) -> str:
    """Return a Python program for ``python3 -I -`` that calls one function as root.

    It prints what the function returns as JSON. ``function`` is shipped as a probe's ``ask`` is;
    ``arguments`` are JSON data without secrets.
    """
    return _calling(hostside.print_as_root, function, arguments)


def stream(function: Callable[..., Json], *arguments: Json) -> str:
    """Return a Python program that calls one function as root, whose output is what it writes.

    Otherwise as ``program``; an exception ends it with exit status 1 and the error as last line.
    """
    return _calling(hostside.as_root, function, arguments)


def reading(function: Callable[..., Json], *arguments: Json) -> str:
    """Return a Python program for ``python3 -I -c`` that calls one function as root.

    The function reads standard input. Otherwise as ``stream``.
    """
    return _calling(hostside.reading_as_root, function, arguments)


def _calling(
    runner: Callable[..., None], function: Callable[..., Any], arguments: Sequence[Any]
) -> str:
    """Return a program in which ``runner``, one of ``hostside``, calls the function as root."""
    given = json.dumps(json.dumps(arguments))
    text = f"import json\n{source_of(runner)}\n{source_of(function)}\nGIVEN = {given}\n"
    call = f"lambda: {function.__name__}(*json.loads(GIVEN))"
    # The program holds its own text, so that another user's login can hand it on to sudo.
    handed_on = f"{text}{runner.__name__}({call}, '')\n"
    return f"{text}{runner.__name__}({call}, {handed_on!r})\n"


def unit_names(units: Sequence[Unit]) -> list[str]:
    """Return the names that systemd is asked for, in order: units, and sockets that start them."""
    names = [name for unit in units for name in (unit.name, unit.socket) if name]
    return list(dict.fromkeys(names))


@cache
def _common() -> str:
    return source_of(hostside.main)


@cache
def _shipped(probe: HostProbe) -> str:
    return source_of(probe.ask)
