"""A tree of Python source, read without importing it: its modules and who imports whom."""

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True, kw_only=True, eq=False)
class Module:
    """One file of source."""

    name: str
    """Full name with dots; a package's is that of its ``__init__``."""
    path: Path
    text: str
    package: bool
    """Whether the file is a package's ``__init__``."""

    @cached_property
    def tree(self) -> ast.Module:
        """Return the syntax tree."""
        return ast.parse(self.text, str(self.path))

    @property
    def room(self) -> str:
        """Return the package below the root that it is in, or its own name right below it."""
        return self.name.partition(".")[2].partition(".")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """That one module imports another of the tree, at a line; wherever the statement stands."""

    source: str
    target: str
    line: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """All modules below one root package."""

    root: str
    modules: Mapping[str, Module] = field(default_factory=dict)

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        """Return every import between two modules of the tree, also late ones."""
        return tuple(
            Import(source=module.name, target=target, line=line)
            for module in self.modules.values()
            for target, line in self._targets(module)
            if target != module.name
        )

    @cached_property
    def imported_by(self) -> Mapping[str, frozenset[str]]:
        """Return for each module the modules that it imports."""
        found: dict[str, set[str]] = {name: set() for name in self.modules}
        for each in self.imports:
            found[each.source].add(each.target)
        return {name: frozenset(targets) for name, targets in found.items()}

    def _targets(self, module: Module) -> Iterator[tuple[str, int]]:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Import):
                yield from ((one.name, node.lineno) for one in node.names if self._has(one.name))
            elif isinstance(node, ast.ImportFrom):
                base = self._base(module, node)
                for one in node.names:
                    name = f"{base}.{one.name}"
                    if name in self.modules:
                        yield name, node.lineno
                    elif self._has(base):
                        yield base, node.lineno

    def _has(self, name: str) -> bool:
        return name in self.modules

    @staticmethod
    def _base(module: Module, node: ast.ImportFrom) -> str:
        """Return the full name of what ``from`` names."""
        if not node.level:
            return node.module or ""
        parts = module.name.split(".")
        above = parts[: len(parts) - node.level + (1 if module.package else 0)]
        return ".".join([*above, *([node.module] if node.module else [])])

    def reached_from(self, start: Iterable[str]) -> set[str]:
        """Return the modules on the import paths from these ones, themselves included."""
        found, waiting = set[str](), list(start)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting.extend(self.imported_by[name])
        return found


def read(root: Path) -> Source:
    """Read the package in a folder (``src/backstay``), caches and data left out."""
    modules = {}
    for path in sorted(root.rglob("*.py")):
        parts = list(path.relative_to(root.parent).with_suffix("").parts)
        package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if package else parts)
        text = path.read_text(encoding="utf-8")
        modules[name] = Module(name=name, path=path, text=text, package=package)
    return Source(root=root.name, modules=modules)


def circles(graph: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Return the strongly connected parts of more than one member, each sorted."""
    order: list[str] = []
    seen = set[str]()
    for start in graph:
        _visit(graph, start, seen, order)
    back: dict[str, list[str]] = {name: [] for name in graph}
    for name, targets in graph.items():
        for target in targets:
            back[target].append(name)
    seen, found = set(), []
    for start in reversed(order):
        part: list[str] = []
        _visit(back, start, seen, part)
        if len(part) > 1:
            found.append(sorted(part))
    return sorted(found)


def _visit(graph: Mapping[str, Iterable[str]], start: str, seen: set[str], done: list[str]) -> None:
    """Append to ``done`` what is reached from ``start`` and not seen yet, the deepest first."""
    if start in seen:
        return
    seen.add(start)
    waiting = [(start, iter(graph[start]))]
    while waiting:
        name, targets = waiting[-1]
        target = next((one for one in targets if one not in seen), None)
        if target is None:
            done.append(name)
            waiting.pop()
        else:
            seen.add(target)
            waiting.append((target, iter(graph[target])))
