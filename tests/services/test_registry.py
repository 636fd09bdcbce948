"""The registry finds what is there, and every declaration is whole."""

import subprocess
import sys

import pytest

from backstay.inventory.enums import Role
from backstay.services.registry import all_services, named


def test_every_service_is_found_in_the_order_of_a_restore():
    names = [service.name for service in all_services()]
    assert names[:3] == ["mariadb", "rabbitmq", "memcached"]
    assert set(names) == {
        "mariadb",
        "rabbitmq",
        "memcached",
        "keystone",
        "glance",
        "placement",
        "nova",
        "neutron",
        "cinder",
        "libvirt",
        "swift",
    }
    assert named("nova").databases == ("nova_api", "nova", "nova_cell0")


def test_no_host_has_one_unit_of_two_services_or_one_port_of_two_units():
    for role in Role:
        units = [u for s in all_services() for u in s.units if u.role is role]
        ports = [port for unit in units for port in unit.ports]
        assert len(units) == len({unit.name for unit in units})
        assert len(ports) == len(set(ports))


def test_every_unit_says_what_users_lose():
    for unit in (u for s in all_services() for u in s.units):
        assert unit.purpose
        assert not unit.name.endswith(".service")


def test_declarations_are_cheap_to_import():
    heavy = ("asyncssh", "keystoneauth1", "pydantic", "requests", "rich", "cryptography")
    program = (
        "import sys; from backstay.services.registry import all_services; all_services();"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_an_unknown_name():
    with pytest.raises(KeyError):
        named("nvoa")
