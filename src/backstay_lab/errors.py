"""The lab's own errors: messages for the operator, printed as those of Backstay are."""

from backstay.errors import BackstayError


class LabError(BackstayError):
    """The lab cannot be started, broken, healed or taken down."""
