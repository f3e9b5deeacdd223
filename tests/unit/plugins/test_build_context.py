"""The hash that decides whether an image is built, and the context it is built from."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest
from ansible_collections.flotilla.fleet.plugins.modules.build_context import (
    LEFT_OUT,
    Context,
    content_hash,
    pack,
)

from model_endpoint.packing import code

A, B = "a" * 64, "b" * 64


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "src").mkdir(parents=True)
    (folder / "Dockerfile").write_text("FROM scratch\n")
    (folder / "requirements-build.txt").write_text(
        f"numpy==2.4.6 \\\n    --hash=sha256:{A}\nskops==0.16 --hash=sha256:{A}\n"
    )
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
    before = content_hash(Context(source, models), {"base": "a"})
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
    assert content_hash(Context(source, models), {"base": "a"}) == before
    assert len(before) == 12


def test_own_code_in_a_folder_named_build_is_part_of_the_image(source: Path, models: Path) -> None:
    before = content_hash(Context(source, models), {})
    for folder in ("build", "shop.egg-info"):
        (models / "own" / "code" / "shop" / folder).mkdir(parents=True)
        (models / "own" / "code" / "shop" / folder / "part.py").write_text("")
    assert content_hash(Context(source, models), {}) != before
    assert Path("models/own/code/shop/build/part.py") in Context(source, models).files()


def test_the_image_has_of_own_code_what_its_hash_covers() -> None:
    assert code.LEFT_OUT == LEFT_OUT


def test_the_hash_changes_with_content_name_mode_and_recipe(source: Path, models: Path) -> None:
    seen = {
        content_hash(Context(source, models), {"base": "a"}),
        content_hash(Context(source, models), {"base": "b"}),
    }
    (source / "src" / "app.py").write_text("print(1)\n")
    seen.add(content_hash(Context(source, models), {"base": "a"}))
    (source / "src" / "app.py").rename(source / "src" / "main.py")
    seen.add(content_hash(Context(source, models), {"base": "a"}))
    (source / "src" / "main.py").chmod(0o755)
    seen.add(content_hash(Context(source, models), {"base": "a"}))
    assert len(seen) == 5


def test_the_hash_changes_with_the_models_that_are_served_and_no_others(source: Path, models: Path) -> None:
    before = content_hash(Context(source, models), {})
    (source / "models" / "example" / "model.yml").write_text("name: another\n")
    assert content_hash(Context(source, models), {}) == before
    assert content_hash(Context(source, source / "models"), {}) != before
    (models / "own" / "model.yml").write_text("name: retrained\n")
    assert content_hash(Context(source, models), {}) != before


def test_the_same_bundles_give_the_same_hash_wherever_they_lie(source: Path, models: Path) -> None:
    of_example = content_hash(Context(source, source / "models"), {})
    (source / "models" / "example").rename(models / "example")
    (models / "own" / "model.yml").unlink()
    assert content_hash(Context(source, models), {}) == of_example


def test_a_folder_without_files_is_refused(source: Path, models: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for chosen in ((empty, models), (source, empty), (source, tmp_path / "missing")):
        with pytest.raises(ValueError, match=r"(empty|missing) holds no file"):
            content_hash(Context(*chosen), {})


def test_the_context_holds_the_source_the_models_and_the_wheels_without_owner_or_date(
    source: Path, models: Path, tmp_path: Path
) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (wheels / "thing-1-py3-none-any.whl").write_bytes(b"wheel")
    pack(Context(source, models), wheels, tmp_path / "context.tar")
    with tarfile.open(tmp_path / "context.tar") as tar:
        names = [
            "requirements-build.txt",
            "trusted.yml",
            "Dockerfile",
            "models/own/model.yml",
            "src/app.py",
            "wheelhouse/thing-1-py3-none-any.whl",
        ]
        assert tar.getnames() == names
        assert {(entry.uid, entry.uname, entry.mtime) for entry in tar} == {(0, "", 0)}


def lock(models: Path, model: str, *requirements: str) -> None:
    (models / model).mkdir(exist_ok=True)
    lines = [f"{requirement} --hash=sha256:{B}\n" for requirement in requirements]
    (models / model / "requirements.txt").write_text("".join(lines))


def test_a_model_s_libraries_take_the_place_of_the_image_s_own(source: Path, models: Path) -> None:
    before = content_hash(Context(source, models), {})
    assert Context(source, models).written()["requirements-build.txt"].count("\n") == 3
    lock(models, "own", "numpy==2.3.1", "scikit-learn==1.8.0")
    merged = Context(source, models).written()["requirements-build.txt"]
    assert merged.splitlines() == [
        f"numpy==2.3.1 --hash=sha256:{B}",
        f"scikit-learn==1.8.0 --hash=sha256:{B}",
        f"skops==0.16 --hash=sha256:{A}",
    ]
    assert content_hash(Context(source, models), {}) != before


def test_models_that_contradict_each_other_are_refused_by_name(source: Path, models: Path) -> None:
    lock(models, "own", "numpy==2.3.1", "joblib==1.9.0")
    lock(models, "price", "numpy==2.3.1", "joblib==1.10.0")
    assert "joblib==1.10.0" in Context(source, models).written()["requirements-build.txt"]
    lock(models, "price", "numpy==2.4.0")
    with pytest.raises(
        ValueError, match=r"own and price in \S+ need different versions of numpy: 2\.3\.1 and 2\.4\.0"
    ):
        content_hash(Context(source, models), {})
    (models / "price" / "requirements.txt").write_text("--index-url http://somewhere\n")
    with pytest.raises(ValueError, match="'--index-url http://somewhere' is not NAME==VERSION"):
        content_hash(Context(source, models), {})


def test_what_is_trusted_comes_from_the_fleet_and_changes_the_hash(
    source: Path, models: Path, tmp_path: Path
) -> None:
    (models / "trusted.yml").write_text("types: [shop.Own]\n")
    trusted = tmp_path / "trusted.yml"
    before = content_hash(Context(source, models, trusted), {})
    assert Context(source, models, trusted).written()["trusted.yml"] == ""
    trusted.write_text("types: [shop.Ratio]\n")
    assert content_hash(Context(source, models, trusted), {}) != before
    assert Context(source, models, trusted).written()["trusted.yml"] == "types: [shop.Ratio]\n"
