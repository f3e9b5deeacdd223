"""Train the models that scenario ssh serves in place of the examples: `train.py FOLDER`.

Writes NAME.joblib, the fitted estimator, and NAME.csv, its training data, as a user of `flotilla-model pack` has them,
and NAME.json, what a client asks with the estimator's own answers. Model iris bears the name that the tests of every
scenario ask, and is another than the example of that name.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from xgboost import XGBClassifier

ROWS = 600
ASKED = 10
COMPLAINTS = {
    "billing": "invoice charged twice refund amount card statement fee bank",
    "delivery": "parcel late courier lost address never arrived box tracking",
    "quality": "broken scratched stopped working crack noisy faulty battery",
}
FILLERS = "the my was again please yesterday order why still and it is very"


def write(folder: Path, name: str, estimator: Any, data: pd.DataFrame | Sequence[str], asked: Any) -> None:
    """Write the estimator, its data, and the rows that are asked with its answers."""
    joblib.dump(estimator, folder / f"{name}.joblib")
    frame = data if isinstance(data, pd.DataFrame) else pd.DataFrame({"text": data})
    frame.to_csv(folder / f"{name}.csv", index=False)
    content = {
        "instances": asked if isinstance(asked, list) else records(asked),
        "predictions": estimator.predict(asked).tolist(),
        "probabilities": estimator.predict_proba(asked).tolist(),
    }
    (folder / f"{name}.json").write_text(json.dumps(content))


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as objects, by the columns' names, in which a missing value is null."""
    return list(json.loads(frame.to_json(orient="records", double_precision=15)))


def iris(folder: Path) -> None:
    """Train a model of numbers alone."""
    data = load_iris()
    names = [column.removesuffix(" (cm)").replace(" ", "_") for column in data.feature_names]
    estimator = LogisticRegression(C=10, max_iter=10_000).fit(data.data, data.target_names[data.target])
    write(folder, "iris", estimator, pd.DataFrame(data.data, columns=names), data.data[::15].tolist())


def stays(folder: Path, random: np.random.Generator) -> None:
    """Train a model of text, numbers and booleans, some missing; it is asked for a town that it does not know."""
    data = pd.DataFrame(
        {
            "town": random.choice(["Bern", "Basel", "Zürich", "Chur"], ROWS),
            "room": random.choice(["single", "double", "suite"], ROWS),
            "nights": random.integers(1, 15, ROWS),
            "price": random.normal(140, 40, ROWS).round(2),
            "member": random.random(ROWS) < 0.4,
        }
    )
    score = data["nights"] / 4 + data["price"] / 50 - 2 * data["member"] + (data["town"] == "Chur")
    labels = np.where(score + random.normal(0, 1, ROWS) > score.median(), "cancelled", "kept")
    data.loc[::7, "price"] = np.nan
    data.loc[::11, "town"] = np.nan
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), ["nights", "price"]),
        (OneHotEncoder(handle_unknown="ignore"), ["town", "room"]),
        ("passthrough", ["member"]),
    )
    estimator = make_pipeline(columns, LogisticRegression(max_iter=1000)).fit(data, labels)
    asked = data[:ASKED].copy()
    asked.loc[2, "town"] = "Atlantis"
    write(folder, "stays", estimator, data, asked)


def complaints(folder: Path, random: np.random.Generator) -> None:
    """Train a model of texts; it is asked for words that it does not know, and for none."""
    labels = random.choice(list(COMPLAINTS), ROWS)
    texts = [
        " ".join(
            random.permutation(
                [*random.choice(COMPLAINTS[label].split(), 3), *random.choice(FILLERS.split(), 9)]
            )
        )
        for label in labels
    ]
    estimator = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, labels)
    write(folder, "complaints", estimator, texts, [*texts[:ASKED], "Wörter unbekannt, refund!", ""])


def boilers(folder: Path, random: np.random.Generator) -> None:
    """Train a model of XGBoost with categories and gaps."""
    makers = pd.CategoricalDtype(["Alba", "Brenn", "Calor"])
    data = pd.DataFrame(
        {
            "age": random.uniform(0, 20, ROWS).round(1),
            "pressure": random.normal(2, 0.3, ROWS),
            "maker": pd.Series(random.choice(makers.categories, ROWS), dtype=makers),
        }
    )
    labels = (data["age"] + 5 * (data["maker"] == "Brenn") + random.normal(0, 2, ROWS) > 11).astype(int)
    data.loc[::9, "pressure"] = np.nan
    data.loc[::13, "maker"] = np.nan
    estimator = XGBClassifier(n_estimators=80, max_depth=4, enable_categorical=True, random_state=0)
    estimator.fit(data, labels)
    write(folder, "boilers", estimator, data, data[:ASKED])


if __name__ == "__main__":
    target = Path(sys.argv[1])
    generator = np.random.default_rng(7)
    iris(target)
    stays(target, generator)
    complaints(target, generator)
    boilers(target, generator)
