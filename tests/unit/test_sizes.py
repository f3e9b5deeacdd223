"""Files and functions of logic stay short enough to read at once."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOGIC = [
    *ROOT.glob("plugins/**/*.py"),
    *ROOT.glob("model_endpoint/src/**/*.py"),
    *(path for path in ROOT.glob("tools/*") if path.suffix == ".py"),
]
LINES_OF_A_FILE = 400
LINES_OF_A_FUNCTION = 50
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def too_long(source: str) -> list[str]:
    """Return what is too long in a source file, with its number of lines."""
    lines = source.count("\n")
    found = [f"{lines} lines"] if lines > LINES_OF_A_FILE else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, FUNCTIONS) and node.end_lineno:
            length = node.end_lineno - node.lineno + 1
            if length > LINES_OF_A_FUNCTION:
                found.append(f"{node.name}: {length} lines")
    return found


@pytest.mark.parametrize("path", LOGIC, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_and_no_function_is_too_long(path: Path) -> None:
    assert too_long(path.read_text(encoding="utf-8")) == []


def test_what_is_too_long_is_found() -> None:
    body = "    a = 1\n" * (LINES_OF_A_FUNCTION - 1)
    assert too_long(f"def short():\n{body}") == []
    assert too_long(f"class Box:\n  def long(self):\n{body}    a = 2\n") == [
        f"long: {LINES_OF_A_FUNCTION + 1} lines"
    ]
    assert too_long("a = 1\n" * (LINES_OF_A_FILE + 1)) == [f"{LINES_OF_A_FILE + 1} lines"]
