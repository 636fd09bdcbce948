"""The page in headless Chromium, and in a text browser."""

import asyncio
import shutil
import subprocess
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.async_api import Page as Tab
from playwright.async_api import async_playwright, expect

from backstay.inventory.watch import Page
from backstay.journal.records import RunState
from backstay.watch.incidents.record import noted
from tests.watch.altered import altered
from tests.watch.web.conftest import Serving, free_port
from tests.watch.web.fake_cloud import ACTOR, FakeCloud, with_people

CHROMIUM = shutil.which("chromium")
W3M = shutil.which("w3m")

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: tests/clients.sh")

# Contrast as https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio has it, of every text that is shown.
CONTRASTS = """() => {
  const parse = (c) => c.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const paper = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const c = parse(getComputedStyle(at).backgroundColor);
      if (c.length === 3 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const one = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !one.getClientRects().length) continue;
    if (one.closest('title, script, style')) continue;
    const style = getComputedStyle(one);
    const ink = one.closest('svg') ? style.fill : style.color;
    const [a, b] = [light(parse(ink)), light(paper(one))].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), one.tagName, walker.currentNode.textContent.trim()]);
  }
  return found;
}"""

# Everything that takes the keyboard, with the name by which it is read aloud.
CONTROLS = """() => [...document.querySelectorAll(
    'a[href], button, input:not([type=hidden]), [tabindex="0"], progress, svg')]
  .filter((one) => one.getClientRects().length)
  .map((one) => [one.tagName, (one.labels && one.labels.length ? one.labels[0].innerText :
    one.getAttribute('aria-label') || one.innerText || '').trim(), one.outerHTML.slice(0, 200)])"""

Story = Callable[[Tab, str], Awaitable[None]]


def browse(
    fake: FakeCloud,
    served: Serving,
    story: Story,
    *,
    page: Page | None = None,
    **context: object,
) -> None:
    """Run a story with a tab open; no script may fail, no console error may occur."""
    wrong: list[str] = []

    async def publish() -> None:
        while True:
            await asyncio.sleep(0.5)
            await fake.feed.publish(replace(fake.feed.snapshot, at=time.time()))

    async def approve(incident: int, code: str, who: str) -> str:
        return f"replace-8 started, approved by {who} with {code}"

    async def play() -> None:
        async with (
            served(fake, page=page, approve=approve) as url,
            async_playwright() as player,
        ):
            publishing = asyncio.create_task(publish())
            browser = await player.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            tab = await (await browser.new_context(**context)).new_page()  # type: ignore[arg-type]
            tab.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
            tab.on("pageerror", lambda error: wrong.append(str(error)))
            try:
                await story(tab, url)
            finally:
                publishing.cancel()
                await browser.close()

    asyncio.run(play())
    assert wrong == []


@needs_chromium
def test_a_fault_appears_and_its_incident_opens_and_closes(
    fake: FakeCloud, served: Serving
) -> None:
    async def story(tab: Tab, url: str) -> None:
        await tab.goto(url)
        headline = tab.locator("h1")
        await expect(headline).to_contain_text("All systems operational")
        await tab.evaluate("window.stillThere = true")
        incident = await fake.break_()
        await expect(headline).to_contain_text("1 incident: MariaDB on controller", timeout=8000)
        down = tab.locator(".tile.down", has_text="mariadb query")
        await expect(down).to_contain_text("connection accepted, no answer")
        await expect(tab.locator("article.critical")).to_contain_text("Users cannot log in")
        assert await tab.title() == "incident - amber"
        await fake.recover(incident)
        await expect(headline).to_contain_text("All systems operational", timeout=8000)
        await expect(tab.locator("article.critical")).to_have_count(0)
        await expect(tab.locator(".tile.down")).to_have_count(0)
        assert await tab.evaluate("window.stillThere"), "the page was loaded again"

    browse(fake, served, story)


@needs_chromium
def test_an_incidents_own_page_follows_it(fake: FakeCloud, served: Serving) -> None:
    async def story(tab: Tab, url: str) -> None:
        incident = await fake.break_()
        await tab.goto(f"{url}/incidents/{incident.id}")
        await expect(tab.locator("h1")).to_contain_text("does not answer, for")
        altered(
            fake.store,
            incident.id,
            lambda it: noted(it, "updated", "and glance too", at=time.time()),
        )
        await expect(tab.locator(".timeline")).to_contain_text("and glance too", timeout=8000)
        await fake.recover(incident)
        await expect(tab.locator("h1")).to_contain_text("resolved after", timeout=8000)
        await expect(tab.locator(".timeline")).to_contain_text("answers again")

    browse(fake, served, story)


@needs_chromium
def test_a_runs_progress_moves(fake: FakeCloud, served: Serving) -> None:
    async def story(tab: Tab, url: str) -> None:
        await tab.goto(url)
        await expect(tab.locator("h1")).to_contain_text("All systems operational")
        name, claim = fake.run()
        for number in range(3):
            step = f"proxy.step{number}"
            fake.journal.start(claim, step)
            fake.journal.progress(claim, step, f"said {number}")
            runs = tab.locator("#runs")
            await expect(runs).to_contain_text(f"said {number}", timeout=8000)
            await expect(runs).to_contain_text(f"{number} of 7 steps done")
            fake.journal.finish(claim, step, {})
        await tab.goto(f"{url}/runs/{name}")
        await expect(tab.locator("h1")).to_contain_text("reboot proxy: running")
        fake.journal.end(claim, RunState.DONE)
        await expect(tab.locator("h1")).to_contain_text("done in", timeout=8000)

    browse(fake, served, story)


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1200])
def test_everything_is_legible_named_and_within_the_screen(
    fake: FakeCloud, served: Serving, scheme: str, width: int
) -> None:
    fake.closed_incident()
    fake.keep_history()
    name, claim = fake.run()
    fake.journal.start(claim, "proxy.step0")

    async def story(tab: Tab, url: str) -> None:
        incident = await fake.break_()
        subject = "/targets/controller/keystone/token validation?span=day"
        for path in (
            "/",
            "/incidents",
            f"/incidents/{incident.id}",
            f"/runs/{name}",
            "/login",
            subject,
            "/hosts/controller",
        ):
            await tab.goto(url + path)
            contrasts = await tab.evaluate(CONTRASTS)
            assert len(contrasts) > 5
            assert [one for one in contrasts if one[0] < 4.5] == [], path
            controls = await tab.evaluate(CONTROLS)
            assert [one for one in controls if not one[1]] == [], path
            assert await tab.evaluate("document.documentElement.scrollWidth") <= width, path
            assert await tab.locator("h1").count() == 1
            assert await tab.locator("main").count() == 1

    browse(fake, served, story, color_scheme=scheme, viewport={"width": width, "height": 700})


@needs_chromium
def test_logging_in_and_approving_by_the_keyboard_alone(tmp_path: Path, served: Serving) -> None:
    fake = FakeCloud(tmp_path, with_people(f"127.0.0.1:{free_port()}"))
    page = fake.cloud.watch.page

    async def story(tab: Tab, url: str) -> None:
        incident = await fake.break_()
        fake.ask(incident)
        await tab.goto(f"{url}/login?next=/incidents/{incident.id}")
        await expect(tab.get_by_label("Name")).to_be_focused()  # by itself
        await tab.keyboard.type("anna")
        await tab.keyboard.press("Tab")
        await tab.keyboard.type(ACTOR)
        await tab.keyboard.press("Enter")
        await tab.wait_for_url(f"{url}/incidents/{incident.id}")
        await expect(tab.locator("h1")).to_contain_text("MariaDB")
        await expect(tab.get_by_label("Code")).to_be_visible(timeout=5000)
        for _ in range(40):
            await tab.keyboard.press("Tab")
            if await tab.evaluate("document.activeElement.id") == "code":
                break
        outline = await tab.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
        await tab.keyboard.type("abc")
        await asyncio.sleep(2.5)  # the live stream goes on, and takes nothing away
        assert await tab.input_value("#code") == "abc"
        await tab.keyboard.press("Enter")
        await expect(tab.locator(".message")).to_contain_text("approved by anna with abc")

    browse(fake, served, story, page=page)


@needs_chromium
def test_every_link_and_button_is_reached_by_tab(fake: FakeCloud, served: Serving) -> None:
    async def story(tab: Tab, url: str) -> None:
        await fake.break_()
        await tab.goto(url)
        wanted = await tab.locator("a[href], button").count()
        seen = set()
        for _ in range(wanted + 20):
            await tab.keyboard.press("Tab")
            seen.add(
                await tab.evaluate(
                    "[...document.querySelectorAll('a[href], button')]"
                    ".indexOf(document.activeElement)"
                )
            )
        assert seen - {-1} == set(range(wanted))

    browse(fake, served, story)


@needs_chromium
def test_without_a_script_the_page_reloads_itself(fake: FakeCloud, served: Serving) -> None:
    async def story(tab: Tab, url: str) -> None:
        await tab.goto(url)
        await expect(tab.locator("h1")).to_contain_text("All systems operational")
        refresh = await tab.locator("noscript meta, head meta[http-equiv=refresh]").count()
        assert refresh == 1

    browse(fake, served, story, java_script_enabled=False)


@pytest.mark.skipif(W3M is None, reason="no w3m: tests/clients.sh")
def test_a_text_browser_shows_the_same(fake: FakeCloud, served: Serving) -> None:
    async def story() -> str:
        await fake.break_()
        async with served(fake) as url:
            async with asyncio.timeout(10):
                while True:
                    ran = await asyncio.to_thread(
                        subprocess.run,
                        [str(W3M), "-dump", "-cols", "80", url],
                        capture_output=True,
                        text=True,
                        check=True,
                        timeout=10,
                    )
                    if "1 incident" in ran.stdout:
                        return ran.stdout
                    await asyncio.sleep(0.2)

    text = asyncio.run(story())
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert any("1 incident: MariaDB on controller accepts connections" in line for line in lines)
    assert any("What to do: backstay check controller" in line for line in lines)
    assert any("mariadb query down -" in line for line in lines)
    assert any("keystone token validation down" in line for line in lines)
    assert any("cinder volumes up" in line for line in lines)
