"""Alerts for Alertmanager's API v2.

https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from backstay.transports.webhook import post_json


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
