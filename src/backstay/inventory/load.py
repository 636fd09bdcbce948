"""Read cloud.yaml, or report everything that is wrong with it."""

from collections.abc import Collection
from pathlib import Path

from pydantic import ValidationError

from backstay.inventory import mistakes
from backstay.inventory.cloud import Cloud
from backstay.inventory.document import read_document


def load(path: Path, *, services: Collection[str] | None = None) -> Cloud:
    """Return the cloud that ``path`` describes.

    ``services`` are the names that a ``without`` may hold; None leaves them unchecked. Raises
    InventoryError where the file cannot be read, and CloudFileWrong with all mistakes in it.
    """
    path = path.absolute()
    document = read_document(path)
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
    if found or cloud is None:
        raise mistakes.CloudFileWrong(document, found)
    return cloud
