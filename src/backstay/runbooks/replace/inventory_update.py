"""The last step: cloud.yaml says that the spare is the host now, and that the old one is fenced."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from backstay.access.session import CloudSession
from backstay.errors import BackstayError, InventoryError
from backstay.inventory.cloud import Cloud
from backstay.inventory.load import load, load_text
from backstay.inventory.takeover import TakenOver, take_over
from backstay.journal.action import Action, Running
from backstay.runbooks.replace.outages import OutageRecording
from backstay.runbooks.replace.steps import FENCE, InventoryUpdated


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What is to be written; ``mark`` is in the name of the copy of what was there."""

    run: str
    host: str
    spare: str
    since: datetime
    mark: str
    uuid: str = ""


@dataclass(frozen=True)
class TakeOver(Action[InventoryUpdated]):
    """Writes it into cloud.yaml: the host has the spare's BMC, the old one's is under ``fenced``.

    A file that cannot be written, or not be understood, fails no replacement: all the rest is done.
    """

    site: CloudSession
    outages: OutageRecording | None = None

    async def do(self, running: Running) -> InventoryUpdated:
        """Write it, or return what is to be changed by hand."""
        wish, path = _wanted(running), self.site.cloud.path
        taken: TakenOver | None = None
        try:
            text = text_of(path)
            taken = take_over(
                text, host=wish.host, spare=wish.spare, since=wish.since, uuid=wish.uuid
            )
            kept = write_cloud(
                path,
                taken.text,
                text,
                mark=wish.mark,
                require=lambda written: _require_it_is_so(written, wish),
            )
        except (BackstayError, OSError) as error:
            return self._with_outages(_by_hand(wish, path, taken, error))
        return self._with_outages(_describe(wish, path, taken, str(kept)))

    async def probe(self, running: Running) -> InventoryUpdated | None:
        """Find that it is written: the spare is gone, and the host is fenced since this run."""
        wish, path = _wanted(running), self.site.cloud.path
        with contextlib.suppress(BackstayError):
            now = load(path)
            fenced = _fenced_as(now, wish)
            if fenced and wish.spare not in now.hosts:
                return self._with_outages(_found(wish, path, fenced))
        return None

    def _with_outages(self, result: InventoryUpdated) -> InventoryUpdated:
        """End the recording and return its outages too: none where the process is another."""
        return self.outages.end(result) if self.outages else result


def _wanted(running: Running) -> _Wanted:
    host = running.plan.targets[0]
    fenced = running.find(FENCE)
    at = running.started if fenced is None or fenced.fenced_at is None else fenced.fenced_at
    since = datetime.fromtimestamp(int(at), UTC)
    settings = running.plan.settings
    mark = str(settings.get("mark") or f"{since:%Y%m%d-%H%M%S}")
    return _Wanted(
        run=running.run,
        host=host,
        spare=str(settings["spare"]),
        since=since,
        mark=mark,
        uuid=fenced.uuid if fenced else "",
    )


def text_of(path: Path) -> str:
    """Return the file as it is, its line ends too. Raises InventoryError, OSError."""
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise InventoryError(
            f"reading {path}", came_back="it is not UTF-8 text", remedy="save it as UTF-8"
        ) from error


def write_cloud(
    path: Path, text: str, before: str, *, mark: str, require: Callable[[Cloud], None]
) -> Path:
    """Put the new text in the file's place, as its owner's; return the copy of the old one.

    What is written is read as a cloud first, and given to ``require``, which raises where it does
    not say what it should. ``mark`` is in the copy's name. Raises InventoryError, OSError.
    """
    path = path.resolve()  # a link stays one
    if not os.access(path, os.W_OK) or not path.stat().st_mode & 0o222:
        raise PermissionError(f"{path} is read-only")
    kept = path.with_name(f"{path.name}.before-{mark}")
    require(load_text(path, text))
    with _beside(path, text) as new:
        if not kept.exists():  # of an earlier try: then that is what was there first
            with _beside(path, before) as copy:
                copy.replace(kept)
        new.replace(path)
    _to_disk(path.parent)
    return kept


@contextlib.contextmanager
def _beside(path: Path, text: str) -> Iterator[Path]:
    """Write a file beside another, with its mode and owner: it holds the same secrets.

    It is removed again unless it was renamed.
    """
    there = path.stat()
    number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(text.encode())
            file.flush()
            with contextlib.suppress(PermissionError):  # only root gives files away
                os.fchown(file.fileno(), there.st_uid, there.st_gid)
            os.fchmod(file.fileno(), there.st_mode & 0o7777)
            os.fsync(file.fileno())
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _to_disk(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _require_it_is_so(written: Cloud, wish: _Wanted) -> None:
    if wish.spare in written.hosts or not _fenced_as(written, wish):
        raise InventoryError(
            "writing cloud.yaml",
            came_back="the new text does not say what it should",
            remedy=f"report this with the output of: backstay runs show {wish.run}",
        )


def _fenced_as(cloud: Cloud, wish: _Wanted) -> str:
    """Return under which name the host of this run stands under ``fenced``, empty if it does not.

    Known by when it was fenced: the same host may have been replaced before.
    """
    found = (
        name
        for name, one in cloud.fenced.items()
        if one.was == wish.host and one.since == wish.since
    )
    return next(found, "")


def _describe(wish: _Wanted, path: Path, taken: TakenOver, kept: str) -> InventoryUpdated:
    words = [f"{path.name}: {wish.spare} is {wish.host} now, the old one is {taken.fenced}"]
    if taken.still:
        words.append(f"{wish.spare} is still named in {', '.join(taken.still)}")
    words.append(f"the previous file is kept as {kept}")
    return InventoryUpdated(
        written=True,
        fenced=taken.fenced,
        diff=taken.diff,
        still=tuple(taken.still),
        kept=kept,
        summary="; ".join(words),
    )


def _found(wish: _Wanted, path: Path, fenced: str) -> InventoryUpdated:
    """Return the result of a step whose process died when the file was written already."""
    kept, diff = path.resolve().with_name(f"{path.name}.before-{wish.mark}"), ""
    with contextlib.suppress(BackstayError, OSError):
        before = text_of(kept)
        taken = take_over(
            before, host=wish.host, spare=wish.spare, since=wish.since, uuid=wish.uuid
        )
        diff = taken.diff
    return InventoryUpdated(
        written=True,
        fenced=fenced,
        diff=diff,
        kept=str(kept),
        summary=f"{path.name} was updated already",
    )


def _by_hand(
    wish: _Wanted, path: Path, taken: TakenOver | None, error: BackstayError | OSError
) -> InventoryUpdated:
    why = error.came_back if isinstance(error, BackstayError) else str(error)
    summary = f"{path} could not be written ({why}): "
    if taken is not None:
        summary += "make these changes there"
    else:
        summary += f"give {wish.host} the `bmc` of {wish.spare}, take {wish.spare} out of `hosts`, "
        summary += (
            f"and write the old `bmc` of {wish.host} under `fenced`, with `was: {wish.host}` "
        )
        summary += f"and `since: '{wish.since:%Y-%m-%dT%H:%M:%SZ}'`"
    return InventoryUpdated(
        fenced=taken.fenced if taken else "",
        diff=taken.diff if taken else "",
        still=tuple(taken.still) if taken else (),
        by_hand=why,
        summary=summary,
    )
