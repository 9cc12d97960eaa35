import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from segkit.prediction.ahead import Behind, in_order, read_ahead


def test_results_come_in_order_with_few_under_way():
    started, lock = [], threading.Lock()

    def slow(number):
        with lock:
            started.append(number)
        time.sleep(0.01 * (5 - number))
        return number * 10

    with ThreadPoolExecutor(3) as threads:
        results = in_order(threads, slow, range(5), waiting=2)
        assert next(results) == 0
        time.sleep(0.1)
        assert sorted(started) == [0, 1, 2]
        assert list(results) == [10, 20, 30, 40]


def test_what_a_call_raises_comes_out_in_its_turn_and_the_rest_is_called_off():
    asked = []

    def fails(number):
        asked.append(number)
        if number == 1:
            raise ValueError("no. 1")
        return number

    with ThreadPoolExecutor(1) as thread:
        results = in_order(thread, fails, range(9), waiting=1)
        assert next(results) == 0
        with pytest.raises(ValueError, match=r"no\. 1"):
            next(results)
    assert max(asked) <= 3


def test_results_come_in_order_one_ahead():
    started = []

    def work(number):
        started.append(number)
        return number * 10

    reading = read_ahead(partial(work, number) for number in range(4))
    assert next(reading) == 0
    time.sleep(0.05)
    assert started == [0, 1]
    assert list(reading) == [10, 20, 30]


def test_an_error_is_raised_when_it_is_its_turn():
    def work(number):
        return 1 / number

    reading = read_ahead(partial(work, number) for number in (2, 0, 4))
    assert next(reading) == 0.5
    with pytest.raises(ZeroDivisionError):
        next(reading)


def test_closing_starts_no_further_work_and_leaves_no_thread():
    started, before = [], threading.active_count()
    reading = read_ahead(partial(started.append, number) for number in range(9))
    next(reading)
    reading.close()
    assert started in ([0], [0, 1])
    assert threading.active_count() == before
    assert list(read_ahead([])) == []


def test_items_are_worked_on_in_order_and_all_at_the_end():
    done = []
    with Behind(lambda number: (time.sleep(0.01), done.append(number))) as behind:
        for number in range(5):
            behind.give(number)
            assert len(done) >= number - 1  # two are held at most
    assert done == [0, 1, 2, 3, 4]


def test_an_error_of_the_work_comes_out():
    def give(*numbers):
        with Behind(lambda number: 1 / number) as behind:
            for number in numbers:
                if number is None:
                    raise KeyError
                behind.give(number)

    give(1, 2)
    for numbers in ((1, 0), (0, 1, 1)):
        with pytest.raises(ZeroDivisionError):
            give(*numbers)
    with pytest.raises(KeyError):  # the block's own comes first
        give(0, None)
