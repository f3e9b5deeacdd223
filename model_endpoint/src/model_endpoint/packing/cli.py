"""`flotilla-model`: pack a fitted estimator into a bundle, or check a bundle. Runs where models are trained."""

from __future__ import annotations

import argparse
import csv
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray

from model_endpoint.models.errors import BundleError
from model_endpoint.packing import bundle
from model_endpoint.packing.compiler import NotCompilableError, compile_estimator


class Table:
    """Rows of shape (n, columns) with column names: the part of a data frame's interface that packing needs."""

    def __init__(self, columns: list[str], rows: NDArray[Any]) -> None:
        self.columns = columns
        self.rows = rows

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.rows, dtype=dtype)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 1 after printing what is wrong and how to fix it."""
    options = _parser().parse_args(arguments)
    # A model fitted on a data frame warns at every array, which is what an endpoint gives it.
    warnings.filterwarnings("ignore", message="X does not have valid feature names")
    try:
        print(options.run(options))  # noqa: T201
    except (BundleError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="flotilla-model", description=__doc__)
    commands = parser.add_subparsers(required=True)
    pack = commands.add_parser("pack", help="make a bundle from a fitted classifier or regressor")
    pack.add_argument(
        "model",
        type=Path,
        help="the estimator, saved with joblib.dump; a pickle can run any code, so load only your own",
    )
    pack.add_argument(
        "--data", type=Path, required=True, help="its training data: .npy, or .csv with a header"
    )
    pack.add_argument(
        "--drop",
        action="append",
        default=[],
        metavar="COLUMN",
        help="a column of the CSV that is not a feature",
    )
    pack.add_argument("--name", required=True)
    pack.add_argument("--version", required=True)
    pack.add_argument("--description", default="")
    pack.add_argument("--metric", action="append", default=[], metavar="NAME=VALUE")
    pack.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="TYPE",
        help="a type that skops does not trust by default",
    )
    pack.add_argument(
        "--into", type=Path, default=Path("model_endpoint/models"), help="the folder of bundles"
    )
    pack.set_defaults(run=_pack)
    check = commands.add_parser("check", help="check a bundle, and show what will serve it")
    check.add_argument("directory", type=Path)
    check.set_defaults(run=_check)
    return parser


def _pack(options: argparse.Namespace) -> str:
    metrics = {}
    for metric in options.metric:
        name, _, value = metric.partition("=")
        try:
            metrics[name] = float(value)
        except ValueError:
            raise BundleError(f"--metric {metric}: give it as NAME=NUMBER") from None
    try:
        estimator = joblib.load(options.model)
    except Exception as error:  # a pickle raises what its types raise
        raise BundleError(
            f"{options.model}: the estimator can't be loaded: {error}; save it with joblib.dump"
        ) from error
    directory = options.into / options.name
    bundle.pack(
        estimator,
        _read_data(options.data, options.drop),
        directory,
        name=options.name,
        version=options.version,
        description=options.description,
        metrics=metrics,
        allowed_types=options.allow,
    )
    return f"{directory}: packed; {_check(argparse.Namespace(directory=directory))}"


def _check(options: argparse.Namespace) -> str:
    source = bundle.read(options.directory)
    try:
        served_by = compile_estimator(source.estimator).kind
    except NotCompilableError as error:
        served_by = f"scikit-learn ({error})"
    return f"{source.card.name} {source.card.version} is valid and will be served by {served_by}"


def _read_data(path: Path, drop: list[str]) -> Any:
    if path.suffix == ".npy":
        return np.load(path, allow_pickle=False)
    try:
        header, *lines = csv.reader(path.read_text().splitlines())
    except (UnicodeDecodeError, csv.Error, ValueError) as error:
        raise BundleError(f"{path} must be CSV with a header: {error}") from None
    if missing := [column for column in drop if column not in header]:
        raise BundleError(f"{path} has no column {missing[0]!r} to drop; its columns are {', '.join(header)}")
    kept = [index for index, column in enumerate(header) if column not in drop]
    try:
        rows = np.array([[float(line[index]) for index in kept] for line in lines if line])
    except (ValueError, IndexError) as error:
        raise BundleError(
            f"{path}: every row must have a number for each column of the header: {error}"
        ) from None
    return Table([header[index] for index in kept], rows)


if __name__ == "__main__":
    sys.exit(main())
