"""swift: objects. The storage proxy answers users, the storage hosts hold the data.

A proxy's ``/healthcheck`` answers with every storage server down, and the account's statistics
are an empty account without an error under a wrong hash suffix: neither alone proves much.
"""

import configparser
import http.client
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from backstay.answers import Count, Line
from backstay.commands import on_host
from backstay.errors import ApiFailed
from backstay.finding import Severity
from backstay.inventory.enums import Role
from backstay.services.declaration import (
    Api,
    ApiLivenessProbe,
    ApiProbe,
    HostProbe,
    Service,
    Unit,
    Verdict,
)


def ask_account(api: Api) -> Sequence[Verdict]:
    """Ask for the account's statistics, as ``swift stat`` does."""
    try:
        return [judge_account(api.head("object-store", ""))]
    except ApiFailed as error:
        if error.status != 404:
            raise
        evidence = "answers: this project has no account yet"
        return [Verdict(subject="account", severity=Severity.OK, evidence=evidence)]


def judge_account(headers: Mapping[str, str]) -> Verdict:
    """Judge the headers of the account's HEAD. Pure."""
    names = ("x-account-container-count", "x-account-object-count", "x-account-bytes-used")
    counts = [headers.get(name, "") for name in names]
    if not all(count.isdigit() for count in counts):
        return Verdict(
            subject="account",
            severity=Severity.FAILED,
            evidence="the answer has no account statistics",
            remedy="see whether the endpoint in the catalogue is the storage proxy's",
        )
    containers, objects, size = counts
    evidence = f"{containers} containers, {objects} objects, {size} bytes"
    return Verdict(subject="account", severity=Severity.OK, evidence=evidence)


def swift_health(kinds: list[str]) -> dict[str, Any]:
    """Ask the servers of these kinds on this host for ``/healthcheck``, and look at the rings.

    Runs on the host. A server's address is that of ``/etc/swift/KIND-server.conf``:
    https://docs.openstack.org/swift/latest/config/index.html
    """
    ports = {"proxy": 8080, "account": 6202, "container": 6201, "object": 6200}
    servers: dict[str, dict[str, Any]] = {}
    for kind in kinds:
        configuration = configparser.RawConfigParser(strict=False)
        read = configuration.read([f"/etc/swift/{kind}-server.conf"])
        settings = dict(configuration.items("DEFAULT"))
        address = settings.get("bind_ip", "127.0.0.1")
        port = int(settings.get("bind_port", ports[kind]))
        if not read:
            servers[kind] = {"failed": f"/etc/swift/{kind}-server.conf cannot be read"}
            continue
        if address in {"0.0.0.0", "::"}:  # noqa: S104 - it listens on all
            address = "127.0.0.1"
        if "cert_file" in settings:
            continue  # by TLS, for tests only; the account's statistics go the users' way
        connection = http.client.HTTPConnection(address, port, timeout=4)
        try:
            connection.request("GET", "/healthcheck")
            answer = connection.getresponse()
            said = answer.read(200).decode(errors="replace")
            servers[kind] = {"address": f"{address}:{port}", "status": answer.status, "said": said}
        except (OSError, http.client.HTTPException) as error:
            servers[kind] = {"failed": f"{address}:{port}: {error or type(error).__name__}"}
        finally:
            connection.close()
    rings = sorted(ring.name for ring in Path("/etc/swift").glob("*.ring.gz"))
    common = configparser.RawConfigParser(strict=False)
    common.read(["/etc/swift/swift.conf"])
    names = ("swift_hash_path_suffix", "swift_hash_path_prefix")
    hashes = [common.get("swift-hash", name, fallback="") for name in names]
    return {"servers": servers, "rings": rings, "unset": "changeme" in hashes or not any(hashes)}


def ask_proxy() -> dict[str, Any]:
    """Ask the proxy server on this host. Runs there: see HostProbe."""
    return swift_health(["proxy"])


def ask_storage() -> dict[str, Any]:
    """Ask the storage servers on this host. Runs there: see HostProbe."""
    return swift_health(["account", "container", "object"])


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAnswer:
    """How one server answers ``/healthcheck``, or why it does not."""

    failed: Line = ""
    address: Line = ""
    status: Count = 0
    said: Line = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthAnswer:
    """The answer of ``ask_proxy`` and ``ask_storage``.

    ``unset``: neither suffix nor prefix of hashes is the cluster's own.
    """

    servers: Mapping[Literal["proxy", "account", "container", "object"], ServerAnswer]
    rings: tuple[Line, ...]
    unset: bool


def judge_servers(answer: HealthAnswer) -> Sequence[Verdict]:
    """Judge the answer of ``ask_proxy`` or ``ask_storage``. Pure."""
    verdicts = [_judge_server(kind, server) for kind, server in answer.servers.items()]
    needed = [f"{kind}.ring.gz" for kind in ("account", "container", "object")]
    missing = [ring for ring in needed if ring not in answer.rings]
    if missing:
        evidence = f"missing in /etc/swift: {', '.join(missing)}"
        remedy = "copy the rings from another storage host or proxy: they are the same everywhere"
        verdicts.append(_verdict("rings", Severity.FAILED, evidence, remedy))
    else:
        verdicts.append(_verdict("rings", Severity.OK, f"{len(answer.rings)} rings"))
    if answer.unset:
        evidence = "hash suffix and prefix in /etc/swift/swift.conf are the package's own"
        remedy = "never change them on a cluster that holds data; keep a copy of swift.conf"
        verdicts.append(_verdict("hash suffix", Severity.WARNING, evidence, remedy))
    return verdicts


def _judge_server(kind: str, server: ServerAnswer) -> Verdict:
    unit = "swift-proxy" if kind == "proxy" else f"swift-{kind}"
    remedy = on_host("journalctl", "-u", unit, "-n", "50")
    subject = f"{kind} server"
    if server.failed or not server.status:
        return _verdict(subject, Severity.FAILED, server.failed or "no answer", remedy)
    evidence = f"/healthcheck answers {server.status} {server.said.strip()}".strip()
    if server.status in {200, 404}:
        # 404: the pipeline of this server has no healthcheck filter, and yet it answers
        return _verdict(subject, Severity.OK, evidence)
    return _verdict(subject, Severity.FAILED, evidence, remedy)


def _verdict(subject: str, severity: Severity, evidence: str, remedy: str = "") -> Verdict:
    return Verdict(subject=subject, severity=severity, evidence=evidence, remedy=remedy)


def _stored(name: str, purpose: str, *ports: int) -> Unit:
    return Unit(name=name, role=Role.STORAGE, purpose=purpose, ports=ports)


_COPIES = "copies of data on this host are not kept whole after a failure"
_ROT = "damaged data on this host stays unnoticed"
_LISTING = "listings and counts fall behind"

SERVICE = Service(
    name="swift",
    title="Objects (swift)",
    restore_order=90,
    units=(
        Unit(
            name="swift-proxy",
            role=Role.STORAGE_PROXY,
            purpose="no objects can be read or written",
            ports=(8080,),
        ),
        _stored("swift-account", "fewer copies of accounts are reachable", 6202),
        _stored("swift-container", "fewer copies of containers are reachable", 6201),
        _stored("swift-object", "fewer copies of objects are reachable", 6200),
        _stored("swift-account-replicator", _COPIES),
        _stored("swift-container-replicator", _COPIES),
        _stored("swift-object-replicator", _COPIES),
        _stored("swift-account-auditor", _ROT),
        _stored("swift-container-auditor", _ROT),
        _stored("swift-object-auditor", _ROT),
        _stored("swift-account-reaper", "data of deleted accounts stays"),
        _stored("swift-container-updater", _LISTING),
        _stored("swift-object-updater", _LISTING),
        _stored("rsync", _COPIES, 873),
    ),
    paths=("/etc/swift", "/var/backups/swift"),
    # https://restic.readthedocs.io/en/stable/030_preparing_a_new_repo.html#openstack-swift
    repository_variables=("OS_", "ST_"),
    host_probes=(
        HostProbe(
            name="proxy server",
            roles=(Role.STORAGE_PROXY,),
            ask=ask_proxy,
            returns=HealthAnswer,
            judge=judge_servers,
        ),
        HostProbe(
            name="storage servers",
            roles=(Role.STORAGE,),
            ask=ask_storage,
            returns=HealthAnswer,
            judge=judge_servers,
            bound=14.0,
        ),
    ),
    api_probes=(ApiProbe(name="account", ask=ask_account),),
    api_liveness=(
        ApiLivenessProbe(
            name="healthcheck", service_type="object-store", path="/healthcheck", at_root=True
        ),
        # The object is not there: the storage servers are asked for it all the same, and without
        # them the proxy answers 503.
        ApiLivenessProbe(
            name="object", service_type="object-store", path="/backstay-watch/probe", method="HEAD"
        ),
    ),
    endpoint_types=("object-store",),
)
