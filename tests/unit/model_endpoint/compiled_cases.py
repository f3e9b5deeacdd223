"""Pack a model, build what an endpoint loads of it, and say what serves it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from model_endpoint.models import model
from model_endpoint.models.card import FURTHER, Card
from model_endpoint.models.compiled.columns import as_objects
from model_endpoint.models.compiled.composed import load
from model_endpoint.models.kinds import COMPILED_FILE
from model_endpoint.models.model import Model
from model_endpoint.packing import bundle, image
from model_endpoint.packing.compiling.compiler import compile_estimator
from model_endpoint.packing.proof import Proof, prove

DRAW = np.random.default_rng(3)
WORDS = ["win", "prize", "Grüße", "mail", "a1", "don't", "straße", "é", "x"]


def people(rows: int = 150) -> tuple[pd.DataFrame, Any]:
    """Passengers, made up: numbers, text, whole numbers as categories, and gaps."""
    frame = pd.DataFrame(
        {
            "age": DRAW.uniform(1, 80, rows).round(1),
            "fare": DRAW.gamma(2, 20, rows).round(2),
            "sex": DRAW.choice(["male", "female"], rows),
            "port": DRAW.choice(["C", "Q", "S"], rows, p=[0.1, 0.3, 0.6]),
            "class": DRAW.choice([1, 2, 3], rows),
        }
    )
    frame.loc[DRAW.random(rows) < 0.2, "age"] = np.nan
    frame.loc[DRAW.random(rows) < 0.1, "port"] = np.nan
    target = (frame["sex"] == "female") * 2.0 - frame["class"] * 0.5 + DRAW.normal(size=rows)
    return frame, target.to_numpy()


def texts(rows: int = 80) -> tuple[list[str], Any]:
    lines = [" ".join(DRAW.choice(WORDS, int(DRAW.integers(1, 9)))) for _ in range(rows)]
    return lines, np.where(DRAW.random(rows) < 0.5, "spam", "ham")


def served(estimator: Any, data: Any, folder: Path) -> Model:
    """The model as an endpoint loads it, after the proof and the rehearsal of the image's build."""
    bundle.pack(estimator, data, folder / "in" / "m", name="m", version="1", order=True)
    image.build(folder / "in", folder / "served")
    return model.load(folder / "served")["m"]


def objects(*columns: Any) -> list[Any]:
    """Columns as steps get them."""
    return [as_objects(list(column)) for column in columns]


def proved(estimator: Any, data: Any, folder: Path) -> Proof:
    """The proof that the compiled form of an estimator of an array, saved and loaded, has all of its outputs."""
    compiled = compile_estimator(estimator)
    compiled.save(folder / COMPILED_FILE)
    more = [name for name in FURTHER if hasattr(estimator, name)]
    loaded = load(folder / COMPILED_FILE, array_card(data.shape[1]))
    return prove(estimator, loaded, data[::5], np.nanmin(data, axis=0), np.nanmax(data, axis=0), more)


def array_card(columns: int) -> Card:
    """The card of a model of numbers."""
    features = [{"name": f"c{at}", "type": "number"} for at in range(columns)]
    outputs = [{"name": "predict", "datatype": "FP64", "shape": [-1]}]
    texts = dict.fromkeys(("description", "training_data_sha256", "model_sha256"), "")
    about: dict[str, Any] = {"name": "m", "version": "1", "classes": None, "metrics": {}, "libraries": {}}
    return Card.from_values({**about, **texts, "features": features, "outputs": outputs})
