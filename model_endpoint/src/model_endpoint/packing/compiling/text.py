"""Compile vectorizers of texts. Runs where models are packed and in the image's build."""

from __future__ import annotations

from typing import Any

import numpy as np

from model_endpoint.models.compiled.columns import Chain
from model_endpoint.models.compiled.nodes import Step
from model_endpoint.models.compiled.text import Analyzer, CountTerms, HashTerms, Weigh
from model_endpoint.packing.compiling.common import NO_NUMBERS, NotCompilableError, floats


def counts(vectorizer: Any) -> Step:
    _require_doubles(vectorizer)
    vocabulary = sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.__getitem__)
    places = [int(vectorizer.vocabulary_[term]) for term in vocabulary]
    if places != list(range(len(places))):
        raise NotCompilableError("there is no rule for a vocabulary whose places are not counted from 0")
    return CountTerms(_analyzer(vectorizer), vocabulary, bool(vectorizer.binary))


def tfidf(vectorizer: Any) -> Step:
    return Chain([counts(vectorizer), weights(vectorizer._tfidf)])


def weights(transformer: Any) -> Step:
    rarity = floats(transformer.idf_) if transformer.use_idf else NO_NUMBERS
    return Weigh(bool(transformer.sublinear_tf), rarity, transformer.norm or "")


def hashes(vectorizer: Any) -> Step:
    _require_doubles(vectorizer)
    step = HashTerms(
        _analyzer(vectorizer),
        int(vectorizer.n_features),
        bool(vectorizer.alternate_sign),
        bool(vectorizer.binary),
    )
    if vectorizer.norm is None:
        return step
    return Chain([step, Weigh(False, NO_NUMBERS, vectorizer.norm)])


def _analyzer(vectorizer: Any) -> Analyzer:
    for name in ("preprocessor", "tokenizer"):
        if getattr(vectorizer, name) is not None:
            raise NotCompilableError(f"there is no rule for a {name} of one's own")
    if callable(vectorizer.analyzer) or callable(vectorizer.strip_accents):
        raise NotCompilableError("there is no rule for an analyzer of one's own")
    if vectorizer.input != "content":
        raise NotCompilableError("there is no rule for texts in files")
    stop = vectorizer.get_stop_words() if vectorizer.analyzer == "word" else None
    shortest, longest = vectorizer.ngram_range
    try:
        return Analyzer(
            bool(vectorizer.lowercase),
            vectorizer.strip_accents or "",
            vectorizer.analyzer,
            vectorizer.token_pattern if vectorizer.analyzer == "word" else "",
            sorted(stop or ()),
            int(shortest),
            int(longest),
        )
    except ValueError as error:
        raise NotCompilableError(f"there is no rule for {type(vectorizer).__name__}: {error}") from None


def _require_doubles(vectorizer: Any) -> None:
    """Raise NotCompilableError for weights in single precision; counts are whole numbers in any type."""
    if np.dtype(vectorizer.dtype) == np.float32:
        raise NotCompilableError("there is no rule for a vectorizer in single precision")


RULES = {
    "CountVectorizer": counts,
    "TfidfVectorizer": tfidf,
    "TfidfTransformer": weights,
    "HashingVectorizer": hashes,
}
