"""What runs on machines runs on their Python: 3.9, which RHEL 9 has, has neither newer syntax nor newer functions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parents[3] / "plugins"
FILES = [
    path
    for folder in ("module_utils", "modules")
    for path in sorted((PLUGINS / folder).glob("*.py"))
    if '"""Runs on the controller:' not in path.read_text()
]
OLDEST = (3, 9)

NEWER = frozenset(
    [
        "UTC",
        "StrEnum",
        "ExceptionGroup",
        "pairwise",
        "batched",
        "NotRequired",
        "Required",
        "Self",
        "TypeAlias",
        "ParamSpec",
        "TypeGuard",
        "assert_never",
        "override",
        "bit_count",
        "tomllib",
        "aiter",
        "anext",
        "EncodingWarning",
        "file_digest",
        "freedesktop_os_release",
        "hardlink_to",
        "add_note",
    ]
)
"""Names that Python has since 3.10 or later."""


def too_new(source: str) -> Iterator[str]:
    """Yield what Python 3.9 does not know of a module: names, arguments, and unions that are evaluated."""
    tree = ast.parse(source, feature_version=OLDEST)
    if "from __future__ import annotations" not in source:
        yield "annotations are evaluated"
    for node in ast.walk(tree):
        names = [node.id] if isinstance(node, ast.Name) else []
        names += [node.attr] if isinstance(node, ast.Attribute) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.ImportFrom | ast.Import) else []
        yield from (name for name in names if name in NEWER)
        if isinstance(node, ast.Call):
            arguments = {keyword.arg for keyword in node.keywords}
            name = ast.unparse(node.func).rpartition(".")[2]
            if (name == "zip" and "strict" in arguments) or (
                name == "dataclass" and arguments & {"slots", "kw_only"}
            ):
                yield ast.unparse(node)
            if name == "isinstance" and isinstance(node.args[1], ast.BinOp):
                yield ast.unparse(node)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp) and _of_types(node.value):
            yield ast.unparse(node)


def _of_types(value: ast.BinOp) -> bool:
    """Tell whether it is a union of types, such as int | None, outside of an annotation."""
    parts = {ast.unparse(value.left), ast.unparse(value.right)}
    return isinstance(value.op, ast.BitOr) and bool(parts & {"None", "int", "str", "float", "bytes", "bool"})


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_what_runs_on_a_machine_runs_on_its_python(path: Path) -> None:
    assert list(too_new(path.read_text())) == []


@pytest.mark.parametrize(
    "line",
    [
        "datetime.now(datetime.UTC)",
        "from typing import NotRequired",
        "isinstance(a, int | str)",
        "Name = int | None",
        "zip(a, b, strict=True)",
        "dataclass(slots=True)",
    ],
)
def test_what_is_too_new_is_found(line: str) -> None:
    assert list(too_new(f"from __future__ import annotations\n{line}\n"))


def test_newer_syntax_is_found() -> None:
    with pytest.raises(SyntaxError):
        list(too_new("match a:\n    case 1:\n        pass\n"))
