"""Golden requests: rows with the answers a model must give. Runs in the build, in a worker and beside it."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, TypedDict

from model_endpoint.models.errors import GoldenAnswerError
from model_endpoint.models.predictor import Outputs

GOLDEN_FILE = "golden.json"
TOLERANCE = 1e-9  # relative: the arithmetic of another processor may differ in the last bits
SINGLE_TOLERANCE = 1e-5  # the same for outputs in single precision


class GoldenRequest(TypedDict):
    """One request of golden.json: rows as a request has them, and the expected outputs by name."""

    rows: list[Any]
    outputs: dict[str, Any]


def check_golden(
    answers: Outputs, expected: dict[str, Any], where: str, single: Collection[str] = ()
) -> None:
    """Raise GoldenAnswerError unless labels equal the expected ones and numbers are within the tolerance of them.

    `single` names the outputs in single precision.
    """
    for name, values in expected.items():
        if name not in answers or not same(answers[name].tolist(), values, tolerance(name in single)):
            got = answers[name].tolist() if name in answers else "missing"
            raise GoldenAnswerError(f"{where}: {name} is {got}, expected {values}")


def tolerance(single: bool) -> float:
    """How far the numbers of an output, in single precision or not, may be from the expected ones, relative."""
    return SINGLE_TOLERANCE if single else TOLERANCE


def same(got: Any, expected: Any, allowed: float) -> bool:
    """Whether an answer is the expected one: labels are equal, in type as well; numbers differ by `allowed` at most."""
    if isinstance(expected, list):
        pairs = zip(got, expected, strict=False) if isinstance(got, list) else ()
        return (
            isinstance(got, list)
            and len(got) == len(expected)
            and all(same(*pair, allowed) for pair in pairs)
        )
    if isinstance(expected, float):
        return isinstance(got, float) and math.isclose(got, expected, rel_tol=allowed, abs_tol=1e-300)
    return bool(got == expected) and type(got) is type(expected)
