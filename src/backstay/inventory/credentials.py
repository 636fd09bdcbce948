"""The OpenStack credentials of a cloud as ``OS_*`` variables, wherever they come from.

They are what the openstack client reads in the same file: tests/inventory/test_same_as_client.py
compares the two.
"""

import os
from pathlib import Path

from backstay.errors import InventoryError
from backstay.inventory.account import Credentials
from backstay.inventory.client_rules import completed, is_read, over, path_from
from backstay.inventory.clouds_yaml import read_clouds_yaml
from backstay.inventory.openrc import read_openrc


def variables(credentials: Credentials) -> dict[str, str]:
    """Return the variables, with values that are secret. Raises InventoryError."""
    if credentials.openrc is not None:
        path = credentials.openrc
        found = read_openrc(path)
        if found.get("OS_CLOUD"):
            found = _named_cloud(found, path.absolute().parent)
        return completed(found, f"reading {path}", path.parent)
    if credentials.clouds is not None:
        found = read_clouds_yaml(credentials.clouds, credentials.file)
        attempted = f"reading the cloud `{credentials.clouds}` of clouds.yaml"
        return completed(found, attempted, Path())
    return _from_environment()


def _from_environment() -> dict[str, str]:
    found = {name: value for name, value in os.environ.items() if is_read(name)}
    if found.get("OS_CLOUD"):
        found = _named_cloud(found, Path())
    elif not found.get("OS_AUTH_URL"):
        raise InventoryError(
            "reading the OpenStack credentials from the environment",
            came_back="OS_AUTH_URL is not set",
            remedy="source the openrc first: . ./openrc (or name it under `credentials` in "
            "cloud.yaml)",
        )
    return completed(found, "reading the OpenStack credentials from the environment", Path())


def _named_cloud(found: dict[str, str], folder: Path) -> dict[str, str]:
    """Return the cloud that OS_CLOUD names, with what else is set beside it."""
    named = found.pop("OS_CLIENT_CONFIG_FILE", "")
    file = Path(path_from(folder, named)) if named else None
    region = found.get("OS_REGION_NAME", "")
    cloud = read_clouds_yaml(found["OS_CLOUD"], file, region=region, beside=folder)
    return over(cloud, found)
