"""MariaDB: the database that every OpenStack service on the controller stands on."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from backstay.answers import BadAnswer, Line, whole
from backstay.finding import Severity
from backstay.inventory.enums import Role
from backstay.services.declaration import (
    DatabaseServer,
    HostLivenessProbe,
    HostProbe,
    Service,
    Unit,
    Verdict,
)
from backstay.services.mariadb.liveness import query_pulse
from backstay.services.mariadb.queries import answer_queries

_SUBJECT = "query"
_CONNECTIONS_WARNING = 0.85


def ask_query() -> dict[str, Any]:
    """Ask the server by its socket, as root, on the host. Runs there: see HostProbe."""
    client = shutil.which("mariadb") or shutil.which("mysql")
    if client is None:
        return {"no_client": "there is neither `mariadb` nor `mysql` on this host, to ask it by"}
    sql = (
        "SELECT 'answer', 1;"
        "SELECT 'version', @@version;"
        "SELECT 'read_only', @@global.read_only;"
        "SELECT 'max_connections', @@global.max_connections;"
        "SHOW GLOBAL STATUS WHERE Variable_name IN ('Threads_connected', 'Uptime',"
        " 'wsrep_cluster_status', 'wsrep_cluster_size', 'wsrep_local_state_comment',"
        " 'wsrep_ready');"
    )
    command = [client, "--batch", "--skip-column-names", "--connect-timeout=5", "-e", sql]
    try:
        done = subprocess.run(  # noqa: UP022 - capture_output came with Python 3.7
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=6, check=False
        )
    except subprocess.TimeoutExpired:
        return {"failed": "takes the connection and does not answer within 6 s"}
    if done.returncode != 0:
        return {"failed": done.stderr.decode(errors="replace").strip()[-300:]}
    lines = done.stdout.decode(errors="replace").splitlines()
    return {"rows": dict(line.split("\t", 1) for line in lines if "\t" in line)}


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryAnswer:
    """The answer of ``ask_query``: rows of names and values, or why there are none."""

    no_client: Line = ""
    failed: Line = ""
    rows: Mapping[Line, Line] = field(default_factory=dict)


def judge_query(answer: QueryAnswer) -> Sequence[Verdict]:
    """Judge the answer of ``ask_query``: does it answer, may it write, is it in its cluster."""
    if answer.no_client:
        remedy = (
            "{ssh} command -v mariadb; Debian's package mariadb-client has it; where the server "
            "runs in a container Backstay cannot ask it"
        )
        return [_verdict(Severity.UNKNOWN, answer.no_client, remedy)]
    rows = answer.rows
    if rows.get("answer") != "1":
        evidence = answer.failed or "the query brought no row"
        return [_verdict(Severity.FAILED, evidence, "{ssh} journalctl -u mariadb -n 50")]
    return [_judge_server(rows), *_judge_cluster(rows)]


def _judge_server(rows: Mapping[str, str]) -> Verdict:
    if rows.get("read_only") not in {"0", "OFF"}:
        remedy = "find out who set it, then on the host: mariadb -e 'SET GLOBAL read_only = OFF'"
        return _verdict(Severity.FAILED, "answers, but is read-only", remedy)
    try:
        connected, limit = (
            whole(rows.get(name, "0"), place=name)
            for name in ("Threads_connected", "max_connections")
        )
    except BadAnswer as error:
        remedy = "ask the same on the host: mariadb -e 'SHOW GLOBAL STATUS'"
        return _verdict(Severity.UNKNOWN, f"answers, but {error}", remedy)
    evidence = f"answers ({rows.get('version', '')}), {connected} of {limit} connections in use"
    if limit and connected >= limit * _CONNECTIONS_WARNING:
        remedy = (
            "see on the host who holds them: mariadb -e 'SHOW PROCESSLIST'; raise max_connections"
        )
        return _verdict(Severity.WARNING, evidence, remedy)
    return _verdict(Severity.OK, evidence)


def _judge_cluster(rows: Mapping[str, str]) -> list[Verdict]:
    status = rows.get("wsrep_cluster_status")
    if not status or (status == "Disconnected" and rows.get("wsrep_cluster_size", "0") == "0"):
        return []  # no Galera: the status rows are absent or those of a provider not loaded
    state = rows.get("wsrep_local_state_comment", "")
    size = rows.get("wsrep_cluster_size", "?")
    evidence = f"cluster {status} of {size} members, this one {state}"
    healthy = status == "Primary" and state == "Synced" and rows.get("wsrep_ready") == "ON"
    return [
        Verdict(
            subject="Galera cluster",
            severity=Severity.OK if healthy else Severity.FAILED,
            evidence=evidence,
            remedy=""
            if healthy
            else "compare all members before any bootstrap: "
            "mariadb -e \"SHOW STATUS LIKE 'wsrep_%'\"",
        )
    ]


def _verdict(severity: Severity, evidence: str, remedy: str = "") -> Verdict:
    return Verdict(subject=_SUBJECT, severity=severity, evidence=evidence, remedy=remedy)


SERVICE = Service(
    name="mariadb",
    title="MariaDB",
    restore_order=10,
    units=(
        Unit(
            name="mariadb",
            role=Role.CONTROLLER,
            purpose="every OpenStack API fails without its database",
            ports=(3306,),
        ),
    ),
    paths=("/etc/mysql",),
    database_server=DatabaseServer(read=answer_queries),
    host_probes=(
        HostProbe(
            name="query",
            roles=(Role.CONTROLLER,),
            ask=ask_query,
            returns=QueryAnswer,
            judge=judge_query,
        ),
    ),
    host_liveness=(HostLivenessProbe(name="query", roles=(Role.CONTROLLER,), ask=query_pulse),),
)
