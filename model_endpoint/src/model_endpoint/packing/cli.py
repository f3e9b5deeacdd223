"""`flotilla-model`: pack a fitted estimator into a bundle, check or serve bundles, or score a file by a fleet.

Runs where models are trained.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model_endpoint.models.errors import BundleError
from model_endpoint.packing import checking, packer, serving
from model_endpoint.packing.estimators import Loaded, load_estimator
from model_endpoint.packing.progress import working
from model_endpoint.packing.scoring.client import Target
from model_endpoint.packing.scoring.score import score
from model_endpoint.packing.tables import drop_columns, read_table
from model_endpoint.packing.trust import Trust


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 1 after printing what is wrong and how to fix it."""
    options = _parser().parse_args(arguments)
    # A model fitted on a data frame warns at every array, which is what an endpoint gives it.
    warnings.filterwarnings("ignore", message="X does not have valid feature names")
    try:
        status: int = options.run(options)
    except (BundleError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except MemoryError:
        print("error: the memory is not enough; pack with fewer rows of training data", file=sys.stderr)  # noqa: T201
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="flotilla-model", description=__doc__)
    commands = parser.add_subparsers(required=True)
    _add_pack(commands.add_parser("pack", help="make a bundle from a fitted estimator"))
    check = commands.add_parser("check", help="check a bundle, and show what will serve it")
    check.add_argument("directory", type=Path)
    check.set_defaults(run=_check)
    serve = commands.add_parser("serve", help="serve bundles on this machine, to try them")
    serve.add_argument("folders", type=Path, nargs="+", help="bundles, or folders that hold bundles")
    serve.add_argument("--port", type=int, default=8000)
    serve.set_defaults(run=_serve)
    for command in (check, serve):
        command.add_argument(
            "--trusted", type=Path, metavar="FILE", help="the types and code that your fleet trusts"
        )
    _add_score(commands.add_parser("score", help="have a fleet predict each row of a CSV"))
    return parser


def _add_score(command: argparse.ArgumentParser) -> None:
    command.add_argument("url", help="a load balancer, such as http://models.example")
    command.add_argument("data", type=Path, help="the rows: a CSV with a header, or one with .gz")
    command.add_argument("--model", help="the model, where the fleet serves several")
    command.add_argument(
        "--output", type=Path, metavar="FILE", help="the predictions; DATA with .scores.csv unless given"
    )
    command.add_argument(
        "--connections", type=int, default=8, metavar="NUMBER", help="pieces that may be under way at a time"
    )
    command.add_argument(
        "--key-file",
        type=Path,
        metavar="FILE",
        help="a file with the API key; else FLOTILLA_API_KEY, if it is set",
    )
    command.add_argument(
        "--authority", type=Path, metavar="FILE", help="the authority whose certificate the load balancer has"
    )
    command.add_argument("--restart", action="store_true", help="score all rows anew")
    command.set_defaults(run=_score)


def _add_pack(pack: argparse.ArgumentParser) -> None:
    pack.add_argument(
        "model",
        type=Path,
        help="the estimator: a file of joblib, pickle, cloudpickle or skops, or a model folder of MLflow; these can "
        "run any code when they are read, so read only your own",
    )
    pack.add_argument(
        "--data",
        type=Path,
        help="its training data: .csv, .jsonl (both also with .gz), .parquet, .feather or .npy; a model folder of "
        "MLflow may have an example instead",
    )
    pack.add_argument(
        "--separator", metavar="CHARACTER", help="what separates a CSV's cells, if its header doesn't show"
    )
    pack.add_argument("--index", action="store_true", help="the data's first column only numbers the rows")
    repeated: dict[str, Any] = {"action": "append", "default": []}
    pack.add_argument(
        "--drop", **repeated, metavar="COLUMN", help="a column of the data that is not a feature"
    )
    pack.add_argument(
        "--type",
        **repeated,
        metavar="COLUMN=TYPE",
        help="the type of a column that the data has otherwise: number, integer, boolean, string, category or datetime",
    )
    _add_model_options(pack, repeated)
    pack.set_defaults(run=_pack)


def _add_model_options(pack: argparse.ArgumentParser, repeated: dict[str, Any]) -> None:
    pack.add_argument("--name", required=True)
    pack.add_argument("--version", required=True)
    pack.add_argument("--description", default="")
    pack.add_argument("--metric", **repeated, metavar="NAME=VALUE")
    pack.add_argument(
        "--code",
        **repeated,
        type=Path,
        metavar="PATH",
        help="a module, package or wheel of your own that the model needs",
    )
    pack.add_argument(
        "--trusted",
        type=Path,
        metavar="FILE",
        help="the types and code that your fleet trusts, to which what the model needs is added",
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
        "--no-drift",
        dest="drift",
        action="store_false",
        help="leave out how the training data spreads, without which endpoints measure no drift of this model",
    )
    pack.add_argument(
        "--into", type=Path, default=Path("model_endpoint/models"), help="the folder of bundles"
    )


def _pack(options: argparse.Namespace) -> int:
    metrics = _metrics(options.metric)
    with working(f"reading {options.model}"):
        loaded = load_estimator(options.model, options.code)
    types = {**loaded.types, **_types(options.type)}
    data = _read_data(options, loaded, types)
    report = packer.pack(
        loaded.estimator,
        data,
        options.into / options.name,
        name=options.name,
        version=options.version,
        description=options.description,
        metrics=metrics,
        trusted=options.trusted,
        code=[*loaded.code, *options.code],
        types=types,
        order=options.order,
        depends_on_company=options.depends_on_company,
        drift=options.drift,
    )
    print(report)  # noqa: T201
    return 0


def _metrics(options: list[str]) -> dict[str, float]:
    metrics = {}
    for option in options:
        name, _, value = option.partition("=")
        try:
            metrics[name] = float(value)
        except ValueError:
            raise BundleError(f"--metric {option}: give it as NAME=NUMBER") from None
    return metrics


def _types(options: list[str]) -> dict[str, str]:
    types = {}
    for option in options:
        column, equals, kind = option.rpartition("=")
        if not equals:
            raise BundleError(f"--type {option}: give it as COLUMN=TYPE")
        types[column] = kind
    return types


def _read_data(options: argparse.Namespace, loaded: Loaded, types: dict[str, str]) -> object:
    path = options.data or loaded.example
    if path is None:
        raise BundleError(
            f"{options.model}: it has no example of its input; give the training data: --data FILE"
        )
    with working(f"reading {path}"):
        table = read_table(path, options.separator, options.index, types)
        return drop_columns(table, options.drop, path)


def _check(options: argparse.Namespace) -> int:
    print(checking.check(options.directory, Trust.read(options.trusted)).in_words())  # noqa: T201
    return 0


def _serve(options: argparse.Namespace) -> int:
    return serving.serve(options.folders, options.port, Trust.read(options.trusted, required=False))


def _score(options: argparse.Namespace) -> int:
    if options.connections < 1:
        raise BundleError(f"--connections is {options.connections}; give a whole number of at least 1")
    key = options.key_file.read_text().strip() if options.key_file else os.environ.get("FLOTILLA_API_KEY")
    output = options.output or options.data.with_name(f"{options.data.name}.scores.csv")
    target = Target(options.url, options.model, key, options.authority)
    try:
        rows = score(target, options.data, output, options.connections, options.restart)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)  # noqa: T201
        return 130
    print(f"{output}: {rows:,} predictions")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
