"""Compile imputers, encoders and scalers. Runs where models are packed and in the image's build."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from model_endpoint.models.compiled.columns import (
    NO_ANSWER,
    NO_PLACE,
    Arithmetic,
    Chain,
    Encode,
    ImputeNumbers,
    ImputeValues,
    OneHot,
)
from model_endpoint.models.compiled.nodes import Scalar, Step
from model_endpoint.models.compiled.tables import NAN, ticks_of
from model_endpoint.packing.compiling.common import (
    SCALERS,
    NotCompilableError,
    Operation,
    arithmetic_of,
    floats,
    ints,
)

IGNORES = "ignore"


def scaler(transformer: Any) -> Step:
    return arithmetic(arithmetic_of(transformer))


def arithmetic(steps: Sequence[Operation]) -> Step:
    """The step that does what arithmetic_of returned."""
    return Arithmetic([name for name, _ in steps], [floats(operand) for _, operand in steps])


def imputer(transformer: Any) -> Step:
    """SimpleImputer's rule: of numbers, or of values of any type."""
    statistics = transformer.statistics_
    marker = transformer.missing_values
    indicator = getattr(transformer, "indicator_", None)
    indicators = [] if indicator is None else indicator.features_
    if transformer._fit_dtype.kind not in "fiub" or not _is_number(marker):
        fill = [plain(value) for value in statistics.tolist()]
        if any(value is None or value != value for value in fill) or indicator is not None:
            raise NotCompilableError(
                "there is no rule for SimpleImputer of empty columns or with indicators of text"
            )
        return ImputeValues(plain(marker), fill)
    statistics = floats(statistics)
    empty = np.isnan(statistics) & (not getattr(transformer, "keep_empty_features", False))
    return ImputeNumbers(float(marker), statistics, ints(np.flatnonzero(~empty)), ints(indicators))


def one_hot(transformer: Any) -> Step:
    categories = categories_of(transformer)
    mappings = getattr(transformer, "_default_to_infrequent_mappings", None) or [None] * len(categories)
    dropped = transformer._drop_idx_after_grouping
    rare = getattr(transformer, "_infrequent_indices", None)
    places: list[list[int]] = []
    others: list[int] = []
    start = 0
    for at, (values, count) in enumerate(zip(categories, transformer._n_features_outs, strict=True)):
        found = range(len(values)) if mappings[at] is None else mappings[at].tolist()
        without = None if dropped is None else dropped[at]
        places.append([_place(start, place, without) for place in found])
        others.append(_other(transformer, places[-1], None if rare is None else rare[at]))
        start += int(count)
    return OneHot(categories, places, others, start)


def _place(start: int, place: int, without: int | None) -> int:
    if without is None or place < without:
        return start + place
    return NO_PLACE if place == without else start + place - 1


def _other(transformer: Any, places: Sequence[int], rare: Any) -> int:
    if transformer.handle_unknown == "error":
        return NO_ANSWER
    if transformer.handle_unknown == IGNORES or rare is None:
        return NO_PLACE
    return places[int(rare[0])]


def ordinal(transformer: Any) -> Step:
    categories = categories_of(transformer)
    mappings = getattr(transformer, "_default_to_infrequent_mappings", None) or [None] * len(categories)
    numbers = []
    refused = transformer.handle_unknown == "error"
    for values, mapping in zip(categories, mappings, strict=True):
        codes = [float(code) for code in (range(len(values)) if mapping is None else mapping.tolist())]
        codes += [NAN] * (len(values) - len(codes))  # a mapping leaves out the missing category, the last
        codes = [
            float(transformer.encoded_missing_value) if value != value else code  # None is a category
            for value, code in zip(values, codes, strict=True)
        ]
        codes.append(NAN if refused else float(transformer.unknown_value))
        numbers.append(floats(codes)[:, np.newaxis])
    return Encode(categories, numbers, [refused] * len(categories))


def target_means(transformer: Any) -> Step:
    """TargetEncoder's rule: the means of each class, side by side, for each column."""
    categories = categories_of(transformer)
    means = np.atleast_1d(np.asarray(transformer.target_mean_, dtype=np.float64))
    each = len(means)
    numbers = []
    for at in range(len(categories)):
        parts = transformer.encodings_[at * each : (at + 1) * each]
        numbers.append(
            floats(np.stack([np.append(part, mean) for part, mean in zip(parts, means, strict=True)], axis=1))
        )
    return Encode(categories, numbers, [False] * len(categories))


def fused(steps: Sequence[Step]) -> list[Step]:
    """The steps, in which an encoder gives a gap the place of what an imputer before it would have filled in."""
    found: list[Step] = []
    for step in steps:
        if found and isinstance(found[-1], ImputeValues) and isinstance(step, OneHot | Encode):
            found.append(_with_filled(found.pop(), step))
        else:
            found.append(step)
    return found


def _with_filled(imputer: Any, encoder: OneHot | Encode) -> Step:
    """The encoder with the imputer's marker as one more category of each column."""
    categories: list[list[Scalar]] = []
    places: list[list[int]] = []
    numbers: list[Any] = []
    for at, (values, fill) in enumerate(zip(encoder.categories, imputer.fill, strict=True)):
        kept = [place for place, value in enumerate(values) if not _same(value, imputer.marker)]
        chosen = values.index(fill) if fill in values else len(values)
        categories.append([values[place] for place in kept] + [imputer.marker])
        if isinstance(encoder, OneHot):
            known = [*encoder.places[at], encoder.others[at]]
            places.append([known[place] for place in [*kept, chosen]])
        else:
            numbers.append(encoder.numbers[at][[*kept, chosen, len(values)]])
    if isinstance(encoder, OneHot):
        return OneHot(categories, places, encoder.others, encoder.total)
    if any(encoder.refuses):
        return Chain([imputer, encoder])
    return Encode(categories, numbers, encoder.refuses)


def _same(value: Scalar, marker: Scalar) -> bool:
    return value == marker or (value != value and marker != marker)


def categories_of(encoder: Any) -> list[list[Scalar]]:
    lists = [ticks_of(values) if values.dtype.kind == "M" else values for values in encoder.categories_]
    return [[plain(value) for value in values.tolist()] for values in lists]


def plain(value: Any) -> Scalar:
    """A value as JSON has it; raises NotCompilableError for any other."""
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or type(value) in (bool, int, float, str):
        return value  # type: ignore[no-any-return]
    raise NotCompilableError(f"there is no rule for values of {type(value).__name__}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


RULES = {
    **dict.fromkeys(SCALERS, scaler),
    "SimpleImputer": imputer,
    "OneHotEncoder": one_hot,
    "OrdinalEncoder": ordinal,
    "TargetEncoder": target_means,
}
