"""What hosts are for, and how services were installed.

A module of their own, because the services' declarations need them: what those import counts in
every start, and cloud.yaml's models bring pydantic.
"""

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
