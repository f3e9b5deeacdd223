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
    return folder


def test_the_hash_stays_when_only_dates_and_leftovers_change(source: Path) -> None:
    before = content_hash(source, {"base": "a"})
    os.utime(source / "Dockerfile", (1, 1))
    (source / "src" / "__pycache__").mkdir()
    (source / "src" / "__pycache__" / "app.cpython-311.pyc").write_bytes(b"x")
    (source / "build").mkdir()
    (source / "build" / "app.py").write_text("x")
    (source / "thing.egg-info").mkdir()
    (source / "thing.egg-info" / "PKG-INFO").write_text("x")
    assert content_hash(source, {"base": "a"}) == before
    assert len(before) == 12


def test_the_hash_changes_with_content_name_mode_and_recipe(source: Path) -> None:
    seen = {content_hash(source, {"base": "a"}), content_hash(source, {"base": "b"})}
    (source / "src" / "app.py").write_text("print(1)\n")
    seen.add(content_hash(source, {"base": "a"}))
    (source / "src" / "app.py").rename(source / "src" / "main.py")
    seen.add(content_hash(source, {"base": "a"}))
    (source / "src" / "main.py").chmod(0o755)
    seen.add(content_hash(source, {"base": "a"}))
    assert len(seen) == 5


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no file"):
        content_hash(tmp_path, {})


def test_the_context_holds_the_source_and_the_wheels_without_owner_or_date(
    source: Path, tmp_path: Path
) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (wheels / "thing-1-py3-none-any.whl").write_bytes(b"wheel")
    pack(source, wheels, tmp_path / "context.tar")
    with tarfile.open(tmp_path / "context.tar") as tar:
        assert tar.getnames() == ["Dockerfile", "src/app.py", "wheelhouse/thing-1-py3-none-any.whl"]
        assert {(entry.uid, entry.uname, entry.mtime) for entry in tar} == {(0, "", 0)}
