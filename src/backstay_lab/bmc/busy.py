"""A board controller that is busy while it switches: it answers 503 for a while after an order."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from werkzeug.wrappers import Response

Environment = dict[str, Any]
Wsgi = Callable[[Environment, Callable[..., Any]], Iterable[bytes]]

RESET = "/Actions/ComputerSystem.Reset"
BUSY_FOR = 6.0
"""Seconds: some boards take longer, and read the power back as it was until then."""


def busy_after_orders(
    application: Wsgi, file: Path, clock: Callable[[], float] = time.monotonic
) -> Wsgi:
    """Return an application that is busy after it was ordered a reset, while ``file`` is there.

    The order itself is carried out, and its answer is 503, too: so does a board whose controller
    restarts a part of itself.
    """
    until = [0.0]

    def answer_request(
        environment: Environment, start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        if not file.exists():
            return application(environment, start_response)
        if clock() < until[0]:
            return _busy()(environment, start_response)
        answer = Response.from_app(application, environment)
        path = str(environment.get("PATH_INFO", ""))
        ordered = environment.get("REQUEST_METHOD") == "POST" and path.endswith(RESET)
        if ordered and answer.status_code < 300:
            until[0] = clock() + BUSY_FOR
            answer = _busy()
        return answer(environment, start_response)

    return answer_request


def _busy() -> Response:
    return Response(
        '{"error": {"code": "Base.1.8.ServiceTemporarilyUnavailable"}}',
        status=503,
        headers={"Retry-After": str(int(BUSY_FOR))},
        content_type="application/json",
    )
