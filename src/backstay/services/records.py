"""Reading lists of an API record by record: one odd object must not hide all the others.

A functional check has to distinguish "the service is broken" from "one object is broken":
https://github.com/openstack-exporter/openstack-exporter/issues/490
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import parse_qs, quote, urlsplit

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

    ``path`` is asked with ``limit`` records a page, 0 where an API gives all of them unless it
    links a next page; ``key`` is the name of the list in the answer. ``noun`` and ``nouns`` are the
    words for one and for several of them.
    """

    service_type: str
    path: str
    key: str
    noun: str
    nouns: str
    limit: int = 200

    def url(self, limit: int) -> str:
        """Return the path with its query for a page of ``limit`` records."""
        if not limit:
            return self.path
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
    whole = Verdict(
        subject=subject, severity=Severity.OK, evidence=_counted(answer, records, listing)
    )
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
    """Return every record of a list, page after page, ``bound`` pages at most.

    Raises what ``api`` raises, and ApiFailed where not all of them can be seen: a part must not be
    taken for the whole. Where a page cannot be asked for because the record before it was deleted
    meanwhile, all are asked for once more.
    """
    try:
        return _all_pages(api, listing, bound)
    except _MarkerGone:
        pass
    try:
        return _all_pages(api, listing, bound)
    except _MarkerGone as error:
        raise error.error from error


class _MarkerGone(Exception):
    """The page after a record was refused; ``error`` is the API's."""

    def __init__(self, error: ApiFailed) -> None:
        super().__init__(str(error))
        self.error = error


def _all_pages(api: Api, listing: Listing, bound: int) -> Records:
    """Return every record. Raises as ``all_records``, and _MarkerGone.

    Pages follow each other by ``marker``, as in
    https://docs.openstack.org/api-ref/compute/#list-servers. A server may give fewer on a page than
    it is asked for, with a link to the next page or without: the end is a page that has none.
    """
    found: dict[str, Record] = {}
    markers: set[str] = {""}
    marker, ended = "", False
    for _ in range(bound):
        page = _ask_page(api, listing, marker)
        new = page.records.keys() - found.keys()
        if page.truncated:
            raise _not_all(listing, "the service leaves out the rest, and says so")
        if not page.records:
            return list(found.values())
        if not new:
            if ended and not page.linked:
                return list(found.values())  # it knows no markers, and had given all of them
            raise _not_all(listing, f"the page after {marker} brings no other {listing.nouns}")
        found |= page.records
        if not page.linked and not listing.limit:
            return list(found.values())
        ended = not page.linked and len(page.records) < listing.limit
        marker = page.next or next(reversed(page.records))
        if marker in markers:
            raise _not_all(listing, f"the pages go round in a circle, by {marker}")
        markers.add(marker)
    raise _not_all(listing, f"there are more than {bound} pages of {listing.nouns}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    """A page's records by their ids. ``next`` is the marker of the next one, if it is linked."""

    records: dict[str, Record]
    linked: bool
    next: str
    truncated: bool


def _ask_page(api: Api, listing: Listing, marker: str) -> _Page:
    path = listing.url(listing.limit)
    if marker:
        path += f"{'&' if '?' in path else '?'}marker={quote(marker, safe='')}"
    try:
        return ask_api(api, listing.service_type, path, lambda answer: _page(answer, listing))
    except ApiFailed as error:
        if marker and error.status in {400, 404}:
            raise _MarkerGone(error) from error
        raise


def _page(answer: Json, listing: Listing) -> _Page:
    """Return a page. An API may give fewer on it than it is asked for, and then links the next one.

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
    link = next_link(whole, listing.key)
    return _Page(
        records=page,
        linked=link is not None,
        next=_marker_of(link or ""),
        truncated=whole.get("truncated") is True,
    )


def next_link(whole: Mapping[str, Any], key: str) -> str | None:
    """Return the link to the next page of a list, None where the answer has none. Pure.

    They stand beside the list (``servers_links``), or in ``next`` or ``links`` as with glance and
    keystone.
    """
    links = whole.get(f"{key}_links")
    for link in links if isinstance(links, list) else ():
        if isinstance(link, Mapping) and link.get("rel") == "next":
            return str(link.get("href") or "")
    beside = whole.get("links")
    for found in (whole.get("next"), beside.get("next") if isinstance(beside, Mapping) else None):
        if found:
            return str(found)
    return None


def check_whole(answer: Json, key: str) -> None:
    """Raise BadAnswer where a list that has no pages says that it is a part. Pure."""
    if isinstance(answer, Mapping):
        if next_link(answer, key) is not None:
            raise BadAnswer(f"could not see all {key}: the answer is the first page of several")
        if answer.get("truncated") is True:
            raise BadAnswer(f"could not see all {key}: the service leaves out the rest")


def _marker_of(link: str) -> str:
    """Return the marker of a link, empty where it has none; its address is not used. Pure."""
    try:
        return parse_qs(urlsplit(link).query).get("marker", [""])[0]
    except ValueError:
        return ""


def _not_all(listing: Listing, why: str) -> ApiFailed:
    return ApiFailed(
        f"GET {listing.path.partition('?')[0]} of {listing.service_type}",
        came_back=f"could not see all {listing.nouns}: {why}",
        remedy="see what answers there: openstack catalog list; look at the log of that service",
        status=None,
    )


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
    check_whole(answer, "services")
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


def _counted(whole: Mapping[str, Any], records: Sequence[object], listing: Listing) -> str:
    cut = next_link(whole, listing.key) is not None or whole.get("truncated") is True
    more = " or more" if cut or len(records) >= listing.limit else ""
    return f"{len(records)}{more} {listing.noun if len(records) == 1 else listing.nouns}"
