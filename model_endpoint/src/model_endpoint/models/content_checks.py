"""Check what is in a loaded estimator before it answers. Runs in the build and in a worker.

Scikit-learn's compiled code takes the numbers of an estimator as they are. Here each part that such code reads is
held against the sizes of its arrays: trees, boosted trees, support vectors, cluster centres, splines and sparse
matrices. Neighbours' search trees are built anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import MethodType
from typing import Any

import numpy as np


def check_content(estimator: Any) -> Any:
    """Return `estimator` after checking it and all its parts. Raises ValueError."""
    for part in parts_of(estimator):
        for kind in type(part).__mro__:
            if check := CHECKS.get(f"{kind.__module__}.{kind.__name__}"):
                try:
                    check(part)
                except (AttributeError, IndexError, KeyError, TypeError) as error:
                    raise ValueError(f"its {type(part).__name__} is incomplete: {error}") from None
    return estimator


def parts_of(estimator: Any) -> Iterator[Any]:
    """The estimator and every object that it holds, each once."""
    stack, seen = [estimator], {}
    while stack:
        part = stack.pop()
        if id(part) in seen or isinstance(part, str | bytes | int | float | type(None) | type):
            continue
        seen[id(part)] = part  # held, so that no other object gets its id
        yield part
        if isinstance(part, dict):
            stack += [*part.keys(), *part.values()]
        elif isinstance(part, list | tuple | set | frozenset):
            stack += part
        elif isinstance(part, np.ndarray):
            if part.dtype == object:
                stack += part.ravel().tolist()
        elif isinstance(part, MethodType):
            stack += [part.__self__, part.__func__]
        else:
            stack += getattr(part, "__dict__", {}).values()
            stack += _in_slots(part)
        if hasattr(part, "func") and hasattr(part, "keywords"):  # a partial
            stack += [part.func, part.args, part.keywords]


def _in_slots(part: Any) -> list[Any]:
    """What an object holds in the slots that Python classes declare."""
    names: list[str] = []
    for kind in type(part).__mro__:
        slots = vars(kind).get("__slots__", ())
        names += [slots] if isinstance(slots, str) else list(slots)
    return [getattr(part, name) for name in names if isinstance(name, str) and hasattr(part, name)]


def _require(true: Any, part: Any, what: str) -> None:
    if not true:
        raise ValueError(f"its {type(part).__name__} is broken: {what}")


def _check_children(part: Any, inner: Any, left: Any, right: Any, count: int) -> None:
    """A child's number is above its parent's, so no circle is possible, and below the number of nodes."""
    at = np.flatnonzero(inner)
    for child in (left[at].astype(np.int64), right[at].astype(np.int64)):
        _require(
            (child > at).all() and (child < count).all(),
            part,
            "a node's child lies outside the tree or above it",
        )


def _check_tree(tree: Any) -> None:
    _require(0 < tree.node_count <= tree.capacity, tree, "it has more nodes than its arrays")
    inner = tree.children_left != -1
    _check_children(tree, inner, tree.children_left, tree.children_right, tree.node_count)
    feature = tree.feature[inner]
    within = (feature >= 0).all() and (feature < tree.n_features).all()
    _require(within, tree, f"a node asks for a feature outside the {tree.n_features} that it has")


def _check_tree_model(model: Any) -> None:
    if hasattr(model, "tree_"):
        _require(_kind(model.tree_) == "sklearn.tree._tree.Tree", model, "its tree_ is no tree")
        _require(
            model.tree_.n_features == model.n_features_in_, model, "its tree has other features than it has"
        )
        outputs = np.atleast_1d(model.n_classes_) if hasattr(model, "n_classes_") else None
        same = outputs is None or np.array_equal(np.atleast_1d(model.tree_.n_classes), outputs)
        _require(
            same and model.tree_.n_outputs == model.n_outputs_,
            model,
            "its tree has other outputs than it has",
        )


def _check_gradient_boosting(model: Any) -> None:
    if not hasattr(model, "estimators_"):
        return
    trees = model.estimators_
    _require(
        isinstance(trees, np.ndarray) and trees.ndim == 2, model, "its estimators_ are no table of trees"
    )
    for member in trees.ravel():
        _check_tree_model(member)
        narrow = member.tree_.n_features == model.n_features_in_ and member.tree_.value.shape[1:] == (1, 1)
        _require(narrow, model, "a tree has other features or outputs than it has")
    width = np.shape(model._raw_predict_init(np.zeros((1, model.n_features_in_))))
    _require(
        width == (1, trees.shape[1]),
        model,
        f"it starts from {width} scores for {trees.shape[1]} trees a stage",
    )


def _check_hist_gradient_boosting(model: Any) -> None:
    if not hasattr(model, "_predictors"):
        return
    width, mapper = model.n_features_in_, model._bin_mapper
    categorical = np.asarray(mapper.is_categorical_, dtype=bool)
    _require(
        categorical.shape == (width,) and len(mapper.bin_thresholds_) == width,
        model,
        "its bins are incomplete",
    )
    if getattr(model, "_preprocessor", None) is not None:
        _check_preprocessor(model)
    for at in np.flatnonzero(categorical):
        known = np.asarray(mapper.bin_thresholds_[at], dtype=np.float64)
        _require(((known >= 0) & (known <= 255)).all(), model, "a category's code lies outside 0 to 255")
    for member in [member for stage in model._predictors for member in stage]:
        nodes = member.nodes
        _require(nodes.ndim == 1 and len(nodes), member, "it has no nodes")
        inner = nodes["is_leaf"] == 0
        _check_children(member, inner, nodes["left"], nodes["right"], len(nodes))
        feature = nodes["feature_idx"][inner].astype(np.int64)
        _require(
            ((feature >= 0) & (feature < width)).all(),
            member,
            f"a node asks for a feature outside the {width}",
        )
        bits = member.raw_left_cat_bitsets
        _require(bits.ndim == 2 and bits.shape[1] == 8, member, "its categories are incomplete")
        asked = nodes["bitset_idx"][inner & (nodes["is_categorical"] == 1)].astype(np.int64)
        _require((asked < len(bits)).all(), member, "a node asks for categories that it has not")


def _check_preprocessor(model: Any) -> None:
    """What scikit-learn puts before boosted trees keeps every column; without one, a node would ask beside the row."""
    parts = getattr(model._preprocessor, "transformers_", [])
    kinds = ["sklearn.preprocessing._encoders.OrdinalEncoder"]
    kinds += ["sklearn.preprocessing._function_transformer.FunctionTransformer"]
    same = (
        _kind(model._preprocessor) == "sklearn.compose._column_transformer.ColumnTransformer"
        and [_kind(part) for _, part, _ in parts[:2]] == kinds
        and all(isinstance(part, str) and part == "drop" for _, part, _ in parts[2:])
        and np.array_equal(parts[0][2], ~np.asarray(parts[1][2], dtype=bool))
    )
    _require(same, model, "what comes before its trees is not what scikit-learn puts there")
    function = getattr(parts[1][1].func, "func", None)
    named = f"{getattr(function, '__module__', '')}.{getattr(function, '__name__', '')}"
    _require(
        named == "sklearn.utils.validation.check_array", model, "a function of its own comes before its trees"
    )
    places = model._preprocessor._transformer_to_input_indices
    found = sorted(int(at) for part in parts[:2] for at in places[part[0]])
    _require(found == list(range(model.n_features_in_)), model, "a column is lost before its trees")


def _check_neighbours(model: Any) -> None:
    """Build the search tree anew from the rows that it was built from: there is no other way to be sure of it."""
    tree = getattr(model, "_tree", None)
    if tree is None:
        return
    names = {"kd_tree": "KDTree", "ball_tree": "BallTree"}
    _require(model._fit_method in names, model, f"it searches by {model._fit_method!r} and has a tree")
    import sklearn.neighbors

    rows, width = model._fit_X, model.n_features_in_
    _require(
        isinstance(rows, np.ndarray) and rows.ndim == 2 and rows.shape[1] == width,
        model,
        "its rows are broken",
    )
    _require(isinstance(model.effective_metric_, str), model, "its metric is no name")
    make = getattr(sklearn.neighbors, names[model._fit_method])
    metric = {"metric": model.effective_metric_, **model.effective_metric_params_}
    model._tree = make(rows, int(model.leaf_size), **metric)


def _check_support_vectors(model: Any) -> None:
    if not hasattr(model, "_n_support"):
        return
    vectors, counts = model.support_vectors_, np.asarray(model._n_support)
    total = vectors.shape[0]
    one = model._impl in ("one_class", "epsilon_svr", "nu_svr")
    classes = 2 if one else len(counts)
    pairs = classes * (classes - 1) // 2
    rows = 1 if one else classes - 1
    held = int(counts[0] if one else counts.sum())
    _require(
        (counts >= 0).all() and held == total == len(model.support_),
        model,
        "its support vectors are incomplete",
    )
    _require(model._dual_coef_.shape == (rows, total), model, "its coefficients are incomplete")
    _require(np.shape(model._intercept_) == (pairs,), model, "its intercepts are incomplete")
    for array in (model._probA, model._probB):
        _require(np.size(array) in (0, pairs), model, "its probabilities are incomplete")
    precomputed = model.kernel == "precomputed" or callable(model.kernel)
    _require(
        precomputed or vectors.shape[1] == model.n_features_in_, model, "its support vectors are too narrow"
    )
    inside = np.asarray(model.support_) >= 0
    _require(
        inside.all() and np.max(model.support_, initial=0) < model.shape_fit_[0],
        model,
        "a support lies outside",
    )


def _check_clusters(model: Any) -> None:
    if hasattr(model, "cluster_centers_"):
        shape = np.shape(model.cluster_centers_)
        _require(
            shape == (model.n_clusters, model.n_features_in_), model, f"its centres have the shape {shape}"
        )


def _check_spline(spline: Any) -> None:
    from scipy.interpolate import BSpline

    BSpline(spline.t, spline.c, spline.k)  # raises ValueError when their sizes contradict each other


def _check_sparse(matrix: Any) -> None:
    if hasattr(matrix, "check_format"):
        matrix.check_format(full_check=True)
    elif hasattr(matrix, "coords"):
        matrix._check()


def _refuse(part: Any) -> None:
    raise ValueError(
        f"its {type(part).__name__} can't be checked; fit the model again with algorithm='brute'"
    )


def _kind(part: Any) -> str:
    return f"{type(part).__module__}.{type(part).__name__}"


HIST = "sklearn.ensemble._hist_gradient_boosting.gradient_boosting"
CHECKS: dict[str, Callable[[Any], None]] = {
    "sklearn.tree._tree.Tree": _check_tree,
    "sklearn.tree._classes.BaseDecisionTree": _check_tree_model,
    "sklearn.ensemble._gb.BaseGradientBoosting": _check_gradient_boosting,
    f"{HIST}.BaseHistGradientBoosting": _check_hist_gradient_boosting,
    "sklearn.neighbors._base.NeighborsBase": _check_neighbours,
    "sklearn.svm._base.BaseLibSVM": _check_support_vectors,
    "sklearn.cluster._kmeans._BaseKMeans": _check_clusters,
    "scipy.interpolate._bsplines.BSpline": _check_spline,
    "scipy.sparse._base._spbase": _check_sparse,
    "sklearn.neighbors._kde.KernelDensity": _refuse,
}
