"""cloud.yaml and what it names as nobody should write them: refused within bounds."""

import asyncio
import contextlib
import json
import os
import random
import resource
import string
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from backstay.errors import InventoryError
from backstay.inventory.cloud import Cloud
from backstay.inventory.clouds_yaml import read_clouds_yaml
from backstay.inventory.load import load
from backstay.inventory.takeover import take_over
from backstay.watch.cloud_file import CloudFile

GOOD = """\
name: amber
credentials: {environment: true}
hosts:
  controller: {address: 10.0.0.11, roles: [controller]}
"""


def with_window(start: str) -> str:
    return f"{GOOD}windows:\n  night: {{start: {start}, end: '04:00'}}\n"


NINEFOLD = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
MERGED = "a0: &a0 {x0: 1, y0: 1}\n"
for _n in range(1, 12):
    MERGED += f"a{_n}: &a{_n} {{<<: [{', '.join([f'*a{_n - 1}'] * 9)}], x{_n}: 1}}\n"
HIDDEN = MERGED + "b: 1\nb: {<<: [*a11, *a11]}\n"

TEXTS = {
    "holds itself": "a: &a [*a]\n",
    "holds itself as a mapping": "&a {a: *a}\n",
    "holds itself as a key": "? &a [*a]\n: 1\n",
    "merges itself": "a: &a\n  <<: *a\n",
    "aliases ninefold": NINEFOLD,
    "merges ninefold": MERGED,
    "merges ninefold, hidden by a duplicate": HIDDEN,
    "deep lists": "[" * 100_000,
    "deep lists that end": "a: " + "[" * 3000 + "]" * 3000,
    "deep mappings": "{a: " * 100_000,
    "deep blocks": "".join(f"{' ' * depth}a:\n" for depth in range(900)),
    "a number of 5000 digits": with_window("9" * 5000),
    "a hexadecimal number": with_window("0x" + "f" * 5000),
    "a float": f"{GOOD}bounds: {{connect_seconds: 1e999999999}}\n",
    "a number that is none": f"{GOOD}bounds: {{connect_seconds: .nan}}\n",
    "an infinite number": f"{GOOD}watch: {{every: .inf}}\n",
    "an infinite limit": f"{GOOD}limits: {{disk_percent: {{warning: .nan, failed: .inf}}}}\n",
    "a huge time": with_window("99999999999999999999"),
    "a negative time": with_window("-1"),
    "a huge duration": f"{GOOD}watch: {{every: {'9' * 400}d}}\n",
    "a month 13": f"{GOOD}fenced: {{old: {{was: x, since: 2026-13-45}}}}\n",
    "a year 0": f"{GOOD}fenced: {{old: {{was: x, since: 0000-00-00}}}}\n",
    "an hour 99": f"{GOOD}fenced: {{old: {{was: x, since: 2026-01-01 99:99:99}}}}\n",
    "binary that is none": f"{GOOD}region: !!binary 'YQ'\n",
    "a Python object": f"{GOOD}region: !!python/object/apply:os.system ['true']\n",
    "a set": "!!set {a, b}\n",
    "an odd tag": "!<x> a\n",
    "a list as a key": "? [a]\n: 1\n",
    "a mapping as a key": "? {a: 1}\n: 1\n",
    "two documents": f"{GOOD}---\n{GOOD}",
    "an unknown alias": "a: *b\n",
    "a lone surrogate": GOOD.replace("amber", '"a\\ud800"'),
    "NUL": "a: \0\n",
    "tabs": "a:\n\t- b\n",
    "a text": "hello",
    "a number": "1",
    "nothing": "~",
    "a list": "- 1\n",
    "an endless line": "a" * 500_000,
    "many questions": "? " * 20_000,
    "many anchors": "".join(f"&a{n} " for n in range(20_000)),
    "many keys": "".join(f"k{n}: 1\n" for n in range(20_000)),
}
CONTENTS = {
    "UTF-16": GOOD.encode("utf-16"),
    "UTF-32": GOOD.encode("utf-32"),
    "Latin-1": GOOD.replace("amber", "ämber").encode("latin-1"),
    "random bytes": random.Random(1).randbytes(100_000),
    "zeros": bytes(100_000),
    "an ELF file": b"\x7fELF" + bytes(range(256)) * 100,
    "100 MB": b"#" * 100_000_000,
    "2 MB of values": b"a: 1\n" * 400_000,
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cloud.yaml"


def refused(call: Callable[[], object]) -> InventoryError:
    """Return the refusal, which has to come soon and without much memory."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InventoryError) as raised:
        call()
    assert time.monotonic() - began < 60
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024  # KiB
    assert len(str(raised.value)) < 20_000
    return raised.value


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_that_is_no_cloud_is_refused(path: Path, name: str) -> None:
    path.write_bytes(TEXTS[name].encode("utf-8", "surrogatepass"))
    assert str(path) in str(refused(lambda: load(path)))
    refused(lambda: read_clouds_yaml("amber", path))
    text = TEXTS[name]
    if len(text) < 1 << 20:
        since = datetime(2026, 1, 1, tzinfo=UTC)
        refused(lambda: take_over(text, host="a", spare="b", since=since))


@pytest.mark.parametrize("name", CONTENTS)
def test_a_file_that_is_no_text_is_refused(path: Path, name: str) -> None:
    path.write_bytes(CONTENTS[name])
    assert str(path) in str(refused(lambda: load(path)))
    refused(lambda: read_clouds_yaml("amber", path))


def test_a_file_that_is_none_is_refused(tmp_path: Path, path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "circle").symlink_to("circle")
    for one in ("pipe", "circle", ".", "/dev/zero", "/dev/tty", "/proc/self/mem", "x\0y"):
        refused(partial(load, tmp_path / one))
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert load(path).name == "amber"


@pytest.mark.parametrize(
    "name",
    [
        "../../../x",
        "a/b",
        ".hidden",
        "-rf",
        "a\nb",
        "a  b",
        "a ",
        " a",
        "a /b",
        "a\tb",
        "",
        "x" * 65,
        "a?b",
        "ä",
        "a%b",
    ],
)
def test_names_that_become_paths_are_checked(path: Path, name: str) -> None:
    path.write_text(GOOD.replace("amber", json.dumps(name)))
    assert "name" in str(refused(lambda: load(path)))
    for kind in ("hosts", "fenced"):
        text = GOOD.replace("controller:", f"{json.dumps(name * 2)}:")
        if kind == "fenced":
            text = f"{GOOD}fenced: {{{json.dumps(name * 2)}: {{was: x, since: 2026-01-01}}}}\n"
        path.write_text(text)
        refused(lambda: load(path))


@pytest.mark.parametrize("name", ["a\nb", "../x", "", "x" * 101, "a\x1bb"])
def test_names_that_are_shown_are_one_line(path: Path, name: str) -> None:
    for part in (
        f"windows: {{{json.dumps(name)}: daily 01:00-04:00}}",
        f"watch: {{channels: {{{json.dumps(name)}: {{webhook: {{url: 'http://x'}}}}}}}}",
        f"watch: {{page: {{people: {{{json.dumps(name)}: {{token: 0123456789abcdef}}}}}}}}",
    ):
        path.write_text(f"{GOOD}{part}\n")
        refused(lambda: load(path))


def test_random_changes_of_a_file_are_refused_or_read(path: Path) -> None:
    chance = random.Random(18)
    good = with_window("'01:00'")
    words = ["*a", "&a ", "[", "{", "}", "]", "!!int ", "<<: ", "9" * 30, "-", ": ", "\n", '"', "%"]
    for _ in range(int(os.environ.get("BACKSTAY_FUZZ", "1000"))):
        changed = good
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(changed))
            new = chance.choice([*words, chance.choice(string.printable)])
            changed = changed[:at] + new + changed[at + chance.randint(0, 3) :]
        path.write_text(changed)
        with contextlib.suppress(InventoryError):
            load(path)


def test_the_watch_keeps_the_configuration_that_it_had(path: Path) -> None:
    path.write_text(GOOD)
    loads: list[int] = []

    def counted(where: Path) -> Cloud:
        loads.append(1)
        return load(where)

    file = CloudFile(path, counted)
    had, said = file.cloud, set[str]()
    for name in ("holds itself", "aliases ninefold", "a huge time", "a number of 5000 digits"):
        path.write_text(TEXTS[name])
        for _ in range(3):
            asyncio.run(file.reload_if_changed())
            said.add(file.trouble)
        assert file.cloud is had
        assert "stays in use" in file.trouble
    assert len(said) == 4
    assert len(loads) == 1 + 4  # a file that is wrong is not read again at once
    path.unlink()
    os.mkfifo(path)
    asyncio.run(file.reload_if_changed())
    assert "stays in use" in file.trouble
    path.unlink()
    path.write_text(GOOD.replace("controller:", "ctl:"))
    asyncio.run(file.reload_if_changed())
    assert (list(file.cloud.hosts), file.trouble) == (["ctl"], "")


def test_an_error_that_nobody_thought_of_does_not_end_the_watch(path: Path) -> None:
    path.write_text(GOOD)
    given = [load(path)]
    file = CloudFile(path, lambda _: given.pop())
    path.write_text(f"{GOOD}# changed\n")
    asyncio.run(file.reload_if_changed())
    assert "IndexError" in file.trouble
    assert "stays in use" in file.trouble


@pytest.mark.parametrize(
    "value",
    ["*hunter2", "!hunter2 x", "!!int hunter2", "!!float hunter2", "!hunter2!x y", "[*hunter2"],
)
def test_what_is_no_yaml_is_not_repeated(path: Path, value: str) -> None:
    bmc = f"{{url: 'https://h', username: u, password: {value}}}"
    path.write_text(f"{GOOD}  h: {{address: h, roles: [compute], bmc: {bmc}}}\n")
    with pytest.raises(InventoryError) as caught:
        load(path)
    assert "hunter2" not in f"{caught.value} {caught.value.remedy}"


@pytest.mark.parametrize(
    "text",
    [
        f"{GOOD}windows: {{w: 'a{' ' * 200_000}!'}}\n",
        GOOD
        + "".join(
            f"  h{n}: {{address: h{n}, roles: [spare], spare_for: [x{n}]}}\n" for n in range(1500)
        ),
        f"{GOOD}services: {{without: [{', '.join(f'x{n}' for n in range(30_000))}]}}\n",
    ],
    ids=["a long window", "many unknown spares", "many unknown services"],
)
def test_mistakes_are_found_in_a_bounded_time(path: Path, text: str) -> None:
    path.write_text(text)
    started = time.process_time()
    with pytest.raises(InventoryError):
        load(path, services=[f"service{n}" for n in range(20)])
    assert time.process_time() - started < 6
