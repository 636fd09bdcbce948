"""What each service has records of, by the service's name."""

from collections.abc import Sequence

from backstay.services.cinder import reconcile as cinder
from backstay.services.glance import reconcile as glance
from backstay.services.libvirt import reconcile as libvirt
from backstay.services.neutron import reconcile as neutron
from backstay.services.nova import reconcile as nova
from backstay.services.placement import reconcile as placement
from backstay.services.reconciliation import Kept
from backstay.services.swift import reconcile as swift


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
