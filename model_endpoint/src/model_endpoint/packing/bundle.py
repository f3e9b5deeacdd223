"""The bundle of a model: write it, and read it with all its checks. Runs where models are packed, and in the build.

A bundle is a folder with these files:

    model.yml              the model's card: name, version, contract, outputs, and the hash of the model file
    model.skops            the fitted estimator in skops form, never pickle; or model.xgboost, model.lightgbm, model.cbm
    code/                  the model's own modules, packages and wheels, if it has any
    requirements.txt       the libraries that serve the model, locked with hashes; `packing.packer` writes it
    predictor.npz          the compiled form of the model, if it compiles
    verification.json.gz   verification rows as a request has them, with the estimator's own answers
    golden.json            requests with the answers they must get
    distribution.json      how the training data and the answers to it spread, to measure drift; it may be deleted

Earlier versions packed no compiled form, which the build then makes, and the verification rows of a model of plain
numbers as an array: `rows.npy`, of shape (n, features).

A running endpoint reads what `model_endpoint.packing.image` makes of it.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import yaml
from threadpoolctl import threadpool_limits

from model_endpoint.drift import distribution
from model_endpoint.models import stored
from model_endpoint.models.card import FURTHER, Card, ServedBy
from model_endpoint.models.contract import ARRAY, FRAME, Feature
from model_endpoint.models.errors import BundleError, GoldenAnswerError, RequestError
from model_endpoint.models.golden import GOLDEN_FILE, GoldenRequest
from model_endpoint.models.kinds import COMPILED_FILE
from model_endpoint.models.model import Model
from model_endpoint.models.scikit_learn import SklearnPredictor, predictor_of
from model_endpoint.packing import binning, compiled_form, questions, storing, training_data
from model_endpoint.packing import code as own_code
from model_endpoint.packing.answers import classes_of, outputs_of
from model_endpoint.packing.compiled_form import PACK_AGAIN
from model_endpoint.packing.compiling.common import stripped
from model_endpoint.packing.compiling.compiler import compile_estimator
from model_endpoint.packing.confirmations import require_alone, require_order
from model_endpoint.packing.description import describe, require_agreement, with_categories, with_objects
from model_endpoint.packing.knowledge import Knowledge, knowledge_of, names_of
from model_endpoint.packing.options import Options, about_of
from model_endpoint.packing.questions import Asked
from model_endpoint.packing.rehearsal import Answers, rehearse
from model_endpoint.packing.training_data import Index, TrainingData
from model_endpoint.packing.trust import NONE_TRUSTED, Trust
from model_endpoint.packing.variations import varied

CARD_FILE, ROWS_FILE, VERIFICATION_FILE = "model.yml", "rows.npy", "verification.json.gz"
LARGEST_VERIFICATION = 1 << 28  # bytes; 200 rows of 5,000 columns have about 20 million
LIBRARIES = ("scikit-learn", "numpy", "scipy", "skops")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that passed all checks of `read`; `rows` are as a request has them, `answers` the estimator's own.

    `estimator` is None where the bundle has the compiled form: nothing reads the estimator's file then.
    """

    card: Card
    dump: bytes
    estimator: Any
    rows: list[Any]
    answers: Answers
    golden: list[GoldenRequest]


def pack(
    estimator: Any,
    data: Any,
    directory: Path,
    *,
    libraries: Callable[[str], Mapping[str, str]] | None = None,
    sample: int = 200,
    tell: Callable[[str], None] = lambda _: None,
    **options: Unpack[Options],
) -> Card:
    """Write the bundle of a fitted estimator into `directory`, which may hold own code already.

    `data` is the training data: a data frame, an array of shape (n, columns), a list of texts or of dicts. From it and
    from what the estimator knows come the contract, the verification rows (at most `sample` of them, spread evenly,
    and rows of values that a request may have besides) and the golden requests. Every row is sent through every form
    of a request, and compared with the estimator's own answer. `libraries` gives the versions that the estimator was
    fitted with, by the form of input that it gets. `tell` gets what the user should know. Of a search for the best
    parameters only what predicts is packed. Raises BundleError.
    """
    with _named(directory), _quiet():
        estimator = stripped(estimator)
        found = _contract(estimator, data, options, sample, tell)
        require_alone(found.company, options.get("depends_on_company", False), tell)
        asked = _without_uncompiled(estimator, found.asked)
        stored_as, dump = storing.store(estimator, str(directory))
        versions = libraries(asked.form) if libraries else {one: installed_version(one) for one in LIBRARIES}
        about = {**about_of(options), "libraries": dict(versions), "stored_as": stored_as}
        card = _card(estimator, found, asked, about, dump, directory)
        Card.from_values(card.values())
        verified = varied(estimator, found.source, found.verification, card, asked)
        loaded = stored.load(card, dump, card.allowed_types)
        rows, answers = _verified(estimator, loaded, card, verified, asked)
        golden = _golden(estimator, found.verification, card, asked)
        directory.mkdir(parents=True, exist_ok=True)
        card = compiled_form.make(loaded, card, rows, directory)
        _write(directory, card, dump, rows, answers, golden)
        if options.get("drift", True):
            binning.write(directory, estimator, found.source, card, asked, tell)
    return card


def _card(
    estimator: Any, found: _Contract, asked: Asked, about: dict[str, Any], dump: bytes, directory: Path
) -> Card:
    """The card, with what the user says of the model in `about`."""
    return Card(
        **about,
        features=found.features,
        outputs=outputs_of(asked.answers),
        classes=classes_of(estimator),
        training_data_sha256=found.source.sha256(),
        model_sha256=hashlib.sha256(dump).hexdigest(),
        allowed_types=stored.untrusted_types(about["stored_as"], dump),
        code=own_code.hashes(directory),
        form=asked.form,
        dtype=asked.dtype,
        depends_on_company=found.company,
    )


@dataclass(frozen=True, slots=True)
class _Contract:
    """What was found of the data and the estimator; `company` says that an answer depends on the other rows."""

    source: TrainingData
    verification: TrainingData
    asked: Asked
    features: list[Feature]
    company: bool


def _contract(
    estimator: Any, data: Any, options: Options, sample: int, tell: Callable[[str], None]
) -> _Contract:
    """Find the contract of an estimator. Raises BundleError."""
    if not hasattr(estimator, "predict"):
        raise BundleError(f"{type(estimator).__name__} has no predict; pack a classifier or a regressor")
    fitted = names_of(estimator)
    source = training_data.read(data, fitted, options.get("types", {}))
    knowledge = knowledge_of(estimator, source.width)
    require_agreement(source, knowledge)
    chosen = np.linspace(0, len(source) - 1, min(sample, len(source))).astype(int)
    source, verification, asked = _ask(estimator, source, knowledge, chosen)
    if fitted is None and source.is_frame and source.width > 1 and asked.form in (ARRAY, FRAME):
        require_order(source.names, options.get("order", False), tell)
    company = questions.depends_on_company(estimator, verification, asked)
    features = describe(source, asked.form, knowledge)
    features = questions.ask_unknown(estimator, verification, features, asked)
    return _Contract(source, verification, asked, features, company)


@contextlib.contextmanager
def _named(directory: Path) -> Iterator[None]:
    """Name the folder in every error; a card that can't be is one as well."""
    try:
        yield
    except (BundleError, ValueError) as error:
        if not isinstance(error, BundleError) and type(error) is not ValueError:
            raise
        text = str(error)
        raise BundleError(text if text.startswith(str(directory)) else f"{directory}: {text}") from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what libraries warn of while they are asked odd questions, and have them use one thread.

    With few rows, threads cost several times what they save.
    """
    with warnings.catch_warnings(), threadpool_limits(limits=1):
        warnings.simplefilter("ignore")
        yield


def _ask(
    estimator: Any, source: TrainingData, knowledge: Knowledge, chosen: Index
) -> tuple[TrainingData, TrainingData, Asked]:
    """Ask the estimator for its form and answers, of the data as it is, or in the types that it knows of.

    Returns the data, its verification rows, and what the estimator said. Raises BundleError.
    """
    verification = source.take(chosen if len(chosen) > 1 else np.array([0, 0]))
    try:
        return source, verification, questions.ask_form(estimator, verification)
    except BundleError:
        changed = with_categories(with_objects(source, knowledge), estimator)
        if changed is source:
            raise
        verification = changed.take(chosen if len(chosen) > 1 else np.array([0, 0]))
        return changed, verification, questions.ask_form(estimator, verification)


def _without_uncompiled(estimator: Any, asked: Asked) -> Asked:
    """Without the further outputs that the estimator has and its compiled form has not: to be fast is worth more."""
    try:
        further = compile_estimator(estimator).further
    except Exception:  # what does not compile keeps all
        return asked
    dropped = [output for output in asked.more if output not in further]
    answers = {output: array for output, array in asked.answers.items() if output not in dropped}
    return Asked(asked.form, asked.dtype, [item for item in asked.more if item not in dropped], answers)


def _verified(
    estimator: Any, loaded: Any, card: Card, data: TrainingData, asked: Asked
) -> tuple[list[Any], Answers]:
    """The verification rows as requests have them, and the estimator's own answers, to which an endpoint's are equal.

    The estimator answers the data itself, in its own types; `loaded` is read from what is written, and answers in the
    endpoint.
    """
    own = questions.answers_of(estimator, data, asked)
    answers = {name: own[name].tolist() for name in (output.name for output in card.outputs)}
    rows = data.rows(card)
    model = Model(card, {"kind": stored.kind_of(card.stored_as)}, predictor_of(loaded, card), [])
    rehearse(model, rows, answers)
    return rows, answers


def _golden(estimator: Any, data: TrainingData, card: Card, asked: Asked) -> list[GoldenRequest]:
    """Requests of one row each, of the first, the middle and the last row, with the estimator's own answers."""
    golden: list[GoldenRequest] = []
    for at in sorted({0, len(data) // 2, len(data) - 1}):
        row = data.take(np.array([at]))
        own = questions.answers_of(estimator, row, asked)
        golden.append(
            {"rows": row.rows(card), "outputs": {name: array.tolist() for name, array in own.items()}}
        )
    return golden


def _write(
    directory: Path, card: Card, dump: bytes, rows: list[Any], answers: Answers, golden: list[GoldenRequest]
) -> None:
    """Write the files of the bundle into `directory`, besides the compiled form."""
    (directory / stored.file_of(card.stored_as)).write_bytes(dump)
    (directory / CARD_FILE).write_text(
        yaml.safe_dump(card.values(), sort_keys=False, width=110, allow_unicode=True)
    )
    (directory / GOLDEN_FILE).write_text(json.dumps(golden, indent=1) + "\n")
    content = json.dumps({"rows": rows, "answers": answers}).encode()
    (directory / VERIFICATION_FILE).write_bytes(gzip.compress(content, mtime=0))


def read_card(directory: Path) -> Card:
    """The card of a bundle. Raises BundleError, or OSError when there is none."""
    try:
        card = Card.from_values(yaml.safe_load((directory / CARD_FILE).read_text()))
        stored.file_of(card.stored_as)
    except (ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise BundleError(f"{directory}: {CARD_FILE} can't be used: {error}") from None
    return card


def read(directory: Path, trust: Trust = NONE_TRUSTED) -> Bundle:
    """Read a bundle and check its hashes, types and shapes, and that what serves it answers its golden requests.

    What the estimator holds besides types that only compute must be in `trust`, unless the compiled form serves: then
    the estimator is not read. Raises BundleError.
    """
    _require_files(directory, CARD_FILE, GOLDEN_FILE)
    card = read_card(directory)
    file = stored.file_of(card.stored_as)
    _require_files(directory, file, *([COMPILED_FILE] if card.compiled else []))
    if card.name != directory.name:
        raise BundleError(
            f"{directory}: {CARD_FILE} names the model {card.name!r}; give the folder that name"
        )
    dump = (directory / file).read_bytes()
    if (found := hashlib.sha256(dump).hexdigest()) != card.model_sha256:
        raise BundleError(
            f"{directory}: {file} is broken: its SHA-256 is {found}, {CARD_FILE} says "
            f"{card.model_sha256}; restore the file or pack the model again"
        )
    estimator = None if card.compiled else _load(directory, card, dump, trust)
    rows, answers = _read_rows(directory, card, estimator)
    distribution.read(directory, card)
    try:
        predictor = compiled_form.load(directory, card) if card.compiled else predictor_of(estimator, card)
        golden: list[GoldenRequest] = json.loads((directory / GOLDEN_FILE).read_text())
        served_by = card.predictor or ServedBy(kind=stored.kind_of(card.stored_as))
        Model(card, served_by, predictor, golden).verify(str(directory))
    except BundleError:
        raise
    except GoldenAnswerError as error:
        raise BundleError(f"{error}; {PACK_AGAIN}") from None
    except ImportError as error:
        raise BundleError(f"{directory}: the model needs a library that is not installed: {error}") from None
    except RequestError as error:
        raise BundleError(f"{directory}: {GOLDEN_FILE} can't be used: {error.message}") from None
    except Exception as error:  # a model that was tampered with raises any
        raise BundleError(f"{directory}: {GOLDEN_FILE} can't be used: {error}") from None
    return Bundle(card, dump, estimator, rows, answers, golden)


def _require_files(directory: Path, *names: str) -> None:
    if lacking := [name for name in names if not (directory / name).is_file()]:
        raise BundleError(f"{directory}: {lacking[0]} is missing; {PACK_AGAIN}")


def _load(directory: Path, card: Card, dump: bytes, trust: Trust) -> Any:
    """The estimator, after all that it brings is found to be trusted. Raises BundleError."""
    own_code.check(directory, card.code)
    try:
        trust.check(str(directory), stored.untrusted_types(card.stored_as, dump), card.code)
        with own_code.importable(directory):
            return stored.load(card, dump, trust.types)
    except BundleError:
        raise
    except Exception as error:  # skops raises any error of the types it loads
        file = stored.file_of(card.stored_as)
        raise BundleError(f"{directory}: {file} can't be loaded: {error}") from error


def _read_rows(directory: Path, card: Card, estimator: Any) -> tuple[list[Any], Answers]:
    """The verification rows, and the estimator's own answers to them. Raises BundleError."""
    early = card.plain and not card.predictor
    name = ROWS_FILE if early else VERIFICATION_FILE
    path = directory / name
    if not path.is_file():
        raise BundleError(f"{directory}: {name} is missing; {PACK_AGAIN}")
    try:
        if not early:
            with gzip.open(path) as file:
                text = file.read(LARGEST_VERIFICATION + 1)
            if len(text) > LARGEST_VERIFICATION:
                raise ValueError(f"it unpacks to more than {LARGEST_VERIFICATION:,} bytes")
            content = json.loads(text)
            return content["rows"], content["answers"]
        rows = np.load(path, allow_pickle=False)
        if rows.dtype != card.input_dtype or rows.shape[1:] != (len(card.features),):
            raise ValueError(
                f"it holds {rows.dtype} of shape {rows.shape}; "
                f"it must be {card.input_dtype} of shape (n, {len(card.features)})"
            )
        more = [output.name for output in card.outputs if output.name in FURTHER]
        own = SklearnPredictor(estimator)(rows, True, more)
        return rows.tolist(), {output: array.tolist() for output, array in own.items()}
    except Exception as error:  # a model that was tampered with raises any
        raise BundleError(f"{directory}: {name} can't be used: {error}") from None
