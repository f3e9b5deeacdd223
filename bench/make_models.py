"""Make the models that `served` names: the shipped ones are copied, the four others fitted and packed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from xgboost import XGBClassifier

from model_endpoint import pack
from served import CATEGORIES, NUMERIC, SHIPPED, SHIPPED_FOLDER, place

ROWS = 2000


def make(folder: Path) -> None:
    """Write a bundle of each model into `folder`, beside its estimator where the model is not a shipped one."""
    for name in SHIPPED:
        shutil.copytree(SHIPPED_FOLDER / name, folder / name)
    random = np.random.default_rng(0)
    frame = _frame(random)
    sold = np.where(frame["amount_0"].fillna(0) + (frame["region"] == "region 1") > 0.5, "yes", "no")
    categories = list(CATEGORIES)
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    encoded = make_column_transformer(
        (numbers, NUMERIC), (OneHotEncoder(handle_unknown="ignore"), categories)
    )
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    coded = make_column_transformer((codes, categories), remainder="passthrough")
    texts, topics = _texts(random)
    points = random.normal(size=(ROWS, 20)).astype(np.float32)
    made: dict[str, tuple[Any, Any]] = {
        "mixed": (make_pipeline(encoded, LogisticRegression(max_iter=1000)).fit(frame, sold), frame),
        "mixed boosting": (make_pipeline(coded, HistGradientBoostingClassifier()).fit(frame, sold), frame),
        "text": (
            make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000)).fit(texts, topics),
            texts,
        ),
        "xgboost": (
            XGBClassifier(n_estimators=300, n_jobs=1).fit(points, (points[:, 0] > 0).astype(int)),
            points,
        ),
    }
    for model, (estimator, data) in made.items():
        pack(estimator, data, folder, name=place(model), version="1")
        joblib.dump(estimator, folder / place(model) / "estimator.joblib")


def _frame(random: np.random.Generator) -> pd.DataFrame:
    """Return ROWS rows of 14 columns: numbers with gaps, and categories."""
    frame = pd.DataFrame(random.normal(size=(ROWS, len(NUMERIC))), columns=NUMERIC)
    frame = frame.mask(random.random(frame.shape) < 0.05)
    for name, count in CATEGORIES.items():
        frame[name] = [f"{name} {number}" for number in random.integers(count, size=ROWS)]
    return frame


def _texts(random: np.random.Generator) -> tuple[list[str], list[str]]:
    """Return ROWS texts of 60 words, and the topic of each, which some of its words are of."""
    words = np.array([f"word{number}" for number in range(5000)])
    topics = random.integers(3, size=ROWS)
    texts = [
        " ".join([*random.choice(words, 50), *random.choice(words[topic * 100 :][:100], 10)])
        for topic in topics
    ]
    return texts, [f"topic {topic}" for topic in topics]
