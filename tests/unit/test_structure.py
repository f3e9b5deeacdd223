"""Files, functions and roles stay short enough to read at once, and no modules import each other in a circle."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from imports import imports_in, in_circles

ROOT = Path(__file__).parents[2]
LOGIC = [
    *ROOT.glob("plugins/**/*.py"),
    *ROOT.glob("model_endpoint/src/**/*.py"),
    *ROOT.glob("fleet_page/src/**/*.py"),
    *ROOT.glob("roles/*/files/**/*.py"),
    *(path for path in ROOT.glob("tools/*") if path.suffix == ".py"),
]
LINES_OF_A_FILE = 400
LINES_OF_A_FUNCTION = 50
FILES_OF_A_ROLE = 15
LINES_OF_A_ROLE = 300
ROLES = sorted((ROOT / "roles").iterdir())
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

PACKAGES = {
    "model_endpoint": ROOT / "model_endpoint" / "src" / "model_endpoint",
    "ansible_collections.flotilla.fleet.plugins": ROOT / "plugins",
}


def task_lines(text: str) -> int:
    """Return how many lines of a file of tasks are neither empty nor a comment."""
    lines = (line.strip() for line in text.splitlines())
    return sum(1 for line in lines if line and not line.startswith("#"))


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


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_no_role_has_too_many_tasks(role: Path) -> None:
    texts = [path.read_text(encoding="utf-8") for path in role.glob("tasks/*.yml")]
    assert 0 < len(texts) <= FILES_OF_A_ROLE
    assert 0 < sum(map(task_lines, texts)) <= LINES_OF_A_ROLE


def test_the_lines_of_tasks_are_counted_without_comments() -> None:
    assert task_lines("# Why.\n- name: Do a\n  a: b # this\n\n") == 2


@pytest.mark.parametrize("package", PACKAGES)
def test_no_modules_import_each_other_in_a_circle(package: str) -> None:
    imports = imports_in(PACKAGES[package], package)
    assert sum(map(len, imports.values())) > 50
    assert in_circles(imports) == set()


def test_a_circle_of_imports_is_found() -> None:
    assert in_circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"e"}, "e": set()}) == {"a", "b", "c"}
