#!/usr/bin/env python3
"""Build the host images Molecule's scenarios run on: Debian with systemd, as a container.

An image is built when its recipe changed since the one the engine has. Its tarball is kept outside the
checkout, so a new checkout or an emptied engine only imports it.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

IMAGE = "flotilla-host"
RECIPE_LABEL = "flotilla.recipe"
SUITES = ("bookworm", "trixie")
# A plain server as an installer leaves it: what the roles need beyond this, they install themselves.
PACKAGES = (
    "ca-certificates",
    "dbus",
    "iproute2",
    "openssh-server",
    "procps",
    "python3",
    "python3-apt",
    "sudo",
    "systemd",
    "systemd-sysv",
)


def recipe(suite: str) -> list[str]:
    """Return the mmdebstrap command line, without its output, that makes the host of a suite."""
    return ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}", suite]


def recipe_hash(suite: str) -> str:
    """Return a short hash that changes whenever the recipe does."""
    return hashlib.sha256(json.dumps(recipe(suite)).encode()).hexdigest()[:12]


def cache_directory() -> Path:
    """Return the directory the tarballs are kept in."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "flotilla" / "hosts"


def run(command: Sequence[str]) -> None:
    """Run a command that must succeed."""
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def is_current(suite: str) -> bool:
    """Tell whether the engine has the suite's image, made by today's recipe."""
    wanted = f'{{{{index .Config.Labels "{RECIPE_LABEL}"}}}}'
    inspect = subprocess.run(
        ["docker", "image", "inspect", "--format", wanted, f"{IMAGE}:{suite}"],
        check=False,
        capture_output=True,
        text=True,
    )
    return inspect.stdout.strip() == recipe_hash(suite)


def tarball(suite: str) -> Path:
    """Return the suite's tarball, building it unless the cache has it."""
    path = cache_directory() / f"{suite}-{recipe_hash(suite)}.tar"
    if path.exists():
        return path
    if not shutil.which("mmdebstrap"):
        sys.exit(f"{IMAGE}:{suite}: mmdebstrap is not installed here: apt-get install mmdebstrap")
    path.parent.mkdir(parents=True, exist_ok=True)
    # Under another name until it is whole: an interrupted build must not pass for a tarball.
    unfinished = path.with_name(f".{suite}-{os.getpid()}.tar")
    try:
        run([*recipe(suite), str(unfinished)])
        unfinished.rename(path)
    finally:
        unfinished.unlink(missing_ok=True)
    for old in path.parent.glob(f"{suite}-*.tar"):
        if old != path:
            old.unlink()
    return path


def main() -> None:
    """Give the engine every suite's image."""
    for suite in SUITES:
        if is_current(suite):
            continue
        print(f"building {IMAGE}:{suite}", flush=True)  # noqa: T201
        label = f"LABEL {RECIPE_LABEL}={recipe_hash(suite)}"
        run(["docker", "import", "--change", label, str(tarball(suite)), f"{IMAGE}:{suite}"])


if __name__ == "__main__":
    main()
