"""What others say of a host that does not answer: a plain value."""

from dataclasses import dataclass

from backstay.watch.incidents.incident import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Corroboration:
    """What is known of a host that does not answer: ``kind`` is None where it is there after all.

    ``reason`` is a sentence, ``words`` what each witness says, ``power`` what the BMC says.
    ``spoke`` is how many other hosts could be asked.
    """

    kind: Kind | None
    reason: str
    words: tuple[str, ...] = ()
    power: bool | None = None
    spoke: int = 0
