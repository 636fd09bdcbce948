"""Whether the streams of binary logs keep up: the data that would be lost with a host now."""

from dataclasses import replace
from pathlib import Path

from backstay.backup.follow import FollowedFiles, FollowState
from backstay.backup.mariadb.logs import Logs
from backstay.backup.mariadb.stream import running
from backstay.backup.mariadb.stream_state import FRESH, StreamState
from backstay.errors import BackupError
from backstay.finding import Finding, Severity
from backstay.quantities import duration, size

SERVICE = "backup"
SUBJECT = "stream"


def lag_findings(folder: Path, *, limit: float, now: float) -> list[Finding]:
    """Judge every stream that was ever set up below ``folder``, that of a cloud's backups.

    ``limit`` is for how many seconds one may be behind (``stream_lag``), ``now`` Unix seconds.
    """
    found = []
    for file in sorted(folder.glob("logs/*/state.json")):
        host = file.parent.name
        try:
            state = Logs(file.parent).state()
            followed = FollowedFiles(folder / "followed" / host).state()
        except BackupError as error:
            found.append(_finding(host, Severity.UNKNOWN, str(error), error.remedy))
            continue
        if state is not None:
            # The folder says whose it is: the file may hold another name, or any text.
            state = replace(state, host=host)
            found.append(judge(state, runs=running(file.parent), limit=limit, now=now))
            found += judge_files(host, followed, limit=limit, now=now)
    return found


def judge(state: StreamState, *, runs: bool, limit: float, now: float) -> Finding:
    """Judge one stream by its last state, and whether its process runs. Pure."""
    late = state.behind_for(now)
    if late <= limit:
        evidence = f"{state.file} up to {state.received}, RPO {duration(late)}"
        return _finding(state.host, Severity.OK, evidence)
    if state.caught_up_at is None:
        since = f"never up to date since it started {duration(late)} ago"
    else:
        since = f"received only up to {duration(late)} ago"
    if not runs:
        evidence, remedy = (
            f"no stream runs here; {since}",
            f"backstay backup stream install {state.host}",
        )
    elif now - state.written_at > FRESH:
        evidence = f"its process has reported nothing for {duration(now - state.written_at)}"
        evidence, remedy = (
            f"{evidence}; {since}",
            f"stop that process, and then: backstay backup stream run {state.host}",
        )
    elif state.error:
        evidence, remedy = f"{since}: {state.error}", state.remedy
    else:
        more = f"{size(state.behind)} behind" if state.behind else "the server was not asked since"
        evidence = f"{since}: {more}"
        remedy = "check the load of this machine, its disk, and the network to the host"
    return _finding(
        state.host, Severity.WARNING, f"{evidence}; data since then would be lost now", remedy
    )


def judge_files(host: str, followed: FollowState, *, limit: float, now: float) -> list[Finding]:
    """Judge the files that come with a stream; nothing to say where they keep up. Pure."""
    late = followed.behind_for(now)
    if late <= limit:
        return []
    evidence = (
        f"files that records name, such as images, are received only up to {duration(late)} ago"
    )
    evidence += f": {followed.error}" if followed.error else ""
    remedy = "backstay backup stream status"
    return [_finding(host, Severity.WARNING, evidence, remedy, subject="followed files")]


def _finding(
    host: str, severity: Severity, evidence: str, remedy: str = "", subject: str = SUBJECT
) -> Finding:
    return Finding(
        host=host,
        service=SERVICE,
        subject=subject,
        severity=severity,
        evidence=evidence,
        remedy=remedy,
    )
