"""Pack a model with all that it needs: code, trust and libraries. Runs where models are packed."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Unpack

from model_endpoint.models.card import Card
from model_endpoint.models.contract import FRAME
from model_endpoint.models.errors import BundleError
from model_endpoint.packing import bundle, checking, libraries, placing
from model_endpoint.packing import code as own_code
from model_endpoint.packing.libraries import LOCK_FILE, LockError
from model_endpoint.packing.options import Options
from model_endpoint.packing.progress import working
from model_endpoint.packing.trust import Trust


def pack(
    estimator: Any,
    data: Any,
    folder: Path,
    *,
    trusted: Path | None = None,
    code: Sequence[Path] = (),
    **options: Unpack[Options],
) -> str:
    """Write the bundle of a fitted estimator into `folder`, all of it or nothing; returns what is to say of it.

    `data` is the training data: a data frame, an array, a list of texts or of dicts. `code` are the model's own
    modules, packages and wheels. What the model needs to be trusted with is added to the file `trusted`. The further
    options are name, version, description, metrics, types, order, depends_on_company and drift. Raises BundleError.
    """
    folder, name = Path(folder), options["name"]
    if folder.name != name:
        raise BundleError(
            f"{folder}: the folder of a bundle has the name of its model; give {folder.parent / name}"
        )
    trust = Trust.read(trusted, required=False)
    with placing.staging(folder) as stage:
        with _named(stage, folder):
            notes: list[str] = []
            card = _fill(stage, estimator, data, code, options, notes.append)
            added = trust.missing(card.types_to_trust, card.code)
            _require_file(added, trusted, stage)
            wider = trust.with_added(added)
            with working(f"checking {name} as the image's build does"):
                if card.code:
                    checking.check_in_fresh_process(stage, wider)
                found = checking.check(stage, wider)
            said = [_lock(stage, folder, card)] if found.needs_libraries else []
            said += [*notes, *found.in_words().splitlines()]
        before = _version(folder)
        widened = bool(added.types or added.code)
        with wider.written() if widened else nullcontext():
            became = placing.place(stage, folder)
    if widened:
        said.append(f"{trusted}: {added.in_words()} trusted from now on")
    said[:0] = [f"{folder}: {_in_words(became, before)}"]
    return "\n".join(line for line in said if line)


def _require_file(added: Trust, trusted: Path | None, stage: Path) -> None:
    """Raise BundleError where something must be trusted and there is no file to add it to."""
    if trusted is None and (added.types or added.code):
        raise BundleError(
            f"{stage}: {added.in_words()} not trusted in every bundle; if you know what it does, give "
            "--trusted FILE, the file of your fleet, to which it is added"
        )


@contextmanager
def _named(stage: Path, folder: Path) -> Iterator[None]:
    """Name the folder that the user gave in errors, and make one of what an estimator raises."""
    try:
        yield
    except BundleError as error:
        raise BundleError(str(error).replace(str(stage), str(folder))) from error
    except OSError:
        raise
    except Exception as error:  # an estimator raises any, when it is asked
        reason = " ".join(str(error).split())[:300]
        raise BundleError(
            f"{folder}: the model can't be asked with this data: {type(error).__name__}: {reason}; check that the data "
            "is what it was fitted on"
        ) from error


def _fill(
    stage: Path,
    estimator: Any,
    data: Any,
    code: Sequence[Path],
    options: Options,
    tell: Callable[[str], None],
) -> Card:
    own_code.add([Path(path) for path in code], stage)
    modules = own_code.imported_modules(stage)
    if lacking := sorted(libraries.own_modules(estimator) - own_code.modules(stage)):
        raise BundleError(
            f"{stage}: the model needs the module {lacking[0]}, which no installed distribution has; pack it with "
            f"--code {getattr(sys.modules.get(lacking[0]), '__file__', None) or 'FILE'}"
        )

    def versions(form: str) -> dict[str, str]:
        return libraries.needed(estimator, {*modules, "pandas"} if form == FRAME else modules)

    with working(f"asking {options['name']} for its answers"):
        return bundle.pack(estimator, data, stage, libraries=versions, tell=tell, **options)


def _lock(stage: Path, folder: Path, card: Card) -> str:
    """Write the lock of the model's libraries; returns what is to say if it can't be had."""
    pins = {f"{name}=={version}" for name, version in card.libraries.items()}
    before = folder / LOCK_FILE
    if before.exists() and {line.partition(" ")[0] for line in before.read_text().splitlines()} == pins:
        shutil.copyfile(before, stage / LOCK_FILE)  # a version that is published never changes
        return ""
    try:
        with working(f"asking the package index for {len(pins)} hashes"):
            (stage / LOCK_FILE).write_text(libraries.lock(card.libraries))
    except LockError as error:
        return f"the libraries are not locked, and the image serves the model with its own: {error}"
    return ""


def _version(folder: Path) -> str | None:
    try:
        return bundle.read_card(folder).version
    except (BundleError, OSError):
        return None


def _in_words(became: str, before: str | None) -> str:
    if became == placing.REPLACED:
        return f"packed, in place of {f'version {before}' if before else 'what was there'}"
    return "packed" if became == placing.NEW else "unchanged, since nothing has changed"
