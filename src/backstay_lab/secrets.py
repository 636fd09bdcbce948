"""The lab's secrets: generated at each build, stored in one file of mode 0600."""

import base64
import json
import secrets
import struct
import time
import uuid
from pathlib import Path

from backstay_lab.files import write_private

PASSWORDS = (
    "admin_password",
    "mysql_root_password",
    "rabbitmq_password",
    "rabbitmq_erlang_cookie",
    "keystone_db_password",
    "glance_db_password",
    "placement_db_password",
    "nova_db_password",
    "neutron_db_password",
    "cinder_db_password",
    "glance_password",
    "placement_password",
    "nova_password",
    "neutron_password",
    "cinder_password",
    "swift_password",
    "metadata_shared_secret",
    "swift_hash_suffix",
    "swift_hash_prefix",
    "demo_password",
    "shop_password",
)
CEPH_KEYS = ("ceph_mon_key", "ceph_admin_key", "ceph_cinder_key")


def ceph_key() -> str:
    """Return a new Ceph key: type 1 (AES), time of making, length and 16 random bytes, base64."""
    header = struct.pack("<hiih", 1, int(time.time()), 0, 16)
    return base64.b64encode(header + secrets.token_bytes(16)).decode()


def generate() -> dict[str, str]:
    """Return new secrets: letters and digits only, so that they are safe in URLs and files."""
    made = {name: secrets.token_hex(16) for name in PASSWORDS}
    made["ceph_fsid"] = str(uuid.uuid4())
    made.update((name, ceph_key()) for name in CEPH_KEYS)
    return made


def as_yaml(values: dict[str, str], prefix: str = "") -> str:
    """Return the secrets as YAML; a JSON string is a YAML string."""
    return "".join(f"{prefix}{name}: {json.dumps(value)}\n" for name, value in values.items())


def renew(file: Path) -> dict[str, str]:
    """Generate secrets and write them to a file; return them."""
    values = generate()
    write_private(file, as_yaml(values))
    return values


def load(file: Path) -> dict[str, str]:
    """Read the secrets that ``renew`` wrote."""
    pairs = (line.split(": ", 1) for line in file.read_text().splitlines() if line)
    return {name: json.loads(value) for name, value in pairs}
