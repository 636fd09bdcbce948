"""How a deep check of one kind of thing goes: sweep, make, use, and delete whatever happens."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from backstay.errors import ApiFailed, BackstayError
from backstay.finding import Finding, Severity
from backstay.services import resource_name
from backstay.services.declaration import Api
from backstay.transports.threads import on_thread

CALL_BOUND = 60.0
SWEEP_BOUND = 120.0


class SmokeTestFailed(Exception):
    """The thing could not be made or used; the text says what was seen. ``remedy`` goes with it."""

    def __init__(self, seen: str, remedy: str) -> None:
        super().__init__(seen)
        self.remedy = remedy


class NothingToTest(Exception):
    """The cloud has not what the trial needs (no image that boots, say): no judgement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmokeTest:
    """One kind of thing.

    ``use`` makes a thing of the given name and uses it, and returns what to tell. ``find``
    returns key and name of all things whose names begin with the marker's prefix; ``remove``
    deletes one by its key and returns when it is gone. ``bound`` is for ``use``, in seconds.
    """

    kind: str
    service: str
    bound: float
    use: Callable[[Api, str], Awaitable[str]]
    find: Callable[[Api], Awaitable[Sequence[tuple[str, str]]]]
    remove: Callable[[Api, str], Awaitable[None]]


async def call(function: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401 - hands on
    """Call a blocking method of the API on a thread, and see it through when cancelled.

    What an interrupted request makes must be there to be found before the sweep looks for it.
    """
    running = asyncio.ensure_future(on_thread(partial(function, *arguments), CALL_BOUND))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


async def until(
    reached: Callable[[], Awaitable[str | None]], *, bound: float, what: str, every: float = 1.0
) -> str:
    """Ask every second until ``reached`` returns something, and return it. Raises NotMade."""
    begun = time.monotonic()
    while True:
        said = await reached()
        if said is not None:
            return said
        if time.monotonic() - begun > bound:
            raise SmokeTestFailed(
                f"{what} not within {bound:g} s", "see the journals of its agents"
            )
        await asyncio.sleep(every)


async def gone(api: Api, service_type: str, path: str, *, bound: float) -> None:
    """Wait until ``GET path`` answers 404. Raises NotMade where it is still there at the bound."""

    async def look() -> str | None:
        try:
            await call(api.get, service_type, path)
        except ApiFailed as error:
            if error.status == 404:
                return "gone"
            raise
        return None

    await until(look, bound=bound, what="deleted")


async def carry_out(trial: SmokeTest, api: Api) -> Finding:
    """Sweep, make, use, delete; return the one finding. Nothing of it stays, also if cancelled."""
    begun = time.monotonic()
    name = resource_name.new()
    swept, seen, severity, remedy = 0, "", Severity.OK, ""
    try:
        swept = await _sweep(trial, api, partial(resource_name.is_left_over, now=datetime.now(UTC)))
        async with asyncio.timeout(trial.bound):
            seen = await trial.use(api, name)
    except NothingToTest as error:
        severity, seen, remedy = (
            Severity.UNKNOWN,
            str(error),
            "nothing to do if that is as it should be",
        )
    except SmokeTestFailed as error:
        severity, seen, remedy = Severity.FAILED, str(error), error.remedy
    except TimeoutError:
        severity, seen = Severity.FAILED, f"not done within {trial.bound:g} s"
        remedy = f"see the units and agents of {trial.service} above"
    except BackstayError as error:
        severity, seen, remedy = Severity.FAILED, str(error), error.remedy
    finally:
        left = await _remove_own(trial, api, name)
    if left and severity is Severity.OK:
        severity, seen = Severity.FAILED, f"{seen}, but cannot be deleted: {left}"
        remedy = f"the next `backstay check --deep` tries again; its name is {name}"
    if swept:
        seen = f"{seen}; {swept} left over from an interrupted run removed"
    return Finding(
        host=None,
        service=trial.service,
        subject=f"deep {trial.kind}",
        severity=severity,
        evidence=seen,
        remedy=remedy,
        seconds=time.monotonic() - begun,
    )


async def _remove_own(trial: SmokeTest, api: Api, name: str) -> str:
    """Delete what this run made, found by its name; return why that failed, or nothing."""
    try:
        await _sweep(trial, api, lambda found: found == name)
    except (BackstayError, SmokeTestFailed, TimeoutError) as error:
        return str(error) or f"not within {SWEEP_BOUND:g} s"
    return ""


async def _sweep(trial: SmokeTest, api: Api, ours: Callable[[str], bool]) -> int:
    """Delete all things whose name ``ours`` accepts and return how many there were."""
    async with asyncio.timeout(SWEEP_BOUND):
        keys = [key for key, name in await trial.find(api) if ours(name)]
        for key in keys:
            await trial.remove(api, key)
    return len(keys)
