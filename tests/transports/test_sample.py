"""Samplers: a real server that goes away and comes back."""

import os
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from backstay.maintenance.outages import outage_series
from backstay.transports.sample import HttpSampler, PingSampler, answers_http


class Answers(BaseHTTPRequestHandler):
    """Answers with the status that its path names."""

    def do_GET(self) -> None:
        self.send_response(int(self.path.removeprefix("/") or 200))
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Stay quiet."""


def serve(port: int = 0) -> HTTPServer:
    server = HTTPServer(("127.0.0.1", port), Answers)
    Thread(target=server.serve_forever, daemon=True).start()
    return server


def end(server: HTTPServer) -> None:
    server.shutdown()
    server.server_close()


def await_samples(sampler: HttpSampler, *, answered: bool) -> None:
    started, count = time.monotonic(), len(sampler.samples)
    while not any(ok is answered for _, ok in sampler.samples[count:]):
        assert time.monotonic() - started < 10
        time.sleep(0.01)


def test_an_outage_is_seen_from_its_first_question_to_the_first_answer() -> None:
    server = serve()
    port = server.server_address[1]
    sampler = HttpSampler(f"http://127.0.0.1:{port}/300", interval=0.02)
    sampler.start()
    await_samples(sampler, answered=True)
    end(server)
    await_samples(sampler, answered=False)
    server = serve(port)
    await_samples(sampler, answered=True)
    sampler.stop()
    end(server)
    seen = outage_series("api", "identity", sampler.samples)
    assert len(seen.outages) == 1
    assert seen.outages[0].ends is not None
    assert 0 < seen.down < seen.until - seen.since
    assert 0 < seen.unanswered < seen.asked


@pytest.mark.parametrize(("status", "answers"), [(200, True), (401, True), (500, False)])
def test_what_counts_as_an_answer(status: int, answers: bool) -> None:
    server = serve()
    url = f"http://127.0.0.1:{server.server_address[1]}/{status}"
    assert answers_http(url, 5.0) is answers
    end(server)


@pytest.mark.skipif(os.geteuid() != 0, reason="raw sockets need root")
def test_pings_of_many_addresses() -> None:
    sampler = PingSampler(["127.0.0.1", "240.0.0.1"], interval=0.05)
    sampler.start()
    started = time.monotonic()
    while len(sampler.samples["127.0.0.1"]) < 5:
        assert time.monotonic() - started < 10
        time.sleep(0.05)
    sampler.stop()
    assert all(ok for _, ok in sampler.samples["127.0.0.1"])
    there = sampler.samples["240.0.0.1"]
    assert len(there) >= 5
    assert not any(ok for _, ok in there)
