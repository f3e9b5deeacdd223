"""The compiled form of a model in its bundle: make it with its proof, and read it. Runs where models are packed, and
in the build.

It is made where the model was trained, with that environment's scikit-learn, and needs none to serve.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from model_endpoint.models import rows as contract_rows
from model_endpoint.models import stored
from model_endpoint.models.card import FURTHER, Card, ServedBy
from model_endpoint.models.compiled import composed
from model_endpoint.models.contract import ARRAY, Feature
from model_endpoint.models.errors import BundleError
from model_endpoint.models.kinds import COMPILED_FILE
from model_endpoint.models.predictor import Predictor, Rows
from model_endpoint.models.scikit_learn import predictor_of
from model_endpoint.packing.compiling.common import NotCompilableError
from model_endpoint.packing.compiling.compiler import compile_estimator
from model_endpoint.packing.proof import Proof, prove
from model_endpoint.packing.proof_columns import prove_columns

PACK_AGAIN = "pack the model again with flotilla-model pack"


def make(estimator: Any, card: Card, rows: list[Any], folder: Path) -> Card:
    """Write the compiled form into `folder`, if it is proved on `rows`, as a request has them, and on others.

    Returns the card, which then says what serves the model.
    """
    path = folder / COMPILED_FILE
    try:
        compile_estimator(estimator, card).save(path)
        candidate = composed.load(path, card)  # what is proved is what a worker will read
        proof = _prove(estimator, candidate, card, rows)
    except Exception as error:  # the estimator can serve the model whatever fails here
        path.unlink(missing_ok=True)
        reason = str(error) if isinstance(error, NotCompilableError) else f"{type(error).__name__}: {error}"
        return replace(card, predictor=ServedBy(kind=stored.kind_of(card.stored_as), not_compiled=reason))
    served_by = ServedBy(kind=candidate.kind, proof=asdict(proof))
    return replace(card, predictor=served_by, predictor_sha256=sha256_of(path))


def _prove(estimator: Any, candidate: Predictor, card: Card, rows: list[Any]) -> Proof:
    more = [output.name for output in card.outputs if output.name in FURTHER]
    if not card.plain:
        found = prove_columns(predictor_of(estimator, card), candidate, card, rows, more)
        if card.form != ARRAY:
            return found
    low = np.array([float(feature.minimum or 0) for feature in card.features])
    high = np.array([_highest(feature) for feature in card.features])
    return prove(estimator, candidate, _matrix(card, rows), low, high, more)


def _matrix(card: Card, rows: Sequence[Any]) -> Rows:
    return np.asarray(contract_rows.prepare(card, contract_rows.from_rows(card, rows, "rows")))


def _highest(feature: Feature) -> float:
    return 1.0 if feature.maximum is None else float(feature.maximum)


def load(directory: Path, card: Card) -> Predictor:
    """Read the compiled form in a bundle. Raises BundleError for another file than the card's, or a hostile one."""
    path = directory / COMPILED_FILE
    if (found := sha256_of(path)) != card.predictor_sha256:
        raise BundleError(
            f"{directory}: {COMPILED_FILE} is broken: its SHA-256 is {found}, the card says {card.predictor_sha256}; "
            f"restore the file or {PACK_AGAIN}"
        )
    try:
        predictor = composed.load(path, card)
    except Exception as error:  # a file that was tampered with raises any
        raise BundleError(f"{directory}: {error}; {PACK_AGAIN}") from None
    if card.predictor.get("kind") != predictor.kind:
        raise BundleError(
            f"{directory}: the card says that {card.predictor.get('kind')} serves it, and {COMPILED_FILE} holds "
            f"{predictor.kind}; {PACK_AGAIN}"
        )
    return predictor


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
