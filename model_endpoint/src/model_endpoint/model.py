"""The models an endpoint serves, as `model_endpoint.image` left them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from model_endpoint import scikit
from model_endpoint.card import Card, check_golden
from model_endpoint.errors import BundleError, RequestError
from model_endpoint.predictors import CompiledPredictor, Outputs, Predictor, Rows

Models = dict[str, "Model"]
SKLEARN = "scikit-learn"


class Model:
    """A loaded model: its card, what serves it, and the golden requests it has to answer right.

    `served_by` is what `model_endpoint.image` found out about the predictor, `load_seconds` how long it took.
    """

    def __init__(
        self,
        card: Card,
        served_by: dict[str, Any],
        predictor: Predictor,
        golden: list[dict[str, Any]],
        load_seconds: float = 0.0,
    ) -> None:
        self.card = card
        self.served_by = served_by
        self.predictor = predictor
        self.golden = golden
        self.load_seconds = load_seconds
        self.width = len(card.features)
        self.outputs = {output.name: output for output in card.outputs}

    @property
    def compiled(self) -> bool:
        return bool(self.served_by["kind"] != SKLEARN)

    def predict(self, rows: Rows, probabilities: bool = True) -> Outputs:
        """Answer finite rows of shape (n, features), n at least 1; every output has n rows and is finite.

        Raises RequestError for rows the model can't answer so.
        """
        try:
            return self.predictor(rows, probabilities)
        except ValueError as error:
            raise RequestError(f"the model refuses these rows: {error}") from None

    def verify(self) -> None:
        """Answer the golden requests, which also warms the model up. Raises BundleError at a wrong answer."""
        for number, request in enumerate(self.golden):
            answers = self.predict(np.array(request["rows"], dtype=np.float64))
            check_golden(answers, request["outputs"], f"{self.card.name}: golden request {number}")


def load(directory: Path) -> Models:
    """Load every model below `directory`; raises BundleError when there is none or one is broken."""
    folders = sorted(path.parent for path in directory.glob("*/model.json"))
    if not folders:
        raise BundleError(f"{directory}: it holds no model; build the image with one")
    return {folder.name: _load(folder) for folder in folders}


def _load(folder: Path) -> Model:
    start = time.perf_counter()
    predictor: Predictor
    try:
        content = json.loads((folder / "model.json").read_text())
        card = Card.from_values(content["card"])
        golden = json.loads((folder / "golden.json").read_text())
        if content["predictor"]["kind"] == SKLEARN:
            predictor = scikit.load(folder / "model.skops", card.allowed_types)
        else:
            predictor = CompiledPredictor.load(folder / "predictor.npz")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{folder}: it can't be loaded: {error}; build the image again") from None
    return Model(card, content["predictor"], predictor, golden, time.perf_counter() - start)
