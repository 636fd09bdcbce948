"""The broker that a service uses, from its own configuration on its host. Python 3.6.

Shipped to hosts as text. What it returns holds passwords: it stays on the host, and is given to
``amqp`` there. The forms are oslo.messaging's:
https://docs.openstack.org/oslo.messaging/latest/reference/transport.html
"""

import os
from typing import Any
from urllib.parse import parse_qs, unquote

from backstay.services.oslo import lookup, parsed, read_order, running

PORT = 5672
SECTION = "oslo_messaging_rabbit"
# The option, and what it was called before: https://docs.openstack.org/oslo.messaging/latest/configuration/opts.html
TLS_OPTIONS = (
    ("ssl", "rabbit_use_ssl"),
    ("ssl_ca_file", "kombu_ssl_ca_certs"),
    ("ssl_cert_file", "kombu_ssl_certfile"),
    ("ssl_key_file", "kombu_ssl_keyfile"),
    ("ssl_enforce_hostname_verification", ""),
    ("ssl_server_hostname", ""),
)
TRUE = ("1", "true", "yes", "on")


def transport_of(project: str, program: str, files: list[str]) -> dict[str, Any]:
    """Return the transport of a program: ``brokers``, ``vhost``, ``tls``, and where it is set.

    Read as oslo.config does: see ``oslo.setting``. ``trouble`` says why there is none.
    """
    process = running(program) if program else None
    path = files[0] if files else ""
    contents = []
    try:
        for path in read_order(project, program, files, process):
            if os.path.exists(path):  # noqa: PTH110 - as short
                contents.append((path, parsed(path)))
    except Exception as error:  # whatever a parser of a file does
        return {"config": path, "trouble": type(error).__name__ + ": cannot be read"}
    url, where = lookup(contents, process, "DEFAULT", "transport_url")
    where = where or (contents[-1][0] if contents else path)
    options = {}
    for option, former in TLS_OPTIONS:
        for name in (former, option):
            value, _ = lookup(contents, process, SECTION, name) if name else (None, "")
            if value is not None:
                options[option] = value
    if not url:
        return {"config": where, "trouble": "transport_url is not set"}
    try:
        return dict(parsed_transport(url.strip(), options), config=where)
    except ValueError:
        # The error's text may hold the URL.
        return {"config": where, "trouble": "transport_url is not of the form that it must have"}


def parsed_transport(url: str, options: dict[str, str]) -> dict[str, Any]:
    """Return brokers, virtual host and TLS of a URL; ``options`` are what the files say of TLS.

    ``rabbit://user:password@host:port[,user:password@host:port]/vhost?ssl=1``. What stands in the
    query wins over the files. Raises ValueError.
    """
    scheme, found, rest = url.partition("://")
    if not found:
        raise ValueError("no scheme")
    if scheme.replace("kombu+", "") != "rabbit":
        return {"trouble": "its transport is not RabbitMQ's: " + scheme[:20]}
    rest, _, query = rest.partition("#")[0].partition("?")
    places, _, path = rest.partition("/")
    options = dict(options)
    for name, values in parse_qs(query).items():
        options[name] = ",".join(values)
    brokers = []
    for place in places.split(","):
        if not place:
            continue
        who, _, where = place.rpartition("@")
        user, _, password = who.partition(":")
        host, port = where, ""
        if where.startswith("["):
            host, _, port = where[1:].partition("]")
            port = port.lstrip(":")
        elif ":" in where:
            host, _, port = where.partition(":")
        # What kombu takes where nothing is said.
        brokers.append(
            {
                "host": host or "localhost",
                "port": int(port or PORT),
                "user": unquote(user) or "guest",
                "password": unquote(password) or "guest",
            }
        )
    if not brokers:
        raise ValueError("no host")
    tls = None
    if options.get("ssl", "").lower() in TRUE:
        name = ""
        if options.get("ssl_enforce_hostname_verification", "").lower() in TRUE:
            name = options.get("ssl_server_hostname", "")
        tls = {
            "ca": options.get("ssl_ca_file", ""),
            "cert": options.get("ssl_cert_file", ""),
            "key": options.get("ssl_key_file", ""),
            "name": name,
        }
    return {"brokers": brokers, "vhost": unquote(path) or "/", "tls": tls}
