"""Results come in order, and no more items are drawn than asked for."""

import threading

import pytest

from fcnjax.io.prefetch import look_ahead, prefetch


@pytest.mark.parametrize("count", [0, 1, 3, 20])
def test_look_ahead_draws_that_many_later_items(count):
    drawn = []

    def items():
        for index in range(8):
            drawn.append(index)
            yield index

    for position, item in enumerate(look_ahead(items(), count)):
        assert item == position
        assert len(drawn) == min(position + 1 + count, 8)
    assert drawn == list(range(8))


def test_prefetch_returns_results_in_order_from_several_threads():
    barrier = threading.Barrier(3, timeout=10)

    def square(value):
        barrier.wait()  # passes only if three calls run at once
        return value**2

    results = list(prefetch(square, range(9), threads=3, ahead=4))
    assert results == [value**2 for value in range(9)]


def test_prefetch_raises_an_error_in_place_of_its_result():
    results = prefetch(lambda value: 6 // value, [3, 2, 0, 1], threads=2, ahead=3)
    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)
