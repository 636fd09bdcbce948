"""The reader for all that arrives: bounds, types, and clean text."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pytest

from backstay.access.session import CloudSession
from backstay.answers import BadAnswer, Count, Line, Seconds, clean, convert, read, whole
from backstay.errors import RemoteFailure
from backstay.inventory.cloud import Cloud
from backstay.transports import limits
from backstay.transports.targets import Answer, SshTarget


class Level(StrEnum):
    HIGH = "high"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    name: Line
    size: Count = 0
    took: Seconds = 0.0
    text: str = ""
    level: Level | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    parts: tuple[Part, ...]
    by_name: Mapping[str, Part] = None  # type: ignore[assignment]
    pair: tuple[int, float] | None = None


def refused(kind: Any, raw: bytes | str, **bounds: int) -> str:
    with pytest.raises(BadAnswer) as error:
        read(kind, raw, **bounds)
    text = str(error.value)
    assert len(text) <= 300
    assert text.isprintable()
    return text


def test_reads_dataclasses_in_tuples_and_mappings():
    found = read(Whole, b'{"parts": [{"name": "a", "size": 3, "level": "high", "new": 1}]}')
    assert found == Whole(parts=(Part(name="a", size=3, level=Level.HIGH),))
    again = read(Whole, '{"parts": [], "by_name": {"x": {"name": "y"}}, "pair": [1, 2]}')
    assert again.by_name["x"].name == "y"
    assert again.pair == (1, 2.0)


def test_names_the_place_of_what_is_wrong():
    assert refused(Whole, b'{"parts": [{"name": 3}]}') == "parts.0.name: a string expected"
    assert refused(Whole, b"{}") == "parts: missing"
    assert "by_name.x.name" in refused(Whole, b'{"parts": [], "by_name": {"x": {"size": 9}}}')
    assert "parts" in refused(Whole, b'{"parts": null}')


@pytest.mark.parametrize(
    "value", ['"3"', "3.5", "true", "-1", "null", "[]", "18446744073709551616"]
)
def test_a_count_is_nothing_else(value):
    assert refused(Part, f'{{"name": "a", "size": {value}}}')


NO_NUMBERS = ["NaN", "Infinity", "-Infinity", "1e400", "1E+999", "1" * 5000, "-" + "9" * 20]


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_refuses_numbers_that_are_none_or_too_large_where_they_stand(value):
    text = f'{{"name": "a", "size": 18446744073709551615, "took": {value}}}'
    assert refused(Part, text) == "took: a number expected"
    found = read(dict[str, Any], text)
    assert found | {"took": 0} == {"name": "a", "size": 2**64 - 1, "took": 0}
    assert isinstance(found["took"], str)


def test_whole():
    assert whole("007") == 7
    for text in ("", "-1", "1.0", "x", "\u0661", "1" * 21, "9" * 20, " 1"):
        with pytest.raises(BadAnswer, match="size: "):
            whole(text, place="size")


def test_leaves_numbers_that_only_look_large():
    raw = '{"a": 0.00012345678901234567, "b": "1e400", "c": 1e-300, "d": 9223372036854775807}'
    assert read(Any, raw) == json.loads(raw)


@pytest.mark.parametrize(
    "raw", [b"", b"no", b"{", b"\xff\xfe", b'{"a" 1}', b"[" * 3 + b"]", b"\x00", b'"\\ud800']
)
def test_refuses_what_is_no_json(raw):
    assert "not JSON" in refused(Any, raw)


@pytest.mark.parametrize("depth", [300, 5_000, 200_000])
@pytest.mark.parametrize("inner", [b"", b'"\\ud800"'])
def test_refuses_what_is_nested_deeply(depth, inner):
    assert refused(Any, b"[" * depth + inner + b"]" * depth) == "nested too deeply"
    assert refused(Any, b'{"a":' * depth + (inner or b"1") + b"}" * depth) == "nested too deeply"


def test_refuses_what_is_long_or_has_many_items():
    assert "bytes" in refused(Any, b'"' + b"x" * 100 + b'"', most=50)
    for many in (b"[" + b"[]," * 600_000 + b"1]", b'{"a":' * 600_000, b"[" + b'"",' * 600_000):
        assert "items" in refused(Any, many)


def test_a_text_is_one_item():
    text = ',[{\\"' * 600_000
    assert read(list[str], json.dumps(["x", text, "y"])) == ["x", text, "y"]


HOSTILE = "dead\ud800\x1b[2J\x9b\u202e\u200b\x00\r\n\t\U000e0041ö"


def test_cleans_every_text_and_every_key():
    for raw in (json.dumps({HOSTILE: [HOSTILE]}), '{"a\x1b": ["b\x07\x7f"]}'):
        ((key, (value,)),) = read(dict[str, list[str]], raw).items()
        for text in (key, value):
            text.encode()
            assert text.replace("\n", "").replace("\t", "").isprintable()
    assert read(str, '"ö € 好 😀\\n\\tb"') == "ö € 好 😀\n\tb"


def test_a_line_is_one_line_and_short():
    assert read(Part, json.dumps({"name": "a\r\nb\tc"})).name == "a b c"
    assert len(read(Part, json.dumps({"name": "x" * 10_000})).name) == 500
    assert len(read(Part, json.dumps({"name": "", "text": "x\n" * 5_000})).text) == 10_000


def test_clean():
    assert clean("plain") == "plain"
    assert clean(HOSTILE) == "dead��[2J���� �ö"
    assert clean("a\nb\r\nc", lines=True) == "a\nb\nc"
    assert clean("x" * 20, longest=5) == "xxxx…"


def test_converts_what_is_decoded_already():
    assert convert(Part, {"name": "a\ud800", "size": 1}) == Part(name="a�", size=1)
    loop: list[Any] = []
    loop.append(loop)
    for wrong in (None, [], {"name": 1}, {"name": "a", "took": float("inf")}, {"name": {1}}, loop):
        with pytest.raises(BadAnswer):
            convert(Part, wrong)


class Printing:
    """A host on which every program prints the same."""

    def __init__(self, printed: str) -> None:
        self.printed = printed

    async def answer(
        self, target: SshTarget, script: str, *, bound: float, most: int = limits.ANSWER
    ) -> Answer:
        compile(script, target.name, "exec")
        return Answer(stdout=self.printed, sent_at=1.0, received_at=2.0)


def own_macs() -> list[str]:
    return []


def asked(printed: str, **kind: Any) -> Any:
    host = {"address": "10.0.0.11", "roles": ["compute"]}
    cloud = Cloud.model_validate({"credentials": {"environment": True}, "hosts": {"web1": host}})
    session = CloudSession(cloud=cloud, shell=Printing(printed), api=None)  # type: ignore[arg-type]
    return asyncio.run(session.ask("web1", own_macs, **kind))


def test_a_host_is_asked_for_a_kind_of_answer():
    assert asked('["a", "b\\u001b"]', returns=tuple[Line, ...]) == ("a", "b�")
    assert asked('["a", "b\\u001b"]') == ["a", "b�"]


@pytest.mark.parametrize("printed", ["[3]", "{}", "null", '[["x"]]', "[" * 9999, "Welcome!\x1b[2J"])
def test_another_answer_is_a_failure_of_that_host(printed):
    with pytest.raises(RemoteFailure) as error:
        asked(printed, returns=tuple[Line, ...])
    assert "web1" in error.value.attempted
    assert error.value.came_back.isprintable()
    shell = "login shell" in error.value.remedy
    assert shell is (printed[0] in "W")
