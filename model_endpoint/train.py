"""Train the two models that ship with Flotilla and pack them: `python model_endpoint/train.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from model_endpoint.packing.bundle import pack

MODELS = Path(__file__).parent / "models"


def train(name: str, description: str, data: Any, estimator: Any) -> None:
    labels = data.target_names[data.target]
    accuracy = float(cross_val_score(estimator, data.data, labels, cv=5).mean())
    estimator.fit(data.data, labels)
    pack(
        estimator,
        pandas.DataFrame(
            data.data, columns=[name.removesuffix(" (cm)").replace(" ", "_") for name in data.feature_names]
        ),
        MODELS / name,
        name=name,
        version="1",
        description=description,
        metrics={"accuracy_5_fold": round(accuracy, 4)},
    )


if __name__ == "__main__":
    train(
        "iris",
        "Species of an iris flower from four lengths in centimetres (Fisher, 1936).",
        load_iris(),
        make_pipeline(StandardScaler(), LogisticRegression()),
    )
    train(
        "breast_cancer",
        "Whether a breast mass is malignant, from 30 measures of its cell nuclei (Wisconsin, 1995).",
        load_breast_cancer(),
        RandomForestClassifier(n_estimators=100, random_state=0),
    )
