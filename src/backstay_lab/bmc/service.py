"""The process that serves the Redfish interfaces of all of a lab's hosts.

One process instead of one for each host: sushy-tools and Flask cost about 40 MB. Every host has
its own listening address, certificate, password file and thread. The library's own server is used
(werkzeug's); of sushy-tools' application only the driver and the authentication are set from here.
"""

import logging
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sushy_tools.emulator import main as emulator
from werkzeug.serving import BaseWSGIServer, ThreadedWSGIServer, WSGIRequestHandler

from backstay_lab.bmc.busy import busy_after_orders
from backstay_lab.bmc.driver import HOST, LabSystems, system_uuid
from backstay_lab.bmc.power import Board
from backstay_lab.bmc.restore_policy import offering_policy
from backstay_lab.layout import busy_bmc_file, restore_policy_file

LOG = logging.getLogger(__name__)

Environment = dict[str, Any]
Wsgi = Callable[[Environment, Callable[..., Any]], Iterable[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where one board answers: an IP address and TCP port, and its files."""

    host: str
    address: str
    port: int
    certificate: Path
    key: Path
    htpasswd: Path


class _Handler(WSGIRequestHandler):
    """Requests with a bound, so that a silent client does not hold a thread forever."""

    timeout = 30

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log method, path and status; headers hold passwords and are never logged."""
        LOG.info("%s %s %s %s", self.client_address[0], self.command, self.path, code)


def serve(
    lab: str, endpoints: Iterable[Endpoint], boards: Mapping[str, Board], settings: Path
) -> list[BaseWSGIServer]:
    """Bind every endpoint and serve it on a thread of its own; return the servers.

    ``boards`` are by host name; ``settings`` is the folder for their settings. Raises OSError
    where an address cannot be bound; nothing is served then.
    """
    emulator.app.config["SUSHY_EMULATOR_FEATURE_SET"] = "full"
    _install_driver(LabSystems(lab, boards, settings))
    servers: list[BaseWSGIServer] = []
    try:
        servers.extend(_bind(lab, endpoint, settings) for endpoint in endpoints)
    except BaseException:
        for server in servers:
            server.server_close()
        raise
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    return servers


def _install_driver(driver: LabSystems) -> None:
    """Make the application use ours: its own choice is fixed to four drivers in the code."""
    type(emulator.app).systems = property(lambda _: driver)


def _bind(lab: str, endpoint: Endpoint, settings: Path) -> BaseWSGIServer:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(endpoint.certificate, endpoint.key)
    whole = offering_policy(
        emulator.app.wsgi_app,
        system_uuid(lab, endpoint.host),
        settings / restore_policy_file(endpoint.host),
    )
    busy = busy_after_orders(whole, settings / busy_bmc_file(endpoint.host))
    guarded = emulator.RedfishAuthMiddleware(busy, str(endpoint.htpasswd))
    server = ThreadedWSGIServer(
        endpoint.address, endpoint.port, _for_host(guarded, endpoint.host), _Handler
    )
    # The handshake is left to the request's thread: in accept() a client that connects and sends
    # nothing would keep everyone else out.
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    server.ssl_context = context
    return server


def _for_host(application: Wsgi, host: str) -> Wsgi:
    """Tell the driver which host's board was asked."""

    def asked(environment: Environment, start_response: Callable[..., Any]) -> Iterable[bytes]:
        environment[HOST] = host
        return application(environment, start_response)

    return asked
