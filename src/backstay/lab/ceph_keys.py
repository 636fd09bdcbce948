"""Keys for Ceph's own authentication (cephx), made without Ceph being installed.

A key is the base64 of a small header and the secret bytes, as ``ceph-authtool --gen-print-key``
writes it: type (1, AES) as int16, seconds and nanoseconds of its creation as int32 each, length of
the secret as int16, all little-endian, then 16 random bytes. See ``CryptoKey::encode`` in Ceph's
``src/auth/Crypto.cc`` and the manual deployment guide, which prints the same few lines.
"""

import base64
import os
import struct
import time
import uuid
from collections.abc import Mapping

_AES = 1
_SECRET_BYTES = 16

KEY_NAMES = (
    "ceph_mon_key",
    "ceph_admin_key",
    "ceph_mgr_key",
    "ceph_osd_key",
    "ceph_cinder_key",
)


def cephx_key() -> str:
    """A fresh cephx key: 40 characters of base64, created now."""
    header = struct.pack("<hiih", _AES, int(time.time()), 0, _SECRET_BYTES)
    return base64.b64encode(header + os.urandom(_SECRET_BYTES)).decode("ascii")


def ceph_secrets() -> Mapping[str, str]:
    """All that one Ceph cluster needs, by the names that the lab's hiera data uses after
    ``lab::secrets::``: ``ceph_fsid`` (a UUID, also the name of libvirt's secret) and a cephx key
    for each of :data:`KEY_NAMES`."""
    return {"ceph_fsid": str(uuid.uuid4())} | {name: cephx_key() for name in KEY_NAMES}
