"""Each kind of models is loaded and served in its own way."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model_endpoint.models import scikit_learn
from model_endpoint.models.compiled.composed import ComposedPredictor
from model_endpoint.models.compiled.predictor import CompiledPredictor
from model_endpoint.models.kinds import KINDS
from model_endpoint.models.model import Models
from model_endpoint.models.predictor import Outputs, Rows
from model_endpoint.models.shared_calls import SharedCalls
from model_endpoint.models.stored import SCIKIT_LEARN


def doubled(rows: Rows, probabilities: bool = True, more: Collection[str] = ()) -> Outputs:
    return {"predict": rows[:, 0] * 2}


def test_every_kind_that_a_compiled_predictor_names_is_registered(served: Path, models: Models) -> None:
    compiled = {name: model for name, model in models.items() if model.served_by["kind"] != SCIKIT_LEARN}
    assert {"breast_cancer", "iris", "penguins"} <= compiled.keys()
    for name, model in compiled.items():
        predictor = KINDS[model.served_by["kind"]].load(served / name, model.card)
        assert isinstance(predictor, CompiledPredictor | ComposedPredictor)
        assert predictor.kind == model.served_by["kind"]


@pytest.mark.parametrize("kind", ["numpy linear", "numpy trees", "numpy pipeline"])
def test_a_compiled_model_is_served_as_it_is_and_needs_no_libraries_of_the_build(
    kind: str, models: Models
) -> None:
    assert KINDS[kind].serve(doubled, models["iris"].card, 1, lambda rows: None) is doubled
    assert not KINDS[kind].build_libraries


def test_scikit_learn_s_models_share_counted_calls_and_limit_their_threads(
    monkeypatch: pytest.MonkeyPatch, models: Models
) -> None:
    limits: list[int] = []
    counted: list[int] = []
    monkeypatch.setattr(scikit_learn, "limit_threads", limits.append)
    card = models["iris"].card
    predictor = KINDS[SCIKIT_LEARN].serve(doubled, card, 3, counted.append)
    assert isinstance(predictor, SharedCalls)
    assert predictor(np.ones((5, 1)))["predict"].tolist() == [2.0] * 5
    assert (limits, counted) == ([3], [5])
    assert KINDS[SCIKIT_LEARN].build_libraries
    dependent = replace(card, depends_on_company=True)
    assert KINDS[SCIKIT_LEARN].serve(doubled, dependent, 3, counted.append) is doubled
