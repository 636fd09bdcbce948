"""Ask the APIs: a token first, then every question at once."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from backstay.errors import ApiError, ApiFailed, ApiUnreachable, BackstayError
from backstay.services.declaration import Agent, Api, ApiProbe, Service, Verdict
from backstay.transports.targets import Endpoint
from backstay.transports.threads import on_thread

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What one question to an API brought: ``verdicts``, or ``error``."""

    service: str
    name: str
    verdicts: tuple[Verdict, ...] = ()
    error: BackstayError | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """The agents that one service's API reports, or ``error``. ``at`` is Unix time."""

    service: str
    agents: tuple[Agent, ...] = ()
    error: BackstayError | None = None
    seconds: float = 0.0
    at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiObservation:
    """All that the APIs brought. ``not_asked`` names what an earlier failure left unasked."""

    answers: tuple[Answered, ...] = ()
    reports: tuple[Reported, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    not_asked: tuple[str, ...] = ()


async def read_apis(api: Api, services: Sequence[Service], *, bound: float) -> ApiObservation:
    """Ask everything that ``services`` declare. ``bound`` is for one question, in seconds.

    Errors are part of what comes back: nothing is raised.
    """
    first = [(s, probe) for s in services for probe in s.api_probes if probe.first]
    rest = [(s, probe) for s in services for probe in s.api_probes if not probe.first]
    opened = await asyncio.gather(*(_ask(api, s, probe, bound) for s, probe in first))
    if any(answer.error for answer in opened):
        names = [probe.name for _, probe in rest]
        names += [f"agents of {service.name}" for service in services if service.agents]
        return ApiObservation(answers=tuple(opened), not_asked=tuple(names))
    answers, reports, endpoints = await asyncio.gather(
        asyncio.gather(*(_ask(api, s, probe, bound) for s, probe in rest)),
        asyncio.gather(*(_report(api, service, bound) for service in services if service.agents)),
        _endpoints(api, bound),
    )
    return ApiObservation(
        answers=(*opened, *answers), reports=tuple(reports), endpoints=tuple(endpoints)
    )


async def _ask(api: Api, service: Service, probe: ApiProbe, bound: float) -> Answered:
    verdicts, error, seconds = await _timed(partial(probe.ask, api), probe.name, bound)
    return Answered(
        service=service.name,
        name=probe.name,
        verdicts=tuple(verdicts or ()),
        error=error,
        seconds=seconds,
    )


async def _report(api: Api, service: Service, bound: float) -> Reported:
    if service.agents is None:
        return Reported(service=service.name)
    name = f"agents of {service.name}"
    agents, error, seconds = await _timed(partial(service.agents, api), name, bound)
    return Reported(
        service=service.name,
        agents=tuple(agents or ()),
        error=error,
        seconds=seconds,
        at=time.time(),
    )


async def _endpoints(api: Api, bound: float) -> Iterable[Endpoint]:
    endpoints, _, _ = await _timed(api.endpoints, "catalogue", bound)
    return endpoints or ()


async def _timed(
    call: Callable[[], T], name: str, bound: float
) -> tuple[T | None, BackstayError | None, float]:
    """Return what the call brought, or the error, and the seconds that it took."""
    started = time.monotonic()
    value: T | None = None
    error: BackstayError | None = None
    try:
        value = await on_thread(call, bound)
    except TimeoutError:
        error = ApiUnreachable(
            f"asking for the {name}",
            came_back=f"no answer within {bound:g} s",
            remedy="see the units of that service on the controller",
        )
    except BackstayError as came:
        error = came
    except Exception as odd:  # whatever an answer does to what reads it, the others go on
        error = _not_understood(name, odd)
    return value, error, time.monotonic() - started


def _not_understood(name: str, odd: Exception) -> ApiError:
    return ApiFailed(
        f"asking for the {name}",
        came_back=f"an answer that is not of the expected form: {type(odd).__name__}: {odd}",
        remedy="see whether the endpoint in the catalogue is this service's",
        status=None,
    )
