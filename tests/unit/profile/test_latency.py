import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring_profile import CountsInvalid, LatencyWindow, ProportionWindow, slow_answers


def test_threshold_is_stables_quantile_of_the_windows_before() -> None:
    fast = LatencyWindow((60, 35, 5, 0), (10, 0, 0, 10))
    slow = LatencyWindow((0, 0, 0, 900), (0, 0, 0, 20))
    found = slow_answers([fast, fast, slow, slow], quantile=0.9)
    assert found[0] == (ProportionWindow(0, 0, 0, 0), None)
    assert found[1] == (ProportionWindow(100, 5, 20, 10), 2)
    assert found[2] == (ProportionWindow(900, 900, 20, 20), 2)
    assert found[3] == (ProportionWindow(900, 900, 20, 20), 3)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.99))
def test_threshold_does_not_depend_on_the_window_that_it_judges(seed: int, quantile: float) -> None:
    rng = np.random.default_rng(seed)
    windows = [
        LatencyWindow(
            tuple(rng.integers(0, 60, 5).tolist()), tuple(rng.integers(0, 60, 5).tolist())
        )
        for _ in range(6)
    ]
    changed = [*windows[:-1], LatencyWindow((0, 0, 0, 0, 999), (7, 0, 0, 0, 0))]
    one = [slow for _, slow in slow_answers(windows, quantile=quantile)]
    other = [slow for _, slow in slow_answers(changed, quantile=quantile)]
    assert one == other
    past = np.sum([item.stable for item in windows[:-1]], axis=0)
    last = one[-1]
    assert last is not None
    assert last == 4 or past[:last].sum() >= quantile * past.sum()
    assert last == 1 or past[: last - 1].sum() < quantile * past.sum()


def test_no_windows_are_no_answers() -> None:
    assert slow_answers([], quantile=0.5) == ()


@pytest.mark.parametrize(
    ("window", "quantile", "message"),
    [
        (LatencyWindow((1, 2), (1, 2, 3)), 0.5, "bins"),
        (LatencyWindow((1,), (1,)), 0.5, "bins"),
        (LatencyWindow((1, -2), (1, 2)), 0.5, r"windows\[0\]"),
        (LatencyWindow((1, 2), (1, 2)), 1.0, "quantile"),
    ],
)
def test_answers_are_refused_when_an_input_is_out_of_range(
    window: LatencyWindow, quantile: float, message: str
) -> None:
    with pytest.raises(CountsInvalid, match=message):
        slow_answers([window], quantile=quantile)
