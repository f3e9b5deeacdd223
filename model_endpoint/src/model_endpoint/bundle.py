"""The model bundle: the folder a model is kept in, and everything that is checked about it.

    model.yml      what the model is: name, version, features, outputs, and the hash of the model file
    model.skops    the fitted estimator in skops form, never pickle
    rows.npy       verification rows, float64 of shape (n, features)
    golden.json    requests with the answers they must get

Read and written where models are packed and images are built; a running endpoint reads what
`model_endpoint.image` made of it.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import numpy as np
import skops.io
import yaml
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline

from model_endpoint.card import Card, Feature, Output, check_golden
from model_endpoint.errors import BundleError
from model_endpoint.predictors import Rows, SklearnPredictor

MODEL_FILE = "model.skops"
DATATYPES = {"b": "BOOL", "i": "INT64", "u": "INT64", "f": "FP64", "U": "BYTES", "O": "BYTES"}


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose hash, types and shapes were found right."""

    card: Card
    dump: bytes
    estimator: Any
    rows: Rows
    golden: list[dict[str, Any]]


def pack(
    estimator: Any,
    data: Any,
    directory: Path,
    *,
    name: str,
    version: str,
    description: str = "",
    metrics: dict[str, float] | None = None,
    allowed_types: Sequence[str] = (),
    sample: int = 200,
) -> Card:
    """Write the bundle of a fitted classifier or regressor into `directory`.

    `data` is what it was trained on (a data frame or an array of shape (n, features)): it gives the
    features' names, types and ranges, the verification rows (at most `sample` of them, spread evenly) and the
    golden requests. Raises BundleError when the estimator or the data can't be served.
    """
    rows = _as_rows(data)
    if not hasattr(estimator, "predict"):
        raise BundleError(
            f"{directory}: {type(estimator).__name__} has no predict; pack a classifier or a regressor"
        )
    _check_order(estimator, data, directory)
    estimator = _by_position(copy.deepcopy(estimator))
    dump = skops.io.dumps(estimator, compression=8, compresslevel=9)
    untrusted = sorted(set(skops.io.get_untrusted_types(data=dump)) - set(allowed_types))
    if untrusted:
        raise BundleError(
            f"{directory}: skops does not trust these types of the model: {', '.join(untrusted)}; "
            "allow each by name if you know it: --allow TYPE"
        )
    verification = rows[np.linspace(0, len(rows) - 1, min(sample, len(rows))).astype(int)]
    try:
        answers = SklearnPredictor(estimator)(verification)
    except ValueError as error:
        raise BundleError(f"{directory}: the model's predict refuses the data: {error}") from None
    for key, array in answers.items():
        if array.dtype.kind not in DATATYPES:
            raise BundleError(
                f"{directory}: {key} is of type {array.dtype}, which the protocol has no datatype for"
            )
    classes = getattr(estimator, "classes_", None)
    card = Card(
        name=name,
        version=version,
        description=description,
        features=_features(data, rows),
        outputs=[
            Output(key, DATATYPES[array.dtype.kind], [-1, *array.shape[1:]]) for key, array in answers.items()
        ],
        classes=None if classes is None else [_plain(group) for group in classes],
        training_data_sha256=hashlib.sha256(np.ascontiguousarray(rows).tobytes()).hexdigest(),
        metrics=metrics or {},
        libraries={
            library: installed_version(library) for library in ("scikit-learn", "numpy", "scipy", "skops")
        },
        model_sha256=hashlib.sha256(dump).hexdigest(),
        allowed_types=list(allowed_types),
    )
    try:
        Card.from_values(asdict(card))
    except ValueError as error:
        raise BundleError(f"{directory}: {error}") from None
    chosen = sorted({0, len(verification) // 2, len(verification) - 1})
    golden = [
        {
            "rows": verification[[index]].tolist(),
            "outputs": {key: array[[index]].tolist() for key, array in answers.items()},
        }
        for index in chosen
    ]
    directory.mkdir(parents=True, exist_ok=True)
    (directory / MODEL_FILE).write_bytes(dump)
    (directory / "model.yml").write_text(yaml.safe_dump(asdict(card), sort_keys=False, width=110))
    (directory / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")
    np.save(directory / "rows.npy", verification)
    return card


def read(directory: Path) -> Bundle:
    """Read a bundle and check all of it: hash, types, shapes, and that the model answers its golden requests.

    Raises BundleError.
    """
    for name in ("model.yml", MODEL_FILE, "rows.npy", "golden.json"):
        if not (directory / name).is_file():
            raise BundleError(
                f"{directory}: {name} is missing; pack the model again with flotilla-model pack"
            )
    try:
        card = Card.from_values(yaml.safe_load((directory / "model.yml").read_text()))
    except (ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise BundleError(f"{directory}: model.yml can't be used: {error}") from None
    if card.name != directory.name:
        raise BundleError(f"{directory}: model.yml names the model {card.name!r}; give the folder that name")
    dump = (directory / MODEL_FILE).read_bytes()
    if (found := hashlib.sha256(dump).hexdigest()) != card.model_sha256:
        raise BundleError(
            f"{directory}: {MODEL_FILE} is broken: its SHA-256 is {found}, "
            f"model.yml says {card.model_sha256}; "
            "restore the file or pack the model again"
        )
    try:
        estimator = skops.io.loads(dump, trusted=card.allowed_types)
    except Exception as error:  # skops raises what the types it meets raise
        raise BundleError(f"{directory}: {MODEL_FILE} can't be loaded: {error}") from error
    try:
        rows = np.load(directory / "rows.npy", allow_pickle=False)
        golden = json.loads((directory / "golden.json").read_text())
        for number, request in enumerate(golden):
            answers = SklearnPredictor(estimator)(np.array(request["rows"], dtype=np.float64))
            check_golden(answers, request["outputs"], f"{directory}: golden request {number}")
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{directory}: rows.npy or golden.json can't be used: {error}") from None
    if rows.dtype != np.float64 or rows.shape[1:] != (len(card.features),):
        raise BundleError(
            f"{directory}: rows.npy holds {rows.dtype} of shape {rows.shape}, "
            f"not float64 (n, {len(card.features)})"
        )
    return Bundle(card, dump, estimator, rows, golden)


def _as_rows(data: Any) -> Rows:
    try:
        rows = np.asarray(data, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise BundleError(
            f"the data is not numeric: {error}; encode its columns inside the pipeline"
        ) from None
    if rows.ndim != 2 or 0 in rows.shape or not np.isfinite(rows).all():
        raise BundleError(f"the data must be finite numbers of shape (rows, features), not {rows.shape}")
    return rows


def _check_order(estimator: Any, data: Any, directory: Path) -> None:
    """Refuse data whose columns are not the ones the estimator was fitted on, in their order."""
    fitted, given = getattr(estimator, "feature_names_in_", None), getattr(data, "columns", None)
    if fitted is None or given is None or list(fitted) == list(given):
        return
    missing, added = (
        [name for name in fitted if name not in given],
        [name for name in given if name not in fitted],
    )
    if missing:
        raise BundleError(
            f"{directory}: the data has no column {missing[0]!r}, which the model was fitted on"
        )
    if added:
        raise BundleError(
            f"{directory}: the model was not fitted on the column {added[0]!r}; leave it out: --drop {added[0]}"
        )
    raise BundleError(
        f"{directory}: give the columns in the order the model was fitted on: {', '.join(fitted)}"
    )


def _by_position(estimator: Any) -> Any:
    """Have the column transformers of a fitted `estimator` find their columns by position; returns it.

    Those fitted on a data frame look for names, which the rows of a request don't have.
    """
    if isinstance(estimator, Pipeline):
        _by_position(estimator.steps[0][1])
    elif isinstance(estimator, BaseSearchCV):
        _by_position(estimator.best_estimator_)
    elif isinstance(estimator, ColumnTransformer):
        columns = {name: list(places) for name, places in estimator._transformer_to_input_indices.items()}
        estimator.transformers_ = [(name, part, columns[name]) for name, part, _ in estimator.transformers_]
        estimator.transformers = [(name, part, columns[name]) for name, part, _ in estimator.transformers]
        estimator._columns = [columns[name] for name, _, _ in estimator.transformers]
        vars(estimator).pop("feature_names_in_", None)
    return estimator


def _features(data: Any, rows: Rows) -> list[Feature]:
    names = [str(name) for name in getattr(data, "columns", [f"x{index}" for index in range(rows.shape[1])])]
    return [
        Feature(name, _feature_type(column), float(column.min()), float(column.max()))
        for name, column in zip(names, rows.T, strict=True)
    ]


def _feature_type(column: NDArray[np.float64]) -> str:
    return "integer" if (column == np.round(column)).all() else "number"


def _plain(label: Any) -> Any:
    return label.tolist() if hasattr(label, "tolist") else label
