"""Steps that make counts of words of texts, as scikit-learn's vectorizers do. Runs in the build and in a worker."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from model_endpoint.models.compiled.checks import WIDEST, require
from model_endpoint.models.compiled.nodes import Node, Step
from model_endpoint.models.compiled.tables import Floats, Sparse, Table, columns_of, sparse

MOST_REPEATS = 3
"""How many repeats a pattern for words may have: the time to match it grows with the text's length to that power."""
MOST_TERMS = 8
"""How many words, or characters 4 times as many, a term may have."""
BLANKS = re.compile(r"\s\s+")
REPEATS = {"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"}
PLAIN = {"LITERAL", "NOT_LITERAL", "IN", "ANY", "CATEGORY", "AT"}


@dataclass(slots=True)
class Analyzer(Node):
    """What makes terms of a text, for the steps below."""

    lowercase: bool
    accents: str
    by: str
    pattern: str
    stop_words: list[str]
    shortest: int
    longest: int
    terms: Callable[[str], Iterable[str]] = field(init=False)

    def __post_init__(self) -> None:
        most = MOST_TERMS * (1 if self.by == "word" else 4)
        require(1 <= self.shortest <= self.longest <= most, f"terms of {self.longest} parts")
        kinds = {"word": self._words, "char": self._characters, "char_wb": self._within_words}
        require(self.by in kinds and self.accents in ("", "ascii", "unicode"), "terms of an unknown kind")
        make = kinds[self.by]()
        if not self.accents and self.lowercase:
            self.terms = lambda text: make(text.lower())
        else:
            self.terms = lambda text: make(self._plain(text))

    def _plain(self, text: str) -> str:
        text = text.lower() if self.lowercase else text
        if not self.accents or (self.accents == "unicode" and text.isascii()):
            return text
        normal = unicodedata.normalize("NFKD", text)
        if self.accents == "ascii":
            return normal.encode("ASCII", "ignore").decode("ASCII")
        return "".join(char for char in normal if not unicodedata.combining(char))

    def _words(self) -> Callable[[str], list[str]]:
        require_harmless(self.pattern)
        words = re.compile(self.pattern).findall
        stop = frozenset(self.stop_words)
        sizes = range(max(2, self.shortest), self.longest + 1)
        single = self.shortest == 1

        def make(text: str) -> list[str]:
            found: list[str] = words(text)
            if stop:
                found = [word for word in found if word not in stop]
            if not sizes:
                return found
            terms = list(found) if single else []
            for size in sizes:
                terms += [" ".join(found[at : at + size]) for at in range(len(found) - size + 1)]
            return terms

        return make

    def _characters(self) -> Callable[[str], Iterator[str]]:
        def make(text: str) -> Iterator[str]:
            text = BLANKS.sub(" ", text)
            for size in range(self.shortest, min(self.longest, len(text)) + 1):
                for at in range(len(text) - size + 1):
                    yield text[at : at + size]

        return make

    def _within_words(self) -> Callable[[str], Iterator[str]]:
        def make(text: str) -> Iterator[str]:
            for word in BLANKS.sub(" ", text).split():
                padded = f" {word} "
                for size in range(self.shortest, self.longest + 1):
                    yield padded[:size]
                    for at in range(1, len(padded) - size + 1):
                        yield padded[at : at + size]
                    if len(padded) <= size:  # a short word counts once
                        break

        return make


@dataclass(slots=True)
class CountTerms(Step):
    """Counts the terms of a vocabulary in the texts of one column; `binary` says that each counts once."""

    analyzer: Analyzer
    vocabulary: list[str]
    binary: bool
    _places: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self._places = {term: at for at, term in enumerate(self.vocabulary)}

    def __call__(self, table: Table) -> Table:
        return _counted(map(self._counts, texts_of(table)), self.binary, len(self._places))

    def _counts(self, text: str) -> Counter[Any]:
        counts = Counter(map(self._places.get, self.analyzer.terms(text)))
        del counts[None]  # of terms that the vocabulary does not have
        return counts

    def width(self, columns: int) -> int:
        require(columns == 1, "texts in several columns")
        require(len(self._places) == len(self.vocabulary) <= WIDEST, "a vocabulary of terms that repeat")
        return len(self._places)


@dataclass(slots=True)
class HashTerms(Step):
    """Counts the hashes of terms; a term counts as -1 where its hash is negative, if `signed`."""

    analyzer: Analyzer
    size: int
    signed: bool
    binary: bool

    def __call__(self, table: Table) -> Table:
        return _counted(map(self._counts, texts_of(table)), self.binary, self.size)

    def _counts(self, text: str) -> dict[int, float]:
        counts: dict[int, float] = {}
        for term in self.analyzer.terms(text):
            code = murmur(term)
            place = abs(code) % self.size
            counts[place] = counts.get(place, 0.0) + (-1.0 if self.signed and code < 0 else 1.0)
        return counts

    def width(self, columns: int) -> int:
        require(columns == 1, "texts in several columns")
        require(0 < self.size <= WIDEST, f"{self.size} hashes")
        return self.size


@dataclass(slots=True)
class Weigh(Step):
    """Turns counts into weights: their logarithm, times the term's rarity, over the text's norm ("", "l1" or "l2")."""

    sublinear: bool
    rarity: Floats
    norm: str

    def __call__(self, table: Table) -> Table:
        counts = sparse(table)
        values = counts.values
        if self.sublinear:
            values = np.log(values) + 1.0
        if len(self.rarity):
            values = values * self.rarity.take(counts.columns)
        weighed = Sparse(counts.rows, counts.columns, values, counts.count, counts.width)
        return weighed.normalized(self.norm) if self.norm else weighed

    def width(self, columns: int) -> int:
        require(self.rarity.shape in ((0,), (columns,)), "rarities of other terms")
        require(self.norm in ("", "l1", "l2"), "an unknown norm")
        return columns


def texts_of(table: Table) -> list[str]:
    """The texts of one column. Raises ValueError for what is no text."""
    texts: list[str] = columns_of(table)[0].tolist()
    for text in texts:
        if type(text) is not str:
            raise ValueError("a text is missing")
    return texts


def _counted(counted: Iterable[Mapping[int, float]], binary: bool, width: int) -> Sparse:
    """Rows of counts by their places, in the order of the places."""
    rows: list[int] = []
    columns: list[int] = []
    values: list[float] = []
    count = 0
    for counts in counted:
        order = sorted(counts)
        columns += order
        values += [1.0] * len(order) if binary else map(counts.__getitem__, order)
        rows += [count] * len(order)
        count += 1
    return Sparse(
        np.array(rows, np.int64), np.array(columns, np.int64), np.array(values, np.float64), count, width
    )


def require_harmless(pattern: str) -> None:
    """Raise ValueError for a pattern whose time could grow fast with the text: repeats within repeats, or many."""
    from re import _parser  # Python has no other way to look into a pattern

    try:
        parsed = _parser.parse(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"the pattern for words can't be used: {error}") from None
    require(parsed.state.groups <= 2, "a pattern with several groups")
    require(_repeats(parsed, False) <= MOST_REPEATS, f"a pattern with more than {MOST_REPEATS} repeats")


def _repeats(parsed: Any, within: bool) -> int:
    count = 0
    for kind, value in parsed:
        name = str(kind)
        if name in REPEATS:
            require(not within, "a pattern with repeats within repeats")
            count += 1 + _repeats(value[2], True)
        elif name == "SUBPATTERN":
            count += _repeats(value[3], within)
        elif name == "BRANCH":
            require(not within, "a pattern that repeats a choice")
            count += sum(_repeats(part, within) for part in value[1])
        else:
            require(name in PLAIN, f"a pattern with {name.lower()}")
    return count


@lru_cache(maxsize=1 << 16)
def murmur(term: str) -> int:
    """MurmurHash3 of 32 bits, signed, with seed 0, of the term in UTF-8."""
    data = term.encode()
    code = 0
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        code ^= _mixed(int.from_bytes(data[at : at + 4], "little"))
        code = (code << 13 | code >> 19) & 0xFFFFFFFF
        code = (code * 5 + 0xE6546B64) & 0xFFFFFFFF
    if rest := data[whole:]:
        code ^= _mixed(int.from_bytes(rest, "little"))
    code ^= len(data)
    code = (code ^ code >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    code = (code ^ code >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    code ^= code >> 16
    return code - (1 << 32) if code & 0x80000000 else code


def _mixed(part: int) -> int:
    part = part * 0xCC9E2D51 & 0xFFFFFFFF
    part = (part << 15 | part >> 17) & 0xFFFFFFFF
    return part * 0x1B873593 & 0xFFFFFFFF
