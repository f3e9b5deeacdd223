"""The libraries of a model: which it needs, in which versions, locked with hashes. Runs where models are packed.

The versions are those installed where the model is packed, since it was fitted there. The hashes are those of the
wheels for the image's Python, by the index that pip is set up to use.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Collection, Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from model_endpoint.models.content_checks import parts_of

LOCK_FILE = "requirements.txt"
ALWAYS = ("scikit-learn", "numpy", "scipy")
LEFT_OUT = {"model-endpoint", "skops"}  # the image has its own, and what they need

# The image's Python, by which wheels are chosen; role model_image downloads them for the same one.
PYTHON = "3.13"
PLATFORMS = (
    "manylinux_2_28_x86_64",
    "manylinux_2_27_x86_64",
    "manylinux_2_17_x86_64",
    "manylinux2014_x86_64",
)
IMAGE = {
    "python_version": PYTHON,
    "python_full_version": f"{PYTHON}.0",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "os_name": "posix",
    "platform_machine": "x86_64",
}
SECONDS = 300  # pip waits for an index that does not answer, and tries again


class LockError(Exception):
    """The libraries can't be locked; the message says why and what helps."""


def needed(estimator: Any, modules: Iterable[str] = ()) -> dict[str, str]:
    """The versions of the distributions that serve `estimator`, by name, with what these need in turn.

    `modules` are further modules that are imported, such as those that own code imports.
    """
    tops = {*_modules(estimator), *modules} - sys.stdlib_module_names
    names = {name for top in tops for name in _distributions().get(top, ())}
    return _with_requirements({*names, *ALWAYS})


def own_modules(estimator: Any) -> set[str]:
    """The modules of `estimator` that no installed distribution has.

    The compiled types of a distribution may name their module in short, so the place of its file counts as well.
    """
    installed = tuple(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    unknown = _modules(estimator) - sys.stdlib_module_names - _distributions().keys()
    return {
        name
        for name in unknown
        if not str(getattr(sys.modules.get(name), "__file__", "")).startswith(installed)
    }


def _modules(estimator: Any) -> set[str]:
    names = [str(getattr(part, "__module__", None) or type(part).__module__) for part in parts_of(estimator)]
    return {name.split(".")[0] for name in names}


@cache
def _distributions() -> dict[str, list[str]]:
    return dict(packages_distributions())


def _with_requirements(names: Collection[str]) -> dict[str, str]:
    versions: dict[str, str] = {}
    waiting = sorted(names)
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in versions or name in LEFT_OUT:
            continue
        try:
            found = distribution(name)
        except PackageNotFoundError:  # of another platform, or of an extra that is not in use
            continue
        versions[name] = found.version
        for line in found.requires or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({**IMAGE, "extra": ""}):
                waiting.append(requirement.name)
    return dict(sorted(versions.items()))


def lock(versions: dict[str, str]) -> str:
    """Requirements with hashes, a line each, for the image's Python. Raises LockError."""
    pins = [f"{name}=={version.partition('+')[0]}" for name, version in versions.items()]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--dry-run",
            "--ignore-installed",
            "--no-deps",
        ]
        command += ["--only-binary", ":all:", "--python-version", PYTHON, "--implementation", "cp"]
        command += [part for abi in ("cp313", "abi3", "none") for part in ("--abi", abi)]
        command += [part for platform in PLATFORMS for part in ("--platform", platform)]
        command += [
            "--disable-pip-version-check",
            "--retries",
            "1",
            "--target",
            folder,
            "--report",
            str(report),
            *pins,
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)  # noqa: S603
        except subprocess.TimeoutExpired:
            raise LockError("the package index did not answer; pack the model again when it does") from None
        if done.returncode:
            raise LockError(_reason(done.stderr))
        installs = json.loads(report.read_text())["install"]
    lines = []
    for entry in installs:
        name, version = canonicalize_name(entry["metadata"]["name"]), entry["metadata"]["version"]
        lines.append(
            f"{name}=={version} --hash=sha256:{entry['download_info']['archive_info']['hashes']['sha256']}"
        )
    return "\n".join(sorted(lines)) + "\n"


def _reason(said: str) -> str:
    """What pip said, in a sentence with what helps."""
    if "No module named pip" in said:
        return "pip is not installed here, which asks the index; python -m ensurepip"
    lines = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: ")]
    reason = lines[-1] if lines else (said.splitlines() or ["pip failed"])[-1]
    missing = reason.removeprefix("No matching distribution found for ")
    if missing != reason and "(from versions: none)" not in said:
        return (
            f"{missing} has no wheel for Python {PYTHON} of the image; install a version here that has one, and "
            "fit the model again"
        )
    return f"the package index can't be asked ({reason}); pack the model again when it can be reached"
