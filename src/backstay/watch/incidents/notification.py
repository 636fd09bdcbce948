"""Notifications: the event, the channel, and the state of the delivery."""

from dataclasses import dataclass
from enum import StrEnum

from backstay.answers import Seconds


class NotificationEvent(StrEnum):
    """Why a notification about an incident is sent."""

    OPENED = "opened"
    UPDATED = "updated"
    APPROVAL_REQUESTED = "approval_requested"
    ACTION_TAKEN = "action_taken"
    RESOLVED = "resolved"


class Delivery(StrEnum):
    """The state of a notification. After a crash the outcome of ``SENDING`` is not known."""

    WAITING = "waiting"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One message to one channel. ``id`` is the same in each attempt: receivers recognise it.

    Times are Unix seconds; ``next`` is when it is tried again, ``error`` why it was not sent.
    """

    id: str
    incident: int
    channel: str
    event: NotificationEvent
    state: Delivery
    attempts: int
    made: Seconds
    next: Seconds
    sent: Seconds | None = None
    error: str = ""
