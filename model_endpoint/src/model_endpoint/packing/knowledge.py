"""What a fitted estimator knows of its input: the columns' names, their categories, and which it reads.

Runs where models are packed. Each part of an estimator that sees the input's own columns is asked; what comes after
another transformer is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

META_PARTS = (
    "best_estimator_",
    "estimator_",
    "regressor_",
    "estimators_",
    "calibrated_classifiers_",
    "estimator",
)
LIBRARY_NAMES = {"catboost": ("feature_names_",), "lightgbm": ("feature_name_",)}
# Names that a library makes up for an array's columns.
MADE_UP = ("{}", "Column_{}", "f{}", "x{}")


@dataclass(slots=True)
class Knowledge:
    """Categories by the position of the column; `read` holds the positions of the columns that are used.

    `objects` holds those whose categories are Python's objects, in whatever type the data has them.
    """

    categories: dict[int, list[Any]] = field(default_factory=dict)
    objects: set[int] = field(default_factory=set)
    read: set[int] = field(default_factory=set)


def names_of(estimator: Any) -> list[str] | None:
    """The names of the columns that the estimator was fitted on; None where no part of it knows them."""
    for part in parts_of_input(estimator):
        for attribute in ("feature_names_in_", *LIBRARY_NAMES.get(type(part).__module__.split(".")[0], ())):
            try:
                names = [str(name) for name in getattr(part, attribute)]
            except (AttributeError, TypeError, ValueError):
                continue
            made_up = [[form.format(at) for at in range(len(names))] for form in MADE_UP]
            if names and (attribute == "feature_names_in_" or names not in made_up):
                return names
    return None


def knowledge_of(estimator: Any, width: int) -> Knowledge:
    """What the estimator knows of its `width` columns."""
    knowledge = Knowledge()
    knowledge.read = _walk(estimator, list(range(width)), knowledge)
    return knowledge


def parts_of_input(estimator: Any) -> Iterator[Any]:
    """The estimator and its parts that see its own input."""
    yield estimator
    for child in _children(estimator):
        yield from parts_of_input(child)


def _children(part: Any) -> list[Any]:
    if steps := getattr(part, "steps", None):
        first = next((step for _, step in steps if step not in (None, "passthrough")), None)
        return [] if first is None else [first]
    if union := getattr(part, "transformer_list", None):
        return [child for _, child in union if child not in ("drop", "passthrough")]
    for attribute in META_PARTS:
        found = getattr(part, attribute, None)
        if found is None or isinstance(found, str | dict):
            continue
        members = (
            np.ravel(np.asarray(found, dtype=object)) if isinstance(found, list | np.ndarray) else [found]
        )
        children = [
            member for member in members if hasattr(member, "predict") or hasattr(member, "transform")
        ]
        children = [child for child in children if not hasattr(child, "tree_")]
        if not children:
            children = [member.estimator for member in members if hasattr(member, "estimator")]
        if children:
            return children
    return []


def _walk(part: Any, columns: Sequence[int], knowledge: Knowledge) -> set[int]:
    """Note the categories that `part` knows of `columns`, the positions it gets; returns those it reads."""
    if steps := getattr(part, "steps", None):
        return _walk_steps([step for _, step in steps], columns, knowledge)
    if hasattr(part, "transformers_"):
        return _walk_columns(part, columns, knowledge)
    children = _children(part)
    if children:
        return set().union(*(_walk(child, columns, knowledge) for child in children))
    categories = getattr(part, "categories_", None)
    if isinstance(categories, list) and len(categories) == len(columns):
        for at, values in zip(columns, categories, strict=True):
            known = knowledge.categories.setdefault(at, [])
            known += [value for value in _plain(values) if value not in known]
            if getattr(getattr(values, "dtype", None), "kind", "") == "O":
                knowledge.objects.add(at)
    return set(columns)


def _walk_steps(steps: list[Any], columns: Sequence[int], knowledge: Knowledge) -> set[int]:
    read: set[int] | None = None
    for step in steps:
        if step in (None, "passthrough"):
            continue
        found = _walk(step, columns, knowledge)
        read = found if read is None else read
        if not _keeps_columns(step, len(columns)):
            break
    return set(columns) if read is None else read


def _keeps_columns(step: Any, width: int) -> bool:
    """Whether the step's output has the columns of its input: an imputer that neither adds nor drops one."""
    statistics = getattr(step, "statistics_", None)
    if statistics is None or getattr(step, "add_indicator", False) or len(statistics) != width:
        return False
    return not any(value is None or value != value for value in statistics.tolist())


def _walk_columns(part: Any, columns: Sequence[int], knowledge: Knowledge) -> set[int]:
    places = getattr(part, "_transformer_to_input_indices", {})
    read: set[int] = set()
    for name, transformer, _ in part.transformers_:
        chosen = [columns[at] for at in places.get(name, range(len(columns)))]
        if isinstance(transformer, str):
            read |= set(chosen) if transformer == "passthrough" else set()
        else:
            read |= _walk(transformer, chosen, knowledge)
    return read


def _plain(values: Any) -> list[Any]:
    return [value for value in np.asarray(values).tolist() if value is not None and value == value]
