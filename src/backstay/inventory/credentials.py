"""The OpenStack credentials of a cloud as ``OS_*`` variables, wherever they come from."""

import os

from backstay.errors import InventoryError
from backstay.inventory.cloud import Credentials
from backstay.inventory.clouds_yaml import read_clouds_yaml
from backstay.inventory.openrc import read_openrc


def variables(credentials: Credentials) -> dict[str, str]:
    """Return the variables, with values that are secret. Raises InventoryError."""
    if credentials.openrc is not None:
        return read_openrc(credentials.openrc)
    if credentials.clouds is not None:
        return read_clouds_yaml(credentials.clouds, credentials.file)
    return _from_environment()


def _from_environment() -> dict[str, str]:
    found = {name: value for name, value in os.environ.items() if name.startswith("OS_")}
    if found.get("OS_CLOUD") and "OS_AUTH_URL" not in found:
        return read_clouds_yaml(found["OS_CLOUD"], None)
    if "OS_AUTH_URL" not in found:
        raise InventoryError(
            "reading the OpenStack credentials from the environment",
            came_back="OS_AUTH_URL is not set",
            remedy="source the openrc first: . ./openrc (or name it under `credentials` in "
            "cloud.yaml)",
        )
    return found
