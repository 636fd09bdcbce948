"""The lab's networks on the machine: two bridges and one nftables table, all of our own names."""

import ipaddress
import json
from pathlib import Path

from backstay_lab import programs
from backstay_lab.errors import LabError
from backstay_lab.layout import BASTION, Lab, Login, Network, home

IP_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")


def claims(lab: Lab) -> tuple[str, ...]:
    """Return the names that the lab takes on the machine, as the state records them."""
    return (*(lab.bridge(network) for network in Network), f"nft:{lab.nft_table}")


def ruleset(lab: Lab, uplink: str | None) -> str:
    """Return the lab's nftables table: its ways to the outside, and what the operator may reach."""
    chains = (_outside(lab, uplink) if uplink else "") + _closed(lab) + _by_bastion(lab)
    table = f"table ip {lab.nft_table}"
    return f"\n{table}\ndelete {table}\n{table} {{{chains}}}\n"


def _by_bastion(lab: Lab) -> str:
    """Return the rule that leaves the operator one way to the hosts' SSH: through the bastion."""
    if lab.login is not Login.OPERATOR:
        return ""
    bastion = lab.address(lab.places[BASTION])
    return f"""
  chain by_bastion {{
    type filter hook output priority filter;
    ip daddr {lab.management_net}.0/24 ip daddr != {bastion} tcp dport 22 drop
  }}
"""


def _outside(lab: Lab, uplink: str) -> str:
    """Return the lab's nftables rules: hosts reach the outside by the machine's address.

    The uplink may carry smaller packets than the bridges: TCP's segment size is clamped to its MTU.
    """
    return f"""
  chain postrouting {{
    type nat hook postrouting priority srcnat;
    ip saddr {lab.management_net}.0/24 oifname "{uplink}" masquerade
  }}
  chain forward {{
    type filter hook forward priority mangle;
    oifname "{uplink}" tcp flags syn tcp option maxseg size set rt mtu
    iifname "{uplink}" tcp flags syn tcp option maxseg size set rt mtu
  }}
"""


def _closed(lab: Lab) -> str:
    """Return the rules that let nobody from outside reach the hosts, with an uplink or without.

    The machine forwards for the lab, and neighbours with a route to its networks would come to its
    hosts, and to its BMCs, which listen on addresses of this machine. Only answers to what the
    hosts themselves have asked come in.
    """
    bridges = ", ".join(f'"{lab.bridge(network)}"' for network in Network)
    nets = ", ".join(f"{lab.net(network)}.0/24" for network in Network)
    return f"""
  chain closed_forward {{
    type filter hook forward priority filter;
    iifname != {{ {bridges} }} ip daddr {{ {nets} }} ct state established,related accept
    iifname != {{ {bridges} }} ip daddr {{ {nets} }} drop
  }}
  chain closed_input {{
    type filter hook input priority filter;
    iifname != {{ "lo", {bridges} }} ip daddr {{ {nets} }} ct state established,related accept
    iifname != {{ "lo", {bridges} }} ip daddr {{ {nets} }} drop
  }}
"""


def uplink(routes: str) -> str | None:
    """Return the interface of the default route from ``ip -json route show default``."""
    for route in json.loads(routes or "[]"):
        if route.get("dst") == "default" and "dev" in route:
            return str(route["dev"])
    return None


def taken(lab: Lab, ours: tuple[str, ...], links: str, tables: str, addresses: str) -> list[str]:
    """Return the conflicts as phrases: the lab's names and addresses that others have.

    ``ours`` are the claims on record; ``links`` is ``ip -json link``, ``tables`` is
    ``nft -j list tables``, ``addresses`` is ``ip -json address``.
    """
    conflicts = []
    names = {str(link["ifname"]) for link in json.loads(links or "[]")}
    for network in Network:
        bridge = lab.bridge(network)
        if bridge in names and bridge not in ours:
            conflicts.append(f"an interface {bridge} exists that is not the lab's")
    for entry in json.loads(tables or "{}").get("nftables", []):
        table = entry.get("table", {})
        if table.get("name") == lab.nft_table and f"nft:{lab.nft_table}" not in ours:
            conflicts.append(f"an nftables table {lab.nft_table} exists that is not the lab's")
    bridges = {lab.bridge(network) for network in Network}
    for link in json.loads(addresses or "[]"):
        if link.get("ifname") not in bridges:
            conflicts.extend(_overlaps(lab, link))
    return conflicts


def _overlaps(lab: Lab, link: dict[str, object]) -> list[str]:
    ours = [ipaddress.ip_network(f"{lab.net(network)}.0/24") for network in Network]
    found = []
    infos = link.get("addr_info", [])
    for info in infos if isinstance(infos, list) else []:
        if info.get("family") == "inet":
            net = ipaddress.ip_network(f"{info['local']}/{info['prefixlen']}", strict=False)
            if any(net.overlaps(own) for own in ours):
                found.append(f"{link['ifname']} has {net}, which the lab's addresses lie in")
    return found


def refuse_if_taken(lab: Lab, ours: tuple[str, ...]) -> None:
    """Raise LabError where another holds one of the lab's names or addresses."""
    conflicts = taken(
        lab,
        ours,
        _ask("ip", "-json", "link"),
        _ask("nft", "-j", "list", "tables"),
        _ask("ip", "-json", "address"),
    )
    if conflicts:
        raise LabError(
            f"claiming names and addresses for lab {lab.name}",
            came_back="; ".join(conflicts),
            remedy="remove what is named there if nothing needs it, or choose another --slot",
        )


def create(lab: Lab) -> None:
    """Make the bridges, their addresses and the nftables table; safe to repeat."""
    out = uplink(_ask("ip", "-json", "route", "show", "default"))
    for network in Network:
        bridge = lab.bridge(network)
        if not Path("/sys/class/net", bridge).exists():
            _do("ip", "link", "add", bridge, "type", "bridge", "forward_delay", "0")
        _do("ip", "address", "replace", f"{lab.net(network)}.1/24", "dev", bridge)
        _do("ip", "link", "set", bridge, "up")
    rules = ruleset(lab, out)
    programs.run(["nft", "-f", "-"], attempted="making the lab's nftables table", stdin=rules)
    _remember_forwarding()


def remove(lab: Lab, *, last: bool) -> None:
    """Remove bridges, veth ends and the nftables table; ``last``: forwarding as it was before."""
    for link in Path("/sys/class/net").iterdir():
        if link.name.startswith(tuple(f"bs{lab.slot}{network}-" for network in Network)):
            programs.run(["ip", "link", "delete", link.name], attempted="removing", check=False)
    for network in Network:
        if Path("/sys/class/net", lab.bridge(network)).exists():
            _do("ip", "link", "delete", lab.bridge(network))
    tables = json.loads(_ask("nft", "-j", "list", "tables")).get("nftables", [])
    if any(entry.get("table", {}).get("name") == lab.nft_table for entry in tables):
        _do("nft", "delete", "table", "ip", lab.nft_table)
    if last:
        _restore_forwarding()


def _remember_forwarding() -> None:
    """Turn forwarding on, and keep the machine's own setting for the last ``lab down``."""
    before = home() / "ip_forward.before"
    if not before.exists():
        before.write_text(IP_FORWARD.read_text())
    IP_FORWARD.write_text("1\n")


def _restore_forwarding() -> None:
    before = home() / "ip_forward.before"
    if before.exists():
        IP_FORWARD.write_text(before.read_text())
        before.unlink()


def _ask(*argv: str) -> str:
    return programs.run(argv, attempted="reading the machine's networks").stdout


def _do(*argv: str) -> None:
    programs.run(argv, attempted="changing the lab's networks")
