"""The file of an estimator: in skops form, or in the own format of XGBoost, LightGBM or CatBoost.

Runs in the build and in a worker. The card's field `stored_as` names the estimator's class where the format is a
library's own.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_endpoint.models import boosted_files, skops_file
from model_endpoint.models.card import Card

SCIKIT_LEARN = "scikit-learn"
ESTIMATOR_FILE = "model.skops"


class LightGbmRegressor:
    """Answers as LightGBM's estimators do, which can't be read from its own format."""

    def __init__(self, booster: Any) -> None:
        self.booster_ = booster
        self.n_features_in_: int = booster.num_feature()

    def predict(self, rows: Any) -> NDArray[Any]:
        return np.asarray(self.booster_.predict(rows, num_threads=1))  # more would hang after a fork


class LightGbmClassifier(LightGbmRegressor):
    """Answers labels as well."""

    def __init__(self, booster: Any, classes: NDArray[Any]) -> None:
        super().__init__(booster)
        self.classes_ = classes

    def predict_proba(self, rows: Any) -> NDArray[Any]:
        found = super().predict(rows)
        return np.stack([1.0 - found, found], axis=1) if found.ndim == 1 else found

    def predict(self, rows: Any) -> NDArray[Any]:
        return np.asarray(self.classes_.take(self.predict_proba(rows).argmax(axis=1)))

    def decision_function(self, rows: Any) -> NDArray[Any]:
        return np.asarray(self.booster_.predict(rows, raw_score=True, num_threads=1))


@dataclass(frozen=True, slots=True)
class Format:
    """A library's own format: its file, the classes that it stores, and how these are read.

    `checked` says that the content is checked before the library reads it; what is not must be trusted by name.
    """

    file: str
    classes: frozenset[str]
    load: Callable[[str, bytes, Card], Any]
    checked: bool


def _load_xgboost(name: str, content: bytes, card: Card) -> Any:
    boosted_files.check_xgboost(content, len(card.features))
    # More jobs would hang after a fork.
    estimator = getattr(importlib.import_module("xgboost"), name)(n_jobs=1, enable_categorical=True)
    estimator.load_model(bytearray(content))
    return estimator


def _load_lightgbm(name: str, content: bytes, card: Card) -> Any:  # noqa: ARG001 - the interface of `load`
    boosted_files.check_lightgbm(content, len(card.features))
    booster = importlib.import_module("lightgbm").Booster(model_str=content.decode())
    return (
        LightGbmRegressor(booster)
        if card.classes is None
        else LightGbmClassifier(booster, np.array(card.classes))
    )


def _load_catboost(name: str, content: bytes, card: Card) -> Any:  # noqa: ARG001 - the interface of `load`
    estimator = getattr(importlib.import_module("catboost"), name)()
    estimator.load_model(blob=content)
    return estimator


FORMATS = {
    "xgboost": Format("model.xgboost", frozenset({"XGBClassifier", "XGBRegressor"}), _load_xgboost, True),
    "lightgbm": Format(
        "model.lightgbm", frozenset({"LGBMClassifier", "LGBMRegressor"}), _load_lightgbm, True
    ),
    "catboost": Format(
        "model.cbm", frozenset({"CatBoostClassifier", "CatBoostRegressor"}), _load_catboost, False
    ),
}
"""The formats by the module of their library, which is the name of their kind as well."""


def kind_of(stored_as: str | None) -> str:
    """The name in `model_endpoint.models.kinds` of what serves such an estimator. Raises ValueError."""
    if stored_as is None:
        return SCIKIT_LEARN
    library, _, name = stored_as.partition(".")
    if library not in FORMATS or name not in FORMATS[library].classes:
        raise ValueError(f"the estimator is stored as {stored_as!r}, for which there is no format")
    return library


def file_of(stored_as: str | None) -> str:
    """The name of the estimator's file in a bundle and in an image. Raises ValueError."""
    return ESTIMATOR_FILE if stored_as is None else FORMATS[kind_of(stored_as)].file


def untrusted_types(stored_as: str | None, content: bytes, trusted: Iterable[str] = ()) -> list[str]:
    """The types in the file that neither every bundle may hold nor `trusted` names. Raises ValueError."""
    if stored_as is None:
        return skops_file.untrusted_types(content, trusted)
    return [] if FORMATS[kind_of(stored_as)].checked else sorted({stored_as} - set(trusted))


def load(card: Card, content: bytes, trusted: Iterable[str] = ()) -> Any:
    """The estimator in `content`, whose types must be trusted in every bundle or by `trusted`, after it is checked.

    Raises ValueError, KeyError or TypeError for what is not right, ImportError without the library, or any error of
    the library.
    """
    if card.stored_as is None:
        return skops_file.loads(content, trusted)
    if untrusted := untrusted_types(card.stored_as, content, trusted):
        raise ValueError(f"it holds types that are not trusted: {', '.join(untrusted)}")
    library, _, name = card.stored_as.partition(".")
    try:
        return FORMATS[library].load(name, content, card)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise ValueError(f"its {library} model is broken: {error}") from None
