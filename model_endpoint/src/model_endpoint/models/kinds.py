"""The kinds of models: how each is loaded, how a worker serves it, and its name in the protocol.

Runs in the build and in a worker. A new format of models needs an entry here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from model_endpoint.models import scikit_learn
from model_endpoint.models.card import Card
from model_endpoint.models.compiled import composed
from model_endpoint.models.predictor import Predictor
from model_endpoint.models.shared_calls import SharedCalls
from model_endpoint.models.stored import FORMATS, SCIKIT_LEARN, file_of

Count = Callable[[int], None]
"""Counts one call of a model that shares its calls; the argument is the number of rows."""

COMPILED_FILE = "predictor.npz"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of models.

    `load` reads the predictor from a model's folder, before the workers are forked; it raises OSError, ValueError,
    KeyError, TypeError or ImportError. `serve` is called in each worker, with the model's card, the number of workers
    and what counts a call, and returns the predictor the worker uses. `platform` is the protocol's name of the
    framework. `build_libraries` says that the image needs the libraries of the build, scikit-learn among them.
    """

    load: Callable[[Path, Card], Predictor]
    serve: Callable[[Predictor, Card, int, Count], Predictor]
    platform: str
    build_libraries: bool


def _load_compiled(folder: Path, card: Card) -> Predictor:
    return composed.load(folder / COMPILED_FILE, card)


def _serve_compiled(predictor: Predictor, card: Card, workers: int, count: Count) -> Predictor:  # noqa: ARG001
    return predictor


def _load_estimator(folder: Path, card: Card) -> Predictor:
    return scikit_learn.load(folder / file_of(card.stored_as), card)


def _serve_estimator(predictor: Predictor, card: Card, workers: int, count: Count) -> Predictor:
    scikit_learn.limit_threads(workers)
    # What depends on the other rows of its call must not get another request's.
    return predictor if card.depends_on_company else SharedCalls(predictor, count)


_COMPILED = Kind(_load_compiled, _serve_compiled, platform="sklearn", build_libraries=False)

KINDS = {
    "numpy linear": _COMPILED,
    "numpy trees": _COMPILED,
    "numpy pipeline": _COMPILED,
    SCIKIT_LEARN: Kind(_load_estimator, _serve_estimator, platform="sklearn", build_libraries=True),
    **{
        library: Kind(_load_estimator, _serve_estimator, platform=library, build_libraries=True)
        for library in FORMATS
    },
}
"""The kinds by their name in model.json."""
