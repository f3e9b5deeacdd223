"""The rooms of the package: what each may import, and that no modules import each other in a circle."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from unit.model_endpoint.server import SOURCE

MAY_IMPORT = {
    "models": {"models"},
    "runtime": {"models", "runtime"},
    "web": {"models", "runtime", "web"},
    "packing": {"models", "packing", "runtime", "web"},
    "__main__": {"models", "runtime", "web"},
}
PACKAGE = "model_endpoint"


def imports() -> dict[str, set[str]]:
    """The modules of the package that each of its modules imports, by their names within the package."""
    modules = {".".join(path.relative_to(SOURCE / PACKAGE).with_suffix("").parts): path for path in files()}
    found: dict[str, set[str]] = {}
    for module, path in modules.items():
        names: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        within = {name.removeprefix(f"{PACKAGE}.") for name in names}
        found[module] = {name for name in within if name in modules}
    return found


def files() -> list[Path]:
    return [path for path in (SOURCE / PACKAGE).rglob("*.py") if path.name != "__init__.py"]


def room(module: str) -> str:
    return module.split(".")[0]


def test_the_imports_are_found() -> None:
    found = imports()
    assert {room(module) for module in found} == MAY_IMPORT.keys()
    assert "models.errors" in found["web.app"]
    assert "web.app" in found["__main__"]


@pytest.mark.parametrize("name", sorted(MAY_IMPORT))
def test_a_room_imports_only_the_rooms_below_it(name: str) -> None:
    for module, imported in imports().items():
        if room(module) == name:
            assert {room(other) for other in imported} <= MAY_IMPORT[name], module


def test_no_modules_import_each_other_in_a_circle() -> None:
    left = imports()
    while done := {module for module, imported in left.items() if not imported & left.keys()}:
        left = {module: imported for module, imported in left.items() if module not in done}
    assert not left


def test_every_module_says_first_where_it_runs() -> None:
    for path in files():
        text = ast.get_docstring(ast.parse(path.read_text())) or ""
        assert "Run" in text.split("\n\n")[0] + text.split("\n\n")[1 if "\n\n" in text else 0], path
