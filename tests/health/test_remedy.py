"""The commands that remedies give: they reach the host as Backstay does."""

import shlex
from dataclasses import replace

from backstay.health.remedy import ssh
from backstay.transports.targets import SshTarget


def test_a_remedy_goes_through_the_bastions_of_cloud_yaml(tmp_path):
    """``ssh -J`` would give them neither the key nor the known host keys that cloud.yaml names."""
    target = SshTarget(name="c", address="10.0.0.11", user="ops", jumps="b1,me@b2:2022")
    assert ssh(target) == "ssh -J b1,me@b2:2022 ops@10.0.0.11 sudo"
    words = shlex.split(ssh(replace(target, key=tmp_path / "k")))
    key = str(tmp_path / "k")
    assert words[:3] == ["ssh", "-i", key]
    assert words[-2:] == ["ops@10.0.0.11", "sudo"]
    assert words[3] == "-o"
    last = shlex.split(words[4].removeprefix("ProxyCommand="))
    assert last[:5] == ["ssh", "-i", key, "-p", "2022"]
    assert last[-3:] == ["-W", "[%h]:%p", "me@b2"]
    first = shlex.split(last[6].removeprefix("ProxyCommand="))
    assert first == ["ssh", "-i", key, "-W", "[%%h]:%%p", "b1"]
