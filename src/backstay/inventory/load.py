"""Find and read cloud.yaml, or report everything that is wrong with it."""

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from backstay import lacking
from backstay.errors import InventoryError
from backstay.inventory import mistakes
from backstay.inventory.cloud import Cloud
from backstay.inventory.document import Document, parse, read_text
from backstay.inventory.exposure import changed_by_others


def load(path: Path, *, services: Collection[str] | None = None) -> Cloud:
    """Return the cloud that ``path`` describes.

    ``services`` are the names that a ``without`` may hold; None leaves them unchecked. Raises
    InventoryError where the file cannot be read, and CloudFileWrong with all mistakes in it.
    """
    try:
        text = read_text(path.absolute())
    except InventoryError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            absent = NoCloudFile(
                error.attempted,
                came_back=error.came_back,
                remedy=lacking.remedy("describe your cloud in it, or name another file"),
            )
            absent.place = path
            raise absent from error
        raise
    return load_text(path, text, services=services)


def load_text(path: Path, text: str, *, services: Collection[str] | None = None) -> Cloud:
    """Return the cloud that a text describes which is, or will be, in ``path``. Raises as load."""
    path = path.absolute()
    document = parse(path, text)
    try:
        return _cloud(path, document, services)
    except InventoryError:
        raise
    except Exception as error:  # a value that no model has thought of is the file's mistake
        raise InventoryError(
            f"reading {path}",
            # Without the error's text, which may repeat a secret.
            came_back=f"it holds a value that cannot be used ({type(error).__name__})",
            remedy="correct the value, or report this: it should have been named with its line",
        ) from error


def _cloud(path: Path, document: Document, services: Collection[str] | None) -> Cloud:
    found = [*mistakes.of_duplicates(document), *mistakes.of_hosts(document)]
    if services is not None:
        found += mistakes.of_services(document, services)
    cloud = None
    try:
        cloud = Cloud.model_validate(
            document.data, context={"folder": path.parent, "path": path}, strict=False
        )
    except ValidationError as error:
        found += mistakes.of_model(Cloud, error, document)
    if cloud is not None:
        found += [
            mistakes.of_file(document, place, f"{error}: {error.remedy}")
            for place, error in changed_by_others(cloud)
        ]
    if found or cloud is None:
        raise mistakes.CloudFileWrong(document, found)
    return cloud


VARIABLE = "BACKSTAY_CLOUD"
PLACES = (Path("cloud.yaml"), Path("/etc/backstay/cloud.yaml"))


class NoCloudFile(InventoryError):
    """There is no cloud.yaml: where it is named to be, or where none is named in its places.

    ``place`` is where one can be made.
    """

    place = PLACES[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The cloud file, and whether it is the lab's: taken because there was no other."""

    path: Path
    of_lab: bool = False


def find(given: Path | None, lab: Callable[[], Path | None]) -> Found:
    """Return the file given, else BACKSTAY_CLOUD's, ./cloud.yaml, /etc/backstay's, or the lab's.

    ``lab`` gives the running lab's file, None where no lab runs; it is asked last. Raises
    NoCloudFile where there is none, naming the places. A file that is named but absent is not
    passed over: reading it fails.
    """
    named = os.environ.get(VARIABLE)
    if given is not None or named:
        return Found(path=given or Path(named or ""))
    for place in PLACES:
        if place.is_file():
            return Found(path=place)
    of_lab = lab()
    if of_lab is not None:
        return Found(path=of_lab, of_lab=True)
    raise NoCloudFile(
        "looking for cloud.yaml",
        came_back=f"no --cloud and no {VARIABLE} is given, neither "
        f"{' nor '.join(map(str, PLACES))} exists, and no lab is up",
        remedy=lacking.remedy(
            "describe your cloud in cloud.yaml, or practise on one: backstay lab up"
        ),
    )
