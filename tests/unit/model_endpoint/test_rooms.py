"""The rooms of the package: what each may import."""

from __future__ import annotations

import ast

import pytest

from imports import imports_in, modules_in
from unit.model_endpoint.server import SOURCE

pytestmark = pytest.mark.long

MAY_IMPORT = {
    "models": {"models"},
    "drift": {"drift", "models"},
    "runtime": {"drift", "models", "runtime"},
    "web": {"drift", "models", "runtime", "web"},
    "packing": {"drift", "models", "packing", "runtime", "web"},
    "__main__": {"drift", "models", "runtime", "web"},
}
PACKAGE = "model_endpoint"


def imports() -> dict[str, set[str]]:
    return imports_in(SOURCE / PACKAGE, PACKAGE)


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


def test_every_module_says_first_where_it_runs() -> None:
    for path in modules_in(SOURCE / PACKAGE):
        text = ast.get_docstring(ast.parse(path.read_text())) or ""
        assert "Run" in text.split("\n\n")[0] + text.split("\n\n")[1 if "\n\n" in text else 0], path
