"""What all rules of the compiler need. Runs where models are packed and in the image's build."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Step = tuple[str, NDArray[np.float64]]


class NotCompilableError(Exception):
    """There is no rule for this estimator, or its compiled form answers differently; the message says why."""


def sklearn_name(estimator: Any) -> str:
    """The name of the estimator's class if it is one of scikit-learn, else empty."""
    kind = type(estimator)
    return kind.__name__ if kind.__module__.startswith("sklearn.") else ""


def classes_of(estimator: Any) -> list[NDArray[Any]]:
    """The labels of each output, none for a regressor; strings in numpy's own type, which needs no pickle."""
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        return []
    groups = classes if isinstance(classes, list) else [classes]
    return [np.array(group.tolist()) for group in groups]
