"""Services that apprise sends to and that were taken over: bounded in size, in time, in reach."""

import asyncio
import time

import pytest
import requests

from backstay.errors import ChannelFailed
from backstay.transports.apprise_channel import send_apprise
from tests.hostile import http as hostile
from tests.hostile import memory
from tests.hostile.http import HostileServer, hostile_server, redirects, sends

SECRET = "s3cret-password"


def address(server: HostileServer) -> str:
    place = server.url.partition("://")[2]
    return f"json://{place}/{SECRET}?+X-Key={SECRET}&redirect=yes"


def send(server: HostileServer, bound: float = 10.0) -> None:
    asyncio.run(send_apprise(address(server), title="t", text="x", bound=bound))


_SEND = """
import asyncio, sys
from backstay.errors import ChannelFailed
from backstay.transports.apprise_channel import load_apprise, send_apprise
async def main():
    await load_apprise()
    measured()
    try: await send_apprise(sys.argv[1], title="t", text="x", bound=10)
    except ChannelFailed as error: print(error)
asyncio.run(main())
"""


@pytest.mark.parametrize(
    "behaviour", [hostile.endless_body, hostile.endless_chunks, hostile.gzip_bomb]
)
def test_an_answer_without_end_takes_no_memory(behaviour: hostile.Behaviour) -> None:
    with hostile_server(behaviour) as server:
        ran = memory.run(_SEND, address(server))
    assert "is longer than 8.0 MiB" in ran.output
    assert SECRET not in ran.output
    assert ran.grew < 90, ran


def test_a_slow_answer_is_left_at_the_bound_and_its_connection_is_ended() -> None:
    with hostile_server(hostile.slow_drip) as server:
        started = time.monotonic()
        with pytest.raises(ChannelFailed):
            send(server, bound=0.5)
        assert time.monotonic() - started < 20, "the first time apprise is read from the disk"
        assert server.dropped.wait(5)


@pytest.mark.parametrize("status", [302, 307, 308])
def test_what_is_sent_is_not_led_to_another_server(status: int) -> None:
    with (
        hostile_server(sends(b"ok")) as other,
        hostile_server(redirects(f"{other.url}/x", status)) as server,
    ):
        with pytest.raises(ChannelFailed, match="which was not asked") as caught:
            send(server)
        assert other.seen == []
    assert SECRET not in str(caught.value)


def test_a_redirect_is_no_success_unless_the_address_asks_for_it() -> None:
    with hostile_server(redirects("/there", 302)) as server:
        server.answers["/there"] = sends(b"ok")
        place = server.url.partition("://")[2]
        with pytest.raises(ChannelFailed):
            asyncio.run(send_apprise(f"json://{place}/", title="t", text="x", bound=5))
        asyncio.run(send_apprise(f"json://{place}/?redirect=yes", title="t", text="x", bound=5))


def test_everybody_else_has_requests_as_it_is() -> None:
    with hostile_server(sends(b"ok")) as server:
        send(server)
        made = requests.Session()
        assert type(made.get_adapter(server.url)) is requests.adapters.HTTPAdapter
        assert requests.post(server.url, timeout=5).text == "ok"
