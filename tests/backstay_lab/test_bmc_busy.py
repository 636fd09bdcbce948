"""A board controller that is busy for a while after each order, as long as the fault is there."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("werkzeug", reason="sushy-tools is not installed")

from werkzeug.test import Client
from werkzeug.wrappers import Response

from backstay_lab.bmc.busy import BUSY_FOR, RESET, busy_after_orders


def test_it_carries_an_order_out_and_answers_503_until_it_is_over(tmp_path: Path) -> None:
    orders: list[str] = []
    now = [100.0]

    def application(
        environment: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        if environment["REQUEST_METHOD"] == "POST":
            orders.append(environment["PATH_INFO"])
        return Response("fine", 200)(environment, start_response)

    file = tmp_path / "proxy.busy"
    client = Client(busy_after_orders(application, file, clock=lambda: now[0]))
    assert client.post(f"/redfish/v1/Systems/1{RESET}").status_code == 200
    assert client.get("/redfish/v1/").status_code == 200
    file.touch()
    busy = client.post(f"/redfish/v1/Systems/1{RESET}")
    assert (busy.status_code, busy.headers["Retry-After"]) == (503, str(int(BUSY_FOR)))
    assert len(orders) == 2
    assert client.get("/redfish/v1/").status_code == 503
    now[0] += BUSY_FOR + 0.1
    assert client.get("/redfish/v1/").status_code == 200
    file.unlink()
    assert client.post(f"/redfish/v1/Systems/1{RESET}").status_code == 200
