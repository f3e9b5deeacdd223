"""Answer rows with numpy alone, for models that could be compiled. Runs in the build and in a worker.

A compiled predictor is a few steps on the columns, a head that scores the rows, and a link that turns scores into
labels, probabilities or values. Each repeats scikit-learn's own operations in scikit-learn's order.
`model_endpoint.packing.compiling` makes these predictors, `model_endpoint.packing.proof` compares them with
scikit-learn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_endpoint.models.compiled import boosted_links
from model_endpoint.models.compiled.checks import require
from model_endpoint.models.compiled.files import write_arrays
from model_endpoint.models.compiled.linear import LinearHead
from model_endpoint.models.compiled.tables import Sparse, Table, dense
from model_endpoint.models.compiled.trees import DOUBLE, TreesHead
from model_endpoint.models.predictor import Outputs, Scores, require_finite

STEPS = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
}

Head = LinearHead | TreesHead


class CompiledPredictor:
    """Serves a model with numpy alone.

    `link` says what the scores mean: `value`, `exp` and `expit` for regressors, `label` for classifiers without
    probabilities, `logistic` (one score), `softmax`, `ovr` (logistic per class, divided by their sum),
    `mean` (probabilities summed over trees) and those of `boosted_links`. `classes` holds the labels of each output of
    a classifier. The scores are divided by `divisor` first; then a single score above `threshold` means the second
    class.
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
        self._bounded = isinstance(head, TreesHead)  # the values of its leaves are finite

    @property
    def kind(self) -> str:
        """The name of this predictor's kind in `model_endpoint.models.kinds`."""
        return "numpy trees" if isinstance(self._head, TreesHead) else "numpy linear"

    @property
    def further(self) -> frozenset[str]:
        """The outputs besides labels, probabilities and values: a classifier's scores, if it has any."""
        return frozenset({"decision_function"} if self._classes and self._link in SCORED else ())

    @property
    def rounds(self) -> bool:
        """Whether each number of a row is rounded to float32 first, and nothing else is done with it."""
        return not self._steps and isinstance(self._head, TreesHead) and self._head.precision != DOUBLE

    def splits(self) -> list[tuple[int, float]]:
        """The row's column and the threshold of each node of its trees, if it has any."""
        return self._head.splits() if isinstance(self._head, TreesHead) else []

    def __call__(self, rows: Table, probabilities: bool = True, more: Collection[str] = ()) -> Outputs:
        if isinstance(rows, Sparse) and isinstance(self._head, LinearHead) and not self._steps:
            return self._answer(self._head.of_sparse(rows), probabilities, more)
        rows = dense(rows)
        for step, operand in self._steps:
            rows = step(rows, operand)
        return self._answer(self._head(rows), probabilities, more)

    def _answer(self, scores: Scores, probabilities: bool, more: Collection[str]) -> Outputs:
        if self._divisor != 1.0:
            scores /= self._divisor
        if not self._classes:
            values = VALUES[self._link](scores)
            require_finite(values)
            return {"predict": values[:, 0] if values.shape[1] == 1 else values}
        if not self._bounded:
            require_finite(scores, allow_infinite=self._link in ("logistic", "label"))
        if more and not self.further.issuperset(more):
            raise ValueError(f"the compiled form has no {', '.join(sorted(set(more) - self.further))}")
        if len(self._classes) > 1:
            return self._several(scores)
        labels = self._classes[0]
        if self._link in boosted_links.PROBABILITIES:
            proba = PROBABILITIES[self._link](scores)
            outputs = {"predict": labels.take(proba.argmax(axis=1)), "predict_proba": proba}
        elif scores.shape[1] == 1:
            second = scores[:, 0] > self._threshold
            outputs = {"predict": labels.take(second.astype(np.intp))}
        else:
            outputs = {"predict": labels.take(scores.argmax(axis=1))}
        if probabilities and self._link != "label" and "predict_proba" not in outputs:
            outputs["predict_proba"] = PROBABILITIES[self._link](scores)
        if more:
            require_finite(scores)
            outputs["decision_function"] = scores[:, 0] if scores.shape[1] == 1 else scores
        return outputs

    def _several(self, scores: Scores) -> Outputs:
        """Split the probabilities of a classifier of several outputs, whose link is always `mean`."""
        ends = np.cumsum([len(labels) for labels in self._classes])
        parts = np.split(scores, ends[:-1], axis=1)
        chosen = [labels.take(part.argmax(axis=1)) for labels, part in zip(self._classes, parts, strict=True)]
        outputs: Outputs = {"predict": np.stack(chosen, axis=1)}
        return outputs | {f"predict_proba_{index}": part for index, part in enumerate(parts)}

    def check(self, columns: int) -> None:
        """Raise ValueError unless the arrays are of a model of as many columns."""
        for _, operand in self._steps:
            right = operand.shape in ((), (columns,)) and operand.dtype.kind in "fiu"
            require(right, "numbers for other columns")
        self._head.check(columns)
        require(math.isfinite(self._threshold) and self._divisor, "its threshold or divisor is none")
        labels = [len(one) for one in self._classes if one.ndim == 1]
        require(len(labels) == len(self._classes), "labels of another shape")
        if not labels:
            require(self._link in VALUES, "an unknown link")
        elif len(labels) > 1:
            require(self._link == "mean" and sum(labels) == self._head.scores, "labels of other scores")
        else:
            require(self._link in PROBABILITIES or self._link == "label", "an unknown link")
            require(labels[0] == max(2, self._head.scores), "labels of other scores")

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that the predictor is made of."""
        arrays: dict[str, NDArray[Any]] = {
            f"step_{index}": operand for index, (_, operand) in enumerate(self._steps)
        }
        arrays |= {f"classes_{index}": labels for index, labels in enumerate(self._classes)}
        arrays |= {f"head_{name}": array for name, array in self._head.arrays().items()}
        return arrays | {
            "steps": np.array(self._step_names, dtype=np.str_),
            "link": np.array(self._link),
            "threshold": np.array(self._threshold),
            "divisor": np.array(self._divisor),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> CompiledPredictor:
        """Make the predictor of its arrays. Raises KeyError, TypeError or ValueError for others."""
        steps = [(str(name), arrays[f"step_{index}"]) for index, name in enumerate(arrays["steps"])]
        parts: dict[str, Any] = {
            name.removeprefix("head_"): array for name, array in arrays.items() if name.startswith("head_")
        }
        classes = [
            arrays[f"classes_{index}"] for index in range(sum(name.startswith("classes_") for name in arrays))
        ]
        head: Head = LinearHead(**parts) if "weights" in parts else TreesHead.of_arrays(parts)
        link = str(arrays["link"])
        threshold, divisor = arrays["threshold"].item(), arrays["divisor"].item()
        return cls(steps, head, link, classes, threshold=threshold, divisor=divisor)

    def save(self, path: Path) -> None:
        """Write all arrays to an .npz file without pickle."""
        write_arrays(path, self.arrays())


def expit(scores: Scores) -> Scores:
    small = np.exp(-np.abs(scores))  # never overflows
    result: Scores = np.where(scores >= 0, 1 / (1 + small), small / (1 + small))
    return result


def _logistic(scores: Scores) -> Scores:
    second = expit(scores)
    return np.concatenate((1 - second, second), axis=1)


def _ovr(scores: Scores) -> Scores:
    proba = expit(scores)
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


def _huber(scores: Scores) -> Scores:
    proba = (np.clip(scores, -1.0, 1.0) + 1.0) / 2.0
    if proba.shape[1] == 1:
        return np.concatenate((1.0 - proba, proba), axis=1)
    total = proba.sum(axis=1, keepdims=True)
    result: Scores = np.where(total == 0, 1.0 / proba.shape[1], proba / np.where(total == 0, 1.0, total))
    return result


PROBABILITIES: dict[str, Callable[[Any], NDArray[Any]]] = {
    "logistic": _logistic,
    "ovr": _ovr,
    "softmax": _softmax,
    "mean": _mean,
    "huber": _huber,
}
PROBABILITIES |= boosted_links.PROBABILITIES
VALUES = {"value": _mean, "exp": boosted_links.exp, "expit": boosted_links.expit}
# The links of classifiers that have a decision function.
SCORED = {"huber", "label", "logistic", "ovr", "softmax", *boosted_links.PROBABILITIES}
