"""Incidents as the detection makes them, for the tests of what is told."""

from dataclasses import replace
from typing import Any

from backstay.inventory.cloud import Cloud
from backstay.watch.incidents.incident import Cause, Incident, Kind, TimelineEntry, Urgency
from backstay.watch.incidents.notification import Delivery, Notification, NotificationEvent

BEGAN = 1764036603.0  # 2025-11-25 02:10:03 UTC

MARIADB = Cause(
    key="service-failed:controller/mariadb",
    kind=Kind.SERVICE_FAILED,
    urgency=Urgency.CRITICAL,
    host="controller",
    service="mariadb",
    title="MariaDB on controller does not answer",
    evidence=(
        "query from ops1: takes the connection and does not answer within 1.5 s",
        "compute1 and storage1 reach controller",
    ),
    impact="every OpenStack API fails; instances run on",
    remedy="backstay check controller",
    symptoms=(
        "cloud/keystone/token",
        "controller/nova/servers",
        "controller/glance/images",
        "compute1/agent/nova-compute",
    ),
)
DISK = Cause(
    key="finding:storage1/disk",
    kind=Kind.FINDING,
    urgency=Urgency.WARNING,
    host="storage1",
    service="host",
    title="disk / on storage1 is 91% full",
    evidence=("91%",),
    impact="",
    remedy="backstay check storage1",
)
CAUSE = replace(
    MARIADB,
    evidence=("query: takes the connection and does not answer",),
    impact="every OpenStack API fails",
    symptoms=(),
)
OTHER = replace(CAUSE, key="service-failed:proxy/swift", title="Swift's proxy does not answer")


def incident(cause: Cause = MARIADB, **more: Any) -> Incident:
    return Incident(
        **{
            "id": 12,
            "cloud": "lab",
            "cause": cause,
            "began": BEGAN,
            "opened": BEGAN + 2,
            "timeline": (TimelineEntry(at=BEGAN + 2, kind="opened", text=cause.title),),
            **more,
        }
    )


def over(one: Incident, after: float = 192.0) -> Incident:
    line = TimelineEntry(at=one.began + after, kind="resolved", text="answers again")
    return replace(one, closed=one.began + after, timeline=(*one.timeline, line))


def notification(
    one: Incident, event: NotificationEvent = NotificationEvent.OPENED, **more: Any
) -> Notification:
    channel = more.get("channel", "mail")
    return Notification(
        **{
            "id": f"{one.id}.{event}.0.{channel}",
            "incident": one.id,
            "channel": channel,
            "event": event,
            "state": Delivery.WAITING,
            "attempts": 0,
            "made": one.opened,
            "next": one.opened,
            **more,
        }
    )


def cloud_with(channels: dict[str, Any]) -> Cloud:
    return Cloud.model_validate(
        {
            "name": "lab",
            "credentials": {"openrc": "openrc"},
            "hosts": {"controller": {"address": "192.0.2.1", "roles": ["controller"]}},
            "watch": {"channels": channels},
        }
    )
