"""``PowerRestorePolicy`` in front of sushy-tools, which does not have it, and no boot override."""

import io
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from werkzeug.wrappers import Response

from backstay_lab.bmc.power import NAME, POLICIES, policy

Environment = dict[str, Any]
Wsgi = Callable[[Environment, Callable[..., Any]], Iterable[bytes]]

NO_OVERRIDE = {"BootSourceOverrideEnabled": "Disabled"}
_SYSTEM = re.compile(r"/redfish/v1/Systems/([^/]+)/?")


def offering_policy(application: Wsgi, system: str, file: Path) -> Wsgi:
    """Return an application whose only system has the policy, too.

    ``system`` is that system's UUID, ``file`` stores the policy.
    """

    def answer_request(
        environment: Environment, start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        found = _SYSTEM.fullmatch(environment.get("PATH_INFO", ""))
        method = environment.get("REQUEST_METHOD")
        if found is None or found[1] != system or method not in {"GET", "PATCH"}:
            return application(environment, start_response)
        answer = (_patched if method == "PATCH" else _shown)(application, environment, file)
        return answer(environment, start_response)

    return answer_request


def _shown(application: Wsgi, environment: Environment, file: Path) -> Response:
    answer = Response.from_app(application, environment)
    if answer.status_code == 200:
        answer.set_data(json.dumps(json.loads(answer.get_data()) | {NAME: policy(file)}))
    return answer


def _patched(application: Wsgi, environment: Environment, file: Path) -> Response:
    body = environment["wsgi.input"].read(int(environment.get("CONTENT_LENGTH") or 0))
    try:
        given = json.loads(body)
    except ValueError:
        return Response("not JSON", 400)
    wanted = given.pop(NAME, None) if isinstance(given, dict) else None
    if wanted is not None and wanted not in POLICIES:
        return Response(f"{wanted} is none of {', '.join(POLICIES)}", 400)
    if isinstance(given, dict) and given.get("Boot") == NO_OVERRIDE:
        given["Boot"] = {"BootSourceOverrideTarget": "Hdd"}  # sushy-tools wants a target named
    if given or wanted is None:
        rest = json.dumps(given).encode()
        left = {"wsgi.input": io.BytesIO(rest), "CONTENT_LENGTH": str(len(rest))}
        answer = Response.from_app(application, environment | left)
        if answer.status_code >= 400 or wanted is None:
            return answer
    file.write_text(wanted)
    return Response(status=204)
