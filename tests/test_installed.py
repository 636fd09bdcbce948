"""A test that cannot be run is left out on a developer's machine, and is a failure in CI."""

import pytest

from tests.installed import need


def test_nothing_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    need([], "apt-get install etcd-server")


def test_left_out_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"etcd; .* apt-get install etcd-server"):
        need(["etcd"], "apt-get install etcd-server")


def test_a_failure_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=r"etcd; .* apt-get install etcd-server"):
        need(["etcd"], "apt-get install etcd-server")
