"""Keys of cloud.yaml that have a fixed set of values."""

from enum import StrEnum


class Role(StrEnum):
    """What a host is for."""

    CONTROLLER = "controller"
    STORAGE_PROXY = "storage-proxy"
    STORAGE = "storage"
    COMPUTE = "compute"
    NETWORK = "network"
    SPARE = "spare"


class Flavour(StrEnum):
    """How the cloud's services were installed, which decides what their units are called."""

    DEBIAN = "debian"
