"""Mutated records and answers of hosts: compared where they can be read, else missing."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from backstay.answers import is_uuid
from backstay.runbooks.reconcile.comparison import ReconcileObservation
from tests.fuzz.mutate import HOSTILE_TEXTS, Mutator
from tests.health.rpc.recorded import CLOUD
from tests.runbooks.reconciled import DATA, Recorded, compared, looked

TIMES = 20
NAMES = sorted(path.stem for path in DATA.glob("*.json"))


def is_clean(found: ReconcileObservation) -> bool:
    texts = [text for one in found.mismatches for text in (one.subject, one.evidence, one.command)]
    texts += [text for one in found.missing for text in (one.what, one.why, one.remedy)]
    texts += [*found.notes, *(one.evidence for one in found.guards)]
    return all(text.isprintable() and len(text) < 20_000 for text in texts)


def lying(name: str, seed: int, mutate: Callable[[Mutator, Any], Any]) -> Recorded:
    """A cloud one host of which answers the same mutation both times that it is asked."""
    site = Recorded(name)
    host = Mutator(seed).random.choice(sorted(CLOUD.hosts))
    site.printed = lambda one, given: mutate(Mutator(seed), given) if one == host else given
    return site


@pytest.mark.parametrize("name", NAMES)
def test_whatever_one_question_is_answered_the_others_are_compared(name: str) -> None:
    def mutate(mutator: Mutator, given: dict[str, Any]) -> Any:
        question = mutator.random.choice(sorted(given["answers"]))
        given["answers"][question] = mutator.value(given["answers"][question])
        return given

    for seed in range(TIMES):
        found = compared(lying(name, seed, mutate))
        assert is_clean(found)
        assert not any("is not as expected" in one.why for one in found.missing), "read by its type"


@pytest.mark.parametrize("name", NAMES)
def test_a_table_with_a_wrong_field_is_missing_and_not_shorter(name: str) -> None:
    wrong = [text for text in HOSTILE_TEXTS if text and not is_uuid(text)]

    def changed(text: str, answers: dict[str, Any]) -> None:
        tables = answers["controller"]["answers"]["records"]["value"]
        for query in ("nova instances", "nova compute nodes"):
            table = tables[query]["value"]
            column = table["columns"].index("uuid")
            table["rows"][-1][column] = text

    for text in wrong:
        found = looked(name, partial(changed, text))
        assert [one.what for one in found.missing] == ["nova instances", "nova compute nodes"]
        assert all("could not read the records: row" in one.why for one in found.missing)
        assert is_clean(found)
