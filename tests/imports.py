"""Which modules of a package import which of its others."""

from __future__ import annotations

import ast
from pathlib import Path


def modules_in(folder: Path) -> list[Path]:
    """Return the modules in the folder of a package, and in the folders below."""
    return [path for path in folder.rglob("*.py") if path.name != "__init__.py"]


def imports_in(folder: Path, package: str) -> dict[str, set[str]]:
    """Return the modules that each module of `package` imports, by their names within the package."""
    modules = {".".join(path.relative_to(folder).with_suffix("").parts): path for path in modules_in(folder)}
    found: dict[str, set[str]] = {}
    for module, path in modules.items():
        names: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        within = {name.removeprefix(f"{package}.") for name in names}
        found[module] = {name for name in within if name in modules}
    return found


def in_circles(imports: dict[str, set[str]]) -> set[str]:
    """Return the modules that import each other in a circle, and those that import such a module."""
    left = dict(imports)
    while done := {module for module, imported in left.items() if not imported & left.keys()}:
        left = {module: imported for module, imported in left.items() if module not in done}
    return set(left)
