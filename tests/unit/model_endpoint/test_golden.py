"""Golden answers: equal labels, and numbers within the tolerance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from model_endpoint.models.errors import GoldenAnswerError
from model_endpoint.models.golden import TOLERANCE, check_golden

ANSWERS = {"predict": np.array(["setosa"]), "predict_proba": np.array([[0.25, 0.75]])}


@pytest.mark.parametrize(
    "expected",
    [
        {"predict": ["setosa"]},
        {"predict": ["setosa"], "predict_proba": [[0.25, 0.75]]},
        {"predict_proba": [[0.25 * (1 + TOLERANCE / 2), 0.75]]},
    ],
)
def test_right_answers_pass(expected: dict[str, Any]) -> None:
    check_golden(ANSWERS, expected, "iris")


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"predict": ["rose"]}, r"iris: predict is \['setosa'\], expected \['rose'\]"),
        ({"predict": ["setosa", "setosa"]}, "predict is"),
        ({"predict_proba": [[0.25 * (1 + TOLERANCE * 2), 0.75]]}, "predict_proba is"),
        ({"predict_proba": [0.25, 0.75]}, "predict_proba is"),
        ({"scores": [1.0]}, r"scores is missing, expected \[1.0\]"),
    ],
)
def test_a_wrong_answer_is_shown_with_the_expected_one(expected: dict[str, Any], message: str) -> None:
    with pytest.raises(GoldenAnswerError, match=message):
        check_golden(ANSWERS, expected, "iris")
