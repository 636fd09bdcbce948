"""What each service has records of, by the service's name."""

from collections.abc import Sequence

from backstay.services.cinder import reconcile as cinder
from backstay.services.glance import reconcile as glance
from backstay.services.libvirt import reconcile as libvirt
from backstay.services.neutron import reconcile as neutron
from backstay.services.nova import reconcile as nova
from backstay.services.placement import reconcile as placement
from backstay.services.reconciliation import Reconciler
from backstay.services.swift import reconcile as swift


def all_reconcilers() -> Sequence[Reconciler]:
    """Return them in the order in which mismatches are told: what runs comes first."""
    return (
        libvirt.RECONCILER,
        nova.RECONCILER,
        placement.RECONCILER,
        cinder.RECONCILER,
        glance.RECONCILER,
        neutron.RECONCILER,
        swift.RECONCILER,
    )
