"""The parts of a compiled model, and how a file has them: a program in JSON, and its arrays by number.

Runs in the build and in a worker. A file may be hostile: `read_nodes` checks the types of all fields, and each part
checks its own content and the columns that it gets, so that no index lies outside and no loop goes on for ever.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from model_endpoint.models.compiled.checks import require
from model_endpoint.models.compiled.predictor import CompiledPredictor
from model_endpoint.models.compiled.tables import Table
from model_endpoint.models.predictor import Outputs

DEEPEST = 40
"""How many parts may lie within each other."""
LONGEST = 1 << 26
"""How many bytes the program may have, of which each may become an object of some 60."""
Scalar = bool | int | float | str | None
KINDS: dict[str, type[Node]] = {}


class Node:
    """A part of a compiled model, a dataclass; its fields are arrays, plain values, parts, or lists of these."""

    __slots__ = ()
    kind: ClassVar[str]

    def __init_subclass__(cls) -> None:
        cls.kind = cls.__name__
        KINDS[cls.kind] = cls


class Step(Node):
    """A part that makes a table of a table."""

    __slots__ = ()

    def __call__(self, table: Table) -> Table:
        raise NotImplementedError

    def width(self, columns: int) -> int:
        """How many columns it makes of `columns`; raises ValueError if it can't take as many."""
        raise NotImplementedError


class Answering(Protocol):
    """What answers a table, as a predictor does."""

    @property
    def further(self) -> frozenset[str]: ...

    def __call__(self, rows: Any, probabilities: bool = True, more: Collection[str] = ()) -> Outputs: ...

    def check(self, columns: int) -> None:
        """Raise ValueError unless it can take a table of as many columns."""


class Head(Node):
    """A part that answers a table; it has the interface of `Answering`."""

    __slots__ = ()

    @property
    def further(self) -> frozenset[str]:
        return frozenset()

    def __call__(self, rows: Table, probabilities: bool = True, more: Collection[str] = ()) -> Outputs:
        raise NotImplementedError

    def check(self, columns: int) -> None:
        raise NotImplementedError


def write_nodes(part: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    """A part as JSON; its arrays go into `arrays`."""
    if isinstance(part, CompiledPredictor):
        prefix = f"leaf{len(arrays)}_"
        arrays |= {prefix + name: array for name, array in part.arrays().items()}
        return {"leaf": prefix}
    if isinstance(part, Node):
        items = {item.name: getattr(part, item.name) for item in fields(part) if item.init}  # type: ignore[arg-type]
        return {"part": part.kind} | {name: write_nodes(value, arrays) for name, value in items.items()}
    if isinstance(part, np.ndarray):
        name = f"array{len(arrays)}"
        arrays[name] = part
        return {"array": name}
    return [write_nodes(item, arrays) for item in part] if isinstance(part, list) else part


class _Arrays:
    """The arrays of a file, which its parts take, each once: a short program could make endless parts of one array."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._single = dict(arrays)
        self._leaves: dict[str, dict[str, NDArray[Any]]] = {}
        for name, array in arrays.items():
            prefix, mark, own = name.partition("_")
            if mark:
                self._leaves.setdefault(prefix + mark, {})[own] = array

    def take(self, name: Any) -> NDArray[Any]:
        require(name in self._single, f"two parts have the array {name}, or there is none")
        return self._single.pop(name)

    def take_leaf(self, prefix: Any) -> dict[str, NDArray[Any]]:
        require(prefix in self._leaves, f"two parts have the arrays {prefix}, or there are none")
        return self._leaves.pop(prefix)


def read_nodes(text: str, arrays: Mapping[str, NDArray[Any]]) -> Any:
    """The part that `write_nodes` wrote. Raises ValueError, KeyError or TypeError for any other text."""
    require(len(text) <= LONGEST, f"its program has {len(text)} characters")
    try:
        return _read(json.loads(text), _Arrays(arrays), 0)
    except RecursionError:
        raise ValueError("the compiled form is nested too deeply") from None


def _read(value: Any, arrays: _Arrays, depth: int) -> Any:
    require(depth <= DEEPEST, "its parts lie too deep within each other")
    if isinstance(value, list):
        return [_read(item, arrays, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return arrays.take(value["array"])
    if "leaf" in value:
        return CompiledPredictor.from_arrays(arrays.take_leaf(value["leaf"]))
    name = value.pop("part")
    require(name in KINDS, f"this version of Flotilla has no part {name}")
    kind = KINDS[name]
    given = {name: _read(item, arrays, depth + 1) for name, item in value.items()}
    for item in fields(kind):  # type: ignore[arg-type]
        if item.init:
            require(_fits(given.get(item.name), str(item.type)), f"{kind.kind}.{item.name} is no {item.type}")
    return kind(**given)


def _fits(value: Any, wanted: str) -> bool:
    """Whether a value is of the type that a field is declared with."""
    if wanted.startswith("list["):
        return isinstance(value, list) and all(_fits(item, wanted[5:-1]) for item in value)
    if wanted in ("Floats", "Ints", "Labels"):
        kinds = {"Floats": "f", "Ints": "i", "Labels": "biufU"}[wanted]
        right = isinstance(value, np.ndarray) and value.dtype.kind in kinds
        return right and (wanted == "Labels" or value.dtype.itemsize == 8)
    if wanted == "Answering":
        return isinstance(value, CompiledPredictor | Head)
    if wanted == "Scalar":
        return value is None or isinstance(value, bool | int | float | str)
    if wanted in KINDS:
        return isinstance(value, KINDS[wanted])
    return type(value) is {"str": str, "int": int, "float": float, "bool": bool}[wanted]
