"""`flotilla-model`: pack a fitted estimator into a bundle, or check a bundle. Runs where models are trained."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from model_endpoint.models.errors import BundleError
from model_endpoint.packing import bundle
from model_endpoint.packing.compiler import NotCompilableError, compile_estimator


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
        "--type",
        action="append",
        default=[],
        metavar="COLUMN=TYPE",
        help="the type of a column that the data has otherwise: number, integer, boolean, string, category or datetime",
    )
    pack.add_argument(
        "--order",
        action="store_true",
        help="confirm the data's order of columns where the model does not know their names",
    )
    pack.add_argument(
        "--depends-on-company",
        action="store_true",
        help="accept that the model's answer to a row depends on the other rows of its request",
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
        types=_types(options.type),
        order=options.order,
        depends_on_company=options.depends_on_company,
        tell=lambda text: print(f"{directory}: {text}", file=sys.stderr),  # noqa: T201
    )
    return f"{directory}: packed; {_check(argparse.Namespace(directory=directory))}"


def _types(options: list[str]) -> dict[str, str]:
    types = {}
    for option in options:
        column, equals, kind = option.rpartition("=")
        if not equals:
            raise BundleError(f"--type {option}: give it as COLUMN=TYPE")
        types[column] = kind
    return types


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
    import pandas

    try:
        frame = pandas.read_parquet(path) if path.suffix == ".parquet" else pandas.read_csv(path)
    except ValueError as error:
        raise BundleError(f"{path} must be CSV with a header: {error}") from None
    columns = [str(name) for name in frame.columns]
    if missing := [column for column in drop if column not in columns]:
        raise BundleError(
            f"{path} has no column {missing[0]!r} to drop; its columns are {', '.join(columns)}"
        )
    return frame.drop(columns=drop)


if __name__ == "__main__":
    sys.exit(main())
