"""Debian packages unpacked into a cached folder, for tests that run a program without a container."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from ansible_collections.flotilla.fleet.plugins.module_utils.mmdebstrap import mmdebstrap_command

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flotilla"


def unpacked(folder: Path, suite: str, packages: Sequence[str], files: Mapping[str, str], kept: Path) -> Path:
    """Return `folder` with the files of these packages and their dependencies, and the text `files`; made once.

    They come from the tarball `kept`, if it exists, or from Debian's packages.
    """
    if not folder.exists():
        part = folder.with_name(f"{folder.name}.{os.getpid()}")
        part.mkdir(parents=True)
        tarball = kept
        if not tarball.exists():
            # A capability can't be set everywhere, and is for ports below 1024.
            tarball = part / "packages.tar"
            command = mmdebstrap_command(suite, list(packages), {}, dict(files), [], str(tarball))
            subprocess.run(command, check=True, capture_output=True, timeout=600)
        subprocess.run(["tar", "-xf", tarball, "-C", part, "--exclude=./dev", "--no-same-owner"], check=True)
        (part / "packages.tar").unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # another process was faster
            part.rename(folder)
        shutil.rmtree(part, ignore_errors=True)
    return folder
