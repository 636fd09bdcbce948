"""The way from a host to its broker: which link of it is broken, in words. Pure.

``amqp`` tries it on the host, step by step; the first step that fails is the cause: before that is
repaired, nothing that runs on either end is at fault. Where a host has several brokers, one that it
can log in to is enough; else the one that came furthest says what is to be done.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from backstay.answers import Count, Line
from backstay.commands import command, on_host

STEPS = ("name", "connect", "tls", "greeting", "login", "vhost")


class Link(StrEnum):
    """A link of the way that can be broken."""

    NAME = "name"
    NETWORK = "network"
    PORT = "port"
    TLS = "tls"
    LOGIN = "login"
    VHOST = "vhost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """How far one broker let the host in, as ``amqp.try_broker`` notes it."""

    host: Line
    port: Count
    step: Line
    ended: Line
    tls: bool = False
    address: Line = ""
    user: Line = ""
    detail: Line = ""

    @property
    def place(self) -> str:
        """Return its address and port as the URL has them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WayAnswer:
    """What ``amqp.try_brokers`` returns; ``trouble`` is why nothing was tried."""

    config: Line = ""
    vhost: Line = ""
    tries: tuple[Try, ...] = ()
    trouble: Line = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenLink:
    """The first broken link: a title without a time, the evidence, and what to do.

    ``{ssh}`` in the remedy stands for the command that reaches the host.
    """

    link: Link
    title: str
    evidence: str
    remedy: str

    @property
    def text(self) -> str:
        """Return title and evidence."""
        return f"{self.title}: {self.evidence}"


def broken_link(
    way: WayAnswer, host: str, name_of: Callable[[str], str] = lambda _address: ""
) -> BrokenLink | None:
    """Return the first broken link, None where a broker lets the host in, or none was tried.

    ``name_of`` returns the name of a host of the cloud by its address, empty for others.
    """
    tries = [one for one in way.tries if one.step in STEPS]
    if not tries or any(one.ended == "ok" for one in tries):
        return None
    furthest = max(tries, key=lambda one: STEPS.index(one.step))
    found = _RULES[furthest.step](furthest, way, host, _named(furthest, name_of))
    others = [f"{one.place} ({one.step}: {one.ended})" for one in tries if one is not furthest]
    more = f"; nor by {', '.join(others[:4])}" if others else ""
    where = f"; its transport_url is in {way.config}" if way.config else ""
    return BrokenLink(
        link=found.link,
        title=found.title,
        evidence=f"{found.evidence}{more}{where}",
        remedy=found.remedy,
    )


def _named(one: Try, name_of: Callable[[str], str]) -> str:
    for known in (one.host, one.address):
        if known and (name := name_of(known)):
            return name
    return one.host


def _by_name(one: Try, way: WayAnswer, host: str, _broker: str) -> BrokenLink:
    servers = f"the name service ({one.detail})" if one.detail else "the name service"
    late = one.ended == "late"
    said = f"{servers} gives no answer" if late else f"{servers} does not know {one.host}"
    return BrokenLink(
        link=Link.NAME,
        title=f"the name of the broker, {one.host}, is not known on {host}",
        evidence=said,
        remedy=f"{on_host('getent', 'ahosts', one.host)}; "
        + ("see the servers in its /etc/resolv.conf" if late else f"correct it in {way.config}")
        + ", or add the name to its /etc/hosts",
    )


_CONNECT = {
    "late": "no packet came back: {detail} within 4 s",
    "no route": "there is no route, or no machine answers at {address}: {detail}",
    "forbidden": "a firewall of {host} itself forbids it: {detail}",
}


def _by_connection(one: Try, way: WayAnswer, host: str, broker: str) -> BrokenLink:
    address = one.address or one.host
    if one.ended == "refused":
        return BrokenLink(
            link=Link.PORT,
            title=f"{broker} refuses port {one.port} to {host}",
            evidence=f"{address} answers that nothing listens there, or a firewall rejects it",
            remedy=f"on {broker}: ss -ltn 'sport = :{one.port}'; nft list ruleset; "
            f"or correct transport_url in {way.config}",
        )
    said = _CONNECT.get(one.ended, "{detail}").format(
        detail=one.detail or "no answer", address=address, host=host
    )
    return _network(one, host, broker, said)


def _network(one: Try, host: str, broker: str, said: str) -> BrokenLink:
    return BrokenLink(
        link=Link.NETWORK,
        title=f"network from {host} to {broker} port {one.port}",
        evidence=said,
        remedy=f"find what drops the packets, a restart changes nothing: "
        f"{on_host('ip', 'route', 'get', one.address or one.host)}; "
        f"{on_host('nft', 'list', 'ruleset')}; the same on {broker}, and the switches between",
    )


_TLS = {
    "no tls": "port {port} of {broker} speaks without TLS, and {host} is configured to use it",
    "untrusted": "the certificate of {broker} is not trusted on {host}: {detail}",
    "file": "a file that {config} names cannot be used on {host}: {detail}",
    "alert": "{broker} ends it: {detail}",
    "closed": "{broker} closed the connection",
    "tls port": "port {port} of {broker} wants TLS, and {host} is configured without",
}


def _by_tls(one: Try, way: WayAnswer, host: str, broker: str) -> BrokenLink:
    if one.ended == "late":
        said = "the connection was accepted, and nothing came after that within 6 s: large packets "
        said += f"are dropped (MTU), or {broker} is overloaded"
        return _network(one, host, broker, said)
    said = _TLS.get(one.ended, "{detail}").format(
        port=one.port, broker=broker, host=host, detail=one.detail or one.ended, config=way.config
    )
    section = f"[oslo_messaging_rabbit] in {way.config} on {host}"
    show = on_host("openssl", "s_client", "-connect", one.place)
    remedies = {
        "no tls": f"take `ssl = true` out of {section}, or name the broker's port with TLS (5671)",
        "tls port": f"set `ssl = true` and `ssl_ca_file` in {section}, or name the port without",
        "untrusted": f"see it: {show} </dev/null; set `ssl_ca_file` in {section} to "
        "the authority that signed it, or renew it",
        "file": f"correct `ssl_ca_file`, `ssl_cert_file`, `ssl_key_file` in {section}",
    }
    return BrokenLink(
        link=Link.TLS,
        title=f"TLS between {host} and {broker} port {one.port}",
        evidence=said,
        remedy=remedies.get(one.ended, f"see it: {show} </dev/null"),
    )


def _by_greeting(one: Try, way: WayAnswer, host: str, broker: str) -> BrokenLink:
    if one.ended in {"tls port", "closed"}:
        return _by_tls(one, way, host, broker)
    if one.ended == "late":
        return _by_tls(one, way, host, broker)
    return BrokenLink(
        link=Link.PORT,
        title=f"{broker} port {one.port} is no message broker to {host}",
        evidence=f"what answers does not speak AMQP 0-9-1 ({one.detail or one.ended})",
        remedy=f"on {broker}: ss -ltnp 'sport = :{one.port}'; or correct transport_url in "
        f"{way.config}",
    )


def _by_login(one: Try, way: WayAnswer, host: str, broker: str) -> BrokenLink:
    said = f"user {one.user}: {one.detail or 'it closed the connection'}"
    if one.user == "guest":
        said += "; guest may log in from the broker's own host only"
    return BrokenLink(
        link=Link.LOGIN,
        title=f"the broker on {broker} refuses the login of {host}",
        evidence=said,
        remedy=f"compare transport_url in {way.config} on {host} with that of a host whose agents "
        f"are attached; where the broker's password is the wrong one, on {broker}: "
        + command("rabbitmqctl", "change_password", one.user)
        + " (it asks for the new one)",
    )


def _by_vhost(one: Try, way: WayAnswer, host: str, broker: str) -> BrokenLink:
    vhost = way.vhost or "/"
    return BrokenLink(
        link=Link.VHOST,
        title=f"the broker on {broker} refuses the virtual host of {host}",
        evidence=f"{vhost}: {one.detail or 'it closed the connection'}",
        remedy=f"correct the end of transport_url in {way.config} on {host}; or on {broker}: "
        f"{command('rabbitmqctl', 'list_vhosts')}; where it is missing: "
        f"{command('rabbitmqctl', 'add_vhost', vhost)}; then: "
        + command("rabbitmqctl", "set_permissions", "-p", vhost, one.user, ".*", ".*", ".*"),
    )


_Rule = Callable[[Try, WayAnswer, str, str], BrokenLink]
_RULES: dict[str, _Rule] = {
    "name": _by_name,
    "connect": _by_connection,
    "tls": _by_tls,
    "greeting": _by_greeting,
    "login": _by_login,
    "vhost": _by_vhost,
}


def worst(broken: Sequence[BrokenLink]) -> BrokenLink | None:
    """Return the broken link that comes first on the way, None where none is broken."""
    order = list(Link)
    return min(broken, key=lambda one: order.index(one.link), default=None)
