"""A BMC's password that goes in the clear is a warning, and no URL of a BMC holds one."""

import pytest
from pydantic import ValidationError

from backstay.inventory.bmc import Bmc


def bmc(url: str, **others: object) -> Bmc:
    return Bmc.model_validate({"url": url, "username": "admin", "password": "p"} | others)


def test_http_is_in_the_clear_unless_it_is_this_machine_s_or_allowed():
    assert bmc("http://10.0.0.1").sends_in_the_clear
    assert bmc("HTTP://10.0.0.1/".lower()).sends_in_the_clear
    for url in ("https://10.0.0.1", "http://127.0.0.1:8000", "http://[::1]", "http://localhost"):
        assert not bmc(url).sends_in_the_clear
    assert not bmc("ipmi://10.0.0.1").sends_in_the_clear
    assert not bmc("http://10.0.0.1", clear=True).sends_in_the_clear


@pytest.mark.parametrize(
    "url",
    [
        "https://admin:hunter2@10.0.0.1",
        "https://hunter2@10.0.0.1",
        "ipmi://admin:hunter2@10.0.0.1",
        "https://10.0.0.1/?password=hunter2",
        "https://10.0.0.1:99999",
        "ipmi://10.0.0.1:0",
        "https://[fd00",
        "https://bmç",
    ],
)
def test_a_url_of_a_bmc_is_an_address_alone(url):
    with pytest.raises(ValidationError) as caught:
        bmc(url)
    messages = " ".join(error["msg"] for error in caught.value.errors())
    assert "hunter2" not in messages
