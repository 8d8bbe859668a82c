"""Tests of deadlines, late results, and consumers that stop early."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any

import pytest
import requests
from airbyte_cdk.models import Type

from source_ravan_calcom import workers
from source_ravan_calcom.ravan import client
from source_ravan_calcom.ravan.client import Client
from source_ravan_calcom.source import SourceRavanCalcom
from unit_tests.conftest import InlineThreads
from unit_tests.syncs import BOTH, LOGGER, OVER, URL, catalog, read, response


@pytest.mark.parametrize(("factor", "least_or_most"), [(0.0, 0.75), (9.0, 1.25)])
def test_backoffs_vary_by_a_quarter(jitter, factor, least_or_most):
    jitter(factor)
    assert [workers.READ.backoff(tries) for tries in (1, 2, 3, 4)] == [least_or_most * each for each in (1, 2, 4, 8)]


class Hanging:
    """Requests that hang until they are released, each in a worker with its own thread.

    The owner of the pool continues when a worker has ended or hangs, so every run has the same order.

    Attributes:
        hangs: Whether a request hangs, by organization and number of the request.
        body: The body of the late responses; ``None`` to reset their connections.
    """

    def __init__(self) -> None:
        self.hangs: Callable[[str, int], bool] = lambda org_id, number: False
        self.body: bytes | None = None
        self.sent: list[str] = []
        self.threads: dict[threading.Thread, threading.Event] = {}
        self._released = threading.Event()

    def start(self, job: Callable[[], None]) -> None:
        settled = threading.Event()

        def run() -> None:
            job()
            settled.set()

        thread = threading.Thread(target=run, daemon=True)
        self.threads[thread] = settled
        thread.start()
        assert settled.wait(20)

    def wait(self) -> None:
        self.threads[threading.current_thread()].set()
        assert self._released.wait(20)

    def release(self) -> None:
        self._released.set()
        for thread in self.threads:
            if thread is not threading.current_thread():
                thread.join(20)
        self._released.clear()

    def send(self, original: Callable[..., Any], org_id: str, *arguments: Any) -> Any:
        self.sent.append(org_id)
        if not self.hangs(org_id, self.sent.count(org_id)):
            return original(org_id, *arguments)
        self.wait()
        if self.body is None:
            raise requests.ConnectionError
        response = requests.Response()
        response.status_code = 200
        return response, self.body


@pytest.fixture
def hanging(monkeypatch):
    hanging = Hanging()

    class HangingThreads(InlineThreads):
        def run(self, job: Callable[[], None], busy: int) -> None:
            hanging.start(job)

    send = Client._send
    monkeypatch.setattr(workers, "Threads", HangingThreads)
    monkeypatch.setattr(Client, "_send", lambda self, *arguments: hanging.send(partial(send, self), *arguments))
    yield hanging
    hanging.release()


def test_a_request_that_exceeds_its_deadline_is_abandoned_and_retried(http, settings, clock, hanging, jitter, caplog):
    caplog.set_level("INFO")
    http.get(URL, json=response(OVER))
    hanging.hangs = lambda org_id, number: number == 1
    synced = read(settings, catalog(*BOTH))
    assert synced.error is None
    assert clock.waits == [client.READ.response, 1]
    assert any("the response did not end in time. Retrying in 1 s (try 2 of 5)." in line for line in caplog.messages)
    assert synced.rows("organizations")[0]["requests"] == 2


def test_an_organization_whose_requests_all_exceed_their_deadline_fails(http, settings, hanging):
    http.get(URL, json=response(OVER))
    hanging.hangs = lambda org_id, number: org_id == "a"
    synced = read({**settings, "org_ids": ["a", "b"], "num_workers": 1}, catalog(*BOTH))
    assert synced.outcomes == [("failed", "unreachable"), ("read", None)]
    assert "the response did not end in time" in synced.error.message
    assert hanging.sent.count("a") == 4, "no retry starts two minutes after the first failure"


def test_a_new_worker_replaces_an_abandoned_one(http, settings, hanging):
    http.get(URL, json=response(OVER))
    hanging.hangs = lambda org_id, number: org_id == "a" and number == 1
    synced = read({**settings, "org_ids": list("abc"), "num_workers": 1})
    assert hanging.sent == ["a", "b", "c", "a"]
    assert {row["organization_id"] for row in synced.rows()} == set("abc")
    assert next(iter(hanging.threads)).is_alive()


def test_the_late_result_of_an_abandoned_worker_is_ignored(http, settings, hanging):
    def respond(request, context):
        hanging.release()
        return response(OVER)

    http.get(URL, json=respond)
    hanging.hangs = lambda org_id, number: number == 1
    hanging.body = json.dumps(response({**OVER, "id": "late"})).encode()
    synced = read(settings)
    assert not next(iter(hanging.threads)).is_alive(), "the first worker ended before the retry"
    assert [row["id"] for row in synced.rows()] == ["1"]


def test_the_late_failure_of_an_abandoned_worker_skips_no_window_of_its_retry(http, settings, hanging):
    def respond(request, context):
        if len(hanging.sent) == 4:
            hanging.release()
        return response(*({**OVER, "id": str(number)} for number in range(200)))

    http.get(URL, json=respond)
    hanging.hangs = lambda org_id, number: number == 2
    hanging.body = json.dumps({"success": False, "code": "INVALID_REQUEST"}).encode()
    [row] = read(settings, catalog(*BOTH)).rows("organizations")
    assert (row["outcome"], row["requests"]) == ("read", 2 + 6)


def test_an_abandoned_worker_sends_no_further_request(http, settings, hanging):
    """The organization needs a second request, for ``past``."""
    http.get(URL, json=response({**OVER, "end_time": "2999-01-01T00:00:00Z"}))
    hanging.hangs = lambda org_id, number: number == 1
    hanging.body = json.dumps(response({**OVER, "end_time": "2999-01-01T00:00:00Z"})).encode()
    read(settings)
    sent = len(hanging.sent)
    hanging.release()
    assert len(hanging.sent) == sent


def test_no_further_request_starts_after_the_consumer_stops(http, settings):
    http.get(URL, json=response(OVER))
    messages: Any = SourceRavanCalcom().read(
        LOGGER, {**settings, "org_ids": list("abcdef"), "num_workers": 1}, catalog()
    )
    assert next(message for message in messages if message.type is Type.RECORD)
    sent = http.call_count
    messages.close()
    assert http.call_count == sent < 6


def test_workers_that_wait_for_a_rate_limit_end_after_the_consumer_stops(http, settings, clock, hanging):
    http.get(f"{URL}?org_id=a", json=response(OVER))
    http.get(f"{URL}?org_id=b", status_code=429, headers={"Retry-After": "250"})
    clock.meanwhile = hanging.wait  # b's worker
    messages: Any = SourceRavanCalcom().read(LOGGER, {**settings, "org_ids": list("ba"), "num_workers": 2}, catalog())
    assert next(message for message in messages if message.trace and message.trace.stream_status.reasons)
    messages.close()
    hanging.release()
    assert not any(thread.is_alive() for thread in hanging.threads)
    assert hanging.sent.count("b") == 1


@pytest.fixture
def threads(monkeypatch):
    """Real threads, and a queue of the threads that ran :func:`job`."""
    monkeypatch.undo()
    return workers.Threads(), SimpleQueue()


def test_a_thread_is_reused_for_the_next_job_and_ends_with_the_pool(threads):
    pool, ran = threads
    for _ in range(3):
        pool.run(lambda: ran.put(threading.current_thread()), busy=1)
    first, *others = [ran.get(timeout=20) for _ in range(3)]
    assert others == [first, first]
    assert first.daemon, "a hanging thread must not keep the process alive"
    pool.end()
    first.join(20)
    assert not first.is_alive()


def test_a_thread_that_hangs_is_replaced(threads):
    pool, ran = threads
    released = threading.Event()
    pool.run(lambda: released.wait(20), busy=1)
    pool.lose()
    pool.run(lambda: ran.put(True), busy=1)
    assert ran.get(timeout=20)
    released.set()
    pool.end()


def test_an_organization_fails_if_a_later_request_always_hangs(http, settings, hanging):
    http.get(URL, json=response({**OVER, "end_time": "2999-01-01T00:00:00Z"}))
    hanging.hangs = lambda org_id, number: number % 2 == 0
    synced = read(settings, catalog(*BOTH))
    assert synced.outcomes == [("failed", "unreachable")]
    assert len(hanging.sent) == 2 * 4, (
        "no retry starts two minutes after the first failure, even if requests succeed in between"
    )
