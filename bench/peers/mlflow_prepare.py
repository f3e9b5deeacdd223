"""MLflow: save a model for `mlflow models serve`: python mlflow_prepare.py FOLDER MODEL."""

from __future__ import annotations

import sys

import estimators
import mlflow.sklearn

mlflow.sklearn.save_model(estimators.load(sys.argv[2]), sys.argv[1], serialization_format="cloudpickle")
