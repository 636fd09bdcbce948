"""A made-up cloud with a snapshot, incidents, runs and history to show."""

import math
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from backstay.finding import Finding, Severity
from backstay.inventory.cloud import Cloud
from backstay.inventory.watch import Page
from backstay.journal.database import Database
from backstay.journal.plan import Plan, Step
from backstay.journal.records import Claim
from backstay.journal.store import Store
from backstay.watch.detect.probe import Subject
from backstay.watch.detect.status import Silence, Snapshot, SnapshotFeed, State, TargetStatus
from backstay.watch.incidents.incident import Cause, Incident, Kind, Urgency
from backstay.watch.incidents.migrations import SCHEMA
from backstay.watch.incidents.record import noted, resolved
from backstay.watch.incidents.store import Minute, WatchStore
from backstay.watch.incidents.tables import APPROVALS
from tests.watch.altered import altered

READER, ACTOR = "read-0123456789abcdef", "act-0123456789abcdefg"

MARIADB = Cause(
    key="service-hung:controller/mariadb",
    kind=Kind.SERVICE_HUNG,
    urgency=Urgency.CRITICAL,
    host="controller",
    service="mariadb",
    title="MariaDB on controller accepts connections and does not answer",
    evidence=(
        "query: no answer within 1.5 s, 3 times",
        "proxy and storage1 see the same: port 3306 accepts connections",
    ),
    impact="Users cannot log in; all OpenStack APIs fail. Running instances are not affected.",
    remedy="backstay check controller",
    symptoms=(
        "controller/keystone/token validation",
        "controller/nova/servers",
        "controller/neutron/ports",
    ),
)

SUBJECTS = [
    *(
        Subject(host="controller", service=service, name=name)
        for service, name in (
            ("host", "reachable"),
            ("keystone", "token validation"),
            ("nova", "servers"),
            ("neutron", "networks"),
            ("glance", "images"),
            ("cinder", "volumes"),
            ("placement", "resource classes"),
            ("mariadb", "query"),
            ("rabbitmq", "message"),
            ("memcached", "version"),
        )
    ),
    *(
        Subject(host="controller", service=service, name=name)
        for service, name in (
            ("keystone", "keystone"),
            ("glance", "glance-api"),
            ("nova", "nova-api"),
            ("nova", "nova-scheduler"),
            ("nova", "nova-conductor"),
            ("neutron", "neutron-api"),
            ("cinder", "cinder-api"),
            ("cinder", "cinder-volume"),
            ("mariadb", "mariadb"),
            ("rabbitmq", "rabbitmq-server"),
        )
    ),
    Subject(host="proxy", service="host", name="reachable"),
    Subject(host="proxy", service="swift", name="healthcheck"),
    Subject(host="proxy", service="swift", name="object"),
    Subject(host="storage1", service="host", name="reachable"),
    *(
        Subject(host=host, service=service, name=name)
        for host in ("compute1", "compute2")
        for service, name in (
            ("host", "reachable"),
            ("agent", "nova-compute"),
            ("agent", "neutron-linuxbridge-agent"),
        )
    ),
]


def cloud(folder: Path, page: dict[str, Any] | None = None) -> Cloud:
    return Cloud.model_validate(
        {
            "name": "amber",
            "credentials": {"environment": True},
            "hosts": {
                "controller": {"address": "10.0.0.11", "roles": ["controller"]},
                "proxy": {"address": "10.0.0.12", "roles": ["storage-proxy"]},
                "storage1": {"address": "10.0.0.21", "roles": ["storage"]},
                "compute1": {"address": "10.0.0.31", "roles": ["compute"]},
                "compute2": {"address": "10.0.0.32", "roles": ["compute"]},
            },
            "windows": {"nightly": "daily 01:00-04:00 Europe/Berlin"},
            "backup": {"folder": str(folder / "backups"), "max_age": "26h"},
            "watch": {"page": page or {}},
        }
    )


def with_people(listen: str = "127.0.0.1:8484") -> dict[str, Any]:
    return {
        "listen": listen,
        "people": {
            "anna": {"token": ACTOR, "may": "act"},
            "wall": {"token": READER, "may": "read"},
        },
    }


def page_of(listen: str) -> Page:
    return Page(listen=listen)


def target_status(subject: Subject, now: float, *, state: State = State.UP) -> TargetStatus:
    random.seed(subject.key)
    usual = random.uniform(0.004, 0.06)
    recent: tuple[tuple[float, float | None], ...] = tuple(
        (now - 60 + i, usual * (1 + 0.4 * math.sin(i / 4) + random.random() * 0.3))
        for i in range(60)
    )
    if state is State.DOWN:
        recent = (*recent[:52], *((at, None) for at, _ in recent[52:]))
    if subject.name.startswith(subject.service) or subject.service == "agent":
        recent = ()  # a unit, or an agent: nobody asks it anything that takes time
    return TargetStatus(
        subject=subject,
        state=state,
        since=now - (8 if state is State.DOWN else 7 * 3600),
        evidence="answers in time"
        if state is State.UP
        else "connection accepted, no answer within 1.5 s",
        seconds=recent[-1][1] if recent else None,
        recent=recent,
    )


def snapshot(now: float, *, down: tuple[str, ...] = (), silence: str = "") -> Snapshot:
    targets = {
        one.key: target_status(one, now, state=State.DOWN if one.key in down else State.UP)
        for one in SUBJECTS
    }
    return Snapshot(
        at=now,
        cloud="amber",
        leading=True,
        leader="root@ops1, process 4711",
        targets=targets,
        silences=(Silence(host=silence, run="reboot-7", since=now - 40),) if silence else (),
        findings=(
            Finding(
                host="compute2",
                service="system",
                subject="disk /var",
                severity=Severity.WARNING,
                evidence="86 % full, 4.1 GiB free",
                remedy="make room: journalctl --vacuum-size=500M",
            ),
            Finding(
                host="controller",
                service="nova",
                subject="nova-api",
                severity=Severity.OK,
                evidence="active",
            ),
        ),
        checked_at=now - 31,
    )


DOWN = ("controller/mariadb/query", *MARIADB.symptoms)


class FakeCloud:
    """Journal, watch store and snapshot of the cloud, in a folder."""

    def __init__(self, folder: Path, page: dict[str, Any] | None = None) -> None:
        self.cloud = cloud(folder, page)
        self.url = f"sqlite:///{folder}/journal.db"
        self.journal = Store(self.url)
        self.store = WatchStore(self.url, "amber")
        self.feed = SnapshotFeed("amber")
        self.feed.snapshot = snapshot(time.time())

    async def break_(self) -> Incident:
        now = time.time()
        incident = self.store.open(MARIADB, began=now - 8, at=now - 5, channels=["mail", "chat"])
        await self.feed.publish(snapshot(now, down=DOWN))
        return incident

    async def recover(self, incident: Incident) -> None:
        now = time.time()
        altered(
            self.store,
            incident.id,
            lambda it: resolved(it, at=now, text="answers again", channels=["mail", "chat"]),
        )
        await self.feed.publish(snapshot(now))

    def ask(self, incident: Incident, run: str = "replace-8") -> None:
        """Let a run wait for an approval."""
        now = time.time()
        row = {
            "code_digest": run,
            "incident": incident.id,
            "run": run,
            "made": now,
            "until": now + 3600,
            "by": "",
            "refused": False,
        }
        with Database(self.url, SCHEMA).write("asking") as db:
            db.execute(sa.insert(APPROVALS).values(**row))

    def closed_incident(self) -> Incident:
        now = time.time()
        cause = replace(
            MARIADB,
            key="agent-not-processing:compute1/nova-compute",
            kind=Kind.AGENT_NOT_PROCESSING,
            urgency=Urgency.WARNING,
            host="compute1",
            service="nova",
            title="nova-compute on compute1 does not process RPC messages",
            symptoms=(),
        )
        found = self.store.open(cause, began=now - 86000, at=now - 85990, channels=["chat"])
        altered(
            self.store,
            found.id,
            lambda it: noted(it, "action_taken", "restarted by reattach-6", at=now - 85970),
        )
        altered(
            self.store,
            found.id,
            lambda it: resolved(
                it, at=now - 85950, text="processes RPC messages again", channels=["chat"]
            ),
        )
        return found

    def keep_history(self, hours: int = 24) -> None:
        last = int(time.time() // 60)
        key = "controller/keystone/token validation"
        self.store.keep(
            [
                Minute(
                    subject=key,
                    minute=minute,
                    asked=60,
                    answered=20 if last - minute in range(200, 206) else 60,
                    median=0.02 + 0.008 * math.sin(minute / 90) + (minute % 7) / 2000,
                    longest=0.05 + (minute % 13) / 150,
                )
                for minute in range(last - 60 * hours, last)
            ]
        )

    def run(self) -> tuple[str, Claim]:
        does = (
            "ask all gates whether it may be rebooted",
            "back up the databases",
            "ask its systemd for a clean reboot",
            "wait until it is back with another boot id, at most 15 min",
            "wait until all required units are active",
            "wait until everything works as before",
            "wait until every agent answers a call",
        )
        plan = Plan(
            runbook="reboot",
            cloud="amber",
            targets=("proxy",),
            steps=tuple(
                Step(id=f"proxy.step{i}", action="x", target="proxy", does=text, bound=120.0)
                for i, text in enumerate(does)
            ),
        )
        name = self.journal.create(plan, reason="kernel 6.1.0-41", ticket="OPS-77")
        return name, self.journal.take(name, ["proxy"])
