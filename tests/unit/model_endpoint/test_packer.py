"""Packing with own code, trust and libraries; checking and serving what was packed."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import py_compile
import signal
import socket
import subprocess
import sys
import types
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsRegressor

from model_endpoint.models.errors import BundleError
from model_endpoint.packing import checking, image, libraries, packer, placing
from model_endpoint.packing import code as own_code
from model_endpoint.packing.cli import main
from model_endpoint.packing.libraries import LockError
from model_endpoint.packing.trust import Trust
from unit.model_endpoint.own_code import ROWS, SHOP, own_model
from unit.model_endpoint.server import SOURCE, wait_until

pytestmark = pytest.mark.long


@pytest.fixture(autouse=True)
def index(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """Stands in for the package index: what is asked of it."""
    asked: list[dict[str, str]] = []

    def lock(versions: dict[str, str]) -> str:
        asked.append(versions)
        return "".join(f"{name}=={version} --hash=sha256:{'a' * 64}\n" for name, version in versions.items())

    monkeypatch.setattr(libraries, "lock", lock)
    return asked


@pytest.fixture
def own(shop: Path) -> tuple[Any, Path]:
    """An estimator with own code, and the module."""
    return own_model(shop), shop


def pack(estimator: Any, folder: Path, version: str = "1", **options: Any) -> str:
    return packer.pack(estimator, ROWS, folder, name=folder.name, version=version, **options)


def line(slope: float = 1.0) -> Any:
    return LinearRegression().fit(ROWS, ROWS @ [slope, 2.0])


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_what_has_not_changed_is_left_and_what_has_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "line"
    assert pack(line(), folder).startswith(
        f"{folder}: packed\nline 1 is valid and will be served by numpy linear"
    )
    before, node = content(folder), folder.stat().st_ino
    assert f"{folder}: unchanged, since nothing has changed" in pack(line(), folder)
    assert folder.stat().st_ino == node
    assert f"{folder}: packed, in place of version 1" in pack(line(3.0), folder, "2")
    assert content(folder) != before
    assert [path.name for path in folder.parent.iterdir()] == ["line"]


def test_a_failed_pack_leaves_the_good_bundle(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "line"
    pack(line(), folder)
    before = content(folder)
    with pytest.raises(BundleError, match=rf"^{folder}: "):
        packer.pack(line(), ROWS[:, :1], folder, name="line", version="2")
    assert content(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["line"]
    with pytest.raises(BundleError, match=r"has the name of its model; give \S+/models/other"):
        packer.pack(line(), ROWS, folder, name="other", version="2")


@pytest.mark.parametrize("one_step", [True, False])
def test_a_bundle_is_replaced_in_one_step_where_the_disk_has_one(
    one_step: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "models" / "line"
    pack(line(), folder)
    if one_step:
        monkeypatch.setattr(
            Path, "rename", None
        )  # each of two renamings would leave a moment without a bundle
    else:
        monkeypatch.setattr(placing, "_exchange", lambda *_: False)
    assert "packed, in place of version 1" in pack(line(3.0), folder, "2")
    assert "version: '2'" in (folder / "model.yml").read_text()
    assert [path.name for path in folder.parent.iterdir()] == ["line"]


def test_neither_bundle_nor_trust_changes_where_the_other_can_t(
    own: tuple[Any, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    estimator, module = own
    folder, trusted = tmp_path / "models" / "shop", tmp_path / "fleet" / "trusted.yml"
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        pack(estimator, folder, code=[module], trusted=tmp_path / "file" / "trusted.yml")
    assert not folder.exists()
    trusted.parent.mkdir()
    trusted.write_text("types: [other.Type]\n")

    def fail(*_: Path) -> str:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(placing, "place", fail)
        with pytest.raises(OSError, match="the disk is full"):
            pack(estimator, folder, code=[module], trusted=trusted)
    assert content(trusted.parent) == {"trusted.yml": b"types: [other.Type]\n"}
    pack(estimator, folder, code=[module], trusted=trusted)
    assert Trust.read(trusted).types == {"other.Type", "shop.Ratio"}
    assert [path.name for path in trusted.parent.iterdir()] == ["trusted.yml"]


def test_a_package_of_own_code_may_have_a_folder_named_build(tmp_path: Path) -> None:
    package = tmp_path / "shop"
    for folder, name in (("build", "part.py"), (".mypy_cache", "kept.json"), (".", "__init__.py")):
        (package / folder).mkdir(parents=True, exist_ok=True)
        (package / folder / name).write_text("")
    (tmp_path / "bundle").mkdir()
    before = own_code.add([package], tmp_path / "bundle")
    copied = content(tmp_path / "bundle" / "code")
    assert copied.keys() == {"shop/build/part.py", "shop/__init__.py"}
    (tmp_path / "bundle" / "code" / "shop" / "build" / "part.py").write_text("changed = 1")
    assert own_code.hashes(tmp_path / "bundle") != before


def test_own_code_needs_trust_and_goes_into_the_bundle(own: tuple[Any, Path], tmp_path: Path) -> None:
    estimator, module = own
    folder, trusted = tmp_path / "models" / "shop", tmp_path / "trusted.yml"
    with pytest.raises(
        BundleError, match=r"type shop\.Ratio, the code shop\.py \(\w{64}\) are not trusted in every"
    ):
        pack(estimator, folder, code=[module])
    assert not folder.exists()
    said = pack(estimator, folder, code=[module], trusted=trusted)
    assert f"{trusted}: the type shop.Ratio, the code shop.py (" in said
    assert yaml.safe_load(trusted.read_text()) == {
        "types": ["shop.Ratio"],
        "code": {"shop.py": own_code.hashes(folder)["shop.py"]},
    }
    assert (folder / "code" / "shop.py").read_text() == SHOP
    assert yaml.safe_load((folder / "model.yml").read_text())["code"] == own_code.hashes(folder)


def test_own_code_is_refused_by_a_fleet_that_does_not_trust_it(own: tuple[Any, Path], tmp_path: Path) -> None:
    estimator, module = own
    folder = tmp_path / "models" / "shop"
    pack(estimator, folder, code=[module], trusted=tmp_path / "trusted.yml")
    trust = Trust.read(tmp_path / "trusted.yml")
    assert checking.check(folder, trust).kind == "scikit-learn"
    for other in (Trust(), Trust(trust.types), Trust(code=trust.code)):
        with pytest.raises(BundleError, match="not trusted"):
            image.build(folder.parent, tmp_path / "out" / "models", other)
    (folder / "code" / "shop.py").write_text(SHOP + "\nprint('harm')\n")
    with pytest.raises(BundleError, match=r"code/shop\.py is not what the card says"):
        checking.check(folder, trust)
    (folder / "code" / "more.py").write_text("")
    with pytest.raises(BundleError, match=r"code/more\.py is not what the card says"):
        checking.check(folder, trust)


@pytest.mark.parametrize("beside", ["bytecode", "link"])
def test_nothing_that_lies_beside_trusted_code_runs_in_its_place(
    beside: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, harm = tmp_path / "shop" / "code", tmp_path / "harm.py"
    (code / "shop").mkdir(parents=True)
    (code / "shop" / "__init__.py").write_text("")
    (code / "shop" / "part.py").write_text("SAYS = 'trusted'\n")
    before = own_code.hashes(code.parent)
    harm.write_text("SAYS = 'harm'\n")
    if beside == "bytecode":
        form = py_compile.PycInvalidationMode.UNCHECKED_HASH  # which Python runs without a look at the code
        target = importlib.util.cache_from_source(str(code / "shop" / "part.py"))
        py_compile.compile(str(harm), target, invalidation_mode=form)
    else:  # a package is found before a module
        (tmp_path / "part").mkdir()
        harm.rename(tmp_path / "part" / "__init__.py")
        (code / "shop" / "part").symlink_to(tmp_path / "part")
    assert own_code.hashes(code.parent) == before

    def says() -> str:
        for name in ("shop", "shop.part"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        said: str = importlib.import_module("shop.part").SAYS
        return said

    monkeypatch.setitem(sys.modules, "shop", types.ModuleType("shop"))
    monkeypatch.setitem(sys.modules, "shop.part", types.ModuleType("shop.part"))
    with own_code.importable(code.parent):
        assert says() == "trusted"
    monkeypatch.syspath_prepend(code)
    assert says() == "harm"  # so it is what lies there that would have run


def test_code_is_not_unpacked_before_it_is_trusted(own: tuple[Any, Path], tmp_path: Path) -> None:
    folder = tmp_path / "models" / "shop"
    pack(own[0], folder, code=[own[1]], trusted=tmp_path / "trusted.yml")
    with pytest.raises(BundleError, match=r"the code shop\.py \(\w{64}\) is not trusted"):
        image.build(folder.parent, tmp_path / "built" / "models")
    assert not (tmp_path / "built").exists()


def test_code_that_lacks_a_module_is_found_out_in_a_fresh_process(
    own: tuple[Any, Path], tmp_path: Path
) -> None:
    estimator, module = own
    module.write_text("import helpers_of_mine\n" + SHOP)
    with pytest.raises(BundleError, match=r"No module named 'helpers_of_mine' \(in a fresh process"):
        pack(estimator, tmp_path / "models" / "shop", code=[module], trusted=tmp_path / "trusted.yml")
    assert not (tmp_path / "models" / "shop").exists()
    assert not (tmp_path / "trusted.yml").exists()


def test_own_code_that_is_not_given_is_asked_for(own: tuple[Any, Path], tmp_path: Path) -> None:
    estimator, module = own
    with pytest.raises(BundleError, match=rf"needs the module shop, .* pack it with --code {module}"):
        pack(estimator, tmp_path / "models" / "shop", trusted=tmp_path / "trusted.yml")


@pytest.mark.parametrize("form", ["module", "package", "wheel"])
def test_modules_packages_and_wheels_are_unpacked_for_the_image(form: str, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    given = tmp_path / {"module": "shop.py", "package": "shop", "wheel": "shop-1-py3-none-any.whl"}[form]
    if form == "wheel":
        with zipfile.ZipFile(given, "w") as wheel:
            wheel.writestr("shop/__init__.py", "import numpy, json\n")
            wheel.writestr("../outside.py", "")
    elif form == "package":
        given.mkdir()
        (given / "__init__.py").write_text("from numpy import e\n")
        (given / "__pycache__").mkdir()
        (given / "__pycache__" / "x.pyc").write_bytes(b"x")
    else:
        given.write_text("import numpy\n")
    assert own_code.add([given], folder).keys() == {given.name}
    assert "numpy" in own_code.imported_modules(folder)
    own_code.unpack(folder, tmp_path / "target")
    unpacked = [
        path.relative_to(tmp_path / "target").as_posix() for path in (tmp_path / "target").rglob("*.*")
    ]
    assert unpacked == ["shop.py" if form == "module" else "shop/__init__.py"]
    (tmp_path / "target" / unpacked[0]).write_text("# another's")
    with pytest.raises(BundleError, match=r"its code shop\S* differs from another model's"):
        own_code.unpack(folder, tmp_path / "target")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.py", "there is no such file or folder"),
        ("shop-1-cp311-cp311-linux_x86_64.whl", "built for one platform"),
        ("notes.txt", "give a module"),
        ("my-shop", "a folder must be a package"),
    ],
)
def test_code_of_another_form_is_refused(name: str, message: str, tmp_path: Path) -> None:
    if name == "my-shop":
        (tmp_path / name).mkdir()
    elif name != "absent.py":
        (tmp_path / name).write_text("")
    with pytest.raises(BundleError, match=message):
        own_code.add([tmp_path / name], tmp_path)


def test_libraries_are_locked_for_what_does_not_compile(
    tmp_path: Path, index: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(line(), tmp_path / "line")
    assert not index
    assert not (tmp_path / "line" / "requirements.txt").exists()
    near = KNeighborsRegressor(p=1).fit(ROWS, ROWS[:, 0])
    said = pack(near, tmp_path / "near")
    assert {"scikit-learn", "numpy", "scipy", "joblib", "threadpoolctl"} <= index[0].keys()
    assert f"scikit-learn=={index[0]['scikit-learn']}" in said
    assert said.endswith("locked")
    pack(near, tmp_path / "near", "2")
    assert len(index) == 1  # the same versions have the same hashes

    def unreachable(versions: dict[str, str]) -> str:
        raise LockError(f"the package index can't be asked for {len(versions)}")

    monkeypatch.setattr(libraries, "lock", unreachable)
    assert "the libraries are not locked" in pack(near, tmp_path / "far" / "near")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("ERROR: No matching distribution found for x==1", "x==1 has no wheel for Python 3.13 of the image"),
        (
            "ERROR: Could not find a version (from versions: none)\nERROR: No matching distribution found for x==1",
            "the package index can't be asked",
        ),
        ("/bin/python: No module named pip", "pip is not installed here"),
        ("", "the package index can't be asked"),
    ],
)
def test_what_pip_says_becomes_a_sentence(said: str, message: str) -> None:
    assert message in libraries._reason(said)


def test_check_says_where_the_libraries_differ(tmp_path: Path) -> None:
    folder = tmp_path / "near"
    pack(KNeighborsRegressor(p=1).fit(ROWS, ROWS[:, 0]), folder)
    card = (folder / "model.yml").read_text()
    assert "installed here" not in checking.check(folder, Trust()).in_words()
    (folder / "model.yml").write_text(
        card.replace("  joblib: ", "  joblib: 0.").replace("  scipy: ", "  absent: ")
    )
    assert "; installed here: joblib " in checking.check(folder, Trust()).in_words()


def test_bundles_are_served_without_containers(own: tuple[Any, Path], tmp_path: Path) -> None:
    estimator, module = own
    pack(line(), tmp_path / "models" / "line")
    pack(estimator, tmp_path / "models" / "shop", code=[module], trusted=tmp_path / "trusted.yml")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "model_endpoint.packing.cli", "serve", str(tmp_path / "models")]
    command += ["--port", str(port), "--trusted", str(tmp_path / "trusted.yml")]
    environment = os.environ | {"PYTHONPATH": str(SOURCE), "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "7"}
    server = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    try:
        wait_until(lambda: answered(port) or server.poll() is not None, 60)
        body = json.dumps({"model": "shop", "instances": ROWS[:2].tolist()}).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/predict", body, timeout=10) as reply:
            answer = json.loads(reply.read())["predictions"]
        assert answer == pytest.approx(estimator.predict(ROWS[:2]).tolist())
        # What forks the workers has one thread, as in the image, whatever the environment says.
        (child,) = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        assert b"OMP_NUM_THREADS=1\0" in Path(f"/proc/{child}/environ").read_bytes()
    finally:
        server.send_signal(signal.SIGTERM)
        output = server.communicate(timeout=20)[0]
    assert server.returncode == 0
    assert f"serving at http://127.0.0.1:{port}" in output
    assert not list(tmp_path.glob("flotilla-serve-*"))


def answered(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def test_what_can_not_be_served_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", str(tmp_path)]) == 1
    assert "it is no bundle and holds none" in capsys.readouterr().err
    pack(line(), tmp_path / "a" / "line")
    pack(line(), tmp_path / "b" / "line")
    assert main(["serve", str(tmp_path / "a"), str(tmp_path / "b" / "line")]) == 1
    assert "is a model of that name too" in capsys.readouterr().err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["serve", str(tmp_path / "a"), "--port", str(port)]) == 1
    assert f"port {port} can't be used: Address already in use" in capsys.readouterr().err
