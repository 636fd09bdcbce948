"""What is to be told, to whom, and how far that is."""

from dataclasses import dataclass
from enum import StrEnum


class NotificationEvent(StrEnum):
    """What is told of an incident."""

    OPENED = "opened"
    UPDATED = "updated"
    APPROVAL_REQUESTED = "approval_requested"
    ACTION_TAKEN = "action_taken"
    RESOLVED = "resolved"


class Delivery(StrEnum):
    """How far a telling is. ``SENDING`` was under way; after a crash nobody knows how it ended."""

    WAITING = "waiting"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One message to one channel. ``id`` is the same in each attempt: receivers can know it again.

    Times are Unix seconds; ``next`` is when it is tried again, ``error`` why it was not sent.
    """

    id: str
    incident: int
    channel: str
    event: NotificationEvent
    state: Delivery
    attempts: int
    made: float
    next: float
    sent: float | None = None
    error: str = ""
