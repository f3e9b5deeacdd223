"""The bundle of a model: write it, and read it with all its checks. Runs where models are packed, and in the build.

A bundle is a folder with these files:

    model.yml      the model's card: name, version, features, outputs, and the hash of the model file
    model.skops    the fitted estimator in skops form, never pickle
    code/          the model's own modules, packages and wheels, if it has any
    requirements.txt    the libraries that serve the model, locked with hashes; written by `packing.packer`
    rows.npy       verification rows, of the input's dtype and of shape (n, features)
    golden.json    requests with the answers they must get

A running endpoint reads what `model_endpoint.packing.image` makes of it.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline

from model_endpoint.models.card import Card, Feature, Output
from model_endpoint.models.errors import BundleError, GoldenAnswerError
from model_endpoint.models.golden import GOLDEN_FILE, GoldenRequest, check_golden
from model_endpoint.models.kinds import ESTIMATOR_FILE
from model_endpoint.models.predictor import Outputs, Rows
from model_endpoint.models.scikit_learn import SklearnPredictor
from model_endpoint.models.skops_file import loads, untrusted_types
from model_endpoint.packing import code as own_code
from model_endpoint.packing import dump as dumping
from model_endpoint.packing.trust import NONE_TRUSTED, Trust

CARD_FILE, ROWS_FILE = "model.yml", "rows.npy"
LIBRARIES = ("scikit-learn", "numpy", "scipy", "skops")
DATATYPES = {"b": "BOOL", "i": "INT64", "u": "INT64", "f": "FP64", "U": "BYTES", "O": "BYTES"}


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that passed all checks of `read`."""

    card: Card
    dump: bytes
    estimator: Any
    rows: Rows
    golden: list[GoldenRequest]


def pack(
    estimator: Any,
    data: Any,
    directory: Path,
    *,
    name: str,
    version: str,
    description: str = "",
    metrics: dict[str, float] | None = None,
    libraries: Mapping[str, str] | None = None,
    sample: int = 200,
) -> Card:
    """Write the bundle of a fitted classifier or regressor into `directory`.

    `data` is the training data, a data frame or an array of shape (n, features). From it come the features' names,
    types and ranges, the verification rows (at most `sample` of them, spread evenly) and the golden requests. The
    folder may hold own code already. `libraries` are the versions that the estimator was fitted with. Raises
    BundleError when the estimator or the data can't be served.
    """
    rows = _as_rows(data)
    if not hasattr(estimator, "predict"):
        raise BundleError(
            f"{directory}: {type(estimator).__name__} has no predict; pack a classifier or a regressor"
        )
    _check_order(estimator, data, directory)
    estimator = _by_position(copy.deepcopy(estimator))
    dump, code = dumping.dump(estimator, str(directory)), own_code.hashes(directory)
    verification = rows[np.linspace(0, len(rows) - 1, min(sample, len(rows))).astype(int)]
    answers = _answers(estimator, verification, directory)
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
        libraries=dict(libraries or {library: installed_version(library) for library in LIBRARIES}),
        model_sha256=hashlib.sha256(dump).hexdigest(),
        allowed_types=untrusted_types(dump),
        code=code,
    )
    try:
        Card.from_values(asdict(card))
    except ValueError as error:
        raise BundleError(f"{directory}: {error}") from None
    _write(directory, card, dump, verification, answers)
    return card


def _answers(estimator: Any, rows: Rows, directory: Path) -> Outputs:
    """The estimator's answers to `rows`; raises BundleError for refused rows and for types the protocol lacks."""
    try:
        answers = SklearnPredictor(estimator)(rows)
    except ValueError as error:
        raise BundleError(f"{directory}: the model's predict refuses the data: {error}") from None
    for key, array in answers.items():
        if array.dtype.kind not in DATATYPES:
            raise BundleError(
                f"{directory}: {key} is of type {array.dtype}, for which the protocol has no datatype"
            )
    return answers


def _write(directory: Path, card: Card, dump: bytes, rows: Rows, answers: Outputs) -> None:
    """Write the four files; the golden requests are the first, the middle and the last of `rows`."""
    chosen = sorted({0, len(rows) // 2, len(rows) - 1})
    golden: list[GoldenRequest] = [
        {
            "rows": rows[[index]].tolist(),
            "outputs": {key: array[[index]].tolist() for key, array in answers.items()},
        }
        for index in chosen
    ]
    directory.mkdir(parents=True, exist_ok=True)
    (directory / ESTIMATOR_FILE).write_bytes(dump)
    (directory / CARD_FILE).write_text(yaml.safe_dump(asdict(card), sort_keys=False, width=110))
    (directory / GOLDEN_FILE).write_text(json.dumps(golden, indent=1) + "\n")
    np.save(directory / ROWS_FILE, rows)


def read_card(directory: Path) -> Card:
    """The card of a bundle. Raises BundleError, or OSError when there is none."""
    try:
        return Card.from_values(yaml.safe_load((directory / CARD_FILE).read_text()))
    except (ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise BundleError(f"{directory}: {CARD_FILE} can't be used: {error}") from None


def read(directory: Path, trust: Trust = NONE_TRUSTED) -> Bundle:
    """Read a bundle and check its hashes, types and shapes, and that the model answers its golden requests.

    What the bundle holds besides types that only compute must be in `trust`. Raises BundleError.
    """
    for name in (CARD_FILE, ESTIMATOR_FILE, ROWS_FILE, GOLDEN_FILE):
        if not (directory / name).is_file():
            raise BundleError(
                f"{directory}: {name} is missing; pack the model again with flotilla-model pack"
            )
    card = read_card(directory)
    if card.name != directory.name:
        raise BundleError(
            f"{directory}: {CARD_FILE} names the model {card.name!r}; give the folder that name"
        )
    dump = (directory / ESTIMATOR_FILE).read_bytes()
    if (found := hashlib.sha256(dump).hexdigest()) != card.model_sha256:
        raise BundleError(
            f"{directory}: {ESTIMATOR_FILE} is broken: its SHA-256 is {found}, {CARD_FILE} says "
            f"{card.model_sha256}; restore the file or pack the model again"
        )
    estimator = _load(directory, card, dump, trust)
    try:
        rows = np.load(directory / ROWS_FILE, allow_pickle=False)
        golden = json.loads((directory / GOLDEN_FILE).read_text())
        for number, request in enumerate(golden):
            answers = SklearnPredictor(estimator)(np.array(request["rows"], dtype=card.input_dtype))
            check_golden(answers, request["outputs"], f"{directory}: golden request {number}")
    except GoldenAnswerError as error:
        raise BundleError(f"{error}; pack the model again with flotilla-model pack") from None
    except Exception as error:  # a model that was tampered with raises any
        raise BundleError(f"{directory}: {ROWS_FILE} or {GOLDEN_FILE} can't be used: {error}") from None
    if rows.dtype != card.input_dtype or rows.shape[1:] != (len(card.features),):
        raise BundleError(
            f"{directory}: {ROWS_FILE} holds {rows.dtype} of shape {rows.shape}; "
            f"it must be {card.input_dtype} of shape (n, {len(card.features)})"
        )
    return Bundle(card, dump, estimator, rows, golden)


def _load(directory: Path, card: Card, dump: bytes, trust: Trust) -> Any:
    """The estimator, after all that it brings is found to be trusted. Raises BundleError."""
    own_code.check(directory, card.code)
    try:
        trust.check(str(directory), dump, card.code)
        with own_code.importable(directory):
            return loads(dump, trust.types)
    except BundleError:
        raise
    except Exception as error:  # skops raises any error of the types it loads
        raise BundleError(f"{directory}: {ESTIMATOR_FILE} can't be loaded: {error}") from error


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
    """Raise BundleError unless the data's columns are those the estimator was fitted on, in the same order."""
    fitted, given = getattr(estimator, "feature_names_in_", None), getattr(data, "columns", None)
    if fitted is None or given is None or list(fitted) == list(given):
        return
    missing = [name for name in fitted if name not in given]
    added = [name for name in given if name not in fitted]
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
    """Make the column transformers of a fitted `estimator` find their columns by position; returns the estimator.

    A transformer fitted on a data frame finds them by name, but the rows of a request have no names.
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
