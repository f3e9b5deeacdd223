"""Prove that a compiled predictor answers as scikit-learn does. Runs where models are packed, and in the build."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from model_endpoint.models.compiled.predictor import CompiledPredictor
from model_endpoint.models.predictor import Outputs, Predictor, Rows
from model_endpoint.models.scikit_learn import SklearnPredictor
from model_endpoint.packing.compiling.common import NotCompilableError, sklearn_name

TOLERANCE = 1e-12  # relative
SMALL = 1e-2
SINGLE_TOLERANCE = 2.0**-22  # of an answer in float32: its last bit, by two libraries' exponential functions
RANDOM_ROWS = 20_000
SINGLE_ROWS = 100
ALONE_ROWS = 20
"""The estimator is asked for so many of the single rows alone, whatever it says of all together."""
GAPS = 0.1  # the share of missing values among a column's random ones, where the training data had some
EDGES = 400  # thresholds of trees, each of which makes six edge rows
SEED = 20_000
EXTREMES = (0.0, -0.0, 5e-324, 1e-300, -1e-300, 1e-45, 16777217.0, 3.4e38, -3.4e38, 3.5e38, 1e300, -1e300)


@dataclass(frozen=True, slots=True)
class Proof:
    """How many rows were compared with scikit-learn, and how large the largest difference was.

    `largest_difference` is relative to the number, or to SMALL of its output's mean size if that is larger;
    `bit_for_bit` says that every output of every row was identical.
    """

    verification_rows: int
    random_rows: int
    edge_rows: int
    single_rows: int
    largest_difference: float
    bit_for_bit: bool


def prove(
    estimator: Any,
    candidate: Predictor,
    verification: Rows,
    low: Rows,
    high: Rows,
    more: Collection[str] = (),
) -> Proof:
    """Compare `candidate` with the estimator on verification, random and edge rows, and on single and extreme rows.

    `verification` has the shape (n, features); `low` and `high`, of shape (features,), are the range of the training
    data; `more` are the further outputs to compare. Raises NotCompilableError at the first label that differs, or
    number that differs by more than TOLERANCE.
    """
    reference = SklearnPredictor(estimator)
    generator = np.random.default_rng(SEED)
    span = np.where(high > low, high - low, 1.0)
    random = generator.uniform(low - span / 2, high + span / 2, size=(RANDOM_ROWS, len(low)))
    random[::4] = np.round(random[::4])
    random[generator.random(random.shape) < np.isnan(verification).any(axis=0) * GAPS] = np.nan
    edges = np.array(list(_edge_rows(estimator, candidate, random[:200], generator)))
    singles = np.concatenate([verification[: SINGLE_ROWS // 2], random[: SINGLE_ROWS // 2]])
    batches = [("verification", verification), ("random", random), ("edge", edges)]
    extremes = [np.where(generator.random(len(low)) < 0.5, value, random[0]) for value in EXTREMES]
    comparison = Comparison(reference, candidate, more)
    # One thread: with few rows, threads cost several times what they save.
    with warnings.catch_warnings(), threadpool_limits(limits=1):
        warnings.simplefilter("ignore", RuntimeWarning)  # overflow in extreme rows is part of the comparison
        for label, rows in batches:
            comparison.add(label, rows, str(rows[0].tolist()))
        comparison.add_singles(singles, [(row[np.newaxis], str(row.tolist())) for row in singles])
        for row in extremes:
            comparison.add("extreme", row[np.newaxis], str(row.tolist()))
    counts = len(verification), len(random), len(edges) + len(extremes), len(singles)
    return Proof(*counts, comparison.worst, comparison.same_bits)


class Comparison:
    """Compares a candidate's answers with the estimator's, batch by batch.

    `worst` is the largest relative difference so far, `same_bits` says that all outputs were identical, and `compared`
    counts the batches that the estimator answered.
    """

    def __init__(self, reference: Predictor, candidate: Predictor, more: Collection[str]) -> None:
        self._reference, self._candidate, self._more = reference, candidate, more
        self._floors: dict[str, float] = {}
        self.worst, self.same_bits, self.compared = 0.0, True, 0

    def add(self, label: str, given: Any, shown: str) -> bool:
        """Compare the answers to rows as a predictor gets them, whose first is `shown` in an error.

        Returns whether the rows are answered. Raises NotCompilableError where one refuses them alone, or answers
        differ.
        """
        expected = attempt(self._reference, given, self._more, Exception)
        got = attempt(self._candidate, given, self._more)
        if expected is None or got is None:
            if expected is not got:
                which = "scikit-learn" if expected is None else "the compiled form"
                raise NotCompilableError(f"only {which} refuses a row ({label}: {shown})")
            return False
        self._floors = self._floors or mean_sizes(expected)
        difference, identical = compare(label, expected, got, self._floors)
        self.worst = max(self.worst, difference)
        self.same_bits = self.same_bits and identical
        self.compared += 1
        return True

    def add_singles(self, together: Any, singles: Sequence[tuple[Any, str]]) -> None:
        """Compare single rows, each given with how it is shown; `together` is all of them in one batch.

        The estimator takes about as long for one row as for all. So it is asked for all together, and for a row alone
        where the candidate's answer to the row is not the very same, or not near if others were not the same either.
        Raises NotCompilableError.
        """
        expected = attempt(self._reference, together, self._more, Exception)
        for at, (given, shown) in enumerate(singles):
            got = attempt(self._candidate, given, self._more) if expected and at >= ALONE_ROWS else None
            if not (expected and got and self._near(_row(expected, at), got)):
                self.add("single", given, shown)

    def _near(self, expected: Outputs, got: Outputs) -> bool:
        """Whether the answers are identical, or near where others were not identical before."""
        try:
            difference, identical = compare("single", expected, got, self._floors)
        except NotCompilableError:
            return False
        if self.same_bits and not identical:
            return False
        self.worst = max(self.worst, difference)
        self.compared += 1
        return True


def _row(outputs: Outputs, at: int) -> Outputs:
    return {name: array[at : at + 1] for name, array in outputs.items()}


def mean_sizes(outputs: Outputs) -> dict[str, float]:
    """A part of the mean size of each output's numbers: a sum that is near 0 by chance has no digits of its own."""
    return {
        name: float(np.abs(array).mean()) * SMALL
        for name, array in outputs.items()
        if array.dtype.kind == "f" and array.size
    }


def attempt(
    predictor: Predictor, rows: Any, more: Collection[str], refuses: type[Exception] = ValueError
) -> Outputs | None:
    """The outputs, or None when the predictor refuses the rows, by an error of `refuses`."""
    try:
        return predictor(rows, True, more) if more else predictor(rows)
    except refuses:
        return None


def compare(label: str, expected: Outputs, got: Outputs, floors: Mapping[str, float]) -> tuple[float, bool]:
    """The largest relative difference, and whether all outputs are identical. Raises NotCompilableError.

    A difference is relative to the number, or to the output's number in `floors` if that is larger.
    """
    if list(expected) != list(got):
        raise NotCompilableError(
            f"the compiled form's outputs are {', '.join(got)} instead of {', '.join(expected)}"
        )
    worst = 0.0
    identical = True
    for name, right in expected.items():
        left = got[name]
        if left.dtype.kind == "f" and left.dtype != right.dtype:
            raise NotCompilableError(f"{name} is of {left.dtype} instead of {right.dtype}")
        if left.shape != right.shape:
            raise NotCompilableError(f"{name} has shape {left.shape} instead of {right.shape}")
        if right.dtype.kind != "f":
            if differing := int((left != right).sum()):
                raise NotCompilableError(f"{name} differs for {differing} of {len(right)} {label} rows")
            continue
        if np.array_equal(left, right):
            continue
        identical = False
        floor = max(floors.get(name, 0.0), np.finfo(np.float64).tiny)
        found = float((np.abs(left - right) / np.maximum(np.abs(right), floor)).max())
        if not found <= (SINGLE_TOLERANCE if right.dtype == np.float32 else TOLERANCE):
            raise NotCompilableError(f"{name} differs by {found:.1e} relative on {label} rows")
        worst = max(worst, found)
    return worst, identical


def _edge_rows(
    estimator: Any, candidate: Predictor, rows: Rows, generator: np.random.Generator
) -> Iterator[Rows]:
    """Rows with values at, just below and just above thresholds of the model's trees, in float64 and in float32."""
    final = estimator.steps[-1][1] if sklearn_name(estimator) == "Pipeline" else estimator
    members = getattr(final, "estimators_", [final])
    members = members.ravel().tolist() if isinstance(members, np.ndarray) else members
    trees = [member.tree_ for member in members if hasattr(member, "tree_")]
    splits = [
        (tree.feature[node], tree.threshold[node])
        for tree in trees
        for node in np.flatnonzero(tree.feature >= 0)
    ]
    for iteration in getattr(final, "_predictors", []):
        nodes = np.concatenate([tree.nodes[tree.nodes["is_leaf"] == 0] for tree in iteration])
        splits += list(zip(nodes["feature_idx"], nodes["num_threshold"], strict=True))
    if not splits and isinstance(candidate, CompiledPredictor):
        splits = candidate.splits()
    for at in generator.permutation(len(splits))[:EDGES]:
        feature, threshold = splits[at]
        narrow = np.float32(threshold)
        for value in (
            threshold,
            np.nextafter(threshold, np.inf),
            np.nextafter(threshold, -np.inf),
            narrow,
            np.nextafter(narrow, np.float32(np.inf)),
            np.nextafter(narrow, np.float32(-np.inf)),
        ):
            row = rows[at % len(rows)].copy()
            row[feature] = value
            yield row
    yield np.zeros(rows.shape[1])
