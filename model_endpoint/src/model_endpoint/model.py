"""The models an endpoint serves, as `model_endpoint.image` left them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from model_endpoint.card import Card, check_golden
from model_endpoint.errors import BundleError, RequestError
from model_endpoint.predictors import CompiledPredictor, Outputs, Predictor, Rows, SklearnPredictor

Models = dict[str, "Model"]


class Model:
    """A loaded model: its card, what serves it, and the golden requests it has to answer right."""

    def __init__(
        self, card: Card, served_by: dict[str, Any], predictor: Predictor, golden: list[dict[str, Any]]
    ) -> None:
        self.card = card
        self.served_by = served_by
        self.width = len(card.features)
        self._predictor = predictor
        self._golden = golden

    def predict(self, rows: Rows) -> Outputs:
        """Answer finite rows of shape (n, features), n at least 1; every output has n rows.

        Raises RequestError when the arithmetic leaves the finite numbers for one of them.
        """
        try:
            outputs = self._predictor(rows)
        except ValueError as error:  # scikit-learn refuses what is beyond its own bounds, such as float32
            raise RequestError(f"the model refuses these rows: {error}") from None
        for name, array in outputs.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                row = int(np.argmax(~np.isfinite(array).reshape(len(array), -1).all(axis=1)))
                raise RequestError(f"row {row}: the model's {name} is not finite for these values")
        return outputs

    def verify(self) -> None:
        """Answer the golden requests, which also warms the model up. Raises BundleError at a wrong answer."""
        for number, request in enumerate(self._golden):
            answers = self.predict(np.array(request["rows"], dtype=np.float64))
            check_golden(answers, request["outputs"], f"{self.card.name}: golden request {number}")


def load(directory: Path) -> Models:
    """Load every model below `directory`; raises BundleError when there is none or one is broken."""
    folders = sorted(path.parent for path in directory.glob("*/model.json"))
    if not folders:
        raise BundleError(
            f"{directory}: it holds no model; build one there with python3 -m model_endpoint.image"
        )
    return {folder.name: _load(folder) for folder in folders}


def _load(folder: Path) -> Model:
    try:
        content = json.loads((folder / "model.json").read_text())
        card = Card.from_values(content["card"])
        golden = json.loads((folder / "golden.json").read_text())
        served_by = content["predictor"]
        if served_by["kind"] != "scikit-learn":
            return Model(card, served_by, CompiledPredictor.load(folder / "predictor.npz"), golden)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{folder}: it can't be loaded: {error}; build the image again") from None
    import skops.io  # only where a model needs it: the import costs a second and 100 MB

    estimator = skops.io.load(folder / "model.skops", trusted=card.allowed_types)
    return Model(card, served_by, SklearnPredictor(estimator), golden)
