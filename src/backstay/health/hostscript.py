"""The one script that is sent to a host: the questions that its roles bring."""

import json
from collections.abc import Iterable, Sequence

from backstay.health import hostside
from backstay.health.shipping import source_of
from backstay.services.declaration import HostProbe, Unit


def assemble(units: Sequence[Unit], probes: Iterable[HostProbe]) -> str:
    """Return a Python program for ``python3 -I -`` that prints the host's answers as JSON.

    ``probes`` must have different names. What it prints is read by ``observation.parse``.
    """
    names = [unit_name for unit in units for unit_name in (unit.name, unit.socket) if unit_name]
    spec = {
        "units": list(dict.fromkeys(names)),
        "probes": [
            (probe.name, probe.bound, source_of(probe.ask), probe.ask.__name__) for probe in probes
        ],
    }
    program = f"{source_of(hostside.main)}\nSPEC = {json.dumps(json.dumps(spec))}\n"
    # The program holds its own text, so that another user's login can hand it on to sudo.
    return f"{program}main(json.loads(SPEC), {_again(program)})\n"


def _again(program: str) -> str:
    return repr(program + "main(json.loads(SPEC), '')\n")
