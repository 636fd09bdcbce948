"""Reading lists of an API record by record: one odd object must not hide all the others.

A functional check has to distinguish "the service is broken" from "one object is broken":
https://github.com/openstack-exporter/openstack-exporter/issues/490
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import quote

from backstay.answers import BadAnswer, Line, clean, convert, is_uuid
from backstay.commands import command
from backstay.errors import ApiFailed
from backstay.finding import Severity
from backstay.jsondata import Json
from backstay.services.declaration import Agent, Api, Verdict

T = TypeVar("T")
Record = Mapping[str, Any]
"""A record of an API's list, of which only the id is known to be a text."""
Records = Sequence[Record]


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


def ask_api(
    api: Api, service_type: str, path: str, read: Callable[[Json], T], *, microversion: str = ""
) -> T:
    """Return what ``read`` makes of the decoded answer of ``GET path``.

    ``microversion`` (``compute 2.11``) is left out where the API does not know it. Raises what
    ``api`` raises, and ApiFailed where ``read`` raises BadAnswer.
    https://docs.openstack.org/api-guide/compute/microversions.html
    """
    if microversion:
        try:
            answer = api.get(service_type, path, {"OpenStack-API-Version": microversion})
        except ApiFailed as error:
            if error.status not in {400, 406}:
                raise
            answer = api.get(service_type, path)
    else:
        answer = api.get(service_type, path)
    try:
        return read(answer)
    except BadAnswer as error:
        raise unreadable(service_type, path, error) from error


def ask_records(api: Api, listing: Listing, read: Callable[[Records], T]) -> T:
    """Return what ``read`` makes of every record of a list. Raises as ``ask_api``."""
    records = all_records(api, listing)
    try:
        return read(records)
    except BadAnswer as error:
        raise unreadable(listing.service_type, listing.path, error) from error


def all_records(api: Api, listing: Listing, bound: int = 1000) -> Records:
    """Return every record of a list, page after page of ``limit``, ``bound`` pages at most.

    Pages follow each other by ``marker``, as in
    https://docs.openstack.org/api-ref/compute/#list-servers. Raises what ``api`` raises, and
    ApiFailed where not all of them can be read: a part must not be taken for the whole.
    """
    found: dict[str, Record] = {}
    marker = ""
    for _ in range(bound):
        page, more = ask_api(
            api,
            listing.service_type,
            listing.url(listing.limit) + (f"&marker={quote(marker, safe='')}" if marker else ""),
            lambda answer: _page(answer, listing),
        )
        before = len(found)
        found |= page
        if not more:
            return list(found.values())
        if len(found) == before:
            error = BadAnswer(f"the page after {marker} brings no other {listing.nouns}")
            raise unreadable(listing.service_type, listing.path, error)
        marker = next(reversed(page))
    error = BadAnswer(f"more than {bound} pages of {listing.nouns}")
    raise unreadable(listing.service_type, listing.path, error)


def _page(answer: Json, listing: Listing) -> tuple[dict[str, Record], bool]:
    """Return the records of a page by their ids, and whether others follow.

    An API may give fewer on a page than it is asked for, and then links the next one:
    https://docs.openstack.org/api-guide/compute/paginated_collections.html
    """
    whole = convert(dict[str, Any], answer)
    records = convert(list[dict[str, Any]], whole.get(listing.key))
    page: dict[str, Record] = {}
    for record in records:
        identity = record.get("id")
        if not isinstance(identity, str) or not identity:
            raise BadAnswer(f"a {listing.noun} without an id")
        page[identity] = record
    links = whole.get(f"{listing.key}_links")
    linked = isinstance(links, list) and any(
        isinstance(link, Mapping) and link.get("rel") == "next" for link in links
    )
    return page, bool(page) and (linked or bool(whole.get("next")) or len(page) >= listing.limit)


def unreadable(service_type: str, path: str, error: BadAnswer, *, method: str = "GET") -> ApiFailed:
    """Return the error for an answer that is not what an API of this type answers."""
    return ApiFailed(
        f"{method} {path.partition('?')[0]} of {service_type}",
        came_back=f"could not read the answer: {error}",
        remedy="see what answers there: openstack catalog list; look at the log of that service",
        status=None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRecord:
    """A record of ``/os-services``, of which only this is used."""

    binary: Line
    host: Line
    state: Line | None = None
    status: Line | None = None
    updated_at: Line | None = None
    disabled_reason: Line | None = None
    forced_down: bool | None = None
    """Nova has it from microversion 2.11 on."""


Activate = Callable[[ServiceRecord], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicesAnswer:
    """The answer of ``/os-services``."""

    services: tuple[ServiceRecord, ...]


def read_services(
    answer: Json, *, interval: float, down_after: float, activate: Activate
) -> Sequence[Agent]:
    """Turn the decoded answer of ``/os-services`` into agents. Pure. Raises BadAnswer.

    ``interval`` and ``down_after`` are in seconds: how often they report, and when the API calls
    them down. ``activate`` returns the command that puts one back into service. A back end's name
    stands behind the host's: ``controller@ceph``.
    """
    return [
        Agent(
            binary=record.binary,
            host=record.host.partition("@")[0],
            server=record.host,
            up=record.state == "up",
            enabled=record.status == "enabled",
            heartbeat=as_time(record.updated_at),
            interval=interval,
            down_after=down_after,
            note=record.disabled_reason or "",
            forced_down=record.forced_down is True,
            activate=activate(record),
        )
        for record in convert(ServicesAnswer, answer).services
    ]


def as_time(given: object) -> datetime | None:
    """Return an API's time, which is UTC whether it says so or not, as an aware datetime.

    None where it is not a time.
    """
    if not isinstance(given, str):
        return None
    try:
        read = datetime.fromisoformat(given)
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _judge_record(record: object, listing: Listing, anomalies: Anomalies) -> list[Verdict]:
    if not isinstance(record, Mapping) or not isinstance(record.get("id", record.get("uuid")), str):
        what = ["is not a record with an id"]
        name = f"{listing.noun} without id"
        look = command("openstack", *listing.noun.split(), "list")
    else:
        what = list(anomalies(record))
        identity = str(record.get("id", record.get("uuid")))
        name = f"{listing.noun} {clean(identity, longest=80)}"
        # What is no UUID could be an option of the command as well.
        which = ("show", identity) if is_uuid(identity) else ("list",)
        look = command("openstack", *listing.noun.split(), *which)
    if not what:
        return []
    return [
        Verdict(
            subject=name,
            severity=Severity.WARNING,
            evidence=clean(f"odd record: {'; '.join(what)}", longest=500),
            remedy=f"the service itself answers; look at this one: {look}",
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
        remedy="find it by asking page by page: "
        + command("openstack", "--debug", *listing.noun.split(), "list", "--limit", "1"),
    )


def _counted(records: Sequence[object], listing: Listing) -> str:
    more = " or more" if len(records) >= listing.limit else ""
    return f"{len(records)}{more} {listing.noun if len(records) == 1 else listing.nouns}"
