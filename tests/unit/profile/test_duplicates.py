"""Labels that several pods counted: estimated from small samples of what each was told."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring_profile.duplicates import SIZE, Duplicates, IdSample, find_duplicates


def sample(numbers: list[int]) -> list[int]:
    found = IdSample()
    for number in numbers:
        found.add(number)
    return found.read()


@given(st.lists(st.integers(0, 2**64 - 1), max_size=3 * SIZE), st.randoms())
def test_sample_is_the_smallest_ids_in_any_order(numbers: list[int], order: object) -> None:
    shuffled = list(numbers)
    getattr(order, "shuffle")(shuffled)  # noqa: B009 - hypothesis gives it as an object
    assert sample(shuffled) == sorted(numbers)[:SIZE]


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 60), max_size=80), max_size=6))
def test_duplicates_are_exact_where_the_samples_hold_everything(pods: list[list[int]]) -> None:
    found = find_duplicates([sample(pod) for pod in pods])
    everything = [number for pod in pods for number in pod]
    times = [everything.count(number) for number in set(everything)]
    assert (found.counted, found.distinct) == (len(everything), len(times))
    assert found.squares == sum(count * count for count in times)


@pytest.mark.parametrize(("share", "pods"), [(0.0, 5), (0.1, 2), (0.5, 5), (1.0, 3)])
def test_share_of_duplicates_is_near_that_of_all_labels(share: float, pods: int) -> None:
    """20,000 labels; `share` of them is sent to a second pod."""
    rng = np.random.default_rng(9)
    errors: list[float] = []
    for _ in range(20):
        ids = rng.integers(0, 2**63, 20_000)
        first = rng.integers(0, pods, ids.size)
        second = (first + rng.integers(1, max(2, pods), ids.size)) % pods
        again = rng.random(ids.size) < share
        told = [
            sample([*ids[first == pod].tolist(), *ids[again & (second == pod)].tolist()])
            for pod in range(pods)
        ]
        found = find_duplicates(told)
        assert found.distinct >= SIZE / 2
        errors.append(found.share - share / (1 + share))
    assert abs(float(np.mean(errors))) < 0.012
    assert float(np.std(errors)) < 0.03


def test_labels_that_all_count_twice_weigh_half() -> None:
    twice = find_duplicates([[1, 2, 3], [1, 2, 3]])
    assert twice == Duplicates(3, 6, 12)
    assert (twice.share, twice.multiplicity, twice.design_effect) == (0.5, 2.0, 2.0)


def test_nothing_is_known_without_labels() -> None:
    none = find_duplicates([[], []])
    assert (none.share, none.multiplicity, none.design_effect) == (0.0, 1.0, 1.0)
