"""What can go wrong outside of Backstay, as one small tree whose messages are for the operator.

Every error says what was attempted, what came back and what to do next. None carries a secret.
The command line prints them and exits with 3 ("unknown"), as monitoring plugins do.
"""

_LONGEST_LIST = 1 << 16


class BackstayError(Exception):
    """An error for the operator: ``attempted``, ``came_back`` and ``remedy`` are whole phrases.

    What came back is often the text of a host: all three are cleaned here, and each becomes one
    line, unless its ``lines`` are Backstay's own.
    """

    def __init__(self, attempted: str, *, came_back: str, remedy: str, lines: bool = False) -> None:
        from backstay.answers import clean  # noqa: PLC0415 - `backstay --help` raises nothing

        self.attempted = clean(attempted)
        self.came_back = clean(came_back, longest=_LONGEST_LIST if lines else 4096, lines=lines)
        self.remedy = clean(remedy)
        super().__init__(f"{self.attempted}: {self.came_back}")


class InventoryError(BackstayError):
    """cloud.yaml, openrc or clouds.yaml cannot be read or holds a mistake."""


class HostError(BackstayError):
    """A question to a host over SSH brought no usable answer.

    ``elsewhere`` is whether the fault is on this machine, in its configuration or on the way: that
    tells nothing about the host, which may be well or dead.
    """

    elsewhere = False


class HostUnreachable(HostError):
    """No TCP connection, no SSH banner, or no answer within the bound."""


class NotAsked(HostUnreachable):
    """There is no way to the host, by a fault that is not its own."""

    elsewhere = True


class HostKeyRefused(HostError):
    """The host presented a key that is not the known one, or none is known."""


class LoginRefused(HostError):
    """The host refused the user or the key."""


class RemoteFailure(HostError):
    """The host was reached and the command on it failed."""


class NoPython(RemoteFailure):
    """The host was reached and has no python3, which all questions are asked by."""


class SudoRefused(RemoteFailure):
    """The user was let in, and may not act as root there by sudo."""


class AnswerTooLong(RemoteFailure):
    """The host printed more than is taken: the connection to it was closed."""


class ApiError(BackstayError):
    """An OpenStack API gave no usable answer."""


class ApiUnreachable(ApiError):
    """No connection to the API, or none of its answers came within the bound."""


class ApiNotAsked(ApiUnreachable):
    """Something of this machine stands before the API, a proxy: that tells nothing about it."""


class ApiRefused(ApiError):
    """The API refused the credentials or the right to ask."""


class ApiFailed(ApiError):
    """The API answered with an error status or with something that is not its answer."""

    def __init__(self, attempted: str, *, came_back: str, remedy: str, status: int | None) -> None:
        super().__init__(attempted, came_back=came_back, remedy=remedy)
        self.status = status


class PowerError(BackstayError):
    """A BMC gave no usable answer, or did not do what it was asked."""


class PowerOrdered(PowerError):
    """An order was sent to a BMC, and it is not known that it came about: it may have, or will."""


class HookFailed(BackstayError):
    """A hook of the site's own said no, or could not be called.

    ``unclear`` is whether it was called and has not said how it ended: what it did is not known.
    """

    def __init__(
        self, attempted: str, *, came_back: str, remedy: str, unclear: bool = False
    ) -> None:
        super().__init__(attempted, came_back=came_back, remedy=remedy)
        self.unclear = unclear


class ChannelFailed(BackstayError):
    """A message was not taken by the channel it was sent through, or it is not known whether."""


class MessageRefused(ChannelFailed):
    """A channel works, and this message cannot be written for it, or is refused for its content."""


class BackupError(BackstayError):
    """A backup cannot be taken, kept, read or trusted."""


class DamagedBackup(BackupError):
    """What was read of a backup is not what was stored: evidence against it, as nothing else is.

    A repository that cannot be read, a full disk or a missing program are none.
    """


def own_error(error: BaseException) -> str:
    """Return an error that Backstay did not expect in one line: what, and where it comes from."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(own_error(one) for one in error.exceptions)
    if isinstance(error, BackstayError):
        return str(error)
    try:
        text = str(error)
    except Exception:  # an error whose text cannot be made is an error, too
        text = ""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = ""
    if trace is not None:
        file = trace.tb_frame.f_code.co_filename.rpartition("/")[2]
        place = f" ({file}:{trace.tb_lineno})"
    kind = type(error).__name__
    return f"an error in Backstay itself: {kind}{f': {text}' if text else ''}{place}"
