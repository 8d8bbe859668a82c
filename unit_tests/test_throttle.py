from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field
from itertools import count

import pytest

from source_ravan_calcom.ravan import throttle
from source_ravan_calcom.ravan.throttle import Departure, Pause, RatePolicy, Throttle

REQUESTS = 600
UNDER_WAY = 10


@dataclass
class Bucket:
    """A token bucket."""

    holds: int = 2
    per_second: float = 2.0
    tokens: float = field(init=False)
    at: float = 0.0

    def __post_init__(self):
        self.tokens = self.holds

    def refuses(self, now: float) -> float | None:
        """Return ``None`` if it allows the request, or the seconds until it would allow one."""
        self.tokens = min(self.holds, self.tokens + (now - self.at) * self.per_second)
        self.at = now
        if self.tokens > 1 - 1e-9:
            self.tokens -= 1
            return None
        return (1 - self.tokens) / self.per_second

    def ideal(self, latency: float) -> float:
        return (REQUESTS - self.holds) / self.per_second + latency


@dataclass
class FixedWindow:
    """Allows a number of requests per minute."""

    allows: int = 120
    seconds: float = 60.0
    window: float = -1.0
    count: int = 0

    def refuses(self, now: float) -> float | None:
        window = now // self.seconds
        if window != self.window:
            self.window, self.count = window, 0
        if self.count < self.allows:
            self.count += 1
            return None
        return (window + 1) * self.seconds - now

    def ideal(self, latency: float) -> float:
        return (REQUESTS / self.allows - 1) * self.seconds + self.allows / UNDER_WAY * latency


RETRY_AFTER = {
    "whole seconds": math.ceil,
    "exact": lambda seconds: seconds,
    "none or zero": lambda seconds: 0.0,
    "too short": lambda seconds: 1.0,
}


def simulated(server, latency: float, retry_after) -> tuple[float, int]:
    """The seconds until ``REQUESTS`` requests have succeeded, and the number of 429s."""
    policy, now, done, refused, under_way = RatePolicy(UNDER_WAY), 0.0, 0, 0, 0
    events: list = []
    number = count()
    while done < REQUESTS:
        wait = policy.wait(now) if done + under_way < REQUESTS else None
        if wait == 0:
            policy.leave(now)
            under_way += 1
            heapq.heappush(events, (now + latency / 2, next(number), now, None))
        elif events and (wait is None or events[0][0] <= now + wait):
            now, _, left_at, response = heapq.heappop(events)
            if response is None:  # its arrival at the server
                heapq.heappush(events, (now + latency / 2, next(number), left_at, [server.refuses(now)]))
                continue
            if response == [None]:
                policy.succeeded(left_at)
                done += 1
            else:
                policy.refused(now, left_at, retry_after(response[0]))
                refused += 1
            policy.ended(left_at)
            under_way -= 1
        else:
            assert wait is not None, "no request is in progress, and none may start"
            now += wait
    return now, refused


@pytest.mark.parametrize("latency", [0.02, 0.1, 0.3, 1.0])
@pytest.mark.parametrize("named", RETRY_AFTER)
@pytest.mark.parametrize("limit", [Bucket, FixedWindow])
def test_requests_adapt_to_any_limit_with_few_refusals(limit, named, latency):
    server = limit()
    seconds, refused = simulated(server, latency, RETRY_AFTER[named])
    assert seconds / server.ideal(latency) <= 1.2
    assert refused / REQUESTS <= 0.2


def left(policy: RatePolicy, now: float) -> float:
    assert policy.wait(now) == 0
    policy.leave(now)
    return now


def refused(policy: RatePolicy, now: float, retry_after: float = 0.0, left_at: float | None = None) -> None:
    """Refuse a request with a 429, which starts now unless it has started before."""
    left_at = left(policy, now) if left_at is None else left_at
    policy.refused(now, left_at, retry_after)
    policy.ended(left_at)


def succeeded(policy: RatePolicy, now: float) -> None:
    """Start a request that succeeds."""
    left_at = left(policy, now)
    policy.succeeded(left_at)
    policy.ended(left_at)


def test_only_the_configured_number_limits_requests_before_the_first_429():
    free = RatePolicy(3)
    assert [left(free, 5.0) for _ in range(3)] == [5.0] * 3
    assert free.wait(5.0) is None, "as many requests as the setting allows are in progress"
    free.succeeded(5.0)
    free.ended(5.0)
    assert free.wait(5.0) == 0
    assert (free.rate, free.allowed, free.limited_since) == (None, 3, None)


@pytest.mark.parametrize(("retry_after", "pause"), [(0.0, 1.0), (0.5, 1.0), (7.0, 7.0), (600.0, 600.0)])
def test_a_429_pauses_all_requests_for_the_longer_one_of_its_wait_and_the_throttles_pause(retry_after, pause):
    limited = RatePolicy(4)
    refused(limited, 100.0, retry_after)
    assert limited.wait(100.0) == pause
    assert limited.wait(100.0 + pause - 0.25) == 0.25
    assert limited.wait(100.0 + pause) == 0


def test_the_throttles_pause_doubles_with_each_consecutive_refusal_up_to_its_maximum():
    limited, now, pauses = RatePolicy(4), 0.0, []
    for _ in range(6):
        refused(limited, now, 0.0)
        pauses.append(limited.wait(now))
        now += pauses[-1]
    assert pauses == [1, 2, 4, 8, 8, 8]


def test_a_success_resets_the_throttles_pause():
    limited = RatePolicy(4)
    for now in (0.0, 10.0):
        refused(limited, now)
    succeeded(limited, 20.0)
    refused(limited, 21.0)
    assert limited.pause == 1.0


def test_a_shorter_retry_after_does_not_shorten_a_longer_one():
    limited = RatePolicy(4)
    first, second = left(limited, 0.0), left(limited, 0.0)
    refused(limited, 1.0, 30.0, first)
    refused(limited, 2.0, 1.0, second)
    assert limited.wait(2.0) == 29.0


def test_refusals_of_requests_sent_before_the_pause_do_not_prolong_it():
    limited = RatePolicy(4)
    requests = [left(limited, 0.0) for _ in range(4)]
    for request in requests:
        refused(limited, 1.0, 0.0, request)
    assert limited.wait(1.0) == 1.0
    assert limited.pause == 1.0


def test_a_success_of_a_request_sent_before_the_pause_does_not_raise_the_allowed_number():
    limited = RatePolicy(4)
    first, second = left(limited, 0.0), left(limited, 0.0)
    refused(limited, 1.0, 0.0, first)
    limited.succeeded(second)
    limited.ended(second)
    assert (limited.allowed, limited.pause) == (1, 1.0)
    assert limited.limited_since is None, "a request succeeded"


def test_after_a_pause_one_request_starts_and_each_success_doubles_the_number():
    limited = RatePolicy(5)
    refused(limited, 0.0)
    under_way = []
    for now in (10.0, 20.0, 30.0, 40.0):
        requests = []
        while limited.wait(now) == 0:
            requests.append(left(limited, now))
        under_way.append(len(requests))
        limited.succeeded(requests[0])
        for request in requests:
            limited.ended(request)
    assert under_way == [1, 2, 4, 5]


def test_the_rate_is_that_of_the_successes_between_the_last_refusals_including_pauses():
    limited = RatePolicy(1)
    refused(limited, 0.0)
    for now in (2.0, 3.0, 4.0):
        succeeded(limited, now)
    refused(limited, 10.0)
    assert limited.rate == pytest.approx(3 / 10)
    succeeded(limited, 11.0)
    assert limited.rate == pytest.approx(3 / 10 + throttle.FASTER)
    assert limited.wait(11.0) == pytest.approx(1 / 0.3), "the next request starts when the rate allows it"


def test_a_refusal_lowers_the_rate_by_a_fifth_at_most():
    limited = RatePolicy(1)
    limited.rate = 10.0
    refused(limited, 0.0)
    succeeded(limited, 20.0)
    refused(limited, 40.0)
    assert limited.rate == pytest.approx((10.0 + throttle.FASTER) * 0.8)


def test_consecutive_refusals_do_not_change_the_rate():
    limited = RatePolicy(1)
    refused(limited, 0.0)
    succeeded(limited, 1.0)
    refused(limited, 2.0)
    assert limited.rate == pytest.approx(1 / 2)
    for now in (10.0, 100.0):
        refused(limited, now)
    assert limited.rate == pytest.approx(1 / 2)


def test_the_rate_ignores_successes_before_the_last_five_refusals():
    limited, now = RatePolicy(1), 0.0
    for seconds, successes in [(0, 0), (1_000, 1), (1_000, 1), (20, 10), (20, 10), (20, 10), (20, 10)]:
        now += seconds
        for _ in range(successes):
            limited.succeeded(now)
        limited.rate = None  # so that the measured rate is not limited by the earlier one
        limited.refused(now, now, 0.0)
    assert limited.rate == pytest.approx(40 / 80)


def test_hanging_requests_sent_before_the_pause_take_no_place_after_it():
    limited = RatePolicy(3)
    hanging, other = left(limited, 0.0), left(limited, 0.0)
    refused(limited, 1.0, 0.0, other)
    assert limited.wait(2.0) == 0
    succeeded(limited, 2.0)
    limited.ended(hanging)
    assert [left(limited, 3.0) for _ in range(2)] == [3.0, 3.0]
    assert limited.wait(3.0) is None


# Threads wait in the throttle. In a test there is one thread; actions of other threads happen during its wait.


def new(most: int = 2, notify=lambda event: None) -> Throttle:
    return Throttle(most, notify)


def depart(ours: Throttle, until: float | None = None) -> Departure:
    departure = ours.depart(until)
    assert departure
    return departure


def meets_429(ours: Throttle, retry_after: float = 0.0) -> float:
    departure = depart(ours)
    seconds = ours.refused(departure, retry_after)
    ours.ended(departure)
    return seconds


def test_a_departure_has_its_time(clock):
    assert depart(new()).at == clock.now
    assert clock.waits == []


def test_a_request_waits_for_the_end_of_a_pause_which_is_notified_once(clock):
    events: list = []
    ours = new(notify=events.append)
    first, second = depart(ours), depart(ours)
    ours.refused(first, 7.5)
    ours.refused(second, 0.0)
    ours.ended(first)
    ours.ended(second)
    assert depart(ours).at == 1_007.5
    assert clock.waits == [7.5]
    assert events == [Pause(7.5)]


def test_the_end_of_a_pause_is_notified_with_the_first_success(clock):
    events: list = []
    ours = new(notify=events.append)
    meets_429(ours)
    departure = depart(ours)
    ours.succeeded(departure)
    ours.succeeded(departure)
    assert events == [Pause(1.0), Pause(None)]
    ours.refused(departure, 0.0)
    assert len(events) == 3
    assert events[2].seconds is not None, "a late 429 is not a success"


def test_consecutive_refusals_are_notified_once(clock):
    events: list = []
    ours = new(notify=events.append)
    for _ in range(50):
        meets_429(ours, 0.0)
    assert len(events) == 1


def test_a_success_without_a_pause_is_not_notified():
    events: list = []
    ours = new(notify=events.append)
    ours.succeeded(depart(ours))
    assert events == []


def test_a_refusal_returns_the_time_without_a_success(clock):
    ours = new()
    found = []
    departure = depart(ours)
    for seconds in (0, 30, 100):
        clock.now += seconds
        found.append(ours.refused(departure, 0.0))
    assert found == [0, 30, 130]
    ours.succeeded(departure)
    assert ours.refused(departure, 0.0) == 0


def test_a_request_that_would_start_too_late_fails_without_waiting(clock):
    ours = new()
    meets_429(ours, 10)
    assert ours.depart(until=1_010.0) is None
    assert clock.waits == []
    assert depart(ours, until=1_010.5).at == 1_010.0
    assert clock.waits == [10.0]


def test_a_request_waits_for_another_to_end_until_its_latest_start_at_most(clock):
    ours = new(most=1)
    depart(ours)
    assert ours.depart(until=1_045.0) is None
    assert clock.waits == [45.0]


def test_the_end_of_a_request_wakes_one_that_waits_for_its_place(clock):
    ours = new(most=1)
    first = depart(ours)
    clock.meanwhile = lambda: ours.ended(first)
    assert depart(ours).at == first.at
    assert clock.waits == []


def test_ending_a_request_twice_frees_one_place(clock):
    ours = new(most=2)
    first = depart(ours)
    depart(ours)
    ours.ended(first)
    ours.ended(first)
    depart(ours)
    assert ours.depart(until=clock.now + 1) is None


@pytest.mark.parametrize("waits_for", ["a pause", "a place"])
def test_closing_wakes_waiting_threads(clock, waits_for):
    ours = new(most=1)
    if waits_for == "a pause":
        meets_429(ours, 86_400)
    else:
        depart(ours)
    clock.meanwhile = ours.close
    assert ours.depart() is None
    assert clock.waits == []


def test_no_request_starts_after_closing():
    ours = new()
    ours.close()
    assert ours.depart() is None
