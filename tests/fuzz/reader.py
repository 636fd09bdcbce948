"""One recorded answer, with the code that digests its like in production."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from backstay.answers import BadAnswer, clean
from backstay.errors import BackstayError
from backstay.finding import Finding
from backstay.jsondata import Json
from backstay.transports.targets import Answer
from tests.fuzz.mutate import Mutator

RECORDED = Path(__file__).parents[1]
"""The folder of the tests, where recordings lie."""


@dataclass(frozen=True, kw_only=True)
class Reader:
    """A recorded answer and what reads it.

    ``recorded`` is JSON data, or bytes for what is no JSON. ``digest`` takes what arrives (the
    recorded answer, or a mutation of it) all the way: it reads, judges and renders. It may raise
    ``refuses`` and nothing else. ``share`` is how often it is asked for each time that others are.
    """

    name: str
    recorded: Json | bytes
    digest: Callable[[bytes], object]
    refuses: tuple[type[Exception], ...] = (BackstayError, BadAnswer)
    share: int = 4

    def mutation(self, seed: int) -> bytes:
        """Return the mutation of that seed, always the same."""
        mutator = Mutator(seed)
        if isinstance(self.recorded, bytes):
            return mutator.raw(self.recorded)
        return mutator.answer(self.recorded)


def printed(data: bytes) -> Answer:
    """Return what a host printed, as it comes from SSH."""
    return Answer(stdout=data.decode(errors="replace"), sent_at=1.7e9, received_at=1.7e9 + 2)


def expect_clean(texts: Iterable[str | None], *, longest: int = 20_000) -> None:
    """See that texts can be shown and sent: one line each, and not endless."""
    for text in texts:
        assert text is None or clean(text, longest=longest) == text, ascii(text)[:300]


def expect_clean_findings(findings: Iterable[Finding]) -> None:
    """See that all texts of findings are clean."""
    for finding in findings:
        values: list[Any] = [getattr(finding, each.name) for each in fields(finding)]
        expect_clean((one for one in values if isinstance(one, str)), longest=5000)
