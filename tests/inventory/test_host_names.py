"""One host by every name that services, records and agents call it by."""

from backstay.inventory.cloud import Cloud


def cloud(*hosts: tuple[str, str]) -> Cloud:
    return Cloud.model_validate(
        {
            "credentials": {"environment": True},
            "hosts": {name: {"address": at, "roles": ["compute"]} for name, at in hosts},
        }
    )


def test_a_host_is_found_by_name_domain_or_address() -> None:
    two = cloud(("compute1", "10.0.0.5"), ("compute2.example.org", "10.0.0.6"))
    found = {
        name: (host := two.host_named(name)) and host.name
        for name in ("compute1", "compute1.example.org", "10.0.0.5", "compute2", "compute3", "10")
    }
    assert found == {
        "compute1": "compute1",
        "compute1.example.org": "compute1",
        "10.0.0.5": "compute1",
        "compute2": "compute2.example.org",
        "compute3": None,
        "10": None,
    }


def test_a_short_name_that_two_hosts_share_is_nobodys() -> None:
    two = cloud(("node.north", "10.0.0.5"), ("node.south", "10.0.0.6"))
    assert two.host_named("node") is None
    assert two.host_named("node.south") == two.hosts["node.south"]


def test_a_host_is_found_by_what_it_calls_itself() -> None:
    names = cloud(("compute1", "10.0.0.5")).host_names({"compute1": "rack7-u3.example.org"})
    assert names.host_of("rack7-u3") == names.host_of("compute1") == "compute1"


def test_a_host_cannot_take_a_name_that_is_anothers() -> None:
    two = cloud(("compute1", "10.0.0.5"), ("compute2", "10.0.0.6"))
    for taken in ("compute1", "compute1.example.org", "10.0.0.5"):
        names = two.host_names({"compute2": taken})
        assert names.host_of(taken) == "compute1"
    both = two.host_names({"compute2": "rack7-u3", "compute1": "rack7-u3.example.org"})
    assert both.host_of("rack7-u3") is None, "a name that two claim is nobody's"
    assert both.host_of("rack7-u3.example.org") == "compute1"
