"""Write an estimator's file: in the own format of XGBoost, LightGBM or CatBoost, or in skops form.

Runs where models are packed.
"""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path
from typing import Any

from model_endpoint.models import boosted_files
from model_endpoint.models.stored import FORMATS
from model_endpoint.packing import dump


def store(estimator: Any, where: str) -> tuple[str | None, bytes]:
    """The estimator's class where the format is a library's own, and the content of its file.

    Raises BundleError, whose message begins with `where`, for what can't be stored.
    """
    library, name = type(estimator).__module__.split(".")[0], type(estimator).__name__
    if library in FORMATS and name in FORMATS[library].classes:
        content = WRITERS[library](estimator)
        if content is not None:
            return f"{library}.{name}", content
    return None, dump.dump(estimator, where)


def _xgboost(estimator: Any) -> bytes | None:
    """Its JSON; None where this does not say all, or holds what is not checked."""
    if not math.isnan(estimator.missing) or callable(estimator.objective):
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        estimator.save_model(path)
        content = path.read_bytes()
    try:
        columns = int(json.loads(content)["learner"]["learner_model_param"]["num_feature"])
        boosted_files.check_xgboost(content, columns)
    except (ValueError, KeyError, TypeError):
        return None
    return content


def _lightgbm(estimator: Any) -> bytes | None:
    """Its text; None where this does not say all, or holds what is not checked."""
    if callable(estimator.objective_):
        return None
    content = str(estimator.booster_.model_to_string()).encode()
    try:
        boosted_files.check_lightgbm(content, int(estimator.n_features_))
    except (ValueError, KeyError, TypeError):
        return None
    return content


def _catboost(estimator: Any) -> bytes | None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.cbm"
        estimator.save_model(str(path), format="cbm")
        return path.read_bytes()


WRITERS = {"xgboost": _xgboost, "lightgbm": _lightgbm, "catboost": _catboost}
