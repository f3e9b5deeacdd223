"""The hash that decides whether an image is built, and the context it is built from."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest
from ansible_collections.flotilla.fleet.plugins.modules.build_context import content_hash, pack


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "src").mkdir(parents=True)
    (folder / "Dockerfile").write_text("FROM scratch\n")
    (folder / "src" / "app.py").write_text("print()\n")
    (folder / "models" / "example").mkdir(parents=True)
    (folder / "models" / "example" / "model.yml").write_text("name: example\n")
    return folder


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "inventory" / "models"
    (folder / "own").mkdir(parents=True)
    (folder / "own" / "model.yml").write_text("name: own\n")
    return folder


def test_the_hash_stays_when_only_dates_and_leftovers_change(source: Path, models: Path) -> None:
    before = content_hash(source, models, {"base": "a"})
    os.utime(source / "Dockerfile", (1, 1))
    os.utime(models / "own" / "model.yml", (1, 1))
    (source / "src" / "__pycache__").mkdir()
    (source / "src" / "__pycache__" / "app.cpython-311.pyc").write_bytes(b"x")
    (source / "build").mkdir()
    (source / "build" / "app.py").write_text("x")
    (source / "thing.egg-info").mkdir()
    (source / "thing.egg-info" / "PKG-INFO").write_text("x")
    (models / "__pycache__").mkdir()
    (models / "__pycache__" / "train.cpython-311.pyc").write_bytes(b"x")
    assert content_hash(source, models, {"base": "a"}) == before
    assert len(before) == 12


def test_the_hash_changes_with_content_name_mode_and_recipe(source: Path, models: Path) -> None:
    seen = {content_hash(source, models, {"base": "a"}), content_hash(source, models, {"base": "b"})}
    (source / "src" / "app.py").write_text("print(1)\n")
    seen.add(content_hash(source, models, {"base": "a"}))
    (source / "src" / "app.py").rename(source / "src" / "main.py")
    seen.add(content_hash(source, models, {"base": "a"}))
    (source / "src" / "main.py").chmod(0o755)
    seen.add(content_hash(source, models, {"base": "a"}))
    assert len(seen) == 5


def test_the_hash_changes_with_the_models_that_are_served_and_no_others(source: Path, models: Path) -> None:
    before = content_hash(source, models, {})
    (source / "models" / "example" / "model.yml").write_text("name: another\n")
    assert content_hash(source, models, {}) == before
    assert content_hash(source, source / "models", {}) != before
    (models / "own" / "model.yml").write_text("name: retrained\n")
    assert content_hash(source, models, {}) != before


def test_the_same_bundles_give_the_same_hash_wherever_they_lie(source: Path, models: Path) -> None:
    of_example = content_hash(source, source / "models", {})
    (source / "models" / "example").rename(models / "example")
    (models / "own" / "model.yml").unlink()
    assert content_hash(source, models, {}) == of_example


def test_a_folder_without_files_is_refused(source: Path, models: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for chosen in ((empty, models), (source, empty), (source, tmp_path / "missing")):
        with pytest.raises(ValueError, match=r"(empty|missing) holds no file"):
            content_hash(*chosen, {})


def test_the_context_holds_the_source_the_models_and_the_wheels_without_owner_or_date(
    source: Path, models: Path, tmp_path: Path
) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (wheels / "thing-1-py3-none-any.whl").write_bytes(b"wheel")
    pack(source, models, wheels, tmp_path / "context.tar")
    with tarfile.open(tmp_path / "context.tar") as tar:
        names = ["Dockerfile", "models/own/model.yml", "src/app.py", "wheelhouse/thing-1-py3-none-any.whl"]
        assert tar.getnames() == names
        assert {(entry.uid, entry.uname, entry.mtime) for entry in tar} == {(0, "", 0)}
