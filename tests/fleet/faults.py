"""Faults for an endpoint that is to fail. The log sample chooses one, so that one image has them all.

`fleet.releases` puts this file into a copy of model_endpoint. Golden requests come by another way than
/predict does, so what is wrong with the latter alone passes the gate.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from model_endpoint.models.errors import RequestError
from model_endpoint.web import fast_path, plain

if TYPE_CHECKING:
    from model_endpoint.models.model import Models
    from model_endpoint.models.predictor import Outputs, Predictor, Rows
    from model_endpoint.runtime.settings import Settings
    from model_endpoint.web.responses import PredictionResponse

WRONG = 0.021  # every prediction is versicolor
TARDY = 0.022  # every prediction takes 0.4 s
STUCK = 0.023  # no worker ever listens
FAILING = 0.024  # every fifth answer of /predict is a 500
SLOW = 0.025  # /predict takes 0.15 s
DISAGREEING = 0.026  # and answers in the wrong order, too
DRAINING = 0.027  # /predict is answered 503, as by an endpoint that is about to go
LATE = 0.028  # every fiftieth answer of /predict takes 1.5 s
BUSY = 0.029  # /predict takes 0.1 s, so what an endpoint can do is known
BIASED = 0.03  # half of the setosas that come to /predict are called versicolor

TARDY_SECONDS = 0.4
SLOW_SECONDS = 0.15
LATE_SECONDS = 1.5
BUSY_SECONDS = 0.1


def install(settings: Settings, models: Models) -> None:
    """Give this worker the fault that its settings choose, after its models have proved themselves."""
    fault = settings.log_sample
    if fault == STUCK:
        time.sleep(3600)
    for model in models.values():
        if fault == WRONG and model.card.name == "iris":
            model.predictor = wrong(model.predictor)
        elif fault == TARDY:
            model.predictor = tardy(model.predictor)
    if chosen := OF_PREDICT.get(fault):
        plain.predict = chosen(plain.predict)  # type: ignore[assignment]


def wrong(right: Predictor) -> Predictor:
    def predictor(rows: Rows, probabilities: bool = True, more: Collection[str] = ()) -> Outputs:
        outputs = right(rows, probabilities)
        return {**outputs, "predict": np.full_like(outputs["predict"], "versicolor")}

    return predictor


def tardy(right: Predictor) -> Predictor:
    def predictor(rows: Rows, probabilities: bool = True, more: Collection[str] = ()) -> Outputs:
        time.sleep(TARDY_SECONDS)
        return right(rows, probabilities)

    return predictor


Predict = Callable[["Models", bytes], "PredictionResponse"]


def failing(right: Predict) -> Predict:
    numbers = count(1)

    def predict(models: Models, body: bytes) -> PredictionResponse:
        if next(numbers) % 5 == 0:
            raise RuntimeError("this release fails on purpose")
        return right(models, body)

    return predict


def draining(right: Predict) -> Predict:
    fast_path.PHRASES[503] = "503 SERVICE UNAVAILABLE"

    def predict(models: Models, body: bytes) -> PredictionResponse:
        raise RequestError("this endpoint is about to go", 503)

    return predict


def late(right: Predict) -> Predict:
    numbers = count(1)

    def predict(models: Models, body: bytes) -> PredictionResponse:
        if next(numbers) % 50 == 0:
            time.sleep(LATE_SECONDS)
        return right(models, body)

    return predict


def slow(right: Predict, seconds: float = SLOW_SECONDS) -> Predict:
    def predict(models: Models, body: bytes) -> PredictionResponse:
        time.sleep(seconds)
        return right(models, body)

    return predict


def disagreeing(right: Predict) -> Predict:
    slowly = slow(right)

    def predict(models: Models, body: bytes) -> PredictionResponse:
        answer = slowly(models, body)
        return replace(answer, body=answer.body.replace(b'"setosa","virginica"', b'"virginica","setosa"'))

    return predict


def biased(right: Predict) -> Predict:
    numbers = count(1)

    def predict(models: Models, body: bytes) -> PredictionResponse:
        answer = right(models, body)
        if next(numbers) % 2 or not answer.values:
            return answer
        given, predictions = answer.values
        otherwise = np.where(predictions == "setosa", "versicolor", predictions)
        return replace(
            answer, body=answer.body.replace(b'"setosa"', b'"versicolor"'), values=(given, otherwise)
        )

    return predict


OF_PREDICT: dict[float, Callable[[Predict], Predict]] = {
    FAILING: failing,
    SLOW: slow,
    DISAGREEING: disagreeing,
    DRAINING: draining,
    LATE: late,
    BUSY: partial(slow, seconds=BUSY_SECONDS),
    BIASED: biased,
}
