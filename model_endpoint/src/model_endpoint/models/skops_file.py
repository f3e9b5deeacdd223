"""Read an estimator in skops form without running code that the file brings. Runs in the build and in a worker.

Skops makes objects of trusted types only. Some of these types are safe only if their content is: scikit-learn follows
a tree's node numbers and adds to arrays without looking at their bounds. So this module trusts more types than skops
does, and checks what is in them: sizes before anything is unpacked, trees before scikit-learn sees them, and the rest
before the estimator answers (`model_endpoint.models.content_checks`).
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np

from model_endpoint.models.array_files import check_array, check_arrays, check_unpacked, zip_of
from model_endpoint.models.content_checks import check_content

# Modules of scikit-learn that only compute. The functions and classes that they define are trusted.
COMPUTING_MODULES = (
    "sklearn.calibration",
    "sklearn.compose._column_transformer",
    "sklearn.ensemble._hist_gradient_boosting.predictor",
    "sklearn.feature_selection._univariate_selection",
    "sklearn.gaussian_process.kernels",
    "sklearn.impute._iterative",
    "sklearn.metrics._classification",
    "sklearn.metrics._ranking",
    "sklearn.metrics._regression",
    "sklearn.metrics._scorer",
    "sklearn.model_selection._split",
    "sklearn.neural_network._stochastic_optimizers",
    "sklearn.preprocessing._data",
)
COMPUTING_TYPES = (
    *("collections.OrderedDict", "collections.defaultdict", "functools.partial", "numpy.dtype"),
    *("scipy._lib.array_api_compat.numpy._aliases.asarray", "scipy.interpolate._bsplines.BSpline"),
    *("sklearn.metrics._dist_metrics.EuclideanDistance", "sklearn.metrics._dist_metrics.EuclideanDistance32"),
    *(
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.metrics._dist_metrics.ManhattanDistance64",
    ),
    *("sklearn.metrics._dist_metrics.ManhattanDistance", "sklearn.metrics._dist_metrics.MinkowskiDistance64"),
    *("sklearn.metrics._dist_metrics.MinkowskiDistance", "sklearn.metrics._dist_metrics.ChebyshevDistance64"),
    *("sklearn.neighbors._ball_tree.BallTree", "sklearn.neighbors._ball_tree.BallTree64"),
    *("sklearn.neighbors._kd_tree.KDTree", "sklearn.neighbors._kd_tree.KDTree64"),
    *("sklearn.tree._tree.Tree", "sklearn.utils._bunch.Bunch", "sklearn.utils.validation.check_array"),
    *(
        "sklearn.utils._metadata_requests.MetadataRequest",
        "sklearn.utils._metadata_requests.MethodMetadataRequest",
    ),
    *(
        f"numpy.{name}"
        for name in ("around", "clip", "cumsum", "diff", "nan_to_num", "ravel", "round", "where")
    ),
)


@cache
def built_in_types() -> frozenset[str]:
    """The types that are trusted in every bundle, by the names that skops gives them, besides skops' own."""
    found = set(COMPUTING_TYPES)
    for name in COMPUTING_MODULES:
        try:
            module = importlib.import_module(name)
        except ImportError:  # an older or newer scikit-learn has it elsewhere
            continue
        parts = vars(module).values()
        own = [part for part in parts if callable(part) and getattr(part, "__module__", None) == name]
        found |= {f"{name}.{part.__name__}" for part in own if hasattr(part, "__name__")}
    return frozenset(found)


def untrusted_types(dump: bytes, trusted: Iterable[str] = ()) -> list[str]:
    """The types in `dump` that neither every bundle may hold nor `trusted` names. Raises ValueError."""
    import skops.io

    check_sizes(dump)
    return sorted(set(skops.io.get_untrusted_types(data=dump)) - built_in_types() - set(trusted))


def loads(dump: bytes, trusted: Iterable[str] = ()) -> Any:
    """The estimator in `dump`, whose types must be trusted in every bundle or by `trusted`, with its content checked.

    Raises ValueError for what is not trusted, or would make scikit-learn read or write outside its arrays; skops may
    raise any error for a file that it can't read.
    """
    import skops.io

    if untrusted := untrusted_types(dump, trusted):
        raise ValueError(f"it holds types that are not trusted: {', '.join(untrusted)}")
    _check_trees_when_made()
    estimator = skops.io.loads(dump, trusted=[*built_in_types(), *trusted])
    return check_content(estimator)


def check_sizes(dump: bytes) -> None:
    """Raise ValueError if `dump` is no zip file, unpacks to far more than its size, or holds arrays of a wrong size."""
    with zip_of(io.BytesIO(dump)) as archive:
        check_unpacked(archive, len(dump))
        for entry in archive.infolist():
            if entry.filename.endswith(".npy"):
                check_array(archive, entry)
            elif entry.filename.endswith(".npz"):
                check_arrays(io.BytesIO(archive.read(entry)), entry.filename)


@cache
def _check_trees_when_made() -> None:
    """Have skops check the content of a tree before scikit-learn makes one of it, which copies without bounds."""
    from skops.io import _audit, _sklearn

    class CheckedTreeNode(_sklearn.TreeNode):  # type: ignore[misc]
        def _construct(self) -> Any:
            features, classes, outputs = self.args.construct()
            state = self.attrs.construct()
            count, nodes, values = state["node_count"], state["nodes"], state["values"]
            if not (
                isinstance(classes, np.ndarray)
                and classes.shape == (outputs,)
                and classes.min(initial=1) >= 1
                and type(features) is int
                and type(count) is int
                and count == len(nodes) == len(values)
                and count >= 1
            ):
                raise ValueError(
                    f"a tree's sizes contradict each other: it says {count} nodes and has {len(nodes)}"
                )
            return super()._construct()

    for key, node in list(_audit.NODE_TYPE_MAPPING.items()):
        if node is _sklearn.TreeNode:
            _audit.NODE_TYPE_MAPPING[key] = CheckedTreeNode
