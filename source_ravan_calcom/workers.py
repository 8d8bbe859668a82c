"""The worker pool: it starts organizations, retries them, and gives up requests that take too long.

The thread that iterates over :meth:`WorkerPool.events` owns the pool. Workers only send requests and turn responses
into rows. A worker whose request exceeds its deadline can't be stopped: its result is ignored, and another takes its
place. So for a moment, more requests may be open than Concurrent Requests allows.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from math import inf
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic
from typing import Any, Generic, TypeVar

from source_ravan_calcom.ravan.client import Call, Client, NotAttempted
from source_ravan_calcom.ravan.failures import OrganizationFailure
from source_ravan_calcom.ravan.throttle import Pause


@dataclass(frozen=True)
class Retries:
    """How often a failed request is sent again, and when, in seconds."""

    most: int
    first_backoff: float  # doubles with each retry, with jitter
    total: float  # all retries start within this time after the first failure

    def backoff(self, tries: int) -> float:
        """Return the seconds to wait after the given number of failed tries."""
        return float(self.first_backoff * 2 ** (tries - 1) * random.uniform(0.75, 1.25))  # noqa: S311  no secret


READ = Retries(most=4, first_backoff=1, total=120)
CHECK = Retries(most=1, first_backoff=1, total=20)


@dataclass(eq=False)
class Task:
    """One organization to read."""

    org_id: str
    call: Call = field(init=False)  # the latest attempt
    failing_since: float = 0.0  # monotonic time of the current request's first failure
    failure: OrganizationFailure | None = None

    def __post_init__(self) -> None:
        self.call = Call(self.org_id)

    def restart(self) -> None:
        """Prepare a new attempt after one was given up, whose thread may still be running."""
        given_up = self.call.given_up
        self.call = Call(self.org_id, self.call.requests, max(self.call.failures, given_up), given_up + 1)


TaskT = TypeVar("TaskT", bound=Task)


@dataclass(frozen=True)
class Finished(Generic[TaskT]):
    """A task ended with a result, with a failure, or with neither if it was not attempted."""

    task: TaskT
    result: Any = None
    failure: OrganizationFailure | None = None


@dataclass(frozen=True)
class Retrying(Generic[TaskT]):
    """A task failed, and is started again after ``seconds``."""

    task: TaskT
    failure: OrganizationFailure
    seconds: float


AnyEvent = Finished[TaskT] | Retrying[TaskT] | Pause


class Threads:
    """Daemon threads, each kept for the next job.

    The standard library's pool waits for its threads at exit, and one of ours may hang.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._count = 0

    def run(self, job: Callable[[], None], busy: int) -> None:
        """Run a job; add a thread if fewer than ``busy`` exist."""
        self._jobs.put(job)
        if self._count < busy:
            self._count += 1
            Thread(target=self._work, daemon=True).start()

    def lose(self) -> None:
        """Stop counting a thread that hangs."""
        self._count -= 1

    def end(self) -> None:
        """End every thread that does not hang."""
        for _ in range(self._count):
            self._jobs.put(None)

    def _work(self) -> None:
        for job in iter(self._jobs.get, None):
            job()


class WorkerPool(Generic[TaskT]):
    """Runs tasks in ``size`` workers. No task starts at or after the monotonic time ``closes_at``."""

    def __init__(self, size: int, retries: Retries, closes_at: float = inf) -> None:
        self._size = size
        self._retries = retries
        self._closes_at = closes_at
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._running: dict[Call, TaskT] = {}
        self._later: list[tuple[float, int, TaskT]] = []
        self._number = count()
        self._threads = Threads()

    def notify(self, event: Pause) -> None:
        """Queue an event of the throttle for :meth:`events`. Safe to call from any thread."""
        self._queue.put((None, event))

    def close(self) -> None:
        """Start no further task."""
        self._closes_at = 0.0

    def events(self, tasks: Iterable[TaskT], work: Callable[[TaskT], Any], client: Client) -> Iterator[AnyEvent[TaskT]]:
        """Run ``work``, which uses ``client``, on tasks until the pool closes; yield events until those tasks end."""
        fresh = iter(tasks)
        try:
            while True:
                yield from self._given_up(client)
                self._start(fresh, work)
                if not self._running and (not self._later or monotonic() >= self._closes_at):
                    break
                try:
                    call, result = self._queue.get(timeout=self._seconds_to_wait(client))
                except Empty:
                    continue
                if call is None:
                    yield result
                elif task := self._running.pop(call, None):  # else it was given up before
                    event = self._judged(task, result)
                    if not isinstance(result, Exception):
                        self._start(fresh, work)  # keep the worker busy while the caller prints the result
                    yield event
            for _, _, task in self._later:
                yield Finished(task, failure=task.failure)
        finally:
            # Also if the consumer stops early.
            self.close()
            client.close()
            self._threads.end()

    def _start(self, fresh: Iterator[TaskT], work: Callable[[TaskT], Any]) -> None:
        while len(self._running) < self._size and monotonic() < self._closes_at:
            is_due = self._later and self._later[0][0] <= monotonic()
            task = heapq.heappop(self._later)[2] if is_due else next(fresh, None)
            if task is None:
                return
            self._running[task.call] = task
            self._threads.run(partial(self._run, task, work), busy=len(self._running))

    def _run(self, task: TaskT, work: Callable[[TaskT], Any]) -> None:
        call = task.call
        try:
            result: Any = work(task)
        except (OrganizationFailure, NotAttempted) as error:
            result = error
        except Exception as error:
            result = OrganizationFailure.unexpected(error, task.org_id)
        self._queue.put((call, result))

    def _given_up(self, client: Client) -> Iterator[AnyEvent[TaskT]]:
        """Give up the workers whose request exceeds its deadline."""
        now = monotonic()
        for call, task in [*self._running.items()]:
            departure = call.departure
            if departure and now >= departure.at + client.deadline:
                del self._running[call]
                self._threads.lose()
                failure = client.give_up(call, departure)
                task.restart()
                yield self._judged(task, failure)

    def _judged(self, task: TaskT, result: Any) -> AnyEvent[TaskT]:
        if isinstance(result, NotAttempted):
            return Finished(task, failure=task.failure if task.call.failures else None)
        if not isinstance(result, OrganizationFailure):
            return Finished(task, result)
        now, call = monotonic(), task.call
        if not call.failures:
            task.failing_since = now
        task.failure = result
        call.failures += 1  # the client resets it after each success
        seconds = self._retries.backoff(call.failures)
        is_repeated = result.kind.is_retryable and call.failures <= self._retries.most
        is_in_time = now + seconds - task.failing_since <= self._retries.total and now + seconds < self._closes_at
        if not (is_repeated and is_in_time):
            return Finished(task, failure=result)
        heapq.heappush(self._later, (now + seconds, next(self._number), task))
        return Retrying(task, result, seconds)

    def _seconds_to_wait(self, client: Client) -> float:
        """Seconds until a task is due or a request may exceed its deadline."""
        now = monotonic()
        # The earliest deadline of a request that is sent from now on.
        moments = [now + client.deadline]
        moments += [departure.at + client.deadline for call in self._running if (departure := call.departure)]
        if self._later and len(self._running) < self._size:
            moments.append(self._later[0][0])
        return max(0.0, min(moments) - now)
