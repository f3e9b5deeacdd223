"""Check models in the formats of XGBoost and LightGBM before these read them. Runs in the build and in a worker.

Both libraries follow a tree's node numbers as they are. Here each number is held against the sizes of its arrays; what
no file needs that their estimators write is refused.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

CATEGORICAL = 1  # a bit of LightGBM's types of decision
MOST_SCORES, MOST_CATEGORIES, DEEPEST = 10_000, 1 << 24, 5_000
XGBOOST_LISTS = (
    *("left_children", "right_children", "parents", "split_indices", "split_conditions", "default_left"),
    *("base_weights", "loss_changes", "sum_hessian", "split_type"),
)


def check_xgboost(content: bytes, columns: int) -> None:
    """Raise ValueError, KeyError or TypeError unless XGBoost can follow every tree in its JSON."""
    learner = json.loads(content)["learner"]
    boosted = learner["gradient_booster"]
    _require(boosted["name"] == "gbtree", f"its booster is {boosted['name']!r}, not gbtree")
    parameters, model = learner["learner_model_param"], boosted["model"]
    _require(int(parameters["num_feature"]) == columns, "its columns are not the contract's")
    scores = max(int(parameters.get(name, 1)) for name in ("num_class", "num_target"))
    _require(scores <= MOST_SCORES, f"it says {scores} scores")
    trees, groups = model["trees"], _whole(model["tree_info"])
    counts = model["gbtree_model_param"]
    _require(len(groups) == len(trees) == int(counts["num_trees"]), "the numbers of its trees differ")
    _require(_within(groups, max(1, scores)), "a tree is of no class")
    starts = _whole(model.get("iteration_indptr", [0, len(trees)]))
    _require(
        len(starts) >= 1 and starts[0] == 0 and starts[-1] == len(trees) and (np.diff(starts) >= 0).all(),
        "its rounds are incomplete",
    )
    _require(not model.get("cats", {}).get("enc"), "it has categories by name")
    for tree in trees:
        _check_xgboost_tree(tree, columns)


def _check_xgboost_tree(tree: dict[str, Any], columns: int) -> None:
    count = int(tree["tree_param"]["num_nodes"])
    _require(int(tree["tree_param"]["size_leaf_vector"]) <= 1, "its leaves have several values")
    _require(int(tree["tree_param"]["num_feature"]) in (0, columns), "a tree is of other columns")
    sizes = {len(tree[name]) for name in XGBOOST_LISTS}
    _require(count >= 1 and sizes == {count}, "the sizes of a tree's lists differ")
    left, right, parents = (_whole(tree[name]) for name in ("left_children", "right_children", "parents"))
    inner = np.flatnonzero(left != -1)
    _require(np.array_equal(inner, np.flatnonzero(right != -1)), "a node has one child")
    _require(2 * len(inner) + 1 == count, "a node has no parent")
    _check_reached(left[inner], right[inner], inner)
    same = (parents[left[inner]] == inner).all() and (parents[right[inner]] == inner).all()
    _require(same and parents[0] in (-1, 2**31 - 1), "a node's parent is another's")
    _require(_within(_whole(tree["split_indices"]), columns), "a node asks for a column outside")
    begins, lengths = _whole(tree["categories_segments"]), _whole(tree["categories_sizes"])
    nodes, categories = _whole(tree["categories_nodes"]), _whole(tree["categories"])
    kinds = _whole(tree["split_type"])
    _require(
        len(begins) == len(lengths) == len(nodes)
        and _within(kinds, 2)
        and np.array_equal(np.flatnonzero(kinds), nodes)
        and (begins >= 0).all()
        and (lengths >= 1).all()
        and (begins + lengths <= len(categories)).all()
        and _within(categories, MOST_CATEGORIES),
        "a node's categories lie outside",
    )


def _check_reached(left: NDArray[np.int64], right: NDArray[np.int64], inner: NDArray[np.int64]) -> None:
    """Raise ValueError unless the `inner` nodes, whose children these are, and their leaves make one tree."""
    count = len(inner)
    children = np.concatenate([left, right])
    _require(
        _within(children, 2 * count + 1) and (children > 0).all(), "a node's child lies outside the tree"
    )
    _require(len(np.unique(children)) == 2 * count, "two nodes lead to the same one")
    place = np.full(2 * count + 1, -1, dtype=np.int64)
    place[inner] = np.arange(count)
    level, seen = place[:1], 0
    for _ in range(DEEPEST):
        level = level[level >= 0]
        seen += len(level)
        if not len(level):
            break
        level = place[np.concatenate([left[level], right[level]])]
    _require(seen == count, f"nodes lie in a circle, or deeper than {DEEPEST}")


def check_lightgbm(content: bytes, columns: int) -> None:
    """Raise ValueError, KeyError or TypeError unless LightGBM can follow every tree in its text."""
    text = content.decode()
    header, *trees = lightgbm_parts(text)
    scores = int(header["num_tree_per_iteration"])
    _require(int(header["max_feature_idx"]) + 1 == columns, "its columns are not the contract's")
    _require(1 <= scores <= MOST_SCORES and int(header["num_class"]) == scores, "its scores differ")
    named = re.search(r"num_class:(\S+)", header.get("objective", ""))
    _require(int(named[1]) == scores if named else scores == 1, "its objective is of other classes")
    # LightGBM finds its trees by these sizes.
    begins = [found.start() + 1 for found in re.finditer(r"\nTree=", text)]
    ends = [*begins[1:], text.index("end of trees")] if begins else []
    sizes = [len(text[begin:end].encode()) for begin, end in zip(begins, ends, strict=True)]
    _require(header["tree_sizes"].split() == [str(size) for size in sizes], "the sizes of its trees differ")
    _require(len(begins) > 0 and len(trees) % scores == 0, "its rounds are incomplete")
    for tree in trees:
        _check_lightgbm_tree(tree, columns)


def lightgbm_parts(text: str) -> list[dict[str, str]]:
    """The lines before the trees, and those of each tree, by what stands before their `=`. Raises ValueError."""
    found = []
    for part in text.partition("end of trees")[0].split("\nTree="):
        pairs = [line.partition("=")[::2] for line in part.splitlines() if line]
        repeated = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
        _require(not repeated, f"it says {repeated[:1]} twice")
        found.append(dict(pairs))
    return found


def _check_lightgbm_tree(tree: dict[str, str], columns: int) -> None:
    leaves = int(tree["num_leaves"])
    _require(leaves >= 1 and tree.get("is_linear", "0") == "0", "a tree has no leaves, or lines in them")
    _require(len(tree["leaf_value"].split()) == leaves, "the sizes of a tree's lists differ")
    if leaves == 1:
        return
    names = ("left_child", "right_child", "split_feature", "decision_type")
    left, right, feature, decision = (_whole(tree[name].split()) for name in names)
    sizes = {len(left), len(right), len(feature), len(decision), len(tree["threshold"].split())}
    _require(sizes == {leaves - 1}, "the sizes of a tree's lists differ")
    # A child below 0 is the leaf of the number that its bits, turned over, make.
    left, right = (np.where(child < 0, leaves - 2 - child, child) for child in (left, right))
    _check_reached(left, right, np.arange(leaves - 1))
    _require(_within(feature, columns), "a node asks for a column outside")
    categories = int(tree["num_cat"])
    asked = np.array(tree["threshold"].split(), dtype=np.float64)[decision & CATEGORICAL == 1]
    _require(_within(asked, categories), "a node asks for categories that it has not")
    if categories:
        bounds, words = _whole(tree["cat_boundaries"].split()), _whole(tree["cat_threshold"].split())
        _require(
            len(bounds) == categories + 1
            and bounds[0] == 0
            and bounds[-1] == len(words)
            and (np.diff(bounds) >= 0).all()
            and _within(words, 1 << 32),
            "its categories are incomplete",
        )


def _whole(values: Sequence[Any]) -> NDArray[np.int64]:
    array = np.array(values if len(values) else [], dtype=np.int64)
    _require(array.ndim == 1, "a list holds lists")
    return array


def _within(numbers: NDArray[Any], size: int) -> bool:
    return bool(((numbers >= 0) & (numbers < size)).all())


def _require(true: Any, what: str) -> None:
    if not true:
        raise ValueError(what)
