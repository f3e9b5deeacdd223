"""Train the three models that ship with Flotilla and pack them: `python model_endpoint/train.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas
from palmerpenguins import load_penguins
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from model_endpoint.packing.packer import pack

MODELS = Path(__file__).parent / "models"


def train(name: str, description: str, estimator: Any, data: Any, labels: Any, frame: Any) -> None:
    """Fit an estimator on `data`, and pack it with `frame`, which has the columns' names."""
    accuracy = float(cross_val_score(estimator, data, labels, cv=5).mean())
    said = pack(
        estimator.fit(data, labels),
        frame,
        MODELS / name,
        name=name,
        version="1",
        description=description,
        metrics={"accuracy_5_fold": round(accuracy, 4)},
    )
    print(said)  # noqa: T201


def train_on_array(name: str, description: str, estimator: Any, source: Any) -> None:
    """Train on a data set of scikit-learn's."""
    columns = [column.removesuffix(" (cm)").replace(" ", "_") for column in source.feature_names]
    frame = pandas.DataFrame(source.data, columns=columns)
    train(name, description, estimator, source.data, source.target_names[source.target], frame)


def train_penguins() -> None:
    """Train on four measures and two columns of text, of which some are missing."""
    penguins = load_penguins()
    numbers = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]
    texts = ["island", "sex"]
    prepare = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="ignore"), texts),
    )
    frame = penguins[[*texts, *numbers]]
    train(
        "penguins",
        "Species of a penguin from its island, its sex and four measures (Gorman, Williams and Fraser, 2014).",
        make_pipeline(prepare, LogisticRegression(max_iter=1000)),
        frame,
        penguins["species"].to_numpy(dtype=str),
        frame,
    )


if __name__ == "__main__":
    train_on_array(
        "iris",
        "Species of an iris flower from four lengths in centimetres (Fisher, 1936).",
        make_pipeline(StandardScaler(), LogisticRegression()),
        load_iris(),
    )
    train_on_array(
        "breast_cancer",
        "Whether a breast mass is malignant, from 30 measures of its cell nuclei (Wisconsin, 1995).",
        RandomForestClassifier(n_estimators=100, random_state=0),
        load_breast_cancer(),
    )
    train_penguins()
