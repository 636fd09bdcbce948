"""What was found about one need: there, missing, or not known."""

from dataclasses import dataclass
from enum import StrEnum

from backstay.answers import clean
from backstay.commands import SSH
from backstay.doctor.needs import Topic
from backstay.errors import BackstayError
from backstay.lacking import ALSO, Lack


class State(StrEnum):
    """Whether it is there. ``UNKNOWN`` means that the evidence is missing, which is never a yes."""

    OK = "ok"
    MISSING = "missing"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One thing that was looked at.

    ``host`` is its name in cloud.yaml, None for this machine. ``remedy`` says what to do in words,
    ``command`` does it when it is pasted; both are empty where there is nothing to do. ``packages``
    are Debian's that bring it. ``optional``: no command depends on it, whatever it needs otherwise.
    """

    topic: Topic
    state: State
    what: str
    evidence: str
    host: str | None = None
    remedy: str = ""
    command: str = ""
    packages: tuple[str, ...] = ()
    optional: bool = False

    def __post_init__(self) -> None:
        """Clean the texts: they quote hosts and programs."""
        for name in ("what", "remedy", "command"):
            object.__setattr__(self, name, clean(getattr(self, name)))
        object.__setattr__(self, "evidence", clean(self.evidence, longest=1 << 14, lines=True))


def there(topic: Topic, what: str, evidence: str, *, host: str | None = None) -> Point:
    """Return the point of something that is as it must be. Pure."""
    return Point(topic=topic, state=State.OK, what=what, evidence=evidence, host=host)


def lacking(topic: Topic, lack: Lack, *, host: str | None = None, ssh: str = "") -> Point:
    """Return the point of something that is missing; ``ssh`` is what reaches the host. Pure."""
    return Point(
        topic=topic,
        state=State.MISSING,
        what=lack.what,
        evidence=lack.evidence,
        host=host,
        remedy=lack.remedy,
        command=lack.command.replace(SSH, ssh),
        packages=lack.packages,
        optional=lack.optional,
    )


def unknown(
    topic: Topic, what: str, evidence: str, *, host: str | None = None, remedy: str = ""
) -> Point:
    """Return the point of something that could not be found out. Pure."""
    return Point(
        topic=topic, state=State.UNKNOWN, what=what, evidence=evidence, host=host, remedy=remedy
    )


def refused(
    topic: Topic,
    what: str,
    error: BackstayError,
    *,
    host: str | None = None,
    state: State = State.MISSING,
    command: str = "",
    optional: bool = False,
) -> Point:
    """Return the point of something that ended with an error for the operator. Pure."""
    return Point(
        topic=topic,
        state=state,
        what=what,
        evidence=error.came_back,
        host=host,
        remedy=error.remedy.removesuffix(ALSO),
        command=command,
        optional=optional,
    )
