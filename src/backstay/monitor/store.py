"""Incidents, what was told of them, and how quick things were: in the journal's database."""

import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from backstay.journal.database import Database
from backstay.monitor.incident import Cause, Happened, Incident, Kind, Urgency
from backstay.monitor.tables import APPROVALS, HAPPENED, INCIDENTS, METADATA, SAMPLES, TELLINGS
from backstay.monitor.telling import Delivery, Telling, Word


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

    Raises JournalError where the database cannot be used.
    """

    def __init__(self, url: str, cloud: str) -> None:
        self.cloud = cloud
        self._database = Database(url, METADATA)

    def open(self, cause: Cause, *, began: float, at: float, channels: Iterable[str]) -> Incident:
        """Note an incident, with a telling for each channel; the open one where it is there."""
        with self._write("noting an incident") as db:
            known = db.execute(
                sa.select(INCIDENTS).where(
                    INCIDENTS.c.cloud == self.cloud,
                    INCIDENTS.c.key == cause.key,
                    INCIDENTS.c.closed.is_(None),
                )
            ).mappings().first()  # fmt: skip
            if known is not None:
                return _incident(db, known)
            number = _inserted(
                db, cloud=self.cloud, key=cause.key, cause=asdict(cause), began=began, opened=at,
                run="",
            )  # fmt: skip
            _happened(db, number, at, "opened", cause.title)
            _tell(db, number, Word.OPENED, at, channels)
            return _incident(db, _row(db, number))

    def change(
        self, incident: int, cause: Cause, *, at: float, text: str, channels: Iterable[str] = ()
    ) -> None:
        """Note that more, or something else, is known of an incident's cause."""
        with self._write(f"noting a change of incident {incident}") as db:
            db.execute(
                sa.update(INCIDENTS)
                .where(INCIDENTS.c.id == incident)
                .values(cause=asdict(cause), key=cause.key)
            )
            _happened(db, incident, at, "changed", text)
            _tell(db, incident, Word.CHANGED, at, channels)

    def note(
        self,
        incident: int,
        kind: str,
        text: str,
        *,
        at: float,
        run: str | None = None,
        word: Word | None = None,
        channels: Iterable[str] = (),
    ) -> None:
        """Add a line to an incident's timeline; with ``word``, tell it; ``run`` is begun for it."""
        with self._write(f"noting what happened to incident {incident}") as db:
            if run is not None:
                db.execute(sa.update(INCIDENTS).where(INCIDENTS.c.id == incident).values(run=run))
            _happened(db, incident, at, kind, text)
            if word is not None:
                _tell(db, incident, word, at, channels)

    def close(self, incident: int, *, at: float, text: str, channels: Iterable[str]) -> None:
        """Note that an incident is over; one that is over already stays as it is."""
        with self._write(f"closing incident {incident}") as db:
            open_one = (INCIDENTS.c.id == incident) & INCIDENTS.c.closed.is_(None)
            if db.execute(sa.update(INCIDENTS).where(open_one).values(closed=at)).rowcount:
                _happened(db, incident, at, "closed", text)
                _tell(db, incident, Word.CLOSED, at, channels)

    def incident(self, number: int) -> Incident | None:
        """Return one incident of this cloud, None where there is none of that number."""
        with self._read(f"reading incident {number}") as db:
            row = _row(db, number, self.cloud)
            return None if row is None else _incident(db, row)

    def incidents(
        self, *, only_open: bool = False, limit: int = 50, before: int | None = None
    ) -> list[Incident]:
        """Return the newest incidents, the newest first; ``before`` an incident's number."""
        with self._read("reading the incidents") as db:
            query = sa.select(INCIDENTS).where(INCIDENTS.c.cloud == self.cloud)
            if only_open:
                query = query.where(INCIDENTS.c.closed.is_(None))
            if before is not None:
                query = query.where(INCIDENTS.c.id < before)
            query = query.order_by(INCIDENTS.c.id.desc()).limit(limit)
            return [_incident(db, row) for row in db.execute(query).mappings()]

    def tellings(self, *, incident: int | None = None, unsent: bool = False) -> list[Telling]:
        """Return what is to be told, or was, the oldest first."""
        with self._read("reading what is to be told") as db:
            query = sa.select(TELLINGS).join(INCIDENTS).where(INCIDENTS.c.cloud == self.cloud)
            if incident is not None:
                query = query.where(TELLINGS.c.incident == incident)
            if unsent:
                query = query.where(TELLINGS.c.state.in_([Delivery.WAITING, Delivery.SENDING]))
            rows = db.execute(query.order_by(TELLINGS.c.made, TELLINGS.c.id)).mappings()
            return [_telling(row) for row in rows]

    def told(self) -> dict[tuple[str, Delivery], int]:
        """Return how many tellings each channel has in each state."""
        with self._read("counting what was told") as db:
            query = (
                sa.select(TELLINGS.c.channel, TELLINGS.c.state, sa.func.count())
                .join(INCIDENTS)
                .where(INCIDENTS.c.cloud == self.cloud)
                .group_by(TELLINGS.c.channel, TELLINGS.c.state)
            )
            return {(channel, Delivery(state)): n for channel, state, n in db.execute(query)}

    def waiting(self, *, now: float) -> dict[int, tuple[str, float]]:
        """Return which incidents wait for an approval: the run to approve, until when (Unix)."""
        with self._read("reading what waits for an approval") as db:
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
            rows = db.execute(query).mappings()
            return {row["incident"]: (row["run"], row["until"]) for row in rows}

    def sending(self, telling: str) -> None:
        """Note that a telling is being sent, before it is."""
        self._deliver(telling, state=Delivery.SENDING, attempts=TELLINGS.c.attempts + 1)

    def sent(self, telling: str, *, at: float) -> None:
        """Note that a telling was received."""
        self._deliver(telling, state=Delivery.SENT, sent=at, error="")

    def postpone(self, telling: str, *, until: float, error: str) -> None:
        """Note that a telling could not be sent, and is to be tried again."""
        self._deliver(telling, state=Delivery.WAITING, next=until, error=error)

    def give_up(self, telling: str, *, error: str, instead: Iterable[str] = ()) -> None:
        """Note that a telling cannot be sent, and tell the same through other channels."""
        with self._write("noting what could not be told") as db:
            row = db.execute(sa.select(TELLINGS).where(TELLINGS.c.id == telling)).mappings().one()
            db.execute(
                sa.update(TELLINGS)
                .where(TELLINGS.c.id == telling)
                .values(state=Delivery.FAILED, error=error)
            )
            _tell(db, row["incident"], Word(row["word"]), row["made"], instead)

    def keep(self, minutes: Sequence[Minute]) -> None:
        """Keep how subjects answered in minutes that are over; the same minute again is as well."""
        with self._write("keeping the history") as db:
            for one in minutes:
                values = {"cloud": self.cloud, **asdict(one)}
                same = sa.and_(
                    SAMPLES.c.cloud == self.cloud,
                    SAMPLES.c.minute == one.minute,
                    SAMPLES.c.subject == one.subject,
                )
                if not db.execute(sa.update(SAMPLES).where(same).values(**values)).rowcount:
                    db.execute(sa.insert(SAMPLES).values(**values))

    def history(self, *, since: float, subject: str | None = None) -> list[Minute]:
        """Return how subjects answered since a Unix time, by minute, the oldest first."""
        with self._read("reading the history") as db:
            query = sa.select(SAMPLES).where(
                SAMPLES.c.cloud == self.cloud, SAMPLES.c.minute >= int(since // 60)
            )
            if subject is not None:
                query = query.where(SAMPLES.c.subject == subject)
            rows = db.execute(query.order_by(SAMPLES.c.minute, SAMPLES.c.subject)).mappings()
            return [Minute(**{name: row[name] for name in Minute.__slots__}) for row in rows]

    def forget(self, *, before: float) -> None:
        """Forget history, and incidents that were over, before a Unix time."""
        with self._write("forgetting old history") as db:
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

    def _deliver(self, telling: str, **values: Any) -> None:  # noqa: ANN401 - columns
        with self._write("noting how far a message is") as db:
            db.execute(sa.update(TELLINGS).where(TELLINGS.c.id == telling).values(**values))

    def _write(self, attempted: str) -> AbstractContextManager[Connection]:
        return self._database.write(attempted)

    def _read(self, attempted: str) -> AbstractContextManager[Connection]:
        return self._database.read(attempted)


def _inserted(db: Connection, **values: Any) -> int:  # noqa: ANN401 - columns
    made = db.execute(sa.insert(INCIDENTS).values(**values)).inserted_primary_key
    assert made is not None  # noqa: S101 - of a single insert
    return int(made[0])


def _row(db: Connection, number: int, cloud: str | None = None) -> Any:  # noqa: ANN401 - a row
    query = sa.select(INCIDENTS).where(INCIDENTS.c.id == number)
    if cloud is not None:
        query = query.where(INCIDENTS.c.cloud == cloud)
    return db.execute(query).mappings().first()


def _happened(db: Connection, incident: int, at: float, kind: str, text: str) -> None:
    db.execute(sa.insert(HAPPENED).values(incident=incident, at=at, kind=kind, text=text))


def _tell(db: Connection, incident: int, word: Word, at: float, channels: Iterable[str]) -> None:
    """Make a telling for each channel; its name tells incident, word, count and channel."""
    for channel in channels:
        like = f"{incident}.{word}.%.{channel}"
        count = db.scalar(
            sa.select(sa.func.count()).select_from(TELLINGS).where(TELLINGS.c.id.like(like))
        )
        db.execute(
            sa.insert(TELLINGS).values(
                id=f"{incident}.{word}.{count}.{channel}"[:80], incident=incident, channel=channel,
                word=word, state=Delivery.WAITING, attempts=0, made=time.time(), next=at, error="",
            )
        )  # fmt: skip


def _incident(db: Connection, row: RowMapping) -> Incident:
    query = sa.select(HAPPENED).where(HAPPENED.c.incident == row["id"]).order_by(HAPPENED.c.number)
    told = row["cause"]
    return Incident(
        id=row["id"],
        cloud=row["cloud"],
        cause=Cause(
            **{
                **told,
                "kind": Kind(told["kind"]),
                "urgency": Urgency(told["urgency"]),
                "evidence": tuple(told["evidence"]),
                "symptoms": tuple(told["symptoms"]),
            }
        ),
        began=row["began"],
        opened=row["opened"],
        closed=row["closed"],
        run=row["run"],
        happened=tuple(
            Happened(at=one["at"], kind=one["kind"], text=one["text"])
            for one in db.execute(query).mappings()
        ),
    )


def _telling(row: RowMapping) -> Telling:
    return Telling(
        **{name: row[name] for name in Telling.__slots__ if name not in {"word", "state"}},
        word=Word(row["word"]),
        state=Delivery(row["state"]),
    )
