"""The bins that are made of the training data, and what is counted into them at serving."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from model_endpoint.drift import distribution
from model_endpoint.drift.bins import CategoryBins, NumberBins, text_of
from model_endpoint.drift.counts import FEW, ModelCounts
from model_endpoint.drift.distribution import DISTRIBUTION_FILE, Distribution, Spread
from model_endpoint.models import rows as contract_rows
from model_endpoint.models.card import PREDICT
from model_endpoint.models.errors import BundleError
from model_endpoint.packing import binning, bundle, rehearsal
from model_endpoint.packing.knowledge import names_of
from model_endpoint.packing.training_data import read
from unit.model_endpoint.contracts import KINDS, built, numbers

pytestmark = pytest.mark.filterwarnings("ignore")


def packed(folder: Path) -> Distribution:
    found = distribution.read(folder, bundle.read_card(folder))
    assert found is not None
    return found


@pytest.fixture(autouse=True)
def _few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "ALONE_ROWS", 2)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_the_training_rows_are_counted_at_serving_as_they_were_at_packing(name: str, tmp_path: Path) -> None:
    estimator, data = KINDS[name]()
    model = built(name, tmp_path, (estimator, data), sample=12)
    found = distribution.read(tmp_path / "out" / name, model.card)
    assert found is not None, "each of these models has outputs"
    counts = ModelCounts(found, model.card, max_workers=1)
    rows = read(data, names_of(estimator), {}).rows(model.card)
    for part in ([row] for row in rows), [rows], [rows * 2]:  # one by one, a few, and many together
        for some in part:
            given = contract_rows.prepare(model.card, contract_rows.from_rows(model.card, some, "rows"))
            counts.count(given, model.predict(given)[PREDICT])
    counts.flush()
    totals = counts.totals()
    assert 2 * len(rows) > FEW >= len(rows)
    for spread, bins in zip([*found.columns, *found.outputs], counts.slices, strict=True):
        wanted = [4 * count for count in spread.counts]
        # Of several rows together a predicted number may have another last bit, and so be over a bound.
        beyond = (
            2 * len(spread.counts) if spread in found.outputs and isinstance(spread.bins, NumberBins) else 0
        )
        assert sum(abs(one - other) for one, other in zip(totals[bins], wanted, strict=True)) <= beyond, (
            spread.name
        )
        assert sum(totals[bins]) == sum(wanted)


def test_numbers_are_binned_by_deciles_that_the_data_has() -> None:
    spread = binning.spread_of_numbers("x", np.arange(1.0, 101.0), missing=4)
    assert spread is not None
    assert spread.bins == NumberBins(1.0, [10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 100.0])
    assert spread.counts == [0, *[10] * 10, 0, 4]
    assert spread.bins.labels[:2] + spread.bins.labels[-3:] == [
        "(below)",
        "<=10",
        "<=100",
        "(above)",
        "(missing)",
    ]


def test_values_that_repeat_make_fewer_bins() -> None:
    spread = binning.spread_of_numbers("x", np.array([0.0] * 95 + [1.0] * 5), missing=0)
    assert spread is not None
    assert (spread.bins, spread.counts) == (NumberBins(0.0, [0.0, 1.0]), [0, 95, 5, 0, 0])
    assert binning.spread_of_numbers("x", np.array([]), missing=3) is None


def test_the_most_frequent_categories_have_a_bin_of_their_own() -> None:
    frame = pd.DataFrame(
        {"town": [f"town{at}" for at in range(30)] * 2 + ["town29", "(other)", "(other)", "x" * 99]}
    )
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LinearRegression()).fit(
        frame, range(len(frame))
    )
    data = read(frame, ["town"], {})
    counts = data.tally(0)
    spread = binning.spread_of_categories("town", model[0].categories_[0].tolist(), counts, 0)
    assert isinstance(spread.bins, CategoryBins)
    assert len(spread.bins.values) == binning.MOST_CATEGORIES
    assert "town29" in spread.bins.values
    assert "(other)" not in spread.bins.values  # the label of the bin for others
    assert sum(spread.counts) == len(frame)
    assert spread.counts[-3:] == [len(frame) - 41, 0, 0]


def test_categories_that_look_alike_share_the_bin_of_others() -> None:
    spread = binning.spread_of_categories("x", ["1", 1, True, "true"], {"1": 5, 1: 7, "true": 2}, 0)
    labels = spread.bins.labels
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize(
    ("value", "text"), [(True, "true"), (2.0, "2"), (0.1 + 0.2, "0.30000000000000004"), (1234567, "1234567")]
)
def test_a_label_is_as_short_as_it_can_be(value: float, text: str) -> None:
    assert text_of(value) == text


def test_classes_and_clusters_are_categories_and_values_are_numbers(tmp_path: Path) -> None:
    frame = numbers()
    labels = frame["c0"] > 0
    for name, model in {
        "classes": LogisticRegression().fit(frame, labels),
        "clusters": KMeans(3, n_init=1, random_state=0).fit(frame),
        "values": LinearRegression().fit(frame, frame["c1"]),
        "several": LinearRegression().fit(frame, frame),
    }.items():
        bundle.pack(model, frame, tmp_path / name, name=name, version="1")
    assert packed(tmp_path / "classes").outputs[0].bins == CategoryBins([False, True])
    assert packed(tmp_path / "clusters").outputs[0].bins == CategoryBins([0, 1, 2])
    assert isinstance(packed(tmp_path / "values").outputs[0].bins, NumberBins)
    assert [spread.name for spread in packed(tmp_path / "several").outputs] == ["predict_0", "predict_1"]


def test_a_wide_model_has_bins_for_its_first_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binning, "MOST_COLUMNS", 2)
    said: list[str] = []
    frame = numbers(5)
    bundle.pack(
        LinearRegression().fit(frame, frame["c0"]),
        frame,
        tmp_path / "wide",
        name="wide",
        version="1",
        tell=said.append,
    )
    assert [spread.name for spread in packed(tmp_path / "wide").columns] == ["c0", "c1"]
    assert said == ["drift is measured in the first 2 of 5 columns"]


def test_a_model_whose_answers_depend_on_company_has_no_outputs(tmp_path: Path) -> None:
    frame = numbers()
    model = make_pipeline(FunctionTransformer(np.cumsum, kw_args={"axis": 0}), LinearRegression())
    model.fit(frame, frame["c0"])
    bundle.pack(model, frame, tmp_path / "company", name="company", version="1", depends_on_company=True)
    assert packed(tmp_path / "company").outputs == []
    assert packed(tmp_path / "company").columns


def test_packing_is_deterministic_and_drift_can_be_left_out(tmp_path: Path) -> None:
    frame = numbers()
    model = LinearRegression().fit(frame, frame["c0"])
    for folder in ("first", "second"):
        bundle.pack(model, frame, tmp_path / folder / "one", name="one", version="1")
    files = [(tmp_path / folder / "one" / DISTRIBUTION_FILE).read_bytes() for folder in ("first", "second")]
    assert files[0] == files[1]
    bundle.pack(model, frame, tmp_path / "none", name="none", version="1", drift=False)
    assert not (tmp_path / "none" / DISTRIBUTION_FILE).exists()
    assert distribution.read(tmp_path / "none", bundle.read_card(tmp_path / "none")) is None


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"columns": [{"name": "c9", "values": [], "counts": [1, 0, 0]}], "outputs": []}, "c9"),
        (
            {"columns": [{"name": "c0", "values": ["a", "a"], "counts": [1, 1, 0, 0, 0]}], "outputs": []},
            "label",
        ),
        (
            {"columns": [{"name": "c0", "lowest": 2, "bounds": [1], "counts": [0, 1, 0, 0]}], "outputs": []},
            "rise",
        ),
        ({"columns": [{"name": "c0", "lowest": 0, "bounds": [1], "counts": [1]}], "outputs": []}, "counts"),
        ({"columns": [], "outputs": []}, "neither columns nor outputs"),
        ({"columns": [{"name": "c0"}], "outputs": []}, "lowest"),
        ([], "can't be used"),
    ],
)
def test_a_broken_distribution_is_refused_with_the_fix(broken: object, reason: str, tmp_path: Path) -> None:
    frame = numbers()
    bundle.pack(LinearRegression().fit(frame, frame["c0"]), frame, tmp_path / "one", name="one", version="1")
    (tmp_path / "one" / DISTRIBUTION_FILE).write_text(json.dumps(broken))
    with pytest.raises(BundleError, match=rf"{reason}.*") as refused:
        bundle.read(tmp_path / "one")
    assert "pack the model again, or delete the file" in str(refused.value)


def test_a_spread_is_made_again_of_its_fields() -> None:
    for bins, counts in ((NumberBins(0.0, [1.0]), [0, 1, 0, 0]), (CategoryBins(["a"]), [1, 0, 0, 0])):
        spread = Spread("x", bins, counts)
        assert Spread.of(spread.fields()) == spread


def test_answers_of_many_rows_are_binned_on_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binning, "ASKED_ROWS", 10)
    frame = numbers()
    bundle.pack(LinearRegression().fit(frame, frame["c0"]), frame, tmp_path / "one", name="one", version="1")
    found = packed(tmp_path / "one")
    assert sum(found.outputs[0].counts) == 10
    assert sum(found.columns[0].counts) == len(frame)
