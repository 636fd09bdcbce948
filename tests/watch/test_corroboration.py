"""What was seen of hosts on the lab, as the watch understands it."""

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from backstay.watch.detect.corroboration import Corroborator, corroboration_of
from backstay.watch.incidents.incident import Kind
from tests.health.witness.recorded import Recorded, seen

if TYPE_CHECKING:
    from backstay.access.session import CloudSession


class Sited(Recorded):
    """What was recorded, asked as the site is."""

    def host(self, name: str) -> Any:
        return self.cloud.hosts[name]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("power-off", Kind.HOST_OFF),
        ("silent-power-on", Kind.HOST_DEAD),
        ("cut-off-here", Kind.MONITORING_HOST_ISOLATED),
        ("frozen", Kind.HOST_UNREACHABLE),
        ("alive", None),
    ],
)
def test_what_was_seen_of_a_host(name: str, kind: Kind | None) -> None:
    word = corroboration_of(seen(name))
    assert word.kind is kind, word
    assert word.answered_witnesses >= 1
    assert (word.reached_by >= 1) == (name not in {"power-off", "silent-power-on"})
    assert any(line.startswith("this machine: ") for line in word.statements)


def quick(name: str, unreached: set[str]) -> tuple[Any, Sited]:
    site = Sited(name)

    async def quick_probe(address: str) -> dict[str, Any]:
        return await site.here(address, [], True)

    corroborator = Corroborator(
        cast("CloudSession", site), quick_probe=quick_probe, power=site.power
    )
    return asyncio.run(corroborator.quick(site.suspect, unreached)), site


def test_a_quick_look_asks_no_ports_and_nobody_who_does_not_answer() -> None:
    word, site = quick("power-off", {"compute2"})
    assert word.kind is Kind.HOST_OFF
    assert site.suspect == "proxy"
    assert set(site.asked) == {"here", "controller", "storage1", "compute1"}
    assert not any(site.asked.values())
    assert word.answered_witnesses == 3


def test_when_nobody_can_be_asked_nothing_is_proved() -> None:
    word, site = quick("silent-power-on", {"controller", "storage1", "compute1", "compute2"})
    assert (word.kind, word.answered_witnesses) == (Kind.HOST_UNREACHABLE, 0)
    assert set(site.asked) == {"here"}
