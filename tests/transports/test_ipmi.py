"""Power by IPMI, against pyghmi's own BMC on loopback."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from backstay.errors import PowerError
from backstay.transports import power
from backstay.transports.bmc import power_of
from backstay.transports.targets import BmcTarget

pytest.importorskip("pyghmi")


@contextmanager
def board(*how: str) -> Iterator[tuple[BmcTarget, "subprocess.Popen[str]"]]:
    command = [sys.executable, "-m", "tests.transports.ipmi_bmc", *how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield target(int(process.stdout.readline())), process
        finally:
            process.kill()


def target(port: int, password: str = "s3cret") -> BmcTarget:
    url = f"ipmi://127.0.0.1:{port}"
    return BmcTarget(name="controller", url=url, username="admin", password=password)


def happened(process: "subprocess.Popen[str]") -> list[str]:
    process.kill()
    assert process.stdout
    return process.stdout.read().split("\n")[:-1]


def test_power_is_read_taken_and_read_back():
    async def story(where: BmcTarget) -> list[str]:
        power = power_of(where)
        assert await power.state() is True
        await power.off()
        assert await power.state() is False
        await power.off()  # which says that it is off already
        missed = await power.keep_off()
        await power.cycle()
        assert await power.state() is True
        return missed

    with board() as (where, process):
        missed = asyncio.run(story(where))
        # pyghmi's server has no power restore policy: what is missing is told, and no failure.
        assert [line.split(":")[0] for line in missed] == ["power after an outage"]
        assert happened(process) == ["off", "off", "boot default", "on"]


def test_a_board_that_does_not_obey_is_not_off(monkeypatch):
    monkeypatch.setattr(power, "OFF_BOUND", 1.0)
    with board("stubborn") as (where, process):
        with pytest.raises(PowerError, match="still reports that it is on"):
            asyncio.run(power_of(where).off())
        assert happened(process) == ["off"]


def test_a_silent_board_is_an_error_within_the_bound():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        where = target(silent.getsockname()[1])
        with pytest.raises(PowerError, match=r"no answer within 3 s") as caught:
            asyncio.run(power_of(where).state(bound=3.0))
    assert "s3cret" not in str(caught.value) + caught.value.remedy


def test_a_wrong_password_is_an_error():
    with board() as (where, _):
        wrong = target(int(where.url.rpartition(":")[2]), password="other")
        with pytest.raises(PowerError) as caught:
            asyncio.run(power_of(wrong).state(bound=20.0))
    assert "other" not in str(caught.value)
    print(caught.value)


def test_nothing_is_run_from_the_folder_that_the_operator_is_in(tmp_path, monkeypatch):
    ran = tmp_path / "ran"
    package = tmp_path / "backstay" / "transports"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    (package / "ipmi.py").write_text(f"open({str(ran)!r}, 'w')\n")
    (tmp_path / "json.py").write_text(f"open({str(ran)!r}, 'w')\n")
    with board() as (where, _):
        monkeypatch.chdir(tmp_path)
        assert asyncio.run(power_of(where).state(bound=30.0)) is True
    assert not ran.exists()
