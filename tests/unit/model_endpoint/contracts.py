"""Small models of every kind of contract, packed and built as an image builds them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from model_endpoint.models import model
from model_endpoint.models.model import Model
from model_endpoint.packing import bundle, image

ROWS = 40
Made = tuple[Any, Any]


def draw() -> np.random.Generator:
    return np.random.default_rng(0)


def numbers(columns: int = 2) -> pd.DataFrame:
    return pd.DataFrame(draw().normal(size=(ROWS, columns)), columns=[f"c{at}" for at in range(columns)])


def passengers() -> pd.DataFrame:
    """Text with a gap, numbers with gaps, and whole numbers."""
    frame = pd.DataFrame(
        {
            "age": draw().uniform(1, 80, ROWS).round(1),
            "port": draw().choice(["C", "Q", "S"], ROWS),
            "class": draw().choice([1, 2, 3], ROWS),
        }
    )
    frame.loc[3:5, "age"] = np.nan
    frame.loc[7, "port"] = None
    return frame


def mixed() -> Made:
    frame = passengers()
    words = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    parts = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["age"]), (words, ["port", "class"])
    )
    target = np.where(frame["class"] > 1, "yes", "no")
    return make_pipeline(parts, LogisticRegression()).fit(frame, target), frame


def strict_text() -> Made:
    """An encoder that refuses what training did not have."""
    frame = passengers()[["port", "class"]].dropna()
    return make_pipeline(OneHotEncoder(), Ridge()).fit(frame, frame["class"]), frame


def category() -> Made:
    frame = numbers(1).assign(code=pd.Categorical(draw().choice([10, 20, 30], ROWS)))
    return HistGradientBoostingRegressor(max_iter=3, min_samples_leaf=2).fit(frame, frame["c0"]), frame


def text_category() -> Made:
    values = [["red", "blue", None][at] for at in draw().choice(3, ROWS)]
    frame = numbers(1).assign(color=pd.Categorical(values))
    return HistGradientBoostingRegressor(max_iter=3, min_samples_leaf=2).fit(frame, frame["c0"]), frame


def texts() -> Made:
    lines = [
        f"{word} offer now" if at % 2 else f"lunch {word}" for at, word in enumerate(["grüße", "cash"] * 20)
    ]
    labels = ["spam" if at % 2 else "ham" for at in range(len(lines))]
    return make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(lines, labels), lines


def dicts() -> Made:
    rows = passengers().dropna().to_dict("records")
    return make_pipeline(DictVectorizer(), Ridge()).fit(rows, [row["age"] for row in rows]), rows


def single_precision() -> Made:
    frame = (numbers() * 1000).astype(np.float32)
    return make_pipeline(StandardScaler(), Ridge()).fit(frame, frame["c0"]), frame


def booleans() -> Made:
    frame = numbers(1).assign(member=draw().random(ROWS) < 0.5)
    return Ridge().fit(frame, frame["c0"]), frame


def nullable() -> Made:
    """Whole numbers, booleans and text in pandas' types that hold missing values."""
    frame = pd.DataFrame(
        {
            "rooms": pd.array([None if at % 9 == 0 else at % 5 for at in range(ROWS)], dtype="Int64"),
            "garden": pd.array([None if at % 7 == 0 else at % 2 == 0 for at in range(ROWS)], dtype="boolean"),
            "size": pd.array([None if at % 8 == 0 else at * 1.5 for at in range(ROWS)], dtype="Float64"),
        }
    )
    model = HistGradientBoostingRegressor(max_iter=3, min_samples_leaf=2)
    return model.fit(frame, np.arange(ROWS)), frame


def large_integers() -> Made:
    ids = draw().choice([2**53 + 1, 2**53 + 2, 2**53 + 3], ROWS)
    frame = numbers(1).assign(account=ids)
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["account"]), remainder="passthrough"
    )
    return make_pipeline(encode, Ridge()).fit(frame, ids - 2**53), frame


def dates() -> Made:
    """Dates with a gap and without, which the encoder takes as categories."""
    days = pd.Series(pd.date_range("2024-01-01", periods=ROWS, freq="h").floor("12h"))
    frame = numbers(1).assign(
        day=days, unread=days.dt.tz_localize("Europe/Berlin").where(days.index % 9 != 3)
    )
    encode = make_column_transformer(
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["day"]),
        ("passthrough", ["c0"]),
    )
    return make_pipeline(encode, HistGradientBoostingRegressor(max_iter=3)).fit(frame, frame["c0"]), frame


def fine_dates() -> Made:
    """Dates by the nanosecond, which end in the year 2262."""
    frame = pd.DataFrame(
        {"day": pd.Series(pd.date_range("2024-01-01", periods=ROWS)).astype("datetime64[ns]")}
    )
    encode = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return make_pipeline(encode, Ridge()).fit(frame, np.arange(ROWS)), frame


def unread() -> Made:
    frame = numbers().assign(name="somebody")
    return make_pipeline(make_column_transformer((StandardScaler(), ["c1"])), Ridge()).fit(
        frame, frame["c1"]
    ), frame


def postcode() -> Made:
    frame = pd.DataFrame({"postcode": ["01067", "80331"] * (ROWS // 2)})
    return make_pipeline(OneHotEncoder(handle_unknown="ignore"), Ridge()).fit(
        frame, [0, 1] * (ROWS // 2)
    ), frame


def empty_text() -> Made:
    """Text that may be empty, and is not missing then."""
    frame = pd.DataFrame(
        {"comment": ["", "good", "bad", "good"] * (ROWS // 4), "size": np.arange(float(ROWS))}
    )
    encode = make_column_transformer((OneHotEncoder(), ["comment"]), remainder="passthrough")
    return make_pipeline(encode, Ridge()).fit(frame, frame["size"]), frame


def objects() -> Made:
    """An array of objects, text and numbers in it."""
    array = np.array([["a" if at % 2 else "b", at % 3] for at in range(ROWS)], dtype=object)
    return make_pipeline(OneHotEncoder(handle_unknown="ignore"), Ridge()).fit(array, np.arange(ROWS)), array


KINDS: dict[str, Callable[[], Made]] = {
    made.__name__: made
    for made in (
        *(mixed, strict_text, category, text_category, texts, dicts, single_precision, booleans, nullable),
        *(large_integers, dates, fine_dates, unread, postcode, empty_text, objects),
    )
}


def built(name: str, folder: Path, made: Made | None = None, **options: Any) -> Model:
    """The model of this name, packed and built; packing itself compares each form of request with the estimator."""
    estimator, data = made or KINDS[name]()
    bundle.pack(estimator, data, folder / "in" / name, name=name, version="1", **options)
    image.build(folder / "in", folder / "out")
    return model.load(folder / "out")[name]
