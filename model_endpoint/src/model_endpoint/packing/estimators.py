"""Read a fitted estimator from what people have: joblib, pickle, cloudpickle, skops, or a folder of MLflow.

Runs where models are packed. A pickle can run any code when it is read, so read only your own.
"""

from __future__ import annotations

import json
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import joblib
import yaml

from model_endpoint.models.errors import BundleError
from model_endpoint.packing.dump import check_importable

MLFLOW_FILE = "MLmodel"
MLFLOW_TYPES = {
    **dict.fromkeys(("double", "float"), "number"),
    **dict.fromkeys(("long", "integer"), "integer"),
    "boolean": "boolean",
    "string": "string",
    "datetime": "datetime",
}
# In a pickle: the name, which may be remembered for later, and a text after its length.
WRITTEN_VERSION = re.compile(rb"_sklearn_version(?:\x94|q.|r.{4})?(?:\x8c(.)|X(.)\0\0\0)", re.DOTALL)
LOST_IN_MAIN = re.compile(
    r"attribute '(.+?)' on <module '__main__'|module '__main__' has no attribute '(.+?)'"
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """An estimator, and what its file says besides.

    `types` are the columns' types by name, of a signature; `example` is a file of example rows, and `code` are the
    modules that came with the estimator.
    """

    estimator: Any
    types: dict[str, str] = field(default_factory=dict)
    example: Path | None = None
    code: Sequence[Path] = ()


def load_estimator(path: Path, code: Sequence[Path] = ()) -> Loaded:
    """Read the estimator in `path`; modules of own code are looked for in the folders of `code`.

    Raises BundleError with a sentence for a file that can't be read, holds no fitted estimator, or was written by
    another version of scikit-learn than the installed one.
    """
    if not path.exists():
        raise BundleError(f"{path}: there is no such file or folder; give the file that holds the estimator")
    if path.is_dir():
        return _load_mlflow(path, code)
    return Loaded(_checked(_read(path, code), path))


def _read(path: Path, code: Sequence[Path]) -> Any:
    with _importable(code), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            estimator = _load_skops(path) if path.suffix == ".skops" else joblib.load(path)
        except Exception as error:  # a pickle raises what its types raise
            _check_version(path, caught)
            raise BundleError(f"{path}: {_reason(error)}") from None
    _check_version(path, caught)
    return estimator


def _load_skops(path: Path) -> Any:
    # The user's own file, as any pickle is. What it holds is held against the trusted types when it is packed.
    import skops.io

    return skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))


@contextmanager
def _importable(code: Sequence[Path]) -> Iterator[None]:
    """Put own code first on Python's path. The modules stay imported, since the estimator needs them."""
    before = sys.path[:]
    sys.path[:0] = [str(path if path.suffix == ".whl" else path.absolute().parent) for path in code]
    try:
        yield
    finally:
        sys.path[:] = before


def _reason(error: Exception) -> str:
    """Why the file can't be read and what helps, in one sentence."""
    text = " ".join(str(error).split())[:300]
    if isinstance(error, ModuleNotFoundError):
        name = str(error.name)
        return (
            f"it needs the module {name}, which is not installed here; install its package, or, if it is your own "
            f"code, pack it with --code {name.split('.')[0]}.py"
        )
    if lost := LOST_IN_MAIN.search(text):
        return (
            f"it holds {lost[1] or lost[2]}, which was defined in a notebook or script (__main__); move it to a "
            "module, say shop.py, fit the model with it, save it again, and pack it with --code shop.py"
        )
    if isinstance(error, AttributeError | ImportError):
        return f"it was written with other versions of its libraries than are installed here: {text}; pack it there"
    if isinstance(error, OSError):
        return f"it can't be read: {error.strerror or text}; check the file"
    return (
        f"it holds no estimator that can be read ({type(error).__name__}: {text}); save the estimator with "
        "joblib.dump, pickle, cloudpickle, skops or mlflow.sklearn.save_model"
    )


def _check_version(path: Path, caught: Sequence[warnings.WarningMessage]) -> None:
    """Raise BundleError if scikit-learn says, or the file does, that another version wrote the estimator."""
    said = [getattr(warning.message, "original_sklearn_version", None) for warning in caught]
    _require_installed(path, next((version for version in said if version), None) or _written_version(path))


def _require_installed(path: Path, written: str | None) -> None:
    """Raise BundleError unless the installed scikit-learn is the one that wrote the estimator, if that is known."""
    here = installed_version("scikit-learn")
    if written and written != here:
        raise BundleError(
            f"{path}: the model was fitted with scikit-learn {written}, and {here} is installed here, which may "
            f"answer otherwise; pack it where {written} is installed (pip install scikit-learn=={written}), or fit it "
            "again"
        )


def _written_version(path: Path) -> str | None:
    """The version that scikit-learn keeps in a pickle, unless the file is compressed."""
    content = path.read_bytes() if path.suffix != ".skops" else b""
    if not (found := WRITTEN_VERSION.search(content)):
        return None
    length = (found[1] or found[2])[0]
    return content[found.end() : found.end() + length].decode("ascii", "replace")


def _checked(estimator: Any, path: Path) -> Any:
    """The estimator, if it is one. Raises BundleError."""
    if isinstance(estimator, dict | list | tuple):
        parts = list(estimator.items()) if isinstance(estimator, dict) else list(enumerate(estimator))
        found = [f"{key!r} ({type(part).__name__})" for key, part in parts if hasattr(part, "predict")]
        has = f", with a model under {', '.join(found)}" if found else ""
        raise BundleError(
            f"{path}: it holds a {type(estimator).__name__}{has}, not one estimator; join its steps in a Pipeline "
            "(sklearn.pipeline.make_pipeline) and save that"
        )
    if isinstance(estimator, type):
        raise BundleError(f"{path}: it holds the class {estimator.__name__}; save a fitted estimator of it")
    if not hasattr(estimator, "predict") and not hasattr(estimator, "transform"):
        raise BundleError(
            f"{path}: it holds a {type(estimator).__name__}, which can't predict; save the estimator"
        )
    check_importable(estimator, str(path))
    return estimator


def _load_mlflow(folder: Path, code: Sequence[Path]) -> Loaded:
    """Read what `mlflow.sklearn.save_model` and its like wrote, without MLflow."""
    try:
        content = yaml.safe_load((folder / MLFLOW_FILE).read_text())
        flavors = content["flavors"]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise BundleError(
            f"{folder}: it is no model folder of MLflow: {error}; give a file, or such a folder"
        ) from None
    name = next((name for name in ("sklearn", "xgboost", "lightgbm", "catboost") if name in flavors), None)
    if name is None:
        raise BundleError(
            f"{folder}: its flavors are {', '.join(flavors)}; save the estimator with mlflow.sklearn.save_model"
        )
    flavor = flavors[name]
    own = [path for path in sorted((folder / str(flavor.get("code") or "code")).glob("*")) if _is_code(path)]
    file = folder / str(flavor.get("pickled_model") or flavor.get("data") or "model.pkl")
    _require_installed(folder, flavor.get("sklearn_version"))
    code = [*own, *code]
    estimator = _checked(_read(file, code), file) if name == "sklearn" else _load_boosted(name, file, flavor)
    return Loaded(estimator, _signature_types(content, folder), _example(content, folder), code=own)


def _is_code(path: Path) -> bool:
    return path.suffix == ".py" or (path.is_dir() and any(path.glob("*.py")))


def _load_boosted(library: str, file: Path, flavor: dict[str, Any]) -> Any:
    """An estimator of XGBoost or CatBoost in the library's own form; raises BundleError for any other."""
    kind = str(flavor.get("model_class") or flavor.get("model_type") or "").rpartition(".")[2]
    if library == "lightgbm":  # MLflow pickles LightGBM's estimators
        return _checked(_read(file, ()), file)
    try:
        module = __import__(library)
        estimator = getattr(module, kind)()
        estimator.load_model(str(file))
    except Exception as error:
        raise BundleError(
            f"{file}: the {library} model of class {kind or 'unknown'} can't be read: {_reason(error)}"
        ) from None
    if not hasattr(estimator, "get_params"):
        raise BundleError(
            f"{file}: it holds a bare {kind}, without labels and names; save the estimator of {library}'s scikit-learn "
            "interface"
        )
    return estimator


def _signature_types(content: dict[str, Any], folder: Path) -> dict[str, str]:
    """The types of the named columns in the signature. Raises BundleError for a type that has no column."""
    inputs = (content.get("signature") or {}).get("inputs")
    types: dict[str, str] = {}
    for column in json.loads(inputs) if inputs else []:
        if "name" not in column or column.get("type") == "tensor":
            continue
        if column["type"] not in MLFLOW_TYPES:
            raise BundleError(
                f"{folder}: the signature's column {column['name']!r} is of type {column['type']}, which no model here "
                "takes; give it a plain type"
            )
        types[str(column["name"])] = MLFLOW_TYPES[column["type"]]
    return types


def _example(content: dict[str, Any], folder: Path) -> Path | None:
    info = content.get("saved_input_example_info") or {}
    path = folder / str(info.get("artifact_path") or "input_example.json")
    return path if path.is_file() else None
