"""The rules of the house that the source itself can be asked about. See docs/design.md."""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase

from bench.source import Module, Source, circles

LEVELS: Mapping[str, int] = {
    "cli": 6,
    "watch": 5,
    "runbooks": 5,
    "doctor": 5,
    "maintenance": 4,
    "journal": 4,
    "backup": 4,
    "provision": 4,
    "reports": 4,
    "health": 3,
    "access": 2,
    "services": 1,
    "inventory": 1,
    "transports": 0,
}
"""Rule 9. No package imports from one above it; what is not named here is a module that everybody
may import (errors, findings, quantities) and that imports no package."""

# What a service is called where it is not called by its name.
ALIASES: Mapping[str, str] = {
    "mysql": "mariadb",
    "rabbit": "rabbitmq",
    "virsh": "libvirt",
    "qemu": "libvirt",
    "libvirtd": "libvirt",
}
ALLOWED_ROOMS: Mapping[str, frozenset[str]] = {
    "services": frozenset({"*"}),
    "backup.mariadb": frozenset({"mariadb", "rabbitmq"}),
    "health.rpc": frozenset({"mariadb", "rabbitmq"}),
}
"""Rule 2. Which services may be named where; nowhere else may any."""

CONNECTING_MODULES = frozenset(
    (
        "aiohttp",
        "apprise",
        "asyncssh",
        "etcd3",
        "ftplib",
        "h11",
        "http.client",
        "httpx",
        "imaplib",
        "keystoneauth1",
        "openstack",
        "paramiko",
        "pyghmi",
        "pymysql",
        "requests",
        "smtplib",
        "socketserver",
        "sqlalchemy",
        "sushy",
        "telnetlib",
        "tooz",
        "urllib3",
        "urllib.request",
        "uvicorn",
        "websockets",
        "xmlrpc.client",
    )
)
CONNECTING_CALLS = frozenset(
    (
        "create_connection",
        "create_datagram_endpoint",
        "create_server",
        "create_unix_connection",
        "create_unix_server",
        "fromfd",
        "open_connection",
        "open_unix_connection",
        "socket.socket",
        "socketpair",
        "start_server",
        "start_unix_server",
    )
)
NETWORK_CLIENTS = frozenset(
    (
        "arping",
        "curl",
        "dig",
        "ftp",
        "ipmitool",
        "nc",
        "ncat",
        "netcat",
        "nslookup",
        "openstack",
        "ping",
        "ping6",
        "psql",
        "rclone",
        "rsync",
        "scp",
        "sftp",
        "ssh",
        "telnet",
        "wget",
    )
)
EXCEPTIONS: Mapping[str, tuple[frozenset[str], str]] = {
    "*.onhost": (frozenset({"*"}), "a program that is sent to a host and runs there"),
    "*.onhost_*": (frozenset({"*"}), "a program that is sent to a host and runs there"),
    "*.gates_onhost": (frozenset({"*"}), "a program that is sent to a host and runs there"),
    "services.*": (
        frozenset({"http.client", "socket.socket", "urllib.request", "create_connection"}),
        "questions of a service to its own host, sent there and run there",
    ),
    "watch.web.server": (frozenset({"uvicorn", "create_server"}), "the page's listening socket"),
    "watch.web.protocol": (frozenset({"h11", "uvicorn"}), "the protocol on the page's connections"),
    "journal.*": (
        frozenset({"sqlalchemy", "tooz"}),
        "the journal is a database, its locks another",
    ),
    "watch.incidents.*": (
        frozenset({"sqlalchemy"}),
        "tables and statements of the journal's database, which journal/ opens",
    ),
}
"""Rule 3. Who but transports may connect or listen, what by, and why."""


def upward(source: Source) -> list[str]:
    """Return the imports that break rule 9, each in a line for a person."""
    found = []
    for each in source.imports:
        here, there = (source.modules[name].room for name in (each.source, each.target))
        above = LEVELS.get(there, -1) > LEVELS.get(here, -1)
        if here != there and there and above:
            found.append(f"{each.source}:{each.line} imports {each.target}, which is above it")
    return sorted(found)


def unplaced(source: Source) -> list[str]:
    """Return the packages that have no level."""
    packages = {each.room for each in source.modules.values() if each.package and each.room}
    return sorted(packages - LEVELS.keys())


def module_circles(source: Source) -> list[str]:
    """Return the circles of modules that import each other, in a line each."""
    return [" <-> ".join(part) for part in circles(source.imported_by)]


def room_circles(source: Source) -> list[str]:
    """Return the circles of packages that import each other, in a line each."""
    graph: dict[str, set[str]] = {each.room: set() for each in source.modules.values()}
    for each in source.imports:
        here, there = (source.modules[name].room for name in (each.source, each.target))
        if here != there:
            graph[here].add(there)
    return [" <-> ".join(part) for part in circles(graph)]


def service_names(source: Source) -> frozenset[str]:
    """Return the names of the services: those of the folders in ``services``."""
    prefix = f"{source.root}.services."
    return frozenset(
        name.removeprefix(prefix)
        for name, each in source.modules.items()
        if each.package and name.startswith(prefix)
    )


def named_services(source: Source, names: Iterable[str]) -> list[str]:
    """Return where rule 2 is broken: identifiers and texts, not docstrings and comments."""
    meant = {**ALIASES, **{name: name for name in names}}
    pattern = re.compile("|".join(sorted(meant, key=len, reverse=True)), re.IGNORECASE)
    found = []
    for module in source.modules.values():
        allowed = _allowed(module)
        for line, text in _words(module.tree):
            for word in _parts(text):
                match = pattern.fullmatch(word)
                if match and not {"*", meant[match[0].lower()]} & allowed:
                    found.append(f"{module.name}:{line} names {match[0]}: {text[:60]!r}")
    return sorted(set(found))


def _allowed(module: Module) -> frozenset[str]:
    below = f"{module.name.partition('.')[2]}."
    return frozenset().union(
        *(names for room, names in ALLOWED_ROOMS.items() if below.startswith(f"{room}."))
    )


def _parts(text: str) -> Iterator[str]:
    """Yield the words of a text, those of CamelCase and snake_case too."""
    for word in re.findall(r"[A-Za-z][a-z]+[A-Z][A-Za-z]+|[A-Za-z0-9]+", text):
        yield word
        yield from re.findall(r"[A-Z][a-z0-9]*|[a-z0-9]+", word)


def _words(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield every identifier and text of a module with its line, docstrings left out."""
    documentation = {id(node) for node in _documentation(tree)}
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str) and id(node) not in documentation:
                yield line, node.value
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield line, node.name
        elif isinstance(node, ast.Name):
            yield line, node.id
        elif isinstance(node, ast.Attribute):
            yield line, node.attr
        elif isinstance(node, ast.arg | ast.keyword):
            yield line, node.arg or ""
        elif isinstance(node, ast.alias):
            yield line, node.asname or node.name
        elif isinstance(node, ast.ImportFrom):
            yield line, _outside_rooms(node.module or "")


def _outside_rooms(module: str) -> str:
    """Return an imported module's name without that of a room that is called like a service."""
    return module.replace(".backup.mariadb", "")


def _documentation(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the texts that stand alone: docstrings of modules, classes, functions, attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value


def connections(source: Source) -> list[str]:
    """Return where rule 3 is broken: what connects or listens outside ``transports``."""
    found = []
    for module in source.modules.values():
        place = module.name.partition(".")[2]
        if module.room == "transports":
            continue
        allowed = _excepted(place)
        for line, what in _connecting(module.tree):
            if not {"*", what} & allowed:
                found.append(f"{module.name}:{line} uses {what}")
    return sorted(set(found))


def _excepted(place: str) -> frozenset[str]:
    return frozenset().union(
        *(what for pattern, (what, _) in EXCEPTIONS.items() if fnmatchcase(f"{place}", pattern))
    )


SWITCHING = frozenset(("off", "keep_off", "cycle"))
"""What a BMC is ordered (``transports.power.Power``)."""
SWITCHES = "runbooks.common.power_actions"
"""The only module that orders it, after it has compared which machine is behind the BMC."""


def power_orders(source: Source) -> list[str]:
    """Return where power is switched without a look at which machine it is."""
    found = []
    for module in source.modules.values():
        if module.room == "transports" or module.name.partition(".")[2] == SWITCHES:
            continue
        for node in ast.walk(module.tree):
            match node:
                case ast.Await(value=ast.Call(func=ast.Attribute(attr=order))):
                    if order in SWITCHING:
                        found.append(f"{module.name}:{node.lineno} orders {order}")
    return sorted(found)


def unused_exceptions(source: Source) -> list[str]:
    """Return the exceptions from rule 3 that no module needs."""
    places = [each.name.partition(".")[2] for each in source.modules.values()]
    return sorted(
        pattern
        for pattern in EXCEPTIONS
        if not any(fnmatchcase(place, pattern) for place in places)
    )


def _connecting(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield each import, call and command that reaches another machine, with its line."""
    text = ast.dump(tree)
    starts_programs = "'subprocess'" in text or "'create_subprocess_" in text
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Import):
            yield from ((line, name) for one in node.names for name in _library(one.name))
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names = [node.module, *(f"{node.module}.{one.name}" for one in node.names)]
            yield from ((line, found) for name in names for found in _library(name))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
            called = {node.func.attr, f"{owner}.{node.func.attr}"} & CONNECTING_CALLS
            yield from ((line, name) for name in called)
        elif starts_programs and isinstance(node, ast.List | ast.Tuple) and node.elts:
            first = node.elts[0]
            if isinstance(first, ast.Constant) and first.value in NETWORK_CLIENTS:
                yield line, f"the program {first.value}"


def _library(name: str) -> Iterator[str]:
    """Yield the connecting library that a module's name is part of."""
    for library in CONNECTING_MODULES:
        if name == library or name.startswith(f"{library}."):
            yield library
