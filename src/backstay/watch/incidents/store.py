"""Incidents, notifications, approvals and latency history in the journal's database."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from backstay.journal import epochs
from backstay.journal.database import BUSY_SECONDS, Database
from backstay.journal.records import JournalError, LeaseLost
from backstay.transports.threads import on_thread
from backstay.watch.incidents import tables
from backstay.watch.incidents.incident import Approval, Cause, Incident
from backstay.watch.incidents.migrations import SCHEMA
from backstay.watch.incidents.notification import Delivery, Notification
from backstay.watch.incidents.reading import DamagedIncident, Report, left_out
from backstay.watch.incidents.record import UNNUMBERED, IncidentRecord, joined, opened_record
from backstay.watch.incidents.tables import APPROVALS, INCIDENTS, NOTIFICATIONS, SAMPLES

_UNSENT = (Delivery.WAITING, Delivery.SENDING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """How a subject (its key) answered in one minute (Unix minutes); latencies in seconds."""

    subject: str
    minute: int
    asked: int
    answered: int
    median: float | None
    longest: float | None


class WatchStore:
    """The watch's part of the journal. Its calls block; each is one transaction.

    ``busy`` is for how many seconds a write waits for another process's. Raises JournalError where
    the database cannot be used. Who has called ``lead`` writes until another process does: then its
    writes raise LeaseLost.
    """

    def __init__(self, url: str, cloud: str, *, busy: float = BUSY_SECONDS) -> None:
        self.cloud = cloud
        self._database = Database(url, SCHEMA, busy=busy)
        self._epochs: dict[str, int] = {}

    @property
    def target(self) -> str:
        """Return the name under which the leader of this cloud's watch is known."""
        return f"watch/{self.cloud}"

    def lead(self) -> None:
        """Take the watch over from whoever led it."""
        with self._database.write("taking over the watch") as db:
            self._epochs = {self.target: epochs.raise_epoch(db, self.target, "watch")}

    def leader(self) -> str:
        """Return who has taken the watch last, empty if nobody has."""
        with self._read("reading who leads the watch") as db:
            return epochs.holder(db, self.target).removesuffix(", for run watch")

    def open(self, cause: Cause, *, began: float, at: float, channels: Iterable[str]) -> Incident:
        """Record an incident with a notification for each channel; return the open one if any."""
        with self._write("noting an incident") as db:
            same = sa.select(INCIDENTS).where(
                INCIDENTS.c.cloud == self.cloud,
                INCIDENTS.c.key == cause.key,
                INCIDENTS.c.closed.is_(None),
            )
            # One that is damaged is left out: it would hide what fails now.
            for known in tables.incidents_of(db, db.execute(same).mappings().all()):
                return known
            highest = sa.select(sa.func.max(INCIDENTS.c.id)).where(INCIDENTS.c.id < UNNUMBERED)
            number = (db.scalar(highest) or 0) + 1
            made = opened_record(number, self.cloud, cause, began=began, at=at, channels=channels)
            tables.put_record(db, made)
            return made.incident

    def put(self, records: Iterable[IncidentRecord], *, instead_of: Iterable[int] = ()) -> None:
        """Write incidents with their notifications; merge with what is there already.

        ``instead_of`` are numbers of incidents that are deleted before, with their notifications.
        """
        with self._write("noting incidents") as db:
            gone = [INCIDENTS.c.id == number for number in instead_of]
            if gone:
                db.execute(sa.delete(INCIDENTS).where(sa.or_(*gone)))
            for record in records:
                number = INCIDENTS.c.id == record.incident.id
                there = tables.records_of(db, number)  # where it is damaged it is written anew
                tables.put_record(db, joined(there[0], record) if there else record)

    def record(self, number: int) -> IncidentRecord | None:
        """Return one incident of this cloud with its notifications, None where there is none."""
        with self._read(f"reading incident {number}") as db:
            row = tables.row_of(db, number, self.cloud)
            return None if row is None else tables.record_of(db, row)

    def live(self, also: Iterable[int] = (), report: Report = left_out) -> list[IncidentRecord]:
        """Return incidents that are open or not fully notified, oldest first, and some by number.

        Only if the journal can be written: what is sent because of them must be recorded. What is
        damaged is reported and left out.
        """
        with self._write("reading the open incidents") as db:
            undelivered = sa.select(NOTIFICATIONS.c.incident).where(
                NOTIFICATIONS.c.state.in_(_UNSENT)
            )
            wanted = INCIDENTS.c.closed.is_(None) | INCIDENTS.c.id.in_(undelivered)
            for number in also:
                wanted |= INCIDENTS.c.id == number
            return tables.records_of(db, (INCIDENTS.c.cloud == self.cloud) & wanted, report)

    def everything(self) -> list[IncidentRecord]:
        """Return all that can be read, the oldest first."""
        with self._read("reading the incidents") as db:
            return tables.records_of(db, INCIDENTS.c.cloud == self.cloud)

    def incident(self, number: int) -> Incident | None:
        """Return one incident of this cloud, None where there is none of that number."""
        found = self.record(number)
        return None if found is None else found.incident

    def incidents(
        self, *, only_open: bool = False, limit: int = 50, before: int | None = None
    ) -> list[Incident]:
        """Return the newest incidents, the newest first; ``before`` an incident's number.

        Those that are damaged are left out: the watch tells of them.
        """
        with self._read("reading the incidents") as db:
            query = sa.select(INCIDENTS).where(INCIDENTS.c.cloud == self.cloud)
            if only_open:
                query = query.where(INCIDENTS.c.closed.is_(None))
            if before is not None:
                known = tables.row_of(db, before, self.cloud)
                if known is None:
                    return []
                older = INCIDENTS.c.opened < known["opened"]
                at_once = INCIDENTS.c.opened == known["opened"]
                query = query.where(older | (at_once & (INCIDENTS.c.id < before)))
            newest = (INCIDENTS.c.opened.desc(), INCIDENTS.c.id.desc())
            query = query.order_by(*newest).limit(limit)
            return tables.incidents_of(db, db.execute(query).mappings().all())

    def notifications(
        self, *, incident: int | None = None, unsent: bool = False
    ) -> list[Notification]:
        """Return notifications, oldest first."""
        with self._read("reading the notifications") as db:
            query = sa.select(NOTIFICATIONS).join(INCIDENTS).where(INCIDENTS.c.cloud == self.cloud)
            if incident is not None:
                query = query.where(NOTIFICATIONS.c.incident == incident)
            if unsent:
                query = query.where(NOTIFICATIONS.c.state.in_(_UNSENT))
            found = db.execute(query.order_by(NOTIFICATIONS.c.made, NOTIFICATIONS.c.id)).mappings()
            return tables.notifications_of(found.all())

    def notification_counts(self) -> dict[tuple[str, Delivery], int]:
        """Return how many notifications each channel has in each state."""
        with self._read("counting the notifications") as db:
            query = (
                sa.select(NOTIFICATIONS.c.channel, NOTIFICATIONS.c.state, sa.func.count())
                .join(INCIDENTS)
                .where(INCIDENTS.c.cloud == self.cloud)
                .group_by(NOTIFICATIONS.c.channel, NOTIFICATIONS.c.state)
            )
            return {(channel, Delivery(state)): n for channel, state, n in db.execute(query)}

    def waiting(self, *, now: float) -> dict[int, tuple[str, float]]:
        """Return which incidents wait for an approval: the run to approve, until when (Unix)."""
        with self._read("reading the pending approvals") as db:
            query = (
                sa.select(APPROVALS)
                .join(INCIDENTS)
                .where(
                    INCIDENTS.c.cloud == self.cloud,
                    APPROVALS.c.used.is_(None),
                    APPROVALS.c.refused.is_(False),
                    APPROVALS.c.until > now,
                )
            )
            found = db.execute(query).mappings()
            return {row["incident"]: (row["run"], row["until"]) for row in found}

    def ask(self, digest: str, incident: int, run: str, *, made: float, until: float) -> None:
        """Note that a run waits for an approval by a code with this digest."""
        with self._write(f"noting that {run} waits for an approval") as db:
            db.execute(
                sa.insert(APPROVALS).values(
                    code_digest=digest,
                    incident=incident,
                    run=run,
                    made=made,
                    until=until,
                    by="",
                    refused=False,
                )
            )

    def approval(self, digest: str) -> tuple[str, Approval] | None:
        """Return the digest and the approval that has it, None where there is none."""
        with self._read("reading an approval") as db:
            query = (
                sa.select(APPROVALS)
                .join(INCIDENTS)
                .where(INCIDENTS.c.cloud == self.cloud, APPROVALS.c.code_digest == digest)
            )
            row = db.execute(query).mappings().first()
            return None if row is None else (row["code_digest"], tables.approval_of(row))

    def approvals(self, incident: int) -> list[Approval]:
        """Return what waits, or waited, for an approval for an incident, the oldest first."""
        with self._read(f"reading the approvals of incident {incident}") as db:
            query = sa.select(APPROVALS).where(APPROVALS.c.incident == incident)
            found = db.execute(query.order_by(APPROVALS.c.made)).mappings()
            return [tables.approval_of(row) for row in found]

    def use_approval(self, digest: str, *, by: str, at: float) -> bool:
        """Use an approval, once; return whether it was this call that did."""
        free = (
            APPROVALS.c.used.is_(None) & APPROVALS.c.refused.is_(False) & (APPROVALS.c.until > at)
        )
        with self._write("noting an approval") as db:
            query = sa.update(APPROVALS).where((APPROVALS.c.code_digest == digest) & free)
            return bool(db.execute(query.values(used=at, by=by)).rowcount)

    def refuse_approvals(self, run: str) -> None:
        """Let no code for a run be used any more."""
        with self._write(f"withdrawing what approves {run}") as db:
            unused = (APPROVALS.c.run == run) & APPROVALS.c.used.is_(None)
            db.execute(sa.update(APPROVALS).where(unused).values(refused=True))

    def keep(self, minutes: Sequence[Minute]) -> None:
        """Keep how subjects answered in minutes that are over; the same minute again is as well."""
        with self._write("writing the history") as db:
            for one in minutes:
                values = {"cloud": self.cloud, **asdict(one)}
                same = sa.and_(
                    SAMPLES.c.cloud == self.cloud,
                    SAMPLES.c.minute == one.minute,
                    SAMPLES.c.subject == one.subject,
                )
                tables.upsert(db, SAMPLES, same, values)

    def history(self, *, since: float, subject: str | None = None) -> list[Minute]:
        """Return how subjects answered since a Unix time, by minute, the oldest first."""
        with self._read("reading the history") as db:
            query = sa.select(SAMPLES).where(
                SAMPLES.c.cloud == self.cloud, SAMPLES.c.minute >= int(since // 60)
            )
            if subject is not None:
                query = query.where(SAMPLES.c.subject == subject)
            found = db.execute(query.order_by(SAMPLES.c.minute, SAMPLES.c.subject)).mappings()
            return [Minute(**{name: row[name] for name in Minute.__slots__}) for row in found]

    def forget(self, *, before: float) -> None:
        """Forget history, and incidents that were over, before a Unix time."""
        with self._write("deleting old history") as db:
            db.execute(
                sa.delete(SAMPLES).where(
                    SAMPLES.c.cloud == self.cloud, SAMPLES.c.minute < int(before // 60)
                )
            )
            db.execute(
                sa.delete(INCIDENTS).where(
                    INCIDENTS.c.cloud == self.cloud, INCIDENTS.c.closed < before
                )
            )

    def close_database(self) -> None:
        """Let go of the database."""
        self._database.dispose()

    @contextmanager
    def _write(self, attempted: str) -> Iterator[Connection]:
        with self._database.write(attempted) as db:
            epochs.compare(db, self._epochs, attempted)
            yield db

    def _read(self, attempted: str) -> AbstractContextManager[Connection]:
        return self._database.read(attempted)


T = TypeVar("T")

BUSY = 1.0
"""Seconds that its database should wait for another process's write."""
ANSWER_BOUND = 3.0
"""Seconds after which it counts as out of reach."""


class GuardedStore:
    """Calls of a store, on threads. ``trouble`` is why the last one failed, None where it did not.

    ``lease_lost`` tells that another process has taken the watch over: nothing more is asked then.
    """

    def __init__(self, store: WatchStore, name: str) -> None:
        self.store = store
        self.name = name
        self.trouble: JournalError | None = None
        self.lease_lost = False

    async def asked(self, call: Callable[[], T]) -> T | None:
        """Return what a call returns, None where it failed."""
        if self.lease_lost:
            return None
        try:
            answer = await on_thread(call, ANSWER_BOUND)
        except LeaseLost:
            self.lease_lost = True
        except DamagedIncident:
            self.trouble = None  # it answers; ``live`` reports what is damaged
        except JournalError as error:
            self.trouble = error
        except TimeoutError:
            self.trouble = JournalError(
                f"using {self.name}",
                came_back=f"no answer within {ANSWER_BOUND:g} s",
                remedy="find out what blocks it, or set another journal in BACKSTAY_JOURNAL",
            )
        else:
            self.trouble = None
            return answer
        return None

    async def done(self, call: Callable[[], None]) -> bool:
        """Return whether a call was made."""

        def did() -> bool:
            call()
            return True

        return bool(await self.asked(did))
