"""Write an estimator in skops form, always the same bytes for the same estimator. Runs where models are packed."""

from __future__ import annotations

import importlib
import io
import json
import types
import zipfile
from typing import Any

import numpy as np
import skops.io

from model_endpoint.models.content_checks import parts_of
from model_endpoint.models.errors import BundleError

EARLIEST = (1980, 1, 1, 0, 0, 0)  # the time of each entry; zip knows none before


def dump(estimator: Any, where: str) -> bytes:
    """The estimator in skops form. Raises BundleError, whose message begins with `where`, for what has no such form."""
    check_importable(estimator, where)
    _drop_routing(estimator)
    try:
        content: bytes = skops.io.dumps(estimator)
    except Exception as error:  # skops raises any error of the types it meets
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise BundleError(
            f"{where}: the {type(estimator).__name__} has a part that skops can't store: {reason}; "
            "fit it without that part, or put it into a class of your own: --code FILE"
        ) from None
    return _canonical(content)


def check_importable(estimator: Any, where: str) -> None:
    """Raise BundleError for the first function or class in `estimator` that no module has under its name."""
    for part in parts_of(estimator):
        named = part if isinstance(part, types.FunctionType) else type(part)
        module, name = named.__module__, named.__qualname__
        kind = "function" if isinstance(part, types.FunctionType) else "class"
        if "<lambda>" in name:
            raise BundleError(
                f"{where}: the model holds a lambda, which no other process can load; write it as a function in a "
                "module, say shop.py, fit the model with it, and pack it with --code shop.py"
            )
        if module == "__main__" or "<locals>" in name:
            raise BundleError(
                f"{where}: the model holds the {kind} {name}, which was defined in a notebook or script; move it to a "
                "module, say shop.py, fit the model with it, and pack it with --code shop.py"
            )
        if not _found(module, name, named):
            raise BundleError(
                f"{where}: the model holds the {kind} {module}.{name}, which can't be imported; install its package, "
                "or pack it with --code FILE"
            )


def _found(module: str | None, name: str, named: Any) -> bool:
    if module in (None, "builtins") or not isinstance(named, types.FunctionType | type):
        return True
    if isinstance(named, type) and module.split(".")[0] in ("sklearn", "numpy", "scipy", "_io", "_thread"):
        return True  # compiled classes may name their module in short
    try:
        at: Any = importlib.import_module(module)
        for step in name.split("."):
            at = getattr(at, step)
    except (ImportError, AttributeError):
        return False
    return True


def _drop_routing(estimator: Any) -> None:
    """Drop the requests for metadata, which only fitting uses and skops can't store."""
    for part in parts_of(estimator):
        getattr(part, "__dict__", {}).pop("_metadata_request", None)


def _canonical(content: bytes) -> bytes:
    """The same content with numbers in place of memory addresses, without times, and with sets in order."""
    numbers: dict[int, int] = {}
    files: dict[str, str] = {}

    def visit(node: Any) -> Any:
        if isinstance(node, list):
            return [visit(child) for child in node]
        if not isinstance(node, dict):
            return node
        if "__loader__" not in node:  # a dict of the user's, with any keys
            return {key: visit(child) for key, child in node.items()}
        if node["__loader__"] == "SetNode":
            node = node | {"content": sorted(node["content"], key=_sort_key)}
        seen = {key: visit(child) for key, child in node.items() if key not in ("__id__", "file")}
        if "__id__" in node:
            seen["__id__"] = numbers.setdefault(node["__id__"], len(numbers) + 1)
        if "file" in node:
            form = node["file"].rpartition(".")[2]
            seen["file"] = files.setdefault(node["file"], f"{len(files) + 1}.{form}")
        return seen

    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(written, "w") as target:
        schema = visit(json.loads(source.read("schema.json")))
        entries = {"schema.json": json.dumps(schema, separators=(",", ":")).encode()}
        for name, numbered in files.items():
            data = source.read(name)
            entries[numbered] = _without_padding(data) if name.endswith(".npy") else data
        for name, data in sorted(entries.items()):
            entry = zipfile.ZipInfo(name, EARLIEST)
            entry.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(entry, data, compresslevel=9)
    return written.getvalue()


def _without_padding(data: bytes) -> bytes:
    """An array in .npy form, with zeros between the fields of its items, where memory's leftovers may be."""
    array = np.load(io.BytesIO(data), allow_pickle=False)
    if array.dtype.names is None:
        return data
    clean = np.frombuffer(bytearray(array.nbytes), dtype=array.dtype).reshape(array.shape)
    for field in array.dtype.names:
        clean[field] = array[field]
    written = io.BytesIO()
    np.save(written, clean)
    return written.getvalue()


def _sort_key(node: Any) -> str:
    return json.dumps(
        {key: part for key, part in node.items() if key != "__id__"}, sort_keys=True, default=str
    )
