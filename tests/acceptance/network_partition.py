"""Hosts of the lab that do not reach each other, while everybody else reaches them."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def cut_from_each_other(*pairs: tuple[str, str]) -> Iterator[None]:
    """Drop all packets between the two addresses of each pair, silently."""
    rules = "".join(
        f"{family} saddr{kind} {a} {family} daddr{kind} {b} drop\n"
        for one, other in pairs
        for family, kind in (("ip", ""), ("arp", " ip"))
        for a, b in ((one, other), (other, one))
    )
    table = "table bridge backstay_story"
    chain = "chain cut { type filter hook prerouting priority -290;\n"
    _nft(f"{table} {{\n{chain}{rules}}}\n}}\n")
    try:
        yield
    finally:
        _nft(f"delete {table}\n")


def _nft(text: str) -> None:
    subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True)
