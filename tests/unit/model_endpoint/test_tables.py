"""Training data from the files that people have."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from model_endpoint.models.errors import BundleError
from model_endpoint.packing import csv_files
from model_endpoint.packing.tables import drop_columns, read_table


def read(folder: Path, text: str, name: str = "rows.csv", **options: object) -> pd.DataFrame:
    (folder / name).write_text(text)
    frame: pd.DataFrame = read_table(folder / name, **options)  # type: ignore[arg-type]
    return frame


def test_text_stays_text_and_numbers_are_numbers(tmp_path: Path) -> None:
    lines = ["postcode,tiny,price,big,yes,name", "01067,1e-05,-0.5,9007199254740993,True,Gr\u00f6\u00dfe"]
    frame = read(tmp_path, "\ufeff" + "\n".join([*lines, "99084,2,00.5,2,False,", ""]))
    assert frame["postcode"].tolist() == ["01067", "99084"]
    assert frame["tiny"].tolist() == [1e-05, 2]
    assert frame["price"].tolist() == ["-0.5", "00.5"]
    assert frame["big"].tolist() == [2**53 + 1, 2]
    assert frame["yes"].dtype == bool
    assert frame["name"].isna().tolist() == [False, True]


def test_a_column_is_of_one_type_in_all_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_files, "PART", 2)
    frame = read(tmp_path, "a,b,c\n1,1,1\n2,2,\n3,x,\n4,4,\n5,5,2\n")
    assert frame["a"].tolist() == [1, 2, 3, 4, 5]
    assert frame["b"].tolist() == ["1", "2", "x", "4", "5"]
    assert frame["c"].dtype == float
    assert frame["c"].isna().sum() == 3


def test_thousands_of_columns_are_read_in_seconds(tmp_path: Path) -> None:
    names = [f"c{at}" for at in range(2500)]
    began = time.process_time()
    frame = read(tmp_path, "\n".join([",".join(names), *[",".join(["0.5"] * len(names))] * 3]))
    assert time.process_time() - began < 10  # 90 s, if each column is looked for among all others
    assert list(frame) == names
    assert (frame == 0.5).all(axis=None)


@pytest.mark.parametrize(
    ("text", "separator"),
    [
        ('a;b\n"x;01";1,5\n01;-2,5\n', None),
        ("a\tb\n'x;01'\t1.5\n01\t-2.5\n".replace("'", ""), None),
        ("a|b\nx;01|1.5\n01|-2.5\n", None),
        ("a~b\nx;01~1.5\n01~-2.5\n", "~"),
    ],
)
def test_any_separator_is_read(text: str, separator: str | None, tmp_path: Path) -> None:
    frame = read(tmp_path, text, separator=separator)
    assert frame.to_dict("list") == {"a": ["x;01", "01"], "b": [1.5, -2.5]}


def test_leading_zeros_within_quotes_and_lines_are_told_apart(tmp_path: Path) -> None:
    frame = read(tmp_path, 'a,b,c\n"x,01","07",1\n"two\nlines","7",2\n')
    assert frame["a"].tolist() == ["x,01", "two\nlines"]
    assert frame["b"].tolist() == ["07", "7"]
    assert frame["c"].tolist() == [1, 2]


def test_the_first_column_may_only_number_the_rows(tmp_path: Path) -> None:
    assert list(read(tmp_path, ",a\n0,1\n1,2\n", index=True)) == ["a"]


def test_dates_are_dates_unless_they_are_said_to_be_text(tmp_path: Path) -> None:
    text = "day,when,named\n2024-01-02,2024-01-02T03:04:05Z,2024-01-02\n2024-01-03,,2024-01-03\n"
    frame = read(tmp_path, text, types={"named": "string"})
    assert [column.kind for column in frame.dtypes] == ["M", "M", "O"]
    assert frame["when"].isna().tolist() == [False, True]


def test_json_lines_keep_their_types(tmp_path: Path) -> None:
    frame = read(tmp_path, '{"a": 1, "b": "01"}\n\n{"a": null, "b": "2", "c": true}\n', "rows.jsonl")
    assert frame["b"].tolist() == ["01", "2"]
    assert frame["a"].isna().tolist() == [False, True]
    assert frame["c"].tolist()[1] is True


@pytest.mark.parametrize(
    "text",
    [
        '{"columns": ["a", "b"], "data": [[1, "01"], [2, null]]}',
        '[{"a": 1, "b": "01"}, {"a": 2, "b": null}]',
        '{"inputs": [{"a": 1, "b": "01"}, {"a": 2, "b": null}]}',
    ],
)
def test_an_example_of_mlflow_is_read(text: str, tmp_path: Path) -> None:
    frame = read(tmp_path, text, "input_example.json")
    assert frame["a"].tolist() == [1, 2]
    assert frame["b"].fillna("none").tolist() == ["01", "none"]


def test_what_is_gzipped_is_read(tmp_path: Path) -> None:
    (tmp_path / "rows.csv.gz").write_bytes(gzip.compress(b"a,b\n1,01\n"))
    assert read_table(tmp_path / "rows.csv.gz").to_dict("list") == {"a": [1], "b": ["01"]}
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(b'{"a": 1}\n'))
    assert read_table(tmp_path / "rows.jsonl.gz").to_dict("list") == {"a": [1]}
    with gzip.open(tmp_path / "rows.npy.gz", "wb") as file:
        np.save(file, np.eye(2))
    assert read_table(tmp_path / "rows.npy.gz").tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("form", ["parquet", "feather"])
def test_columns_of_arrow_keep_their_types(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"rows.{form}"
    frame = pd.DataFrame({"a": pd.Categorical(["x", "y"]), "b": np.array([1, 2], dtype=np.float32)})
    try:
        frame.to_feather(path) if form == "feather" else frame.to_parquet(path)
    except ImportError:
        path.write_bytes(b"PAR1")
        with pytest.raises(BundleError, match="only pyarrow reads it, which is not installed"):
            read_table(path)
        return
    assert read_table(path).dtypes.tolist() == frame.dtypes.tolist()


def write_text(text: str, name: str = "rows.csv") -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(text.encode("latin-1"))
        return folder / name

    return write


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (write_text(""), "the file is empty"),
        (write_text("a,b\n"), "0 rows of 2 columns"),
        (write_text("a,b\n1,2,3\n"), "the header has 2 cells and the first row 3"),
        (write_text("a,b\n1,2\n1,2,3\n"), "Expected 2 fields in line 3, saw 3"),
        (write_text("a,a\n1,2\n"), "two columns have the name 'a'"),
        (write_text("a,b\nGr\xf6,1\n"), "is not UTF-8; save the file as UTF-8"),
        (write_text("[1]\n", "rows.jsonl"), "line 1 holds no object"),
        (write_text("{\n", "rows.jsonl"), "line 1 is no JSON"),
        (write_text("3", "rows.json"), "neither columns with data nor a list of rows"),
        (write_text("x", "rows.npy"), "can't be read as an array"),
        (write_text("x", "rows.csv.gz"), "can't be read: Not a gzipped file"),
        (write_text("x", "rows.xlsx"), "its form is unknown; give .csv"),
        (lambda folder: folder / "rows.csv", "there is no such file"),
    ],
)
def test_a_file_that_can_not_be_read_is_refused_in_a_sentence(
    write: Callable[[Path], Path], message: str, tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match=message) as refused:
        read_table(write(tmp_path))
    assert len(str(refused.value).splitlines()) == 1


def test_a_separator_must_be_one_character(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="--separator is '::'"):
        read(tmp_path, "a::b\n1::2\n", separator="::")


def test_columns_are_dropped_by_name(tmp_path: Path) -> None:
    frame = read(tmp_path, "a,b\n1,2\n")
    assert list(drop_columns(frame, ["b"], tmp_path)) == ["a"]
    with pytest.raises(BundleError, match="no column 'c' to drop; its columns are a, b"):
        drop_columns(frame, ["c"], tmp_path)
    with pytest.raises(BundleError, match="an array has no column 'c' to drop"):
        drop_columns(np.eye(2), ["c"], tmp_path)
