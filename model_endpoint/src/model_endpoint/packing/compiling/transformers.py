"""Compile the steps before a head: pipelines, unions, column transformers and what they hold.

Runs where models are packed and in the image's build.
"""

from __future__ import annotations

from typing import Any

from model_endpoint.models.compiled.columns import Chain, Pick, Union
from model_endpoint.models.compiled.nodes import Step
from model_endpoint.packing.compiling import columns, imputing, numeric, text
from model_endpoint.packing.compiling.common import NotCompilableError, ints, sklearn_name

RULES = columns.RULES | imputing.RULES | numeric.RULES | text.RULES
NONE = (None, "passthrough")


def compile_transformer(transformer: Any) -> list[Step]:
    """The steps of a fitted transformer. Raises NotCompilableError when there is no rule for it."""
    if isinstance(transformer, str | None):
        if transformer in NONE:
            return []
        raise NotCompilableError(f"there is no rule for {transformer!r}")
    name = sklearn_name(transformer)
    if name == "Pipeline":
        return columns.fused([step for _, part in transformer.steps for step in compile_transformer(part)])
    if name == "FeatureUnion":
        return [_union(transformer)]
    if name == "ColumnTransformer":
        return [_column_transformer(transformer)]
    if name == "FunctionTransformer" and transformer.func is None:
        return []
    if name not in RULES:
        raise NotCompilableError(f"there is no rule for {type(transformer).__name__}")
    return [RULES[name](transformer)]


def _union(union: Any) -> Step:
    parts: list[Step] = []
    weights = union.transformer_weights or {}
    for name, part in union.transformer_list:
        if part == "drop":
            continue
        if name in weights:
            raise NotCompilableError("there is no rule for a union with weights")
        parts.append(Chain(compile_transformer(part)))
    return Union(parts)


def _column_transformer(transformer: Any) -> Step:
    if transformer.transformer_weights:
        raise NotCompilableError("there is no rule for a column transformer with weights")
    parts: list[Step] = []
    for name, part, _ in transformer.transformers_:
        at = transformer._transformer_to_input_indices[name]
        if (isinstance(part, str) and part == "drop") or not len(at):
            continue
        parts.append(Chain([Pick(ints(at)), *compile_transformer(part)]))
    return Union(parts)
