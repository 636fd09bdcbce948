"""How a smoke test of one kind of resource goes: sweep, create, use, and always delete."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from backstay.answers import BadAnswer, Line, PathPart, convert
from backstay.errors import ApiFailed, BackstayError
from backstay.finding import Finding, Severity
from backstay.jsondata import Json
from backstay.services import resource_name
from backstay.services.declaration import Api
from backstay.services.records import Listing, Records, ask_api, ask_records, unreadable
from backstay.transports.threads import on_thread

T = TypeVar("T")

CALL_BOUND = 60.0
SWEEP_BOUND = 120.0


class SmokeTestFailed(Exception):
    """The resource could not be created or used: the text is the evidence, with a remedy."""

    def __init__(self, seen: str, remedy: str) -> None:
        super().__init__(seen)
        self.remedy = remedy


class NothingToTest(Exception):
    """The cloud lacks what the test needs (an image that boots, say): nothing can be concluded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmokeTest:
    """A test with one kind of resource: it is created, used and deleted."""

    kind: str
    service: str
    bound: float
    """Seconds that ``use`` may take."""
    use: Callable[[Api, str], Awaitable[str]]
    """Creates a resource of the given name, uses it, and returns what was done."""
    find: Callable[[Api], Awaitable[Sequence[tuple[str, str]]]]
    """Returns key and name of all resources whose names begin with ``resource_name.PREFIX``."""
    remove: Callable[[Api, str], Awaitable[None]]
    """Deletes a resource by its key, and returns when it is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """An object of an API; its id stands in paths."""

    id: PathPart
    name: Line | None = None


async def call(function: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401 - hands on
    """Call a blocking method of the API on a thread, and wait for its end when cancelled.

    What an interrupted request creates must exist before the sweep looks for it.
    """
    running = asyncio.ensure_future(on_thread(partial(function, *arguments), CALL_BOUND))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


async def ask(api: Api, service_type: str, path: str, kind: type[T]) -> T:
    """Return the answer of ``GET path``, read as ``kind``. Raises as ``ask_api``."""
    found: T = await call(ask_api, api, service_type, path, partial(convert, kind))
    return found


async def named(api: Api, listing: Listing) -> Sequence[tuple[str, str]]:
    """Return id and name of what smoke tests have made, of all of a list. Raises as ``ask_api``."""

    def read(records: Records) -> list[Named]:
        return [convert(Named, record) for record in records]

    found = [(one.id, one.name or "") for one in await call(ask_records, api, listing, read)]
    return [(key, name) for key, name in found if name.startswith(resource_name.PREFIX)]


async def create(api: Api, service_type: str, path: str, body: Json, kind: type[T]) -> T:
    """Return the answer of ``POST path``, read as ``kind``. Raises as ``ask_api``."""
    answer = await call(api.post, service_type, path, body)
    try:
        return convert(kind, answer)
    except BadAnswer as error:
        raise unreadable(service_type, path, error, method="POST") from error


async def until(
    reached: Callable[[], Awaitable[str | None]], *, bound: float, what: str, every: float = 1.0
) -> str:
    """Ask every second until ``reached`` returns something; return it. Raises SmokeTestFailed."""
    started = time.monotonic()
    while True:
        answer = await reached()
        if answer is not None:
            return answer
        if time.monotonic() - started > bound:
            raise SmokeTestFailed(f"{what} not within {bound:g} s", "read the logs of its agents")
        await asyncio.sleep(every)


async def gone(api: Api, service_type: str, path: str, *, bound: float) -> None:
    """Wait until ``GET path`` answers 404. Raises SmokeTestFailed where it does not in time."""

    async def missing() -> str | None:
        try:
            await call(api.get, service_type, path)
        except ApiFailed as error:
            if error.status == 404:
                return "gone"
            raise
        return None

    await until(missing, bound=bound, what="deleted")


async def carry_out(test: SmokeTest, api: Api) -> Finding:
    """Sweep, create, use, delete; return the one finding. Nothing is left, even if cancelled."""
    started = time.monotonic()
    name = resource_name.new()
    swept, seen, severity, remedy = 0, "", Severity.OK, ""
    try:
        swept = await _sweep(test, api, partial(resource_name.is_left_over, now=datetime.now(UTC)))
        async with asyncio.timeout(test.bound):
            seen = await test.use(api, name)
    except NothingToTest as error:
        severity, seen = Severity.UNKNOWN, str(error)
        remedy = "nothing to do, if that is intended"
    except SmokeTestFailed as error:
        severity, seen, remedy = Severity.FAILED, str(error), error.remedy
    except TimeoutError:
        severity, seen = Severity.FAILED, f"not done within {test.bound:g} s"
        remedy = f"see the units and agents of {test.service} above"
    except BackstayError as error:
        severity, seen, remedy = Severity.FAILED, str(error), error.remedy
    finally:
        left = await _remove_own(test, api, name)
    if left and severity is Severity.OK:
        severity, seen = Severity.FAILED, f"{seen}, but cannot be deleted: {left}"
        remedy = f"the next `backstay check --deep` tries again; its name is {name}"
    if swept:
        seen = f"{seen}; {swept} left over from an interrupted run removed"
    return Finding(
        host=None,
        service=test.service,
        subject=f"deep {test.kind}",
        severity=severity,
        evidence=seen,
        remedy=remedy,
        seconds=time.monotonic() - started,
    )


async def _remove_own(test: SmokeTest, api: Api, name: str) -> str:
    """Delete what this run created, found by its name; return why that failed, or nothing."""
    try:
        await _sweep(test, api, lambda found: found == name)
    except (BackstayError, SmokeTestFailed, TimeoutError) as error:
        return str(error) or f"not within {SWEEP_BOUND:g} s"
    return ""


async def _sweep(test: SmokeTest, api: Api, ours: Callable[[str], bool]) -> int:
    """Delete all resources whose name ``ours`` accepts and return how many there were."""
    async with asyncio.timeout(SWEEP_BOUND):
        keys = [key for key, name in await test.find(api) if ours(name)]
        for key in keys:
            await test.remove(api, key)
    return len(keys)
