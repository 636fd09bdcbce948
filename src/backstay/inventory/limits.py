"""From which value on something is a warning or a failure, and how long an answer may take."""

from typing import Annotated, Any

from pydantic import Field, ValidatorFunctionWrapHandler, WrapValidator

from backstay.finding import Severity
from backstay.inventory.fields import Part


class Limit(Part):
    """Two values of one quantity: from ``warning`` on it is a warning, from ``failed`` a failure.

    Whether more or less is worse follows from the two values: with ``warning: 85,
    failed: 95`` more is worse, with ``warning: 10, failed: 3`` less is.
    """

    warning: float = Field(allow_inf_nan=False)
    failed: float = Field(allow_inf_nan=False)

    @property
    def rising(self) -> bool:
        """Return whether a higher value is worse."""
        return self.failed >= self.warning

    def severity(self, value: float) -> Severity:
        """Judge ``value``, given in the unit of the limit's name."""
        if value >= self.failed if self.rising else value <= self.failed:
            return Severity.FAILED
        if value >= self.warning if self.rising else value <= self.warning:
            return Severity.WARNING
        return Severity.OK


def _limit(warning: float, failed: float) -> Any:  # noqa: ANN401 - pydantic types its fields as Any
    """Return a field with this default, of which cloud.yaml may set only one of the two values."""
    return Field(default=Limit(warning=warning, failed=failed), validate_default=False)


def _over(warning: float, failed: float) -> WrapValidator:
    """Return a validator that fills in what cloud.yaml leaves out, and keeps the direction."""

    def fill(given: object, read: ValidatorFunctionWrapHandler) -> Limit:
        if isinstance(given, dict):
            given = {"warning": warning, "failed": failed} | given
        limit: Limit = read(given)
        if limit.rising != (failed >= warning):
            order = "lower" if limit.rising else "higher"
            raise ValueError(
                f"`failed` ({limit.failed:g}) must be {order} than `warning` ({limit.warning:g})"
            )
        return limit

    return WrapValidator(fill)


class Limits(Part):
    """The limits that ``check`` judges by; each can be set under ``limits:`` in cloud.yaml.

    Where less is worse (memory, certificates) the failure is the lower value.
    """

    disk_percent: Annotated[Limit, _over(85, 95)] = _limit(85, 95)
    inode_percent: Annotated[Limit, _over(85, 95)] = _limit(85, 95)
    memory_available_percent: Annotated[Limit, _over(10, 3)] = _limit(10, 3)
    clock_offset_seconds: Annotated[Limit, _over(0.5, 5)] = _limit(0.5, 5)
    certificate_days: Annotated[Limit, _over(30, 7)] = _limit(30, 7)
    # An agent's missed reports, in its own reporting intervals. The failure is where nova calls a
    # service down by default: service_down_time 60 s against report_interval 10 s.
    heartbeat_intervals: Annotated[Limit, _over(3, 6)] = _limit(3, 6)
    api_seconds: Annotated[Limit, _over(5, 30)] = _limit(5, 30)


class Bounds(Part):
    """How long one answer may take, in seconds; under ``bounds:`` in cloud.yaml."""

    connect_seconds: float = Field(default=8.0, gt=0, le=3600)
    host_seconds: float = Field(default=25.0, gt=0, le=3600)
    api_seconds: float = Field(default=20.0, gt=0, le=3600)
