"""Who is told: the channels for an incident, and those for what one of them could not send."""

from collections.abc import Collection

from backstay.inventory.watch import Channel, Watch
from backstay.watch.incidents.incident import Urgency


def channels_for(watch: Watch, urgency: Urgency) -> tuple[str, ...]:
    """Return the names of the channels that are told of an incident this urgent.

    Fallbacks are not among them, unless there is nothing else.
    """
    willing = {name: one for name, one in watch.channels.items() if _takes(one, urgency)}
    return tuple(name for name, one in willing.items() if not one.fallback) or tuple(willing)


def instead_of(
    watch: Watch,
    channel: str,
    urgency: Urgency,
    *,
    failing: Collection[str],
    have: Collection[str],
) -> tuple[str, ...] | None:
    """Return the channels for what ``channel`` cannot send; None where none is left: keep trying.

    ``failing`` are the channels that do not work, ``have`` those that have sent the same. Fallbacks
    come first; without any, nobody else is needed where others have it. Then come the others that
    are told of such incidents, and then any that works, however urgent it wants things to be.
    """
    able = {
        name: one
        for name, one in watch.channels.items()
        if name != channel and name not in failing and name not in have
    }
    fallbacks = tuple(name for name, one in able.items() if one.fallback)
    if fallbacks:
        return fallbacks
    if set(have) - {channel}:
        return ()
    usual = tuple(name for name, one in able.items() if _takes(one, urgency))
    return usual or tuple(able)[:1] or None


def _takes(channel: Channel, urgency: Urgency) -> bool:
    return urgency is Urgency.CRITICAL or channel.least == "warning"
