"""Own code that a bundle carries: modules, packages and wheels. Runs where models are packed, and in the build.

It lies in the bundle's folder `code`, and its hashes are in the card. The image has it on Python's path.
"""

from __future__ import annotations

import ast
import hashlib
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from model_endpoint.models.errors import BundleError

CODE_FOLDER = "code"
# What tools leave beside code; the image's build context has none of it (module build_context).
LEFT_OUT = frozenset({"__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".DS_Store"})


def add(paths: Sequence[Path], bundle: Path) -> dict[str, str]:
    """Copy each module (.py), package (a folder) or pure wheel into `bundle`; returns the hashes by name.

    Raises BundleError.
    """
    folder = bundle / CODE_FOLDER
    for path in paths:
        _check_form(path)
        folder.mkdir(exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, folder / path.name, ignore=shutil.ignore_patterns(*LEFT_OUT, "*.pyc"))
        else:
            shutil.copyfile(path, folder / path.name)
    return hashes(bundle)


def _check_form(path: Path) -> None:
    if not path.exists():
        raise BundleError(f"--code {path}: there is no such file or folder")
    if path.is_dir():
        if not path.name.isidentifier() or not any(path.glob("*.py")):
            raise BundleError(
                f"--code {path}: a folder must be a package: an importable name, with .py files in it"
            )
    elif path.suffix == ".whl":
        if not path.name.endswith("-none-any.whl"):
            raise BundleError(
                f"--code {path}: the wheel is built for one platform; give a pure one (-none-any.whl), or install "
                "the distribution from an index, so that pack locks it"
            )
    elif path.suffix != ".py" or not path.stem.isidentifier():
        raise BundleError(f"--code {path}: give a module (.py), the folder of a package, or a wheel (.whl)")


def hashes(bundle: Path) -> dict[str, str]:
    """The SHA-256 of each piece of code in `bundle` by its name; a package's is over its files' names and hashes."""
    folder = bundle / CODE_FOLDER
    pieces = sorted(folder.iterdir()) if folder.is_dir() else []
    return {piece.name: _hash(piece) for piece in pieces if piece.name not in LEFT_OUT}


def _hash(piece: Path) -> str:
    if piece.is_file():
        return hashlib.sha256(piece.read_bytes()).hexdigest()
    digest = hashlib.sha256()
    for path in sorted(piece.rglob("*")):
        if path.is_file() and not LEFT_OUT.intersection(path.relative_to(piece).parts):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.relative_to(piece).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()


def check(bundle: Path, expected: Mapping[str, str]) -> None:
    """Raise BundleError unless the code in `bundle` is what its card says."""
    found = hashes(bundle)
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            raise BundleError(
                f"{bundle}: {CODE_FOLDER}/{name} is not what the card says: its SHA-256 is {found.get(name, 'none')}, "
                f"the card has {expected.get(name, 'none')}; restore it or pack the model again"
            )


@contextmanager
def importable(bundle: Path) -> Iterator[None]:
    """Put the bundle's code first on Python's path while the context lasts, as the image has it.

    The path has a copy of the files that have a hash: beside them may lie bytecode or a link to a folder, which Python
    would run in their place.
    """
    before = sys.path[:], sys.dont_write_bytecode
    with tempfile.TemporaryDirectory(prefix="flotilla-code-") as folder:
        unpack(bundle, Path(folder))
        sys.path.insert(0, folder)
        sys.dont_write_bytecode = True
        try:
            yield
        finally:
            sys.path[:], sys.dont_write_bytecode = before


def unpack(bundle: Path, target: Path) -> None:
    """Put the bundle's code into `target`, as the image has it on its path.

    Raises BundleError when another bundle has put other code of the same name there.
    """
    for name in hashes(bundle):
        piece = bundle / CODE_FOLDER / name
        target.mkdir(parents=True, exist_ok=True)
        for file, content in _files(piece):
            place = target / file
            if place.exists() and place.read_bytes() != content:
                raise BundleError(
                    f"{bundle}: its code {file} differs from another model's {file}; give one of the two modules "
                    "another name, fit the model with it and pack it again"
                )
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)


def _files(piece: Path) -> Iterator[tuple[str, bytes]]:
    if piece.suffix == ".whl":
        with zipfile.ZipFile(piece) as wheel:
            for name in wheel.namelist():
                if not name.endswith("/") and ".." not in Path(name).parts and not Path(name).is_absolute():
                    yield name, wheel.read(name)
    elif piece.is_file():
        yield piece.name, piece.read_bytes()
    else:
        for path in sorted(piece.rglob("*")):
            if path.is_file() and not LEFT_OUT.intersection(path.relative_to(piece).parts):
                yield path.relative_to(piece.parent).as_posix(), path.read_bytes()


def modules(bundle: Path) -> set[str]:
    """The top-level modules that the bundle's code has."""
    files = [file for name in hashes(bundle) for file, _ in _files(bundle / CODE_FOLDER / name)]
    return {file.split("/")[0].removesuffix(".py") for file in files}


def imported_modules(bundle: Path) -> set[str]:
    """The top-level modules that the bundle's code imports, by reading it."""
    names: set[str] = set()
    for name in hashes(bundle):
        for file, content in _files(bundle / CODE_FOLDER / name):
            if file.endswith(".py"):
                for node in ast.walk(ast.parse(content)):
                    if isinstance(node, ast.Import):
                        names |= {alias.name.split(".")[0] for alias in node.names}
                    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                        names.add(node.module.split(".")[0])
    return names
