from __future__ import annotations

import heapq
import logging
import math
import threading
from dataclasses import dataclass, field
from itertools import count

import pytest

from source_ravan_calcom import pace
from source_ravan_calcom.ravan.throttle import Pace, Tempo
from unit_tests.conftest import LOGGER

REQUESTS = 600
UNDER_WAY = 10


@dataclass
class Bucket:
    """Allows a request for each token that it holds, and gets new ones all the time."""

    holds: int = 2
    per_second: float = 2.0
    tokens: float = field(init=False)
    at: float = 0.0

    def __post_init__(self):
        self.tokens = self.holds

    def refuses(self, now: float) -> float | None:
        """The seconds until it would allow a request, or ``None`` where it has allowed this one."""
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
    """Allows so many requests in each minute."""

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
    "none": lambda seconds: None,
    "whole seconds": math.ceil,
    "exact": lambda seconds: seconds,
    "zero": lambda seconds: 0.0,
    "too short": lambda seconds: 1.0,
}


def simulated(server, latency: float, retry_after) -> tuple[float, int]:
    """The seconds that ``REQUESTS`` good answers take, and how many 429s there were beside them."""
    tempo, now, done, refused = Tempo(UNDER_WAY), 0.0, 0, 0
    events: list = []
    number = count()
    while done < REQUESTS:
        wait = tempo.wait(now) if done + tempo.under_way < REQUESTS else None
        if wait == 0:
            heapq.heappush(events, (now + latency / 2, next(number), tempo.leave(now), None))
        elif events and (wait is None or events[0][0] <= now + wait):
            now, _, left_at, answer = heapq.heappop(events)
            if answer is None:  # it has arrived at the server
                heapq.heappush(events, (now + latency / 2, next(number), left_at, [server.refuses(now)]))
                continue
            if answer == [None]:
                tempo.succeeded(left_at)
                done += 1
            else:
                tempo.refused(now, left_at, retry_after(answer[0]))
                refused += 1
            tempo.ended(left_at)
        else:
            assert wait is not None, "nothing is under way, and nothing may leave"
            now += wait
    return now, refused


@pytest.mark.parametrize("latency", [0.02, 0.1, 0.3, 1.0])
@pytest.mark.parametrize("named", RETRY_AFTER)
@pytest.mark.parametrize("limit", [Bucket, FixedWindow])
def test_a_limit_is_found_and_kept(limit, named, latency):
    server = limit()
    seconds, refused = simulated(server, latency, RETRY_AFTER[named])
    assert seconds / server.ideal(latency) <= 1.2
    assert refused / REQUESTS <= 0.2


def tempo(most: int = 4) -> Tempo:
    return Tempo(most)


def left(tempo: Tempo, now: float) -> float:
    assert tempo.wait(now) == 0
    return tempo.leave(now)


def answered(tempo: Tempo, now: float, retry_after: float | None = None, left_at: float | None = None) -> None:
    """A request leaves, if it has not left before, and meets a 429."""
    left_at = left(tempo, now) if left_at is None else left_at
    tempo.refused(now, left_at, retry_after)
    tempo.ended(left_at)


def succeeded(tempo: Tempo, now: float) -> None:
    """A request leaves, and gets through."""
    left_at = left(tempo, now)
    tempo.succeeded(left_at)
    tempo.ended(left_at)


def test_nothing_is_held_back_before_the_first_429():
    free = tempo(3)
    assert [left(free, 5.0) for _ in range(3)] == [5.0] * 3
    assert free.wait(5.0) is None, "as many as the user allows are under way"
    free.succeeded(5.0)
    free.ended(5.0)
    assert free.wait(5.0) == 0
    assert (free.rate, free.allowed, free.limited_since) == (None, 3, None)


@pytest.mark.parametrize(("retry_after", "pause"), [(None, 1.0), (0.0, 1.0), (0.5, 1.0), (7.0, 7.0), (600.0, 600.0)])
def test_a_429_pauses_everybody_for_what_it_names_and_no_less_than_our_own_pause(retry_after, pause):
    limited = tempo()
    answered(limited, 100.0, retry_after)
    assert limited.wait(100.0) == pause
    assert limited.wait(100.0 + pause - 0.25) == 0.25
    assert limited.wait(100.0 + pause) == 0


def test_our_own_pause_grows_with_every_refusal_in_a_row_up_to_a_bound():
    limited, now, pauses = tempo(), 0.0, []
    for _ in range(6):
        answered(limited, now, 0.0)
        pauses.append(limited.wait(now))
        now += pauses[-1]
    assert pauses == [1, 2, 4, 8, 8, 8]


def test_a_success_makes_our_own_pause_short_again():
    limited = tempo()
    for now in (0.0, 10.0):
        answered(limited, now)
    succeeded(limited, 20.0)
    answered(limited, 21.0)
    assert limited.pause == 1.0


def test_a_shorter_retry_after_takes_nothing_from_a_longer_one():
    limited = tempo()
    first, second = left(limited, 0.0), left(limited, 0.0)
    answered(limited, 1.0, 30.0, first)
    answered(limited, 2.0, 1.0, second)
    assert limited.wait(2.0) == 29.0


def test_those_that_left_before_the_pause_say_the_same_and_make_it_no_longer():
    limited = tempo()
    requests = [left(limited, 0.0) for _ in range(4)]
    for request in requests:
        answered(limited, 1.0, None, request)
    assert limited.wait(1.0) == 1.0
    assert limited.pause == 1.0


def test_those_that_left_before_the_pause_say_nothing_of_what_is_allowed_after_it():
    limited = tempo()
    first, second = left(limited, 0.0), left(limited, 0.0)
    answered(limited, 1.0, None, first)
    limited.succeeded(second)
    limited.ended(second)
    assert (limited.allowed, limited.pause) == (1, 1.0)
    assert limited.limited_since is None, "something got through all the same"


def test_after_a_pause_one_request_tries_then_twice_as_many_with_each_success():
    limited = tempo(5)
    answered(limited, 0.0)
    under_way = []
    for now in (10.0, 20.0, 30.0, 40.0):
        requests = []
        while limited.wait(now) == 0:
            requests.append(limited.leave(now))
        under_way.append(len(requests))
        limited.succeeded(requests[0])
        for request in requests:
            limited.ended(request)
    assert under_way == [1, 2, 4, 5]


def test_the_rate_is_what_went_through_between_the_last_refusals_pauses_included():
    limited = tempo(1)
    answered(limited, 0.0)
    for now in (2.0, 3.0, 4.0):
        succeeded(limited, now)
    answered(limited, 10.0)
    assert limited.rate == pytest.approx(3 / 10)
    succeeded(limited, 11.0)
    assert limited.rate == pytest.approx(3 / 10 + pace.FASTER)
    assert limited.wait(11.0) == pytest.approx(1 / 0.3), "the next leaves when the rate allows it"


def test_a_refusal_makes_the_rate_a_fifth_slower_at_most():
    limited = tempo(1)
    limited.rate = 10.0
    answered(limited, 0.0)
    succeeded(limited, 20.0)
    answered(limited, 40.0)
    assert limited.rate == pytest.approx((10.0 + pace.FASTER) * 0.8)


def test_refusals_in_a_row_teach_nothing():
    limited = tempo(1)
    answered(limited, 0.0)
    succeeded(limited, 1.0)
    answered(limited, 2.0)
    assert limited.rate == pytest.approx(1 / 2)
    for now in (10.0, 100.0):
        answered(limited, now)
    assert limited.rate == pytest.approx(1 / 2)


def test_the_rate_forgets_what_is_five_refusals_ago():
    limited, now = tempo(1), 0.0
    for seconds, successes in [(0, 0), (1_000, 1), (1_000, 1), (20, 10), (20, 10), (20, 10), (20, 10)]:
        now += seconds
        for _ in range(successes):
            limited.succeeded(now)
        limited.rate = None  # what is measured is looked at, not what it becomes of
        limited.refused(now, now, None)
    assert limited.rate == pytest.approx(40 / 80)


def paced(most: int = 2, on_pause=lambda: None) -> Pace:
    return Pace(most, LOGGER, on_pause)


def said(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_a_turn_says_when_it_left(clock):
    assert paced().turn() == clock.now == 1_000.0
    assert clock.waits == []


def test_a_pause_is_waited_for_and_told_once(clock, caplog):
    caplog.set_level(logging.INFO)
    paused = []
    ours = paced(on_pause=lambda: paused.append(1))
    first, second = ours.turn(), ours.turn()
    ours.refused(first, 7.2)
    ours.refused(second, None)
    ours.ended(first)
    ours.ended(second)
    assert ours.turn() == 1_007.2
    assert clock.waits == [pytest.approx(7.2)]
    assert said(caplog) == ["Ravan limits the rate of requests (HTTP 429): all wait for 7 s."]
    assert paused == [1]
    ours.succeeded(1_007.2)
    ours.succeeded(1_007.2)
    assert said(caplog)[1:] == ["Requests get through again."]
    ours.refused(1_007.2, None)
    assert said(caplog)[2:] == ["Ravan limits the rate of requests (HTTP 429): all wait for 1 s."]
    assert paused == [1, 1]


def test_while_nothing_gets_through_the_log_stays_silent(caplog):
    caplog.set_level(logging.INFO)
    ours = paced()
    for _ in range(50):
        turn = ours.turn()
        ours.refused(turn, 0.0)
        ours.ended(turn)
    assert len(said(caplog)) == 1


def test_successes_without_a_pause_are_not_told(caplog):
    caplog.set_level(logging.INFO)
    ours = paced()
    ours.succeeded(ours.turn())
    assert said(caplog) == []


def test_a_refusal_says_for_how_long_nothing_has_got_through(clock):
    ours = paced()
    since = []
    for seconds in (0, 30, 100):
        clock.now += seconds
        since.append(ours.refused(clock.now, None))
    assert since == [0, 30, 130]
    ours.succeeded(0.0)
    assert ours.refused(clock.now, None) == 0


def test_a_turn_that_would_come_too_late_is_not_waited_for(clock):
    ours = paced()
    turn = ours.turn()
    ours.refused(turn, 10)
    ours.ended(turn)
    assert ours.turn(until=1_010.0) is None
    assert clock.waits == []
    assert ours.turn(until=1_010.5) == 1_010.0
    assert clock.waits == [10.0]


def test_a_turn_is_waited_for_no_longer_than_it_is_wanted(clock):
    ours = paced(most=1)
    ours.turn()
    assert ours.turn(until=1_045.0) is None, "the only place is taken and stays so"
    assert clock.waits == [45.0]


def test_a_request_that_ended_makes_room_for_another():
    ours = paced(most=2)
    ours.turn()
    ours.turn()
    turns = []
    waiting = [threading.Thread(target=lambda: turns.append(ours.turn())) for _ in range(2)]
    for thread in waiting:
        thread.start()
    assert turns == []
    for _ in waiting:
        ours.ended(1_000.0)
    for thread in waiting:
        thread.join(20)
    assert turns == [1_000.0] * 2


def test_no_more_are_under_way_than_the_user_allows():
    ours, lock, under_way, most = paced(most=3), threading.Lock(), [0], [0]
    three = threading.Barrier(3)

    def work():
        for _ in range(20):
            turn = ours.turn()
            with lock:
                under_way[0] += 1
                most[0] = max(most[0], under_way[0])
            three.wait(20)
            with lock:
                under_way[0] -= 1
            ours.ended(turn)

    workers = [threading.Thread(target=work) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(20)
    assert most == [3]


def test_those_that_left_before_the_pause_and_hang_do_not_hold_up_its_end():
    limited = tempo(3)
    hanging, refused = left(limited, 0.0), left(limited, 0.0)
    answered(limited, 1.0, None, refused)
    assert limited.wait(2.0) == 0
    succeeded(limited, 2.0)
    limited.ended(hanging)
    assert [limited.wait(3.0) == 0 and limited.leave(3.0) for _ in range(3)] == [3.0, 3.0, False]


def test_a_stop_wakes_whoever_waits_for_a_pause():
    ours = paced()
    turn = ours.turn()
    ours.refused(turn, 86_400)
    ours.ended(turn)
    ours.close()
    assert ours.turn() is None
