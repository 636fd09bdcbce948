"""What was read over the network of what is no host of the cloud: APIs, BMCs, channels, servers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from backstay.errors import BackstayError


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """Something that was tried: ``brought`` says what came of it, or ``error`` why nothing did.

    ``late`` is in s: it did not answer within that.
    """

    brought: str = ""
    error: BackstayError | None = None
    late: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Afar:
    """What was tried, by name; None or nothing where it was not.

    Attributes:
        api: a token.
        clocks: how far the clocks of API servers are ahead of this one's, in s, by place. They
            give whole seconds.
        bmcs: by host: its power was read.
        no_bmc: hosts that have none in cloud.yaml.
        channels: by the name of a channel.
        journal: its server; None where it is a file.
        locks: their server.
        repository: None where it was not asked; its error is not one of Backstay's.

    """

    api: Tried | None = None
    clocks: Mapping[str, float] = field(default_factory=dict)
    bmcs: Mapping[str, Tried] = field(default_factory=dict)
    no_bmc: Sequence[str] = ()
    channels: Mapping[str, Tried] = field(default_factory=dict)
    journal: Tried | None = None
    locks: Tried | None = None
    repository: Tried | None = None
