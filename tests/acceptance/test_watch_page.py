"""The status page over the real cloud, in Chromium: what people see, and how soon."""

import shutil
import statistics
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page as Tab
from playwright.sync_api import expect, sync_playwright

from tests.acceptance.conftest import BACKSTAY, Lab
from tests.acceptance.watches import Watch, own_journal, watching

CHROMIUM = shutil.which("chromium")
URL = "http://127.0.0.1:8491"
SOON_MS = 8_000.0
"""An alert is out within 5 s of a fault; the page is at most some seconds later."""
CHECKED_MS = 200_000.0

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium: tests/clients.sh"),
]


@pytest.fixture
def watch(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    own_journal(monkeypatch, tmp_path, tmp_path)
    with watching(lab, tmp_path) as running:
        yield running


@pytest.fixture
def tab() -> Iterator[Tab]:
    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser.new_page()
        browser.close()


def load_seconds() -> float:
    """The median of loading the first page."""
    took = []
    for _ in range(20):
        started = time.perf_counter()
        with urllib.request.urlopen(URL, timeout=5) as answer:
            answer.read()
        took.append(time.perf_counter() - started)
    return statistics.median(took)


def test_a_fault_is_seen_and_its_end(lab: Lab, watch: Watch, tab: Tab) -> None:
    tab.goto(URL)
    headline = tab.locator("h1")
    expect(headline).to_contain_text("All systems operational", timeout=CHECKED_MS)
    tab.evaluate("window.stillThere = true")
    lab.backstay("lab", "break", "hang-service", "controller/mariadb")
    started = time.monotonic()
    expect(headline).to_contain_text("1 incident", timeout=SOON_MS)
    print(f"seen {time.monotonic() - started:.1f} s after the fault: {headline.inner_text()}")
    expect(tab.locator(".tile.down", has_text="mariadb").first).to_be_visible(timeout=SOON_MS)
    print(f"the page loads in {load_seconds() * 1000:.0f} ms with the cloud down")
    assert load_seconds() < 0.1
    assert tab.evaluate("window.stillThere"), "it was loaded again"
    tab.locator("article.card h3 a").first.click()
    expect(headline).to_contain_text("for")
    lab.backstay("lab", "heal")
    lab.wait_green()
    expect(headline).to_contain_text("resolved after", timeout=120_000)
    expect(tab.locator(".timeline")).to_contain_text("resolved")
    tab.goto(URL)
    expect(headline).to_contain_text("All systems operational", timeout=CHECKED_MS)


@pytest.mark.slow
def test_a_runs_progress_is_seen(lab: Lab, watch: Watch, tab: Tab) -> None:
    tab.goto(URL)
    command: list[str | Path] = [BACKSTAY, "reboot", "spare1", "--now", "--yes"]
    command += ["--cloud", watch.cloud]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL) as running:
        runs = tab.locator("#runs")
        expect(runs).to_contain_text("reboot", timeout=60_000)  # after the gates are asked
        expect(runs).to_contain_text("steps done")
        done = runs.locator("progress").first
        first = done.get_attribute("value")
        expect(done).not_to_have_attribute("value", str(first), timeout=60_000)
        assert running.wait(timeout=240) == 0
    expect(runs).not_to_contain_text("Runs in progress", timeout=20_000)
    tab.goto(f"{URL}/runs/reboot-1")
    expect(tab.locator("h1")).to_contain_text("done in")
    expect(tab.locator("progress")).to_have_count(1)
