"""JSON by POST: to a webhook of the site's own, and alerts to Alertmanager's API v2."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests

from backstay.errors import ChannelFailed, MessageRefused
from backstay.transports.bounded_http import AnswerTooLong, LedElsewhere, session
from backstay.transports.threads import on_thread
from backstay.transports.urls import without_secrets

_LONGEST = 200
_ITS_CONTENT = frozenset({400, 413, 422})
"""Statuses by which a server refuses a document for what is in it."""


async def post_json(
    url: str,
    document: Any,  # noqa: ANN401 - whatever JSON holds
    *,
    headers: Mapping[str, str],
    ca: Path | None = None,
    login: tuple[str, str] | None = None,
    bound: float,
) -> None:
    """POST a document and wait for a status below 300.

    ``ca`` is a file that the certificate is checked against, None the system's. Raises
    ChannelFailed for any other status (MessageRefused where it is for what is in the document), and
    where none comes within ``bound`` seconds. Nothing but
    the URL's host is shown: the rest often holds a secret.
    """

    def post() -> requests.Response:
        with session() as http:
            return http.post(
                url,
                data=json.dumps(document),
                headers={"Content-Type": "application/json", "User-Agent": "backstay", **headers},
                # Without a login of its own requests takes one from ~/.netrc, instead of our
                # header.
                auth=login or _as_it_is,
                verify=str(ca) if ca else True,
                # A redirected POST becomes a GET: it would look received.
                allow_redirects=False,
                timeout=bound,
            )

    place = without_secrets(url)
    try:
        answer = await on_thread(post, bound)
    except (TimeoutError, requests.Timeout):
        raise _failed(place, f"no answer within {bound:g} s") from None
    except (AnswerTooLong, LedElsewhere) as error:
        raise _failed(place, str(error)) from None
    except requests.exceptions.SSLError:
        raise _failed(place, "its certificate is not trusted; name its authority in `ca`") from None
    except requests.ConnectionError as error:
        raise _failed(place, f"cannot be reached: {_root(error)}") from None
    except (requests.RequestException, OSError, ValueError) as error:
        raise _failed(place, f"cannot be asked ({type(error).__name__})") from None
    if answer.status_code in _ITS_CONTENT:
        raise MessageRefused(
            f"posting to {place}",
            came_back=f"status {answer.status_code}: it does not take this document",
            remedy="see the log of the receiver",
        )
    if answer.status_code >= 300:
        raise _failed(place, f"status {answer.status_code} {answer.reason or ''}".rstrip())


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _root(error: BaseException) -> str:
    """Return what the system said: requests wraps it in words that hold the whole URL."""
    found: BaseException | None = error
    seen = 0
    while found is not None and seen < 10:
        if isinstance(found, OSError) and found.strerror:
            return found.strerror[:_LONGEST]
        reason = getattr(found, "reason", None) or next(iter(found.args), None)
        found = found.__cause__ or found.__context__ or _as_error(reason)
        seen += 1
    return "the connection was lost"


def _as_error(reason: object) -> BaseException | None:
    return reason if isinstance(reason, BaseException) else None


def _failed(place: str, came_back: str) -> ChannelFailed:
    return ChannelFailed(
        f"posting to {place}",
        came_back=came_back,
        remedy="check that it is reachable, and `url` and `token` in cloud.yaml",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An alert; its labels are what it is known by. Times are Unix seconds.

    It is over at ``ends``, which may lie in the future: it lasts as long as it is posted anew.
    """

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts: float
    ends: float


async def post_alerts(
    url: str,
    alerts: Sequence[Alert],
    *,
    login: tuple[str, str] | None = None,
    ca: Path | None = None,
    bound: float,
) -> None:
    """Post alerts to the Alertmanager at ``url``. Raises ChannelFailed."""
    documents = [
        {
            "labels": dict(alert.labels),
            "annotations": dict(alert.annotations),
            "startsAt": _written(alert.starts),
            "endsAt": _written(alert.ends),
        }
        for alert in alerts
    ]
    address = f"{url.rstrip('/')}/api/v2/alerts"
    await post_json(address, documents, headers={}, login=login, ca=ca, bound=bound)


def _written(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
