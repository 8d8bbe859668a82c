from __future__ import annotations

import random
import threading

import pytest

from source_ravan_calcom import errors
from source_ravan_calcom.ravan.failures import Facts, OrganizationFailure
from source_ravan_calcom.line import Line, Repetition, Waiting

REPETITION = Repetition(retries=4, first_wait=1, longest_wait=60, total=120)


@pytest.fixture(autouse=True)
def jitter(monkeypatch):
    """What every wait is multiplied with; tests may set it."""
    factor = [1.0]
    monkeypatch.setattr(random, "uniform", lambda least, most: min(max(factor[0], least), most))
    return factor


def line(*names, repetition: Repetition = REPETITION) -> Line:
    return Line((Waiting(name) for name in names), repetition)


def failed(item: Waiting, kind=errors.SERVER_FAILED, **more) -> OrganizationFailure:
    return OrganizationFailure(kind, Facts(item.org_id), **more)


def waits(queue: Line, item: Waiting, clock, kind=errors.SERVER_FAILED) -> list[float]:
    """The waits until an organization whose requests all fail is given up."""
    found = []
    while (wait := queue.again(item, failed(item, kind))) is not None:
        found.append(wait)
        assert next(iter(queue)) is item
        queue.settle(item)
    return found


def test_everybody_is_handed_out_in_order_and_once():
    queue = line("a", "b", "c")
    handed_out = []
    for item in queue:
        handed_out.append(item.org_id)
        queue.settle(item)
    assert handed_out == ["a", "b", "c"]


def test_organizations_are_made_one_by_one():
    made = []
    queue = Line((made.append(name) or Waiting(name) for name in "abc"), REPETITION)
    next(iter(queue))
    assert made == ["a"]


def test_nobody_at_all_is_an_end():
    assert list(line()) == []


def test_who_comes_back_leaves_the_place_to_the_next_and_goes_first_when_it_is_time(clock):
    queue = line("a", "b", "c")
    handed_out = []
    for item in queue:
        handed_out.append((item.org_id, clock.now - 1_000))
        if handed_out == [("a", 0)]:
            queue.again(item, failed(item))
        elif item.org_id == "b":
            clock.now += 2  # its request takes so long that a is due
        queue.settle(item)
    assert handed_out == [("a", 0), ("b", 0), ("a", 2), ("c", 2)]


def test_they_come_back_by_the_time_they_are_due_and_not_by_name(clock, jitter):
    queue = line("a", "b", "c")
    handed_out = []
    for item in queue:
        handed_out.append((item.org_id, clock.now - 1_000))
        if len(handed_out) <= 3:
            jitter[0] = {"a": 1.2, "b": 0.8, "c": 1.2}[item.org_id]
            queue.again(item, failed(item))
        queue.settle(item)
    assert handed_out[3:] == [("b", pytest.approx(0.8)), ("a", pytest.approx(1.2)), ("c", pytest.approx(1.2))]


def test_each_wait_is_twice_as_long_until_the_organization_is_given_up(clock):
    queue = line("a")
    item = next(iter(queue))
    queue.settle(item)
    assert waits(queue, item, clock) == [1, 2, 4, 8]
    assert clock.waits == [1, 2, 4, 8]
    assert item.tries == 5


@pytest.mark.parametrize(("factor", "least_or_most"), [(0.0, 0.75), (9.0, 1.25)])
def test_waits_are_spread_by_a_quarter(clock, jitter, factor, least_or_most):
    jitter[0] = factor
    queue = line("a")
    item = next(iter(queue))
    queue.settle(item)
    assert waits(queue, item, clock) == [least_or_most * wait for wait in (1, 2, 4, 8)]


def test_no_wait_is_longer_than_the_longest(clock):
    queue = line("a", repetition=Repetition(4, 1, 3, 120))
    item = next(iter(queue))
    queue.settle(item)
    assert waits(queue, item, clock) == [1, 2, 3, 3]


def test_nobody_is_asked_again_after_the_total(clock):
    queue = line("a", repetition=Repetition(99, 1, 60, 10))
    item = next(iter(queue))
    queue.settle(item)
    assert waits(queue, item, clock) == [1, 2, 4, 8], "after 15 s it is over 10"


def test_the_total_counts_from_the_first_failure_and_not_from_the_last(clock):
    queue = line("a", repetition=Repetition(99, 1, 60, 10))
    item = next(iter(queue))
    queue.again(item, failed(item))
    clock.now += 10
    assert queue.again(item, failed(item)) == 2
    clock.now += 0.5
    assert queue.again(item, failed(item)) is None


def test_a_request_that_succeeded_gives_the_next_one_the_whole_patience(clock):
    queue = line("a")
    item = next(iter(queue))
    for _ in range(2):
        for _ in range(4):
            assert queue.again(item, failed(item)) is not None
        queue.again(item, failed(item, errors.RATE_LIMITED))
        clock.now += 100
        item.answered()
        assert (item.tries, item.refusals, item.failing_since) == (0, 0, None)


def test_a_429_is_no_failed_try_and_no_time_counts_against_it(clock):
    queue = line("a")
    item = next(iter(queue))
    found = []
    for _ in range(20):
        found.append(queue.again(item, failed(item, errors.RATE_LIMITED)))
        clock.now += 100
    assert found == [1, 2, 4, 8, 16, 32] + [60] * 14
    assert (item.tries, item.refusals, item.failing_since) == (0, 20, None)
    assert queue.again(item, failed(item)) == 1


def test_what_will_not_pass_is_not_asked_again():
    queue = line("a")
    item = next(iter(queue))
    assert queue.again(item, failed(item, errors.NOT_CONNECTED)) is None
    assert queue.again(item, failed(item, errors.RATE_LIMITED, ask_again=False)) is None
    assert (item.tries, item.refusals) == (0, 0)
    queue.settle(item)
    assert list(queue) == []


def test_a_closed_line_hands_out_nobody_any_more():
    queue = line("a", "b")
    item = next(iter(queue))
    queue.again(item, failed(item))
    assert not queue.is_closed
    queue.close()
    assert queue.is_closed
    queue.settle(item)
    assert list(queue) == []


def test_a_line_closes_at_its_time_and_nobody_waits_for_longer(clock):
    queue = line("a", "b", repetition=Repetition(9, 8, 60, 120))
    queue.close(clock.now + 10)
    handed_out, waits = [], []
    for item in queue:
        handed_out.append((item.org_id, clock.now - 1_000))
        waits.append(queue.again(item, failed(item)))
        queue.settle(item)
    assert handed_out == [("a", 0), ("b", 0), ("a", 8), ("b", 8)]
    assert waits == [8, 8, None, None], "they would be due again after 24 s, so they are given up"
    assert clock.waits == [8]
    clock.now += 2
    assert queue.is_closed


def test_a_line_closes_at_the_earliest_time_it_was_given(clock):
    for times in [(5, 10), (10, 5)]:
        queue = line("a")
        for seconds in times:
            queue.close(clock.now + seconds)
        clock.now += 4.9
        assert not queue.is_closed
        clock.now += 0.1
        assert queue.is_closed


def test_it_waits_no_longer_for_who_is_due_than_until_it_closes(clock):
    queue = line("a", repetition=Repetition(9, 4, 60, 120))
    queue.close(clock.now + 100)
    again = iter(queue)
    item = next(again)
    queue.again(item, failed(item))
    queue.settle(item)
    assert next(again) is item
    assert clock.waits == [4]


def in_thread(function) -> tuple[threading.Thread, list]:
    results: list = []
    thread = threading.Thread(target=lambda: results.append(function()), daemon=True)
    thread.start()
    return thread, results


@pytest.mark.parametrize("closes", [False, True])
def test_it_ends_only_when_those_who_were_handed_out_are_settled(closes):
    queue = line("a")
    item = next(iter(queue))
    if closes:
        queue.close()
    thread, rest = in_thread(lambda: list(queue))
    thread.join(0.05)
    assert rest == [], "a may come back"
    queue.settle(item)
    thread.join(20)
    assert rest == [[]]


def test_who_waits_for_the_others_gets_the_one_that_comes_back():
    queue = line("a")
    item = next(iter(queue))
    thread, found = in_thread(lambda: next(iter(queue)))
    queue.again(item, failed(item))
    queue.settle(item)
    thread.join(20)
    assert found == [item]


def test_many_threads_settle_everybody_once():
    names = [str(number) for number in range(400)]
    queue, lock = line(*names), threading.Lock()
    asked: dict[str, int] = dict.fromkeys(names, 0)
    under_way: set[str] = set()

    def work():
        for item in queue:
            with lock:
                assert item.org_id not in under_way
                under_way.add(item.org_id)
                asked[item.org_id] += 1
                comes_back = asked[item.org_id] <= int(item.org_id) % 3
            with lock:
                under_way.remove(item.org_id)
            if comes_back:
                queue.again(item, failed(item))
            queue.settle(item)
        return "ended"

    workers = [in_thread(work) for _ in range(8)]
    for thread, _ in workers:
        thread.join(20)
    assert [result for _, result in workers] == [["ended"]] * 8
    assert asked == {name: int(name) % 3 + 1 for name in names}
