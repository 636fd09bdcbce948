"""APIs, BMCs, hooks and webhooks that were taken over: bounded in size, in time, and in reach."""

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from backstay.errors import (
    ApiError,
    ApiFailed,
    ApiUnreachable,
    BackstayError,
    ChannelFailed,
    HookFailed,
    PowerError,
)
from backstay.transports import power
from backstay.transports.bounded_http import may_lead
from backstay.transports.hook import call_url
from backstay.transports.openstack import OpenStackApi
from backstay.transports.redfish import Redfish
from backstay.transports.targets import BmcTarget
from backstay.transports.webhook import post_json
from tests.hostile import http as hostile
from tests.hostile import memory
from tests.hostile.http import Behaviour, HostileServer, hostile_server, redirects, says, sends
from tests.transports.misbehaving_api import catalogue, token

SECRET = "s3cret-password"
ADMIN_TOKEN = "the-admins-token"


def gives_a_token(request: hostile.Request) -> None:
    document = token(catalogue(request.server.url))
    says(document, 201, X_Subject_Token=ADMIN_TOKEN)(request)


def api(server: HostileServer, *, bound: float = 5.0, **others: str) -> OpenStackApi:
    server.answers.setdefault("/v3/auth/tokens", gives_a_token)
    variables = {
        "OS_AUTH_URL": f"{server.url}/v3",
        "OS_USERNAME": "admin",
        "OS_PASSWORD": SECRET,
        "OS_PROJECT_NAME": "ops",
        "OS_REGION_NAME": "RegionOne",
    }
    return OpenStackApi(variables | others, bound=bound)


def bmc(server: HostileServer, **paths: Behaviour) -> Redfish:
    server.answers.update(paths)
    target = BmcTarget(name="controller", url=server.url, username="admin", password=SECRET)
    return Redfish(target)


def refusal(of: type[BackstayError], ask: Callable[[], object]) -> BackstayError:
    with pytest.raises(of) as caught:
        ask()
    assert SECRET not in f"{caught.value} {caught.value.remedy}"
    assert caught.value.came_back.isprintable()
    assert len(str(caught.value)) < 1000
    return caught.value


# Size: measured from outside, in a process of its own.

_ASK = """
import asyncio, sys, time
from backstay.errors import BackstayError
from backstay.transports import bounded_http
url, what = sys.argv[1:]
import backstay.transports.openstack, backstay.transports.redfish, backstay.transports.webhook
from backstay.transports.targets import BmcTarget
import requests
def api():
    from tests.hostile.test_http import OpenStackApi
    variables = {"OS_AUTH_URL": url + "/v3", "OS_USERNAME": "admin", "OS_PASSWORD": "x",
                 "OS_PROJECT_NAME": "ops", "OS_REGION_NAME": "RegionOne"}
    return OpenStackApi(variables, bound=10)
def ask():
    if what == "api": return api().get("image", "/v2/images")
    if what == "token": return api().authenticate()
    if what == "bmc":
        target = BmcTarget(name="c", url=url, username="admin", password="x")
        return asyncio.run(backstay.transports.redfish.Redfish(target).state(bound=10))
    if what == "webhook":
        return asyncio.run(backstay.transports.webhook.post_json(url, {}, headers={}, bound=10))
    from backstay.transports.hook import call_url
    return asyncio.run(call_url(url, {}, bound=10))
def attempt():
    try: print("ANSWERED", ask())
    except BackstayError as error: print(type(error).__name__, error)
from tests.hostile.http import hostile_server, says
measured()
attempt()
time.sleep(1.0)  # what is left behind reads on, if anything is
"""


BY_SIZE = {
    hostile.endless_body,
    hostile.endless_error_page,
    hostile.endless_chunks,
    hostile.endless_trailers,
    hostile.gzip_bomb,
    hostile.deflate_bomb,
    hostile.nested_bomb,
}


@pytest.mark.parametrize(
    ("what", "behaviour"),
    [
        *((what, one) for what in ("api", "bmc") for one in hostile.ENDLESS),
        *((what, one) for what in ("token", "hook", "webhook") for one in hostile.ENDLESS[::5]),
    ],
)
def test_an_answer_without_end_takes_no_memory(what, behaviour):
    with hostile_server(behaviour) as server:
        if what == "api":
            server.answers["/v3/auth/tokens"] = gives_a_token
        started = time.monotonic()
        ran = memory.run(_ASK, server.url, what)
        assert "ANSWERED" not in ran.output
        assert ran.grew < 90, ran
        assert time.monotonic() - started < 60
        if behaviour in BY_SIZE:
            assert "is longer than 8.0 MiB" in ran.output


_LEFT_BEHIND = """
import asyncio, sys, time
import backstay.transports.webhook as webhook
from backstay.errors import ChannelFailed
from backstay.transports import limits
limits.BODY = limits.HEADERS = 1 << 40
async def main():
    try: await webhook.post_json(sys.argv[1], {}, headers={}, bound=0.5)
    except ChannelFailed as error: print(error)
    measured()
    await asyncio.sleep(3)
asyncio.run(main())
"""


def test_a_thread_that_is_left_behind_reads_no_more():
    with hostile_server(hostile.endless_body) as server:
        ran = memory.run(_LEFT_BEHIND, server.url)
        assert "no answer within 0.5 s" in ran.output
        assert server.dropped.wait(10)
        assert ran.grew < 500


def test_a_thread_that_is_left_behind_ends():
    async def story() -> None:
        before = set(threading.enumerate())
        with pytest.raises(ChannelFailed, match=r"no answer within 0.3 s"):
            await post_json(server.url, {}, headers={}, bound=0.3)
        left = set(threading.enumerate()) - before
        for _ in range(100):
            ours = [one for one in left if one.is_alive() and "work" in one.name]
            if not ours:
                return
            await asyncio.sleep(0.1)
        raise AssertionError(ours)

    with hostile_server(hostile.slow_drip) as server:
        asyncio.run(story())


# Time.


@pytest.mark.parametrize("behaviour", hostile.SLOW)
def test_a_slow_api_is_left_at_the_bound(behaviour):
    with hostile_server(behaviour) as server:
        asked = api(server, bound=1.0)
        started = time.monotonic()
        error = refusal(ApiUnreachable, lambda: asked.get("image", "/v2/images"))
        assert "no complete answer within 1 s" in error.came_back
        assert time.monotonic() - started < 10


@pytest.mark.parametrize("behaviour", hostile.SLOW)
def test_a_slow_bmc_is_left_at_the_bound(behaviour):
    with hostile_server(behaviour) as server:
        refusal(PowerError, lambda: asyncio.run(bmc(server).state(bound=1.0)))
        assert server.dropped.wait(20), "the connection was closed, too"


# Form.


@pytest.mark.parametrize("behaviour", hostile.WRONG)
def test_a_wrong_answer_of_an_api_is_that_api_s_error(behaviour):
    with hostile_server(behaviour) as server:
        refusal(ApiError, lambda: api(server).get("image", "/v2/images"))


@pytest.mark.parametrize("behaviour", hostile.WRONG)
def test_a_wrong_answer_of_keystone_is_an_error(behaviour):
    with hostile_server(behaviour) as server:
        server.answers["/v3/auth/tokens"] = behaviour
        asked = api(server)
        refusal(ApiError, asked.authenticate)
        refusal(ApiError, lambda: asked.get("image", "/v2/images"))
        refusal(ApiError, asked.endpoints)


def mutated(change: Callable[[dict[str, Any]], object]) -> Behaviour:
    def answer(request: hostile.Request) -> None:
        document = token(catalogue(request.server.url))
        changed = change(document["token"])
        says(document if changed is None else changed, 201, X_Subject_Token=ADMIN_TOKEN)(request)

    return answer


@pytest.mark.parametrize(
    "change",
    [
        lambda token: [],
        lambda token: "x",
        lambda token: {"token": None},
        lambda token: {"token": []},
        lambda token: token.update(catalog="x"),
        lambda token: token.update(catalog=[None]),
        lambda token: token.update(catalog={"a": 1}),
        lambda token: token["catalog"][0].update(endpoints=None),
        lambda token: token["catalog"][0].update(endpoints=[[]]),
        lambda token: token["catalog"][0].update(type=["x"]),
        lambda token: token["catalog"][0]["endpoints"][0].update(url=1),
        lambda token: token["catalog"][0]["endpoints"][0].update(region_id={}),
        lambda token: token.update(expires_at="tomorrow"),
        lambda token: token.update(expires_at=5),
        lambda token: token.update(user=None),
        lambda token: token.update(user={"id": 1, "name": []}),
        lambda token: token.update(roles="admin"),
        lambda token: token.update(roles=[1]),
        lambda token: token.update(project=[]),
    ],
)
def test_a_token_of_another_form_is_an_error(change):
    with hostile_server(says({"images": []})) as server:
        server.answers["/v3/auth/tokens"] = mutated(change)
        asked = api(server)
        for ask in (
            asked.authenticate,
            asked.endpoints,
            lambda: asked.get("image", "/v2/images"),
            lambda: asked.pass_for("image", "/v2/images"),
        ):
            error = refusal(ApiFailed, ask)
            assert "not of the expected form" in error.came_back or "JSON" in error.came_back


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:99999",
        "http://127.0.0.1:0",
        "http://127.0.0.1:-1",
        "http://127.0.0.1:x",
        "http://höst:9292",
        "http://127.0.0.1:9292/bücher",
        "http://[::1",
        "http://",
        "ftp://127.0.0.1/",
        "//127.0.0.1/",
        "no address",
        "http://127.0.0.1:9292/a b",
        "http://127.0.0.1:9292/\r\nX: y",
        "",
    ],
)
def test_an_endpoint_that_is_no_address_is_that_api_s_error(url):
    def change(document: dict[str, Any]) -> None:
        for service in document["catalog"]:
            if service["type"] == "image":
                for endpoint in service["endpoints"]:
                    endpoint["url"] = url

    with hostile_server(says({"images": []})) as server:
        server.answers["/v3/auth/tokens"] = mutated(change)
        asked = api(server)
        for ask in (
            lambda: asked.get("image", "/v2/images"),
            lambda: asked.pass_for("image", "/v2/images"),
        ):
            error = refusal(ApiFailed, ask)
            assert "an endpoint that is no address" in error.came_back or not url
        assert "image" not in {endpoint.service_type for endpoint in asked.endpoints()}
        assert asked.get("identity", "/v3/users") == {"images": []}, "the others are asked"


SYSTEM = {
    "@odata.id": "/redfish/v1/Systems/1",
    "Id": "1",
    "Name": "1",
    "PowerState": "On",
    "Actions": {"#ComputerSystem.Reset": {"target": "/redfish/v1/Systems/1/Reset"}},
}
ROOT = {
    "Id": "R",
    "Name": "R",
    "RedfishVersion": "1.6.0",
    "Systems": {"@odata.id": "/redfish/v1/Systems"},
}
SYSTEMS = {"Name": "S", "Members": [{"@odata.id": "/redfish/v1/Systems/1"}]}
PATHS = {
    "/redfish/v1/": says(ROOT),
    "/redfish/v1/Systems": says(SYSTEMS),
    "/redfish/v1/Systems/1": says(SYSTEM),
}


@pytest.mark.parametrize("behaviour", hostile.WRONG)
@pytest.mark.parametrize("path", PATHS)
def test_a_wrong_answer_of_a_bmc_is_an_error(behaviour, path):
    with hostile_server(behaviour) as server:
        board = bmc(server, **PATHS | {path: behaviour})
        refusal(PowerError, lambda: asyncio.run(board.state(bound=10)))


ODD: list[Any] = [None, [], {}, "x", 7, True, [None], {"Members": 1}, {"PowerState": []}]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("document", ODD)
def test_an_answer_of_another_form_is_no_power(path, document):
    with hostile_server(says({}, 404)) as server:
        board = bmc(server, **PATHS | {path: says(document)})
        for ask in (board.state, board.off, board.cycle):
            refusal(PowerError, lambda ask=ask: asyncio.run(ask()))  # type: ignore[misc]
        missed = asyncio.run(board.keep_off())
        assert missed
        assert all(isinstance(one, str) for one in missed)


@pytest.mark.parametrize("value", [*ODD, "Sideways"])
def test_a_power_state_that_is_none_is_not_known(value):
    with hostile_server(says({}, 404)) as server:
        system = says(SYSTEM | {"PowerState": value})
        board = bmc(server, **PATHS | {"/redfish/v1/Systems/1": system})
        with contextlib.suppress(PowerError):
            assert asyncio.run(board.state()) is None


# Reach: what is a secret goes to the server that was named, and nowhere else.


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["get", "post", "delete"])
def test_the_token_follows_no_redirect(status, method):
    with hostile_server(says({"images": []})) as other:
        with hostile_server(redirects(f"{other.url}/steal*", status)) as server:
            asked = api(server)
            asks = {
                "get": lambda: asked.get("image", "/v2/images"),
                "post": lambda: asked.post("image", "/v2/images", {}),
                "delete": lambda: asked.delete("image", "/v2/images/1"),
            }
            error = refusal(ApiFailed, asks[method])
            assert f"redirected to {other.url}" in error.came_back
            assert "/steal" not in error.came_back
        assert other.seen == []


def test_the_password_follows_no_redirect_of_keystone():
    with hostile_server(gives_a_token) as other, hostile_server(says({})) as server:
        server.answers["/v3/auth/tokens"] = redirects(f"{other.url}/v3/auth/tokens", 307)
        error = refusal(ApiFailed, api(server).authenticate)
        assert f"redirected to {other.url}" in error.came_back
        assert other.seen == []


def test_a_redirect_on_the_same_server_is_followed():
    with hostile_server(redirects("/v2/images/")) as server:
        server.answers["/v2/images/"] = says({"images": [1]})
        assert api(server).get("image", "/v2/images") == {"images": [1]}


def test_where_a_redirect_may_lead():
    asked = "http://api:8774/v2"
    for to in ("/v3", "http://api:8774/", "http://API:8774/x", "https://api/", "https://api:8774/"):
        assert may_lead(asked, to), to
    for to in (
        "http://other:8774/",
        "//other:8774/",
        "http://api:8775/",
        "http://api/",
        "https://api.evil.example/",
        "https://api@evil.example/",
        "ftp://api:8774/",
        "http://[",
        "http://api:99999/",
    ):
        assert not may_lead(asked, to), to
    assert not may_lead("https://api:8774/", "http://api:8774/"), "never into the clear"
    assert may_lead("https://api/", "https://api:443/x")


@pytest.mark.parametrize("how", ["redirect", "link", "root", "action"])
def test_the_password_of_a_bmc_goes_to_no_other_server(how, monkeypatch):
    # Bad answers of a BMC are moments without one: it is asked again for so long.
    monkeypatch.setattr(power, "ASK_BOUND", 0.5)
    monkeypatch.setattr(power, "OFF_BOUND", 1.0)
    with hostile_server(says(SYSTEM)) as other, hostile_server(says({}, 404)) as server:
        paths = dict(PATHS)
        away = f"{other.url}/redfish/v1/Systems/1"
        if how == "redirect":
            paths["/redfish/v1/Systems/1"] = redirects(away)
        elif how == "link":
            members = {"Name": "S", "Members": [{"@odata.id": away}]}
            paths["/redfish/v1/Systems"] = says(members)
        elif how == "root":
            paths["/redfish/v1/"] = says(ROOT | {"Systems": {"@odata.id": away}})
        else:
            actions = {"#ComputerSystem.Reset": {"target": f"{other.url}/reset"}}
            paths["/redfish/v1/Systems/1"] = says(SYSTEM | {"Actions": actions})
        board = bmc(server, **paths)
        error = refusal(PowerError, lambda: asyncio.run(board.off()))
        assert f"leads to {other.url}" in error.came_back
        assert other.seen == []


def test_a_hook_is_not_led_to_another_server():
    with hostile_server(sends(b"ok")) as other:
        with hostile_server(redirects(f"{other.url}/x", 307)) as server:
            error = refusal(HookFailed, lambda: asyncio.run(call_url(server.url, {}, bound=5)))
            assert f"it redirects to {other.url}" in error.came_back
        assert other.seen == []
    with hostile_server(redirects("/there", 307)) as server:
        server.answers["/there"] = sends(b"first\nok\n\n")
        assert asyncio.run(call_url(server.url, {"a": 1}, bound=5)) == "ok"
        assert json.loads(server.seen[-1].body) == {"a": 1}


def test_a_webhook_is_not_led_to_another_server():
    with (
        hostile_server(sends(b"ok")) as other,
        hostile_server(redirects(f"{other.url}/services/T0/B0/secret", 307)) as server,
    ):
        headers = {"Authorization": f"Bearer {SECRET}"}
        error = refusal(
            ChannelFailed,
            lambda: asyncio.run(post_json(server.url, {}, headers=headers, bound=5)),
        )
        assert f"it redirects to {other.url}," in error.came_back
        assert "T0" not in str(error)
        assert other.seen == []


@pytest.mark.parametrize(
    "url",
    [
        "http://user:s3cret-password@127.0.0.1:9/services/T0/B0/s3cret-password",
        "http://127.0.0.1:9/services/T0/B0/s3cret-password?x=s3cret-password#s3cret-password",
        "http://127.0.0.1:99999/s3cret-password",
    ],
)
def test_a_hook_s_error_shows_its_host_alone(url):
    error = refusal(HookFailed, lambda: asyncio.run(call_url(url, {}, bound=5)))
    assert "http://127.0.0.1" in error.attempted
    assert "T0" not in str(error)
