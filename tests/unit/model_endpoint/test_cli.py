from __future__ import annotations

from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from model_endpoint.packing import bundle
from model_endpoint.packing.cli import main

ROWS = np.random.default_rng(0).normal(size=(40, 2))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    joblib.dump(LinearRegression().fit(ROWS, ROWS @ [1.0, 2.0]), tmp_path / "line.joblib")
    np.save(tmp_path / "rows.npy", ROWS)
    lines = [f"{width},{height},{width + 2 * height}" for width, height in ROWS]
    (tmp_path / "rows.csv").write_text("\n".join(["width,height,price", *lines]) + "\n")
    return tmp_path


def pack(files: Path, data: str, *more: str) -> int:
    arguments = [
        "pack",
        str(files / "line.joblib"),
        "--data",
        str(files / data),
        "--into",
        str(files / "models"),
    ]
    return main([*arguments, "--name", "line", "--version", "1", *more])


def test_a_model_is_packed_and_checked(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pack(files, "rows.csv", "--drop", "price", "--metric", "r2=1.0") == 0
    card = bundle.read(files / "models" / "line").card
    assert [feature.name for feature in card.features] == ["width", "height"]
    assert card.metrics == {"r2": 1.0}
    assert main(["check", str(files / "models" / "line")]) == 0
    assert "line 1 is valid and will be served by numpy linear" in capsys.readouterr().out
    assert pack(files, "rows.npy") == 0


@pytest.mark.parametrize(
    ("data", "more", "message"),
    [
        ("rows.csv", (), "predict refuses the data"),
        ("rows.csv", ("--drop", "cost"), "no column 'cost' to drop; its columns are width, height, price"),
        ("rows.npy", ("--metric", "r2=good"), "--metric r2=good: give it as NAME=NUMBER"),
        ("absent.npy", (), "absent.npy"),
        ("line.joblib", (), "line.joblib: its form is unknown; give .csv"),
    ],
)
def test_an_error_names_what_is_wrong_and_the_fix(
    files: Path, data: str, more: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pack(files, data, *more) == 1
    assert message in capsys.readouterr().err


def test_a_broken_bundle_is_reported(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack(files, "rows.npy")
    (files / "models" / "line" / "model.skops").write_bytes(b"x")
    assert main(["check", str(files / "models" / "line")]) == 1
    assert "model.skops is broken" in capsys.readouterr().err
