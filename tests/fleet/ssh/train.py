"""Train the models that scenario ssh serves in place of the examples: `train.py FOLDER`.

Writes NAME.joblib, the fitted estimator, and NAME.csv, its training data, as a user of `flotilla-model pack` has them.
Model iris bears the name that the tests of every scenario ask, and is another than the example of that name.
"""

import csv
import sys
from pathlib import Path
from typing import Any

import joblib
from sklearn.datasets import load_iris, load_wine
from sklearn.linear_model import LogisticRegression


def train(folder: Path, name: str, data: Any, estimator: Any) -> None:
    """Fit the estimator to a data set of scikit-learn and write both to `folder`."""
    joblib.dump(estimator.fit(data.data, data.target_names[data.target]), folder / f"{name}.joblib")
    with (folder / f"{name}.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow([column.removesuffix(" (cm)").replace(" ", "_") for column in data.feature_names])
        rows.writerows(data.data.tolist())


if __name__ == "__main__":
    target = Path(sys.argv[1])
    train(target, "iris", load_iris(), LogisticRegression(C=10, max_iter=10_000))
    train(target, "wine", load_wine(), LogisticRegression(max_iter=10_000))
