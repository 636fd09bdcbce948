"""Reading lists of an API record by record: one odd object must not hide all the others.

A functional check has to distinguish "the service is broken" from "one object is broken":
https://github.com/openstack-exporter/openstack-exporter/issues/490
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from backstay.errors import ApiFailed
from backstay.finding import Severity
from backstay.services.declaration import Agent, Api, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A list to ask an API for.

    ``path`` is asked with ``limit`` records a page; ``key`` is the name of the list in the
    answer. ``noun`` and ``nouns`` are the words for one and for several of them.
    """

    service_type: str
    path: str
    key: str
    noun: str
    nouns: str
    limit: int = 200

    def url(self, limit: int) -> str:
        """Return the path with its query for a page of ``limit`` records."""
        return f"{self.path}{'&' if '?' in self.path else '?'}limit={limit}"


Anomalies = Callable[[Mapping[str, Any]], Sequence[str]]


def nothing_odd(_record: Mapping[str, Any]) -> Sequence[str]:
    """Return nothing: a record needs no more than an id."""
    return ()


def ask_list(api: Api, listing: Listing, anomalies: Anomalies = nothing_odd) -> list[Verdict]:
    """Ask for one page and judge it: one verdict for the list, one for each odd record.

    Raises what ``api`` raises, unless a page of one record is answered: then the list is
    broken, and the verdict reports that.
    """
    try:
        answer = api.get(listing.service_type, listing.url(listing.limit))
    except ApiFailed as error:
        if error.status is None or error.status < 500 or not _one_answers(api, listing):
            raise
        return [_list_breaks(listing, error)]
    return judge_list(answer, listing, anomalies)


def judge_list(
    answer: Any,  # noqa: ANN401 - whatever the API sent
    listing: Listing,
    anomalies: Anomalies = nothing_odd,
) -> list[Verdict]:
    """Judge the decoded answer of one page. Pure."""
    subject = f"{listing.noun} list"
    records = answer.get(listing.key) if isinstance(answer, Mapping) else None
    if not isinstance(records, list):
        evidence = f"the answer holds no list `{listing.key}`"
        remedy = "see whether the endpoint in the catalogue is this service's"
        return [
            Verdict(subject=subject, severity=Severity.FAILED, evidence=evidence, remedy=remedy)
        ]
    odd = [verdict for record in records for verdict in _judge_record(record, listing, anomalies)]
    whole = Verdict(subject=subject, severity=Severity.OK, evidence=_counted(records, listing))
    return [whole, *odd]


def all_records(api: Api, listing: Listing, bound: int = 200) -> list[Mapping[str, Any]]:
    """Return every record of a list, page after page of ``limit``, ``bound`` pages at most.

    Pages follow each other by ``marker``, as in
    https://docs.openstack.org/api-ref/compute/#list-servers. Raises what ``api`` raises.
    """
    found: list[Mapping[str, Any]] = []
    for _ in range(bound):
        marker = f"&marker={found[-1]['id']}" if found else ""
        page = api.get(listing.service_type, listing.url(listing.limit) + marker)[listing.key]
        found += page
        if len(page) < listing.limit:
            break
    return found


def read_services(
    answer: Mapping[str, Any], *, interval: float, down_after: float
) -> Sequence[Agent]:
    """Turn the decoded answer of ``/os-services`` into agents. Pure.

    ``interval`` and ``down_after`` are in seconds: how often they report, and when the API calls
    them down. A back end's name stands behind the host's: ``controller@ceph``.
    """
    return [
        Agent(
            binary=str(record["binary"]),
            host=str(record["host"]).partition("@")[0],
            server=str(record["host"]),
            up=record.get("state") == "up",
            enabled=record.get("status") == "enabled",
            heartbeat=as_time(record.get("updated_at")),
            interval=interval,
            down_after=down_after,
            note=str(record.get("disabled_reason") or ""),
        )
        for record in answer["services"]
    ]


def as_time(given: object) -> datetime | None:
    """Return an API's time, which is UTC whether it says so or not, as an aware datetime.

    None where it is not a time.
    """
    if not isinstance(given, str):
        return None
    try:
        read = datetime.fromisoformat(given)
    except ValueError:
        return None
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)


def _judge_record(record: object, listing: Listing, anomalies: Anomalies) -> list[Verdict]:
    if not isinstance(record, Mapping) or not isinstance(record.get("id", record.get("uuid")), str):
        what = ["is not a record with an id"]
        name = f"{listing.noun} without id"
    else:
        what = list(anomalies(record))
        name = f"{listing.noun} {record.get('id', record.get('uuid'))}"
    if not what:
        return []
    return [
        Verdict(
            subject=name,
            severity=Severity.WARNING,
            evidence=f"odd record: {'; '.join(what)}",
            remedy="the service itself answers; look at this one: "
            f"openstack {name.replace(' ', ' show ', 1)}",
        )
    ]


def _one_answers(api: Api, listing: Listing) -> bool:
    try:
        answer = api.get(listing.service_type, listing.url(1))
    except ApiFailed:
        return False
    return isinstance(answer, Mapping) and isinstance(answer.get(listing.key), list)


def _list_breaks(listing: Listing, error: ApiFailed) -> Verdict:
    return Verdict(
        subject=f"{listing.noun} list",
        severity=Severity.FAILED,
        evidence=(
            f"a page of {listing.limit} brings {error.came_back}, a page of one is answered: "
            f"the service runs and one of its {listing.nouns} is broken"
        ),
        remedy=f"find it by asking page by page: openstack --debug {listing.noun} list --limit 1",
    )


def _counted(records: Sequence[object], listing: Listing) -> str:
    more = " or more" if len(records) >= listing.limit else ""
    return f"{len(records)}{more} {listing.noun if len(records) == 1 else listing.nouns}"
