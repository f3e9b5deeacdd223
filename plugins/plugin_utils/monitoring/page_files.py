"""Runs on the controller: the files of the page /fleet, for its image."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "fleet_page" / "src" / "fleet_page"
ENDPOINT = ROOT / "model_endpoint" / "src" / "model_endpoint"
SHARED = ("__init__.py", "drift/__init__.py", "drift/bins.py", "drift/score.py")
"""The modules of the endpoint that the page uses: it scores drift as the endpoints do."""

KINDS = frozenset({".py", ".html", ".css", ".svg"})


def page_files(folder: str) -> dict[str, str]:
    """Return the texts of the page's image by their paths, which are below `folder`, Python's path there."""
    own = {path.relative_to(PAGE): path for path in sorted(PAGE.rglob("*")) if path.suffix in KINDS}
    found = {f"{folder}/fleet_page/{name}": path for name, path in own.items()}
    found |= {f"{folder}/model_endpoint/{name}": ENDPOINT / name for name in SHARED}
    found[f"{folder}/fleet_page/runbook.md"] = ROOT / "docs" / "runbook.md"
    return {name: path.read_text(encoding="utf-8") for name, path in found.items()}
