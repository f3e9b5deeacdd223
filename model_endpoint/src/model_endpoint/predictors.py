"""What turns rows into outputs once a model is loaded: numpy for what compiles, scikit-learn for the rest.

A compiled predictor is a few steps on the columns, a head that scores the rows, and a link that makes labels,
probabilities or values of the scores. Each repeats scikit-learn's own operations in scikit-learn's order;
`model_endpoint.compiler` makes them and proves that they answer the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]
Scores = NDArray[np.float64]
Nodes = NDArray[np.signedinteger[Any]]
Outputs = dict[str, NDArray[Any]]

STEPS = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
}
# Up to so many node tests at once, testing all nodes of a forest is faster than following its levels.
TEST_ALL_NODES = 20_000


class Predictor(Protocol):
    """Answers finite rows of shape (n, features), n at least 1, with finite arrays of n rows by output name.

    `probabilities` says whether a classifier's are wanted beside its labels. Raises ValueError for rows it can't
    take, and when its arithmetic leaves the finite numbers.
    """

    def __call__(self, rows: Rows, probabilities: bool = True) -> Outputs: ...


def require_finite(array: NDArray[Any], *, infinite: bool = False) -> None:
    """Raise ValueError naming the first row of `array` that is not finite, or with `infinite` is no number."""
    if math.isfinite(array.sum()):  # the usual case, at half the price of looking at every number
        return
    wrong = np.isnan(array) if infinite else ~np.isfinite(array)
    if wrong.any():
        row = int(wrong.reshape(len(array), -1).any(axis=1).argmax())
        raise ValueError(f"row {row} leads beyond the finite numbers")


class SklearnPredictor:
    """Serves a fitted estimator by its own `predict` and, where it has one, `predict_proba`."""

    def __init__(self, estimator: Any) -> None:
        self._estimator = estimator

    def __call__(self, rows: Rows, probabilities: bool = True) -> Outputs:
        outputs: Outputs = {"predict": np.asarray(self._estimator.predict(rows))}
        if probabilities and hasattr(self._estimator, "predict_proba"):
            proba = self._estimator.predict_proba(rows)
            if isinstance(proba, list):  # a classifier of several outputs answers with one array for each
                outputs |= {f"predict_proba_{index}": array for index, array in enumerate(proba)}
            else:
                outputs["predict_proba"] = proba
        for array in outputs.values():
            if array.dtype.kind == "f":
                require_finite(array)
        return outputs


class LinearHead:
    """Scores rows with `rows @ weights + intercept`; weights are (features,) or (features, scores)."""

    def __init__(self, weights: NDArray[np.float64], intercept: NDArray[np.float64]) -> None:
        self._weights = weights
        self._intercept = intercept

    def __call__(self, rows: Rows) -> Scores:
        return (rows @ self._weights + self._intercept).reshape(len(rows), -1)

    def arrays(self) -> dict[str, NDArray[Any]]:
        # Fortran order, which coef_.T has, makes BLAS add in the same order as it does for scikit-learn.
        return {"weights": self._weights, "intercept": self._intercept}


class TreesHead:
    """Scores rows with the sum of one leaf's values from each tree, added in the order of the trees.

    All nodes of all trees lie in level order: the roots first, the two children of a node side by side. A
    node sends a row to `left + (row[feature] > threshold)`; a leaf's threshold is infinite and its `left`
    itself, so a row that reached it stays. `values` are (nodes, scores), `base` (scores,) is added first, and
    `depths` (trees,) are at least 1.
    """

    def __init__(
        self,
        feature: NDArray[np.intp],
        threshold: NDArray[np.float64],
        left: NDArray[np.int32],
        values: NDArray[np.float64],
        base: NDArray[np.float64],
        depths: NDArray[np.intp],
        single_precision: bool,
    ) -> None:
        self._feature = feature
        self._threshold = threshold
        self._left = left
        self._values = values
        self._base = base
        self._depths = depths
        self._trees = len(depths)
        self._deepest_first = np.argsort(-depths, kind="stable")
        # How many trees are deeper than 0, than 1, and so on.
        self._deeper = [int((depths > level).sum()) for level in range(int(depths.max()))]
        self._single_precision = bool(single_precision)
        self._add_base = bool(base.any())

    def __call__(self, rows: Rows) -> Scores:
        if self._single_precision:
            narrow = rows.astype(np.float32)
            if not (math.isfinite(narrow.sum()) or np.isfinite(narrow).all()):
                raise ValueError("a value is too large for float32, in which this model's trees compare")
            rows = narrow.astype(np.float64)
        if len(rows) == 1:
            return self._sum(self._leaves_of_one(rows[0]))
        if len(rows) * len(self._left) <= TEST_ALL_NODES:
            return np.concatenate([self._sum(self._leaves_of_one(row)) for row in rows])
        return self._sum(self._leaves_of_many(rows))

    def _leaves_of_one(self, row: NDArray[np.float64]) -> Nodes:
        successor = self._left + (row.take(self._feature) > self._threshold)
        node = successor[: self._trees]
        for _ in self._deeper[1:]:
            node = successor.take(node)
        return node[:, np.newaxis]

    def _leaves_of_many(self, rows: Rows) -> Nodes:
        count, width = rows.shape
        offset = np.tile(np.arange(0, count * width, width), self._trees)
        flat = rows.ravel()
        node = np.repeat(self._deepest_first, count)
        for deeper in self._deeper:  # only these trees have nodes to go on to
            part = slice(deeper * count)
            at = node[part]
            value = flat.take(self._feature.take(at) + offset[part])
            node[part] = self._left.take(at) + (value > self._threshold.take(at))
        leaves = np.empty((self._trees, count), dtype=np.intp)
        leaves[self._deepest_first] = node.reshape(self._trees, count)
        return leaves

    def _sum(self, leaves: Nodes) -> Scores:
        values: Scores = self._values.take(leaves, axis=0)
        if self._add_base:
            values[0] += self._base
        if values[0].size > 1:  # numpy adds one tree after the other, as scikit-learn does
            total: Scores = np.add.reduce(values, axis=0)
        else:  # a single column it would add pairwise
            total = np.add.accumulate(values, axis=0)[-1]
        return total

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "feature": self._feature,
            "threshold": self._threshold,
            "left": self._left,
            "values": self._values,
            "base": self._base,
            "depths": self._depths,
            "single_precision": np.array(self._single_precision),
        }


Head = LinearHead | TreesHead


class CompiledPredictor:
    """Serves a model with numpy alone.

    `link` says what the scores mean: `value` and `exp` for regressors, `label` for classifiers without
    probabilities, `logistic` (one score), `softmax`, `ovr` (logistic per class, made to add up to 1) and
    `mean` (probabilities summed over trees). `classes` holds the labels of each output of a classifier. A
    single score above `threshold` means the second class; the scores are divided by `divisor` first.
    """

    def __init__(
        self,
        steps: Sequence[tuple[str, NDArray[np.float64]]],
        head: Head,
        link: str,
        classes: Sequence[NDArray[Any]] = (),
        *,
        threshold: float = 0.0,
        divisor: float = 1.0,
    ) -> None:
        self._steps = [(STEPS[name], operand) for name, operand in steps]
        self._step_names = [name for name, _ in steps]
        self._head = head
        self._link = link
        self._classes = classes
        self._threshold = threshold
        self._divisor = divisor
        self._bounded = isinstance(head, TreesHead)  # by the values of its leaves, which are finite

    @property
    def kind(self) -> str:
        return "numpy trees" if isinstance(self._head, TreesHead) else "numpy linear"

    def __call__(self, rows: Rows, probabilities: bool = True) -> Outputs:
        for step, operand in self._steps:
            rows = step(rows, operand)
        scores = self._head(rows)
        if self._divisor != 1.0:
            scores /= self._divisor
        if not self._classes:
            values = np.exp(scores) if self._link == "exp" else scores
            require_finite(values)
            return {"predict": values[:, 0] if values.shape[1] == 1 else values}
        if not self._bounded:
            require_finite(scores, infinite=self._link in ("logistic", "label"))
        if len(self._classes) > 1:
            return self._several(scores)
        labels = self._classes[0]
        if scores.shape[1] == 1:
            second = scores[:, 0] > self._threshold
            outputs = {"predict": labels.take(second.astype(np.intp))}
        else:
            outputs = {"predict": labels.take(scores.argmax(axis=1))}
        if probabilities and self._link != "label":
            outputs["predict_proba"] = PROBABILITIES[self._link](scores)
        return outputs

    def _several(self, scores: Scores) -> Outputs:
        """Split the probabilities of a classifier of several outputs, which are `mean` always."""
        ends = np.cumsum([len(labels) for labels in self._classes])
        parts = np.split(scores, ends[:-1], axis=1)
        chosen = [labels.take(part.argmax(axis=1)) for labels, part in zip(self._classes, parts, strict=True)]
        outputs: Outputs = {"predict": np.stack(chosen, axis=1)}
        return outputs | {f"predict_proba_{index}": part for index, part in enumerate(parts)}

    def save(self, path: Path) -> None:
        """Write all arrays to an .npz file, which holds no pickle."""
        arrays: dict[str, NDArray[Any]] = {
            f"step_{index}": operand for index, (_, operand) in enumerate(self._steps)
        }
        arrays |= {f"classes_{index}": labels for index, labels in enumerate(self._classes)}
        arrays |= {f"head_{name}": array for name, array in self._head.arrays().items()}
        arrays |= {
            "steps": np.array(self._step_names, dtype=np.str_),
            "link": np.array(self._link),
            "threshold": np.array(self._threshold),
            "divisor": np.array(self._divisor),
        }
        np.savez(path, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> CompiledPredictor:
        """Read what `save` wrote. Raises OSError, KeyError or ValueError when it is not that."""
        with np.load(path, allow_pickle=False) as file:
            arrays: Mapping[str, NDArray[Any]] = dict(file)
        steps = [(str(name), arrays[f"step_{index}"]) for index, name in enumerate(arrays["steps"])]
        parts: dict[str, Any] = {
            name.removeprefix("head_"): array for name, array in arrays.items() if name.startswith("head_")
        }
        classes = [
            arrays[f"classes_{index}"] for index in range(sum(name.startswith("classes_") for name in arrays))
        ]
        head: Head = LinearHead(**parts) if "weights" in parts else TreesHead(**parts)
        link = str(arrays["link"])
        threshold, divisor = arrays["threshold"].item(), arrays["divisor"].item()
        return cls(steps, head, link, classes, threshold=threshold, divisor=divisor)


def _expit(scores: Scores) -> Scores:
    small = np.exp(-np.abs(scores))  # never overflows
    result: Scores = np.where(scores >= 0, 1 / (1 + small), small / (1 + small))
    return result


def _logistic(scores: Scores) -> Scores:
    second = _expit(scores)
    return np.concatenate((1 - second, second), axis=1)


def _ovr(scores: Scores) -> Scores:
    proba = _expit(scores)
    total = proba.sum(axis=1, keepdims=True)
    proba = np.where(total == 0, 1.0, proba)
    result: Scores = proba / np.where(total == 0, float(proba.shape[1]), total)
    return result


def _softmax(scores: Scores) -> Scores:
    proba: Scores = scores - scores.max(axis=1, keepdims=True)
    np.exp(proba, out=proba)
    proba /= proba.sum(axis=1, keepdims=True)
    return proba


def _mean(scores: Scores) -> Scores:
    return scores


PROBABILITIES = {"logistic": _logistic, "ovr": _ovr, "softmax": _softmax, "mean": _mean}
