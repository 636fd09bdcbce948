"""The choice among the endpoints of a catalogue: by type, interface and region."""

from collections.abc import Mapping, Sequence

from keystoneauth1.access import AccessInfoV3
from os_service_types import ServiceTypes

from backstay.transports import api_errors
from backstay.transports.targets import Endpoint
from backstay.transports.urls import is_web_address

_NO_ADDRESS = "one that is no URL at all"
_PLACEHOLDERS = ("%(", "$(")


class Choice:
    """Which endpoints are asked.

    ``region`` and ``interface`` choose among the catalogue's. The variables may have others for one
    service, or its address, as openstacksdk reads them: ``OS_COMPUTE_ENDPOINT_OVERRIDE``.
    """

    def __init__(self, variables: Mapping[str, str], region: str | None, interface: str) -> None:
        self.region = region
        self.interface = interface
        self._variables = variables
        self._types = ServiceTypes()

    def all_of(self, access: AccessInfoV3) -> Sequence[Endpoint]:
        """Return the catalogue's endpoints that are chosen. Left out is what is no address."""
        return [
            Endpoint(service_type=kind, url=url)
            for service in access.service_catalog.catalog
            for kind, where in [(str(service["type"]), self._where(str(service["type"])))]
            for endpoint in service["endpoints"]
            for url in [self._own(kind, "ENDPOINT_OVERRIDE") or endpoint["url"]]
            if endpoint["interface"].removesuffix("URL") == where[0]
            and where[1] in {None, endpoint.get("region_id"), endpoint.get("region")}
            and is_web_address(url)
        ]

    def one(self, access: AccessInfoV3, service_type: str, attempted: str) -> str:
        """Return the endpoint of a type. Raises ApiFailed; ApiNotAsked for an unknown region."""
        interface, region = self._where(service_type)
        found = self._own(service_type, "ENDPOINT_OVERRIDE") or self._newest(
            access, service_type, interface, region
        )
        if found and any(mark in found for mark in _PLACEHOLDERS):
            raise api_errors.not_filled_in(attempted, found)
        if found and not is_web_address(found):
            raise api_errors.no_address(attempted, found)
        if found:
            return found
        regions = {
            str(endpoint.get("region_id") or endpoint.get("region"))
            for service in access.service_catalog.catalog
            for endpoint in service.get("endpoints", [])
            if self._newest(access, service_type, interface, endpoint.get("region_id"))
        }
        if not regions and not access.project_id:
            scope = "system" if access.system_scoped else "domain"
            raise api_errors.left_out(attempted, service_type, scope)
        if regions and region is not None and not self._knows(access, region):
            raise api_errors.no_region(attempted, service_type, interface, region, regions)
        raise api_errors.no_endpoint(attempted, service_type, interface, region, regions)

    @staticmethod
    def _knows(access: AccessInfoV3, region: str) -> bool:
        """Return whether the catalogue has anything in a region."""
        return any(
            region in {endpoint.get("region_id"), endpoint.get("region")}
            for service in access.service_catalog.catalog
            for endpoint in service.get("endpoints", [])
        )

    def _newest(
        self, access: AccessInfoV3, service_type: str, interface: str, region: str | None
    ) -> str | None:
        """Return the endpoint of that type or, failing that, of its newest alias (volumev3)."""
        try:
            by_type = access.service_catalog.get_endpoints_data(
                service_type=service_type, interface=interface, region_name=region
            )
        except ValueError:  # keystoneauth1 looks for a version in what is no URL
            return _NO_ADDRESS
        newest_first = sorted(by_type, key=lambda known: (known == service_type, known))[::-1]
        for known in newest_first:
            for endpoint in by_type[known]:
                return str(endpoint.catalog_url)
        return None

    def _where(self, service_type: str) -> tuple[str, str | None]:
        own = self._own(service_type, "INTERFACE") or self._own(service_type, "ENDPOINT_TYPE")
        interface = own.removesuffix("URL") or self.interface
        return interface, self._own(service_type, "REGION_NAME") or self.region

    def _own(self, service_type: str, what: str) -> str:
        """Return what the variables say of one service alone, empty where nothing."""
        names = [service_type, *self._types.get_all_types(service_type)]
        keys = [f"OS_{name.upper().replace('-', '_')}_{what}" for name in names]
        return next((self._variables[key] for key in keys if self._variables.get(key)), "")
