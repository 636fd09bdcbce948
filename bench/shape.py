"""The shape of the code before and after: ``python -m bench.shape OLD NEW`` (two checkouts)."""

import ast
import statistics
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from tests.structure import rules

from bench.source import Module, Source, read

RUN = 6
"""So many equal lines in a row are a duplicate."""
LAB = "lab"
"""The room of the lab where it is not yet a package of its own."""
BEFORE = {"monitor": "watch", "health.messaging": "health.rpc"}
"""What rooms were called before, and what they are called in the rules."""
FOLLOWED = frozenset(("cli", "cli.output", "health"))
"""The rooms that the path of `check` leads through; of every other one only the door is opened."""
BESIDE = frozenset(
    (
        "access",
        "errors",
        "finding",
        "inventory",
        "jsondata",
        "quantities",
        "services",
        "transports",
        "cli.cloud_option",
        "cli.options",
        "cli.output.text",
        "cli.session",
        "cli.lab",
        "health.hostscript",
        "health.hostside",
        "health.observation",
        "health.remedy",
        "health.shipping",
        "health.words",
        "runbooks.site",
    )
)
"""What a reader of a command's path looks up beside it: how a question is sent, what all commands
share, what a cloud and a finding are."""


Function = ast.FunctionDef | ast.AsyncFunctionDef


def main() -> None:
    """Print the table for the checkouts that are named."""
    sources = [product(Path(name)) for name in sys.argv[1:]]
    if not sources:
        raise SystemExit(__doc__)
    # The folders of the newest checkout say what the services are called.
    names = rules.service_names(sources[-1])
    columns = [measured(source, names) for source in sources]
    for column, name in zip(columns, sys.argv[1:], strict=True):
        files = lab(Path(name))
        column["the lab: files, lines"] = f"{len(files)}, {sum(files)}"
    width = max(map(len, columns[-1]))
    print(" " * width, *(f"{Path(name).resolve().name:>24}" for name in sys.argv[1:]))
    for title in columns[-1]:
        print(f"{title:<{width}}", *(f"{column[title]:>24}" for column in columns))


def product(checkout: Path) -> Source:
    """Return the product's source of a checkout, without the lab's."""
    source = read(checkout / "src" / "backstay")
    modules = {name: each for name, each in source.modules.items() if each.room != LAB}
    return Source(root=source.root, modules=modules)


def lab(checkout: Path) -> list[int]:
    """Return the lengths of the lab's files, wherever they are."""
    folders = (checkout / "src" / "backstay" / LAB, checkout / "src" / f"backstay_{LAB}")
    paths = [path for folder in folders for path in folder.rglob("*.py")]
    return [len(path.read_text(encoding="utf-8").splitlines()) for path in paths]


def measured(source: Source, services: Iterable[str]) -> dict[str, str]:
    """Return every figure of one checkout as it is printed, by its title."""
    modules = list(source.modules.values())
    files = [len(each.text.splitlines()) for each in modules if each.text.strip()]
    functions = [length(each) for module in modules for each in functions_of(module)]
    cinder, gates = about(source, "cinder"), asked(source)
    steps = walk(source, "cli.check")
    path = {name for step in steps for name in step}
    return {
        "files, lines": f"{len(modules)}, {sum(files)}",
        "lines of a module: median, p90, max": spread(files),
        "lines of a function: median, p90, max": spread(functions),
        "import lines of all code": f"{share_of_imports(modules):.1%}",
        "circles of modules": str(len(rules.module_circles(source))),
        "upward imports": str(len(rules.upward(renamed(source)))),
        "service names outside services": str(len(rules.named_services(renamed(source), services))),
        "connections outside transports": str(len(rules.connections(renamed(source)))),
        "duplicate runs, lines in them": "{}, {}".format(*duplicates(modules)),
        '"what do we know about cinder?"': places(source, cinder),
        '"may this host reboot now?"': places(source, gates),
        "check, from command to table": places(source, path),
        "  calls of it into rooms above": str(len(back_up(source, steps))),
    }


def spread(lengths: Sequence[int]) -> str:
    """Return median, 90th percentile and maximum."""
    ninety = statistics.quantiles(lengths, n=10, method="inclusive")[-1]
    return f"{statistics.median(lengths):.0f}, {ninety:.0f}, {max(lengths)}"


def functions_of(module: Module) -> Iterator[Function]:
    """Yield every function of a module, methods and inner ones too."""
    return (node for node in ast.walk(module.tree) if isinstance(node, Function))


def length(function: Function) -> int:
    """Return a function's lines, from its first decorator to its end."""
    first = min([function.lineno, *(each.lineno for each in function.decorator_list)])
    return (function.end_lineno or first) - first + 1


def share_of_imports(modules: Iterable[Module]) -> float:
    """Return the share of import lines among the lines of code, texts and blanks left out."""
    imports = code = 0
    for module in modules:
        kept, imported = lines_of(module)
        code += len(kept) + len(imported)
        imports += len(imported)
    return imports / code


def lines_of(module: Module) -> tuple[list[str], list[str]]:
    """Return a module's lines of code and those of its imports, stripped.

    Blank lines, comments and docstrings are left out.
    """
    imports, texts = set[int](), set[int]()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports |= set(range(node.lineno, (node.end_lineno or 0) + 1))
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            texts |= set(range(node.lineno, (node.end_lineno or 0) + 1))
    kept: list[str] = []
    imported: list[str] = []
    for number, line in enumerate(module.text.splitlines(), start=1):
        text = line.strip()
        if text and not text.startswith("#") and number not in texts:
            (imported if number in imports else kept).append(text)
    return kept, imported


def duplicates(modules: Iterable[Module]) -> tuple[int, int]:
    """Return how many runs of ``RUN`` lines or more stand elsewhere too, and their lines."""
    texts = [lines_of(module)[0] for module in modules]
    windows = Counter(window for lines in texts for window in windows_of(lines))
    runs = total = 0
    for lines in texts:
        covered: set[int] = set()
        before = False
        for start, window in enumerate(windows_of(lines)):
            again = windows[window] > 1
            if again:
                covered |= set(range(start, start + RUN))
                runs += not before
            before = again
        total += len(covered)
    return runs, total


def windows_of(lines: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield every run of ``RUN`` lines that follow each other."""
    return (tuple(lines[start : start + RUN]) for start in range(len(lines) - RUN + 1))


def renamed(source: Source) -> Source:
    """Return the source with rooms as the rules call them."""
    modules = {}
    for called_before, each in source.modules.items():
        name = f"{called_before}."
        for before, now in BEFORE.items():
            name = name.replace(f"{source.root}.{before}.", f"{source.root}.{now}.")
        name = name.removesuffix(".")
        modules[name] = Module(name=name, path=each.path, text=each.text, package=each.package)
    return Source(root=source.root, modules=modules)


def about(source: Source, service: str) -> set[str]:
    """Return the modules to open for a service, and the lists by hand that it stands in.

    They are called like it, are in a folder that is, or make something for it (``service=…``).
    """
    own = {
        name
        for name, module in source.modules.items()
        if service in name.split(".") or makes_for(module, service)
    }
    lists = {each.source for each in source.imports if each.target in own}
    return own | {name for name in lists if name.rpartition(".")[2] in {"registry", "run"}}


def makes_for(module: Module, service: str) -> bool:
    """Return whether a module calls something with ``service=`` this one."""
    return any(
        isinstance(node, ast.keyword)
        and node.arg == "service"
        and isinstance(node.value, ast.Constant)
        and node.value.value == service
        for node in ast.walk(module.tree)
    )


def asked(source: Source) -> set[str]:
    """Return the modules of ``maintenance`` on the import path of the gates and of the time."""
    room = f"{source.root}.maintenance"
    starts = [
        name for name in (f"{room}.gates.standard", f"{room}.gates") if name in source.modules
    ]
    reached = source.reached_from([starts[0], f"{room}.timing"])
    return {name for name in reached if source.modules[name].room == "maintenance"}


Step = tuple[str, str]
"""A call from one module into another."""


def walk(source: Source, command: str) -> list[Step]:
    """Follow the calls from all that a command's module defines; return those between modules.

    A call is followed where it names something of the same module or something imported; a class
    is followed as a whole.
    """
    start = f"{source.root}.{command}"
    waiting = [(start, name) for name in definitions(source.modules[start])]
    seen, steps = set(waiting), list[Step]()
    while waiting:
        module, name = waiting.pop()
        for target in called(source, module, name):
            place = target[0].partition(".")[2]
            on_host = place.rpartition(".")[2].startswith("onhost")  # another program
            if on_host or place in BESIDE or source.modules[target[0]].room in BESIDE:
                continue
            steps += [(module, target[0])] if target[0] != module else []
            if target not in seen and place.rpartition(".")[0] in FOLLOWED:
                seen.add(target)
                waiting.append(target)
    return steps or [(start, start)]


@cache
def definitions(module: Module) -> Mapping[str, ast.AST]:
    """Return the functions and classes at the top of a module."""
    return {
        node.name: node
        for node in module.tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }


def called(source: Source, module: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield module and name of what one definition calls or hands on to be called."""
    imported = imports_of(source, source.modules[module])
    own = definitions(source.modules[module])
    if name not in own:
        return
    for node in ast.walk(own[name]):
        if not isinstance(node, ast.Call):
            continue
        for part in (node.func, *node.args, *(each.value for each in node.keywords)):
            if isinstance(part, ast.Name):
                if part.id in own:
                    yield module, part.id
                elif imported.get(part.id, ("", ""))[1]:
                    yield imported[part.id]
            elif isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name):
                target = imported.get(part.value.id)
                if target and not target[1]:
                    yield target[0], part.attr
                elif target:
                    yield target


@cache
def imports_of(source: Source, module: Module) -> Mapping[str, tuple[str, str]]:
    """Return module and name of all that a module imports from the tree; no name: a module."""
    found = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and not node.level and node.module:
            for one in node.names:
                whole, called_here = f"{node.module}.{one.name}", one.asname or one.name
                if whole in source.modules:
                    found[called_here] = whole, ""
                elif node.module in source.modules:
                    found[called_here] = node.module, one.name
    return found


def back_up(source: Source, steps: Iterable[Step]) -> list[Step]:
    """Return the steps into a room above the one that they come from."""

    def level(name: str) -> int:
        room = source.modules[name].room
        return rules.LEVELS.get(BEFORE.get(room, room), -1)

    return [step for step in set(steps) if level(step[1]) > level(step[0]) >= 0]


def places(source: Source, names: Iterable[str]) -> str:
    """Return in how many files and folders modules are."""
    paths = {source.modules[name].path for name in names if source.modules[name].text.strip()}
    return f"{len(paths)} files, {len({path.parent for path in paths})} folders"


if __name__ == "__main__":
    main()
