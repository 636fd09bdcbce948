"""The incident about a channel that takes no messages. Pure."""

from collections.abc import Collection

from backstay.inventory.cloud import Cloud
from backstay.watch.incidents.incident import Cause, Kind, Urgency


def key_of(channel: str) -> str:
    """Return the key of the cause."""
    return f"{Kind.CHANNEL_FAILED}:{channel}"


def channel_failed(
    cloud: Cloud, channel: str, came_back: str, remedy: str, *, failing: Collection[str]
) -> Cause:
    """Return the cause; ``failing`` are all channels that fail now.

    It is as urgent as what the channel is for, so that the channel hears of it when it works again.
    """
    others = [name for name in cloud.watch.channels if name not in failing]
    least = cloud.watch.channels[channel].least
    return Cause(
        key=key_of(channel),
        kind=Kind.CHANNEL_FAILED,
        urgency=Urgency.CRITICAL if least == "critical" else Urgency.WARNING,
        host="",
        service="watch",
        title=f"channel {channel} takes no messages",
        evidence=(came_back,),
        impact=f"people are told by {', '.join(others)} only" if others else "nobody is told",
        remedy=f"{remedy}; then: backstay watch test {channel}",
    )
