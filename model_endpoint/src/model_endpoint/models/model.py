"""The models an endpoint serves, loaded from what `model_endpoint.packing.image` built. Runs in a worker.

They are loaded before the workers are forked, which share their memory.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection
from pathlib import Path

from model_endpoint.models import rows
from model_endpoint.models.blocks import FIRST_ROWS, answer_in_blocks
from model_endpoint.models.card import FURTHER, METADATA_FILE, Card, ServedBy
from model_endpoint.models.contract import Input
from model_endpoint.models.errors import BundleError, RequestError, quoted
from model_endpoint.models.golden import GOLDEN_FILE, GoldenRequest, check_golden
from model_endpoint.models.kinds import KINDS, Count
from model_endpoint.models.predictor import Outputs, Predictor

Models = dict[str, "Model"]
ROW_LIMIT = 100_000
"""The rows of one request to a model whose limit is not set."""


class Model:
    """A loaded model: its card, its predictor, and the golden requests it has to answer right.

    `served_by` describes the predictor: its kind, and what was compared with scikit-learn or why the model did not
    compile. `load_seconds` is the time it took to load.
    """

    def __init__(
        self,
        card: Card,
        served_by: ServedBy,
        predictor: Predictor,
        golden: list[GoldenRequest],
        load_seconds: float = 0.0,
    ) -> None:
        self.card = card
        self.served_by = served_by
        self.kind = KINDS[served_by["kind"]]
        self.predictor = predictor
        self.golden = golden
        self.load_seconds = load_seconds
        self.row_limit = ROW_LIMIT
        self.width = len(card.features)
        self.plain = card.plain
        self.outputs = {output.name: output for output in card.outputs}
        self.usual_outputs = [output for output in card.outputs if output.name not in FURTHER]

    def serve(self, workers: int, count: Count) -> None:
        """Prepare the predictor for this worker, one of `workers`, in the way of its kind."""
        self.predictor = self.kind.serve(self.predictor, self.card, workers, count)

    def predict(self, given: Input, probabilities: bool = True, more: Collection[str] = ()) -> Outputs:
        """Answer rows that `model_endpoint.models.rows` prepared, at least one, with finite outputs of as many rows.

        `more` names further outputs than the usual ones. Raises RequestError for more rows than the limit, for rows
        the model refuses, and for those for which its result is not finite.
        """
        if len(given) > self.row_limit:
            raise RequestError(
                f"the request has {len(given)} rows, and model {self.card.name!r} takes {self.row_limit}; send fewer",
                413,
            )
        try:
            if len(given) > FIRST_ROWS and not self.card.depends_on_company:
                return answer_in_blocks(self.predictor, given, probabilities, more)
            if more:
                return self.predictor(given, probabilities, more)
            return self.predictor(given, probabilities)
        except ValueError as error:
            raise RequestError(f"the model refuses these rows: {error}") from None

    def verify(self, where: str = "") -> None:
        """Answer the golden requests, which also warms the model up. Raises GoldenAnswerError at a wrong answer."""
        for number, request in enumerate(self.golden):
            columns = rows.from_rows(self.card, request["rows"], "rows")
            more = [name for name in request["outputs"] if name in FURTHER]
            given = rows.prepare(self.card, columns)
            answers = self.predict(given, True, more) if more else self.predict(given)
            check_golden(
                answers,
                request["outputs"],
                f"{where or self.card.name}: golden request {number}",
                self.card.single_precision,
            )


def load(directory: Path) -> Models:
    """Load every model below `directory`; raises BundleError when there is none or one is broken."""
    folders = sorted(path.parent for path in directory.glob(f"*/{METADATA_FILE}"))
    if not folders:
        raise BundleError(f"{directory} holds no model; build the image with one")
    return {folder.name: load_one(folder) for folder in folders}


def find(models: Models, name: object, version: str | None = None) -> Model:
    """The model of this name, which may be None where only one is served, in this version if one is given.

    Raises RequestError for a name that is missing, and with status 404 for a model or version that is not served.
    """
    if name is None and len(models) == 1:
        return next(iter(models.values()))
    if type(name) is not str:
        raise RequestError(f"model must be the name of one of {', '.join(models)}")
    if name not in models:
        known = ", ".join(models)
        raise RequestError(f"model: {quoted(name)} is not served here; the models are {known}", 404)
    model = models[name]
    if version not in (None, model.card.version):
        has = model.card.version
        raise RequestError(f"model {name!r} has no version {quoted(version)}; it has {has!r}", 404)
    return model


def load_one(folder: Path) -> Model:
    """Load the model in `folder`; raises BundleError when it is broken."""
    start = time.perf_counter()
    try:
        content = json.loads((folder / METADATA_FILE).read_text())
        card = Card.from_values(content["card"])
        golden = json.loads((folder / GOLDEN_FILE).read_text())
        predictor = KINDS[content["predictor"]["kind"]].load(folder, card)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise BundleError(f"{folder} can't be loaded: {error}; build the image again") from None
    return Model(card, content["predictor"], predictor, golden, time.perf_counter() - start)
