"""The score of drift and its bound: no false alarm in a month, and a shift that is seen soon."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2

from model_endpoint.drift.bins import Bins, CategoryBins, NumberBins
from model_endpoint.drift.counts import WINDOW_ROWS, ModelCounts
from model_endpoint.drift.report import report
from model_endpoint.drift.score import CHANCE, SMALLEST, critical, moved, percent, score
from unit.model_endpoint.drifting import Numbers, drifted, model_counts, month_of_windows

COLUMNS = 10


@pytest.mark.parametrize("training", [150, 1000, 20_000])
def test_a_month_without_drift_has_no_alarm(training: int) -> None:
    # With half a row a second there are 5,000 windows, each of which has seven eighths of the one before.
    for column in range(COLUMNS):
        generator = np.random.default_rng((training, column))
        windows, reference = month_of_windows(generator, training, rate=0.5)
        for window in windows:
            found = score(window, reference)
            assert found is not None
            assert not found.drift


@pytest.mark.parametrize("training", [1000, 20_000])
def test_a_shift_of_half_a_standard_deviation_in_one_of_ten_columns_is_seen_within_2000_rows(
    training: int,
) -> None:
    generator = np.random.default_rng(training)
    for _ in range(5):
        counts = model_counts(drifted(generator, training, COLUMNS))
        assert drifting(counts, drifted(generator, 2 * WINDOW_ROWS, COLUMNS)) == []
        assert drifting(counts, drifted(generator, WINDOW_ROWS, COLUMNS, shift=0.5)) == ["x0"]


def drifting(counts: ModelCounts, rows: Numbers) -> list[str]:
    """The columns with drift after these rows."""
    for row in rows:
        counts.count(row[np.newaxis], np.zeros(1))
    counts.flush()
    return [one.spread.name for one in report(counts).columns if one.score and one.score.drift]


def test_a_hundred_rows_are_no_reason_for_an_alarm() -> None:
    """The population stability index of 100 rows of ten bins is above 0.1 every second time."""
    generator = np.random.default_rng(0)
    reference = [1000] * 10
    above = 0
    for _ in range(200):
        found = score(generator.multinomial(100, [0.1] * 10).tolist(), reference)
        assert found is not None
        assert not found.drift
        above += found.value > 0.1
    assert above > 40


def test_a_difference_that_matters_to_nobody_is_no_drift_however_many_rows_show_it() -> None:
    near = score([50_500_000, 49_500_000], [1_000_000, 1_000_000])
    far = score([60_000_000, 40_000_000], [1_000_000, 1_000_000])
    assert near is not None
    assert far is not None
    assert near.bound == far.bound == SMALLEST
    assert not near.drift
    assert far.drift


def test_few_rows_have_no_score() -> None:
    assert score([99, 0], [1000, 1000]) is None
    assert score([1000, 0], [50, 49]) is None


def test_the_score_of_equal_shares_is_nothing_and_counts_add_up() -> None:
    same = score([300, 700], [30_000, 70_000])
    assert same is not None
    assert same.value == pytest.approx(0, abs=1e-12)
    first, second = [100, 300, 0], [200, 100, 50]
    together = score([one + other for one, other in zip(first, second, strict=True)], [1000, 1000, 0])
    assert together == score([300, 400, 50], [1000, 1000, 0])


def test_a_small_score_is_the_population_stability_index() -> None:
    live, reference = np.array([105, 95, 100, 100]) * 10, np.array([100, 100, 100, 100]) * 10
    now, before = live / live.sum(), reference / reference.sum()
    index = float(((now - before) * np.log(now / before)).sum())
    found = score(live.tolist(), reference.tolist())
    assert found is not None
    assert found.value == pytest.approx(index, rel=0.01)


@pytest.mark.parametrize("freedom", [1, 2, 12, 22])
def test_the_bound_is_that_of_the_chi_square_or_a_little_above(freedom: int) -> None:
    assert 1 <= critical(freedom) / chi2.isf(CHANCE, freedom) < 1.3


@pytest.mark.parametrize(
    ("bins", "live", "reference", "words"),
    [
        (
            NumberBins(0.0, [7.5, 20.0, 90.0]),
            [50, 260, 350, 340, 0, 0],
            [0, 100, 450, 450, 0, 0],
            "31 % at most 7.5, 10 % in training",
        ),
        (
            NumberBins(0.0, [7.5, 20.0, 90.0]),
            [0, 50, 250, 699, 1, 0],
            [0, 100, 450, 450, 0, 0],
            "70 % above 20, 45 % in training",
        ),
        (NumberBins(0.0, [1.0]), [0, 500, 0, 500], [0, 990, 0, 10], "50 % missing, 1 % in training"),
        (
            NumberBins(0.0, [1.0]),
            [0, 800, 200, 0],
            [0, 999, 1, 0],
            "20 % above 1, the highest of training, 0.1 %",
        ),
        (
            CategoryBins(["Q", "S"]),
            [200, 600, 0, 200, 0],
            [300, 700, 0, 0, 0],
            "20 % unknown categories, 0 %",
        ),
        (CategoryBins([True, 2.0]), [100, 900, 0, 0, 0], [900, 100, 0, 0, 0], "90 % '2', 10 % in training"),
    ],
)
def test_what_moved_is_told_in_words(
    bins: Bins, live: list[float], reference: list[float], words: str
) -> None:
    assert words in moved(bins, live, reference, "training")


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0, "0 %"),
        (0.0004, "under 0.1 %"),
        (0.0123, "1.2 %"),
        (0.02, "2 %"),
        (0.311, "31 %"),
        (0.999, "99.9 %"),
        (1, "100 %"),
    ],
)
def test_a_share_is_told_as_a_person_reads_it(share: float, words: str) -> None:
    assert percent(share) == words
