"""Work that goes on in a thread while the model works: reading ahead of it and writing behind it."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing
from types import TracebackType
from typing import Generic, Self, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    executor: Executor, function: Callable[[Item], Result], items: Iterable[Item], *, waiting: int
) -> Generator[Result, None, None]:
    """What ``function`` gives for each item, in order; up to ``waiting`` calls are under way while one is looked at."""
    calls: deque[Future[Result]] = deque()
    try:
        for item in items:
            calls.append(executor.submit(function, item))
            if len(calls) > waiting:
                yield calls.popleft().result()
        while calls:
            yield calls.popleft().result()
    finally:
        for call in calls:
            call.cancel()


def read_ahead(work: Iterable[Callable[[], Item]]) -> Generator[Item, None, None]:
    """What each piece of work returns, in order, the next one being done in a thread while the caller uses the last.

    What a piece raises is raised when it is its turn. Closing the generator waits for the piece in hand and starts no
    other.
    """
    with (
        ThreadPoolExecutor(1, thread_name_prefix="reading") as thread,
        closing(in_order(thread, lambda piece: piece(), work, waiting=1)) as results,
    ):
        yield from results


class Behind(Generic[Item]):
    """Calls ``work`` with each item given, in order, in a thread; holds two items at most.

    What ``work`` raises comes out of the next :meth:`give`, or of the end of the ``with`` block, after which all is
    done. Where the block itself fails, nothing further is done.
    """

    def __init__(self, work: Callable[[Item], None]) -> None:
        self._work = work
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="writing")
        self._waiting: Future[None] | None = None

    def give(self, item: Item) -> None:
        """Have ``item`` worked on, once the one before it is done."""
        self._wait()
        self._waiting = self._thread.submit(self._work, item)

    def _wait(self) -> None:
        done, self._waiting = self._waiting, None
        if done is not None:
            done.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._wait()
        finally:
            self._thread.shutdown(cancel_futures=True)
