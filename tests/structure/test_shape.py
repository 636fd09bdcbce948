"""The figures of the code's shape, on made-up trees."""

from pathlib import Path

from bench import shape

from tests.structure.test_rules import made

LINES = "\n".join(f"x{number} = {number}" for number in range(8))


def test_lengths_and_imports(tmp_path: Path) -> None:
    text = '"""T."""\nimport os\n\n# no code\n@wrapped\ndef long():\n    """T."""\n    return 1\n'
    source = made(tmp_path, health__check=text)
    module = source.modules["house.health.check"]
    assert [shape.length(each) for each in shape.functions_of(module)] == [4]
    assert shape.share_of_imports([module]) == 0.25
    assert shape.spread([1, 2, 3, 4, 100]) == "3, 62, 100"


def test_duplicates(tmp_path: Path) -> None:
    apart = LINES.replace("x3", "y")
    source = made(tmp_path, health__a=LINES, health__b=f"\n{LINES}", health__c=apart)
    assert shape.duplicates(source.modules.values()) == (2, 16)
    source = made(tmp_path / "b", health__a=LINES, health__c=apart)
    assert shape.duplicates(source.modules.values()) == (0, 0)


def test_a_service_in_one_folder_and_one_in_many(tmp_path: Path) -> None:
    own = "SERVICE = Service(name='heron')"
    source = made(
        tmp_path,
        services__heron=own,
        services__kept__registry="from house.services import heron",
        services__kept__egret="",
        health__deep__bird="T = SmokeTest(service='heron')",
        health__deep__run="from house.health.deep import bird",
    )
    assert shape.places(source, shape.about(source, "heron")) == "4 files, 3 folders"
    source = made(tmp_path / "b", services__heron__init=own, services__heron__reconcile="X = 1")
    assert shape.places(source, shape.about(source, "heron")) == "2 files, 1 folders"


def test_a_path_is_followed_by_its_calls(tmp_path: Path) -> None:
    source = made(
        tmp_path,
        cli__check="from house.health import check\ndef command():\n    check.run(1)\n",
        health__check="from house.health.judge import judge\n"
        "from house.backup.doors import open_it\n"
        "def run(x):\n    return map(judge, open_it())\n",
        health__judge="def judge():\n    return 1\ndef other():\n    import house.cli.check\n",
        health__unused="",
        backup__doors="from house.backup import inner\ndef open_it():\n    return inner.go()\n",
        backup__inner="def go():\n    return 1\n",
    )
    steps = shape.walk(source, "cli.check")
    assert {target.removeprefix("house.") for _, target in steps} == {
        "health.check",
        "health.judge",
        "backup.doors",
    }
    assert shape.back_up(source, steps) == [("house.health.check", "house.backup.doors")]
