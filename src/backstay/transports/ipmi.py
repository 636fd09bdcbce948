"""A host's power by its BMC over IPMI, with pyghmi (the extra ``ipmi``).

pyghmi has one loop for all sessions of a process, which is not made for several threads and has no
end of its own where a BMC is silent. So each exchange is a process of its own: this module, which
reads what to do from its standard input (the password is in no process list) and is killed at its
bound. Commands: IPMI 2.0, chapter 28 (chassis).
https://www.intel.com/content/dam/www/public/us/en/documents/product-briefs/ipmi-second-gen-interface-spec-v2-rev1-1.pdf
"""

import asyncio
import json
import re
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from backstay import lacking
from backstay.answers import BadAnswer, read
from backstay.errors import PowerError, PowerOrdered
from backstay.transports import power
from backstay.transports.hardware import Hardware, hardware_of
from backstay.transports.power import ASK_BOUND, cut_until_off
from backstay.transports.program_output import tail
from backstay.transports.targets import BmcTarget
from backstay.transports.urls import without_secrets

PORT = 623
CHASSIS, APPLICATION = 0, 6  # network functions
GET_GUID = 0x37  # command of the latter, "Get System GUID"
STATUS, CONTROL, SET_RESTORE, SET_BOOT = 1, 2, 6, 8  # commands of it
OFF, ON, CYCLE = 0, 1, 2  # of CONTROL; CYCLE is off, a pause, on
STAY_OFF = 0  # of SET_RESTORE
BOOT_FLAGS = 5  # parameter of SET_BOOT; all its bytes 0: no override


class Ipmi:
    """The power of one host (``transports.power.Power``)."""

    def __init__(self, target: BmcTarget) -> None:
        self.target = target

    async def state(self, *, bound: float = ASK_BOUND) -> bool | None:
        """Return whether the host is on. Raises PowerError."""
        answer = await self._ask("asking for the power of", "state", bound)
        if answer.on is None:
            raise self._error("asking for the power of", "its BMC did not say it")
        return answer.on

    async def hardware(self) -> Hardware:
        """Return the GUID of the machine behind the BMC. Raises PowerError."""
        answer = await self._ask("asking which machine is behind", "hardware", ASK_BOUND)
        return hardware_of(answer.guid)

    async def off(self) -> None:
        """Take the host's power by force; return when it is read back as off.

        Raises PowerError where nothing was sent, PowerOrdered where it is not known to be off.
        """
        try:
            await cut_until_off(self, self._order_off, words="the order to power off")
        except PowerOrdered as error:
            told = self._error("powering off", error.came_back)
            raise PowerOrdered(
                told.attempted,
                came_back=told.came_back,
                remedy=f"it may be off, or go off yet: {told.remedy}",
            ) from error

    async def _order_off(self) -> str:
        """Order it; return why it is not clear that it was taken. Raises PowerError."""
        try:
            answer = await self._ask("powering off", "off", ASK_BOUND, ordered=True)
        except _Silent as error:
            return error.came_back  # over UDP what was sent is taken, or not
        return answer.unclear

    async def keep_off(self) -> list[str]:
        """Set what keeps the host from coming on by itself; return what could not be set."""
        try:
            answer = await self._ask("setting the power restore policy of", "keep_off", ASK_BOUND)
        except PowerError as error:
            return [f"boot override and power after an outage: {error.came_back}"]
        return list(answer.missed)

    async def cycle(self) -> None:
        """Restart the host by force, or power it on where it is off.

        By powering off and on where the BMC has no cycle. Raises PowerError, and PowerOrdered where
        it was powered off and could not be powered on.
        """
        attempted = "power-cycling"
        try:
            answer = await self._ask(attempted, "cycle", ASK_BOUND, ordered=True)
        except _Silent:
            return  # it may have been taken: the next boot tells
        if not answer.no_cycle:
            return
        await self.off()
        until = time.monotonic() + power.OFF_BOUND
        while True:
            try:
                await self._ask(attempted, "on", ASK_BOUND)
            except PowerError as error:
                if time.monotonic() > until:
                    raise PowerOrdered(
                        error.attempted,
                        came_back=f"it was powered off, and not on again: {error.came_back}",
                        remedy=f"it is off: power it on by hand; {error.remedy}",
                    ) from error
            else:
                return
            await asyncio.sleep(power.OFF_PAUSE)

    async def _ask(
        self, attempted: str, what: str, bound: float, *, ordered: bool = False
    ) -> "_Came":
        """Have one exchange made by another process.

        Raises PowerError; with ``ordered`` _Silent where there was no answer in time.
        """
        where = urlsplit(self.target.url)
        given = {
            "what": what,
            "host": where.hostname,
            "port": where.port or PORT,  # its form was checked where cloud.yaml was read
            "username": self.target.username,
            "password": self.target.password,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # nothing is loaded from the folder that the operator is in
            "-m",
            __name__,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(bound):
                out, errors = await _said(process, json.dumps(given).encode())
        except TimeoutError:
            told = self._error(attempted, f"its BMC gave no answer within {bound:g} s")
            if ordered:
                raise _Silent(
                    told.attempted, came_back=told.came_back, remedy=told.remedy
                ) from None
            raise told from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        try:
            answer = read(_Came, out)
        except BadAnswer:
            lines = errors.decode(errors="replace").split("\n")
            last = next((line for line in reversed(lines) if line.strip()), "no message")
            raise self._error(attempted, f"pyghmi ended with {last[:200]}") from None
        if answer.extra:
            remedy = lacking.remedy(lacking.install_extra(answer.extra))
            raise self._error(attempted, answer.error, remedy)
        if answer.error:
            raise self._error(attempted, answer.error)
        return answer

    def _error(
        self,
        attempted: str,
        came_back: str,
        remedy: str = "try it by hand: ipmitool -I lanplus; is `bmc` in cloud.yaml right?",
    ) -> PowerError:
        return PowerError(
            f"{attempted} {self.target.name} by its BMC ({without_secrets(self.target.url)})",
            came_back=came_back,
            remedy=remedy,
        )


@dataclass(frozen=True, slots=True)
class _Came:
    """What an exchange brought: ``error`` is empty where it came about.

    ``unclear`` is why it is not known whether an order was taken that was sent; ``no_cycle``
    whether the BMC cannot do that at once.
    ``extra`` is the one of Backstay's that this machine lacks for it.
    """

    on: bool | None = None
    unclear: str = ""
    no_cycle: bool = False
    missed: tuple[str, ...] = ()
    guid: str = ""
    error: str = ""
    extra: str = ""


async def _said(process: asyncio.subprocess.Process, given: bytes) -> tuple[bytes, bytes]:
    """Give a process its input; return the ends of what it printed."""
    assert process.stdin is not None  # noqa: S101 - all three were asked for
    assert process.stdout is not None  # noqa: S101
    assert process.stderr is not None  # noqa: S101
    with suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(given)
        process.stdin.close()
    out, errors = await asyncio.gather(tail(process.stdout), tail(process.stderr))
    await process.wait()
    return out, errors


class _Silent(PowerError):
    """A BMC gave no answer in time: what was sent to it may have been taken."""


class _Refused(Exception):
    """A BMC refused a command."""


BUSY = re.compile(
    "busy|timeout|out of space|duplicate|not be provided|initiali[sz]ation in progress"
)
"""What a BMC says that may do it a moment later (IPMI 2.0, table 5-2: C0, C3, C4, CE, CF, D2)."""


def exchange(given: dict[str, Any]) -> dict[str, Any]:
    """Do what ``given`` says and return what came of it, ``error`` where nothing did."""
    try:
        from pyghmi.exceptions import IpmiException  # noqa: PLC0415 - an extra
        from pyghmi.ipmi.command import Command  # noqa: PLC0415
    except ImportError:
        return {"error": "the Python package pyghmi is missing", "extra": "ipmi"}
    try:
        command = Command(
            bmc=given["host"],
            userid=given["username"],
            password=given["password"],
            port=given["port"],
        )
        return _DOES[given["what"]](command)
    except (IpmiException, _Refused, OSError) as error:
        return {"error": " ".join(str(error).split())[:200] or type(error).__name__}
    except Exception as error:  # pyghmi takes packets apart as they come
        reason = " ".join(str(error).split())[:200]
        return {"error": f"its answer is not one of IPMI ({type(error).__name__}: {reason})"}


def _raw(command: Any, number: int, *data: int, function: int = CHASSIS) -> bytes:  # noqa: ANN401 - pyghmi is untyped
    answer = command.raw_command(netfn=function, command=number, data=list(data))
    if "error" in answer:
        raise _Refused(str(answer["error"]))
    return bytes(answer["data"])


def _state(command: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"on": bool(_raw(command, STATUS)[0] & 1)}


def _hardware(command: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"guid": _raw(command, GET_GUID, function=APPLICATION)[:16].hex()}


def _off(command: Any) -> dict[str, Any]:  # noqa: ANN401
    # Also where the BMC says that it is off: what it says may be old.
    try:
        _raw(command, CONTROL, OFF)
    except _Refused as error:
        if BUSY.search(str(error).casefold()):
            return {"unclear": str(error)[:200]}
        if _state(command)["on"]:
            raise
    except Exception as error:  # the session has ended meanwhile, or the answer is of no form
        return {"unclear": " ".join(str(error).split())[:200] or type(error).__name__}
    return {}


def _cycle(command: Any) -> dict[str, Any]:  # noqa: ANN401
    if not _state(command)["on"]:
        return _on(command)
    try:
        _raw(command, CONTROL, CYCLE)
    except _Refused as error:
        if BUSY.search(str(error).casefold()):
            raise
        return {"no_cycle": True}
    return {}


def _on(command: Any) -> dict[str, Any]:  # noqa: ANN401
    _raw(command, CONTROL, ON)
    return {}


def _keep_off(command: Any) -> dict[str, Any]:  # noqa: ANN401
    missed = []
    tried = {
        "boot override": (SET_BOOT, BOOT_FLAGS, 0, 0, 0, 0, 0),
        "power after an outage": (SET_RESTORE, STAY_OFF),
    }
    for what, words in tried.items():
        try:
            _raw(command, *words)
        except _Refused as error:
            missed.append(f"{what}: {error}")
    return {"missed": missed}


_DOES = {
    "state": _state,
    "hardware": _hardware,
    "off": _off,
    "cycle": _cycle,
    "on": _on,
    "keep_off": _keep_off,
}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(exchange(json.load(sys.stdin))))
