"""Models of texts that compile: vectorizers against scikit-learn's, and what a pattern for words may be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import (
    CountVectorizer,
    HashingVectorizer,
    TfidfTransformer,
    TfidfVectorizer,
)
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from model_endpoint.models.compiled.columns import Chain
from model_endpoint.models.compiled.tables import dense
from model_endpoint.models.compiled.text import Analyzer, CountTerms, HashTerms, Weigh
from model_endpoint.packing.compiling.common import NotCompilableError
from model_endpoint.packing.compiling.transformers import compile_transformer
from unit.model_endpoint.compiled_cases import objects, served, texts

pytestmark = pytest.mark.usefixtures("fewer_rows")
LINES, LABELS = texts()
STRANGE = ["", " \t ", "a", "NAÏVE ﬁne İstanbul", "win\n\nwin  PRIZE", "你好 win-win", "foo_bar 01067 don't"]

VECTORIZERS = [
    CountVectorizer(ngram_range=(1, 3), binary=True),
    CountVectorizer(ngram_range=(2, 2), stop_words="english"),
    CountVectorizer(token_pattern=r"(\w+)-"),
    CountVectorizer(token_pattern=r"[a-zA-Z]{2,}", lowercase=False),
    TfidfVectorizer(sublinear_tf=True, max_features=9),
    TfidfVectorizer(strip_accents="unicode", norm="l1"),
    TfidfVectorizer(strip_accents="ascii", norm=None, use_idf=False),
    TfidfVectorizer(analyzer="char", ngram_range=(1, 4)),
    TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5)),
    HashingVectorizer(n_features=64),
    HashingVectorizer(n_features=50, alternate_sign=False, norm=None, ngram_range=(1, 2)),
    HashingVectorizer(n_features=16, binary=True, analyzer="char_wb", ngram_range=(3, 3)),
    make_pipeline(CountVectorizer(), TfidfTransformer()),
]


@pytest.mark.parametrize("vectorizer", VECTORIZERS, ids=lambda vectorizer: repr(vectorizer)[:70])
def test_a_vectorizer_gives_its_own_weights(vectorizer: Any) -> None:
    lines = LINES + STRANGE
    expected = vectorizer.fit(lines).transform(lines).toarray()
    step = Chain(compile_transformer(vectorizer))
    np.testing.assert_allclose(dense(step(objects(lines))), expected, rtol=1e-12, atol=1e-15)
    assert step.width(1) == expected.shape[1]
    for at in (0, len(LINES), -1):
        np.testing.assert_allclose(dense(step(objects([lines[at]])))[0], expected[at], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    "estimator",
    [
        make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression()),
        make_pipeline(HashingVectorizer(n_features=256), SGDClassifier(random_state=0)),
        make_pipeline(CountVectorizer(), MultinomialNB()),
    ],
    ids=lambda estimator: estimator.steps[-1][0],
)
def test_a_model_of_texts_is_served_by_numpy(estimator: Any, tmp_path: Path) -> None:
    assert served(estimator.fit(LINES, LABELS), LINES, tmp_path).served_by["kind"] == "numpy pipeline"


def test_texts_and_numbers_stand_side_by_side(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": LINES, "size": np.arange(len(LINES)) / 7.0})
    steps = make_column_transformer((TfidfVectorizer(), "text"), (StandardScaler(), ["size"]))
    fitted = make_pipeline(steps, LogisticRegression()).fit(frame, LABELS)
    assert served(fitted, frame, tmp_path).served_by["kind"] == "numpy pipeline"


@pytest.mark.parametrize(
    ("vectorizer", "words"),
    [
        (CountVectorizer(tokenizer=str.split, token_pattern=None), "tokenizer of one's own"),
        (CountVectorizer(preprocessor=str.strip), "preprocessor of one's own"),
        (CountVectorizer(analyzer=str.split), "analyzer of one's own"),
        (CountVectorizer(token_pattern=r"(?:\w+)+x?"), "repeats within repeats"),
        (CountVectorizer(token_pattern=r"\w*\w*\w*\w+"), "more than 3 repeats"),
        (CountVectorizer(token_pattern=r"\w+(?=.)"), "a pattern with assert"),
        (TfidfVectorizer(dtype=np.float32), "single precision"),
    ],
)
def test_a_vectorizer_that_could_run_code_or_long_is_refused(vectorizer: Any, words: str) -> None:
    with pytest.raises(NotCompilableError, match=words):
        compile_transformer(vectorizer.fit(LINES))


@pytest.mark.parametrize(
    ("step", "columns", "words"),
    [
        (CountTerms(Analyzer(True, "", "char", "", [], 1, 2), ["a", "a"], False), 1, "terms that repeat"),
        (CountTerms(Analyzer(True, "", "char", "", [], 1, 2), ["a"], False), 2, "several columns"),
        (HashTerms(Analyzer(True, "", "char", "", [], 1, 2), 1 << 40, True, False), 1, "hashes"),
        (Weigh(False, np.ones(3), "l2"), 2, "rarities of other terms"),
        (Weigh(False, np.ones(2), "l9"), 2, "unknown norm"),
    ],
)
def test_a_step_that_contradicts_itself_is_refused(step: Any, columns: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        step.width(columns)


def test_terms_have_a_bound() -> None:
    with pytest.raises(ValueError, match="terms of 10000 parts"):
        Analyzer(True, "", "word", r"\w+", [], 1, 10_000)
