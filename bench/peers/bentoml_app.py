"""BentoML: bentoml serve bentoml_app:Bench."""

from __future__ import annotations

import bentoml
import estimators
import numpy as np
import pandas as pd


@bentoml.service(workers=2)
class Bench:
    def __init__(self) -> None:
        self.models = {name: estimators.load(name) for name in estimators.NAMES}

    @bentoml.api
    def predict(self, model: str, instances: np.ndarray) -> np.ndarray:
        return self.models[model].predict(instances)

    @bentoml.api
    def predict_frame(self, model: str, instances: pd.DataFrame) -> np.ndarray:
        return self.models[model].predict(instances)

    @bentoml.api
    def predict_texts(self, model: str, instances: list[str]) -> np.ndarray:
        return self.models[model].predict(instances)
