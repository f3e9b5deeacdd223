"""BentoML: bentoml serve bentoml_app:Bench."""

from __future__ import annotations

import bentoml
import estimators
import numpy as np


@bentoml.service(workers=2)
class Bench:
    def __init__(self) -> None:
        self.models = {name: estimators.load(name) for name in ("iris", "breast_cancer")}

    @bentoml.api
    def predict(self, model: str, instances: np.ndarray) -> np.ndarray:
        return self.models[model].predict(instances)
