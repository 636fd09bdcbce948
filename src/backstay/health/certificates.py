"""Certificates of the TLS endpoints: read them, and judge until when they are valid."""

import asyncio
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from backstay.answers import clean
from backstay.commands import command
from backstay.errors import BackstayError
from backstay.finding import Finding, Severity
from backstay.inventory.cloud import Cloud
from backstay.inventory.limits import Limits
from backstay.transports.certificate import Certificate, presented
from backstay.transports.targets import url_parts
from backstay.transports.threads import on_thread
from backstay.transports.tls import Trust

Place = tuple[str, int]


def places(urls: Iterable[str]) -> list[Place]:
    """Return host and port of each URL that is https, each once. Pure."""
    parts = [read for url in urls if (read := url_parts(url)) is not None]
    return sorted({(p.hostname or "", p.port or 443) for p in parts if p.scheme == "https"})


def unreadable(urls: Iterable[str]) -> list[Finding]:
    """Return a finding for each URL that cannot be read: nobody can ask there. Pure."""
    return [
        Finding(
            host=None,
            service="TLS",
            subject=f"endpoint {clean(url, longest=120)}",
            severity=Severity.FAILED,
            evidence="could not read this URL of the catalogue: no client can ask there",
            remedy="correct it: openstack endpoint list; openstack endpoint set --url URL ENDPOINT",
        )
        for url in sorted(set(urls))
        if url_parts(url) is None
    ]


async def findings(
    urls: Iterable[str], cloud: Cloud, chosen: Collection[str], *, trust: Trust
) -> list[Finding]:
    """Return one finding for each TLS place of ``urls``, and one for each that cannot be read.

    None is returned for plain http. Left out are those of hosts that are not ``chosen`` (names).
    """
    hosts = {host.address: host.name for host in cloud.hosts.values()}
    urls = list(urls)
    asked = [place for place in places(urls) if hosts.get(place[0]) in {None, *chosen}]
    bound = cloud.bounds.connect_seconds
    answers = await asyncio.gather(*(_ask(place, bound, trust.ca) for place in asked))
    now = datetime.now(UTC)
    return [
        judge(
            place,
            answer,
            hosts.get(place[0]),
            now=now,
            limits=cloud.limits,
            insecure=trust.insecure,
        )
        for place, answer in zip(asked, answers, strict=True)
    ] + unreadable(urls)


async def _ask(place: Place, bound: float, ca: Path | None) -> Certificate | str:
    try:
        return await on_thread(partial(presented, *place, bound=bound / 2, ca=ca), bound)
    except TimeoutError:
        return f"no answer within {bound:g} s"
    except BackstayError as error:
        return error.came_back
    except (OSError, ValueError) as error:  # no name of a host, or no certificate
        return f"{type(error).__name__}: {error}"


def judge(
    place: Place,
    answer: Certificate | str,
    host: str | None,
    *,
    now: datetime,
    limits: Limits,
    insecure: bool = False,
) -> Finding:
    """Judge one certificate, or the reason why there is none. Pure.

    With ``insecure`` the operator wants no certificate to be checked (OS_INSECURE): what is wrong
    with one is a warning, as its clients are served all the same.
    """
    address = f"{place[0]}:{place[1]}"
    show = command("openssl", "s_client", "-connect", address)
    remedy = f"read it: {show} </dev/null | openssl x509 -text"
    if isinstance(answer, str):
        severity, evidence = Severity.UNKNOWN, f"cannot be read: {answer}"
    else:
        days = (answer.expires - now).total_seconds() / 86400
        severity = limits.certificate_days.severity(days)
        when = f"{answer.expires:%Y-%m-%d %H:%M} UTC"
        evidence = f"expired on {when}" if days < 0 else f"valid until {when}, {days:.0f} days"
        if severity is not Severity.OK:
            remedy = f"renew the certificate of {address}"
        if answer.distrust and severity is not Severity.FAILED:
            severity, evidence = Severity.FAILED, f"not trusted: {answer.distrust}; {evidence}"
        if insecure and severity is Severity.FAILED:
            severity = Severity.WARNING
            evidence += "; not checked, as OS_INSECURE says"
            remedy = "name the authority's certificate with OS_CACERT, and leave OS_INSECURE out"
    return Finding(
        host=host,
        service="TLS",
        subject=f"certificate {address}",
        severity=severity,
        evidence=evidence,
        remedy="" if severity is Severity.OK else remedy,
    )
