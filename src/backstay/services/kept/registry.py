"""What each service has records of, by the service's name."""

from collections.abc import Sequence

from backstay.services.kept import cinder, glance, libvirt, neutron, nova, placement, swift
from backstay.services.kept.declaration import Kept


def all_kept() -> Sequence[Kept]:
    """Return them in the order in which mismatches are told: what runs comes first."""
    return (
        libvirt.KEPT,
        nova.KEPT,
        placement.KEPT,
        cinder.KEPT,
        glance.KEPT,
        neutron.KEPT,
        swift.KEPT,
    )
