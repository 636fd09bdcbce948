"""How the watch's tables of older versions become today's.

Version 2 has the names of the field:

- the table ``tellings`` is ``notifications``, its column ``word`` is ``event``. The names of the
  rows stay, and with them the ids by which receivers know a message: nothing is sent twice;
- events and the kinds of timeline entries: ``changed`` is ``updated``, ``asked`` is
  ``approval_requested``, ``acted`` is ``action_taken``, ``closed`` is ``resolved``, ``held-back``
  is ``blocked``, ``ended`` is ``run_ended``;
- kinds of causes: ``cut-off-here`` is ``monitoring-host-isolated``, ``agent-deaf`` is
  ``agent-not-processing``.
"""

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from backstay.journal.migrations import Schema
from backstay.watch.incidents.tables import INCIDENTS, METADATA, NOTIFICATIONS, TIMELINE

_EVENTS = {
    "changed": "updated",
    "asked": "approval_requested",
    "acted": "action_taken",
    "closed": "resolved",
}
_TIMELINE_KINDS = {**_EVENTS, "held-back": "blocked", "ended": "run_ended"}
_CAUSE_KINDS = {
    "cut-off-here": "monitoring-host-isolated",
    "agent-deaf": "agent-not-processing",
}
_TELLINGS = "tellings"
_SAME = ("id", "incident", "channel", "state", "attempts", "made", "next", "sent", "error")


def _rename(db: Connection) -> None:
    """Move version 1 to version 2."""
    if sa.inspect(db).has_table(_TELLINGS):
        _move_notifications(db)
    _replace(db, TIMELINE.c.kind, _TIMELINE_KINDS)
    _rename_causes(db)


def _move_notifications(db: Connection) -> None:
    names = (*_SAME, "word")
    old: sa.TableClause = sa.table(_TELLINGS, *(sa.column(name) for name in names))
    known = set(db.scalars(sa.select(NOTIFICATIONS.c.id)))
    rows = [
        {**{name: row[name] for name in _SAME}, "event": _EVENTS.get(row["word"], row["word"])}
        for row in db.execute(sa.select(old)).mappings()
        if row["id"] not in known
    ]
    if rows:
        db.execute(sa.insert(NOTIFICATIONS), rows)
    db.execute(sa.delete(old))


def _rename_causes(db: Connection) -> None:
    """Rename kinds in the causes of incidents, and in the key of those that are named by one."""
    incidents = db.execute(sa.select(INCIDENTS.c.id, INCIDENTS.c.key, INCIDENTS.c.cause))
    for number, key, cause in incidents.all():
        if cause["kind"] in _CAUSE_KINDS:
            new = _CAUSE_KINDS.get(key, key)
            renamed = {**cause, "key": new, "kind": _CAUSE_KINDS[cause["kind"]]}
            this = sa.update(INCIDENTS).where(INCIDENTS.c.id == number)
            db.execute(this.values(key=new, cause=renamed))


def _replace(db: Connection, column: sa.Column[str], renamed: Mapping[str, str]) -> None:
    for old, new in renamed.items():
        db.execute(sa.update(column.table).where(column == old).values({column.name: new}))


SCHEMA = Schema(
    part="watch",
    version=2,
    tables=METADATA,
    oldest=INCIDENTS.name,
    migrations={1: _rename},
    dropped=(_TELLINGS,),
)
