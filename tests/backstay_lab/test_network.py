"""The lab's nftables rules: nobody but the lab and its machine reaches its networks."""

import json
import os
import shutil
import subprocess
from typing import Any

import pytest

from backstay_lab.layout import Lab, Network
from backstay_lab.network import ruleset

pytestmark = pytest.mark.skipif(
    shutil.which("nft") is None or os.geteuid() != 0, reason="nftables, as root"
)


def loaded(rules: str) -> list[dict[str, Any]]:
    """Return what nftables has made of rules, in a network namespace of its own."""
    script = "nft -f - && nft -j list ruleset"
    said = subprocess.run(
        ["unshare", "--net", "sh", "-c", script],
        input=rules,
        capture_output=True,
        text=True,
        check=False,
    )
    if "Operation not permitted" in said.stderr:
        pytest.skip("no network namespace can be made here")
    assert said.returncode == 0, said.stderr
    return list(json.loads(said.stdout)["nftables"])


@pytest.mark.parametrize("uplink", ["eth0", None])
@pytest.mark.parametrize("hook", ["forward", "input"])
def test_what_comes_from_elsewhere_is_dropped(hook: str, uplink: str | None) -> None:
    lab = Lab()
    found = loaded(ruleset(lab, uplink))
    chains = [one["chain"] for one in found if "chain" in one]
    name = next(
        one["name"] for one in chains if one.get("hook") == hook and "closed" in one["name"]
    )
    rules = [one["rule"]["expr"] for one in found if one.get("rule", {}).get("chain") == name]
    assert [next(iter(rule[-1])) for rule in rules] == ["accept", "drop"]
    bridges = {lab.bridge(network) for network in Network}
    for rule in rules:
        sets = [one["match"] for one in rule if "match" in one]
        from_elsewhere = next(one for one in sets if one["left"] == {"meta": {"key": "iifname"}})
        assert from_elsewhere["op"] == "!="
        assert set(from_elsewhere["right"]["set"]) - {"lo"} == bridges
        to = next(one for one in sets if "payload" in one["left"])
        nets = {one["prefix"]["addr"] for one in to["right"]["set"]}
        assert nets == {f"{lab.net(network)}.0" for network in Network}
    answers = next(
        one["match"]
        for one in rules[0]
        if one.get("match", {}).get("left") == {"ct": {"key": "state"}}
    )
    assert set(answers["right"]) == {"established", "related"}


def test_hosts_still_reach_the_outside() -> None:
    lab = Lab()
    found = loaded(ruleset(lab, "eth0"))
    assert any(
        "masquerade" in one for each in found for one in each.get("rule", {}).get("expr", ())
    )
    policies = {one["chain"]["name"]: one["chain"]["policy"] for one in found if "chain" in one}
    assert set(policies.values()) == {"accept"}
