"""What costs time is made once for all who ask at the same moment."""

import asyncio
import time
from dataclasses import replace

import httpx
import pytest

from backstay.errors import BackstayError
from backstay.watch.web import rendering, views
from backstay.watch.web.context import Shared
from tests.watch.web.conftest import Serving
from tests.watch.web.fake_cloud import FakeCloud


def test_it_is_made_once_for_a_state() -> None:
    made: list[int] = []

    async def make() -> int:
        made.append(1)
        await asyncio.sleep(0.01)
        return len(made)

    async def story() -> list[int]:
        shared = Shared()
        first = await asyncio.gather(*(shared.get("x", 1, make) for _ in range(20)))
        return [*first, await shared.get("x", 2, make), await shared.get("y", 2, make)]

    assert asyncio.run(story()) == [1] * 20 + [2, 3]


def test_an_error_is_shared_and_not_kept_for_long() -> None:
    async def make() -> None:
        raise BackstayError("reading", came_back="nothing", remedy="again")

    async def story() -> None:
        shared = Shared()
        found = await asyncio.gather(
            *(shared.get("x", 1, make) for _ in range(3)), return_exceptions=True
        )
        assert [type(one) for one in found] == [BackstayError] * 3
        with pytest.raises(BackstayError):
            await shared.get("x", 2, make)

    asyncio.run(story())


def test_what_is_remembered_is_bounded() -> None:
    async def make() -> str:
        return "x"

    async def story() -> int:
        shared = Shared()
        for number in range(1000):
            await shared.get(number, 1, make)
        return len(shared._made)

    assert asyncio.run(story()) == 64


def test_a_page_is_made_once_for_all_who_ask_at_once(
    fake: FakeCloud, served: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    render = rendering.render

    def counted(template: str, **values: object) -> str:
        made.append(template)
        return render(template, **values)

    monkeypatch.setattr(views, "render", counted)

    async def story() -> list[str]:
        async with served(fake) as url, httpx.AsyncClient(base_url=url) as client:
            answers = await asyncio.gather(*(client.get(f"/?x={n}") for n in range(40)))
            return [answer.text for answer in answers]

    texts = asyncio.run(story())
    assert made.count("hosts") < 10
    assert all("All systems operational" in text for text in texts)


def test_a_change_is_seen_at_once(fake: FakeCloud, served: Serving) -> None:
    async def story() -> tuple[str, str]:
        async with served(fake) as url, httpx.AsyncClient(base_url=url) as client:
            key = "compute1/agent/nova-compute"
            before = (await client.get(f"/targets/{key}")).text
            snapshot = fake.feed.snapshot
            status = replace(snapshot.targets[key], evidence="has changed")
            targets = {**snapshot.targets, key: status}
            await fake.feed.publish(replace(snapshot, at=time.time(), targets=targets))
            return before, (await client.get(f"/targets/{key}")).text

    before, after = asyncio.run(story())
    assert "has changed" not in before
    assert "has changed" in after
