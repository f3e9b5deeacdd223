"""Golden requests: rows with the answers a model must give. Runs in the build, in a worker and beside it."""

from __future__ import annotations

import math
from typing import Any, TypedDict

from model_endpoint.models.errors import GoldenAnswerError
from model_endpoint.models.predictor import Outputs

GOLDEN_FILE = "golden.json"
TOLERANCE = 1e-9  # relative: the arithmetic of another processor may differ in the last bits


class GoldenRequest(TypedDict):
    """One request of golden.json: rows of shape (n, features), and the expected outputs by name."""

    rows: list[list[float]]
    outputs: dict[str, Any]


def check_golden(answers: Outputs, expected: dict[str, Any], where: str) -> None:
    """Raise GoldenAnswerError unless labels equal the expected ones and numbers are within TOLERANCE of them."""
    for name, values in expected.items():
        if name not in answers or not _same(answers[name].tolist(), values):
            got = answers[name].tolist() if name in answers else "missing"
            raise GoldenAnswerError(f"{where}: {name} is {got}, expected {values}")


def _same(got: Any, expected: Any) -> bool:
    if isinstance(expected, list):
        return isinstance(got, list) and len(got) == len(expected) and all(map(_same, got, expected))
    if isinstance(expected, float):
        return isinstance(got, float) and math.isclose(got, expected, rel_tol=TOLERANCE, abs_tol=1e-300)
    return bool(got == expected)
