"""Prometheus' and Alertmanager's programs, run without a container and without being installed.

They are those of the monitoring host's image: Debian's packages of the same release, whose programs need no library.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from real_nginx import free_port, wait_until
from unpacked import CACHE, unpacked

SUITE = "trixie"
PACKAGES = ("prometheus", "prometheus-alertmanager")
SECONDS = 120


def installation() -> Path:
    """Return a folder with the programs' files, made once."""
    folder = CACHE / "prometheus" / "-".join((SUITE, *PACKAGES))
    return unpacked(folder, SUITE, PACKAGES, {}, kept=Path("/nonexistent"))


def program(name: str) -> Path:
    """Return the path of promtool, amtool, prometheus or prometheus-alertmanager."""
    return installation() / "usr" / "bin" / name


def run(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run one of the programs to its end, whatever it is."""
    return subprocess.run(
        [program(name), *arguments], capture_output=True, text=True, timeout=SECONDS, check=False
    )


@contextmanager
def prometheus(
    folder: Path, data: Path, settings: Mapping[str, Any], *options: str
) -> Iterator[tuple[str, int]]:
    """Run a Prometheus whose series lie in `data`, and yield its URL and the number of its process."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prometheus.yml").write_text(json.dumps(settings))
    address = f"127.0.0.1:{free_port()}"
    command = [
        str(program("prometheus")),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={data}",
        f"--web.listen-address={address}",
        *options,
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until(lambda: b"ready to receive" in (folder / "log").read_bytes(), "Prometheus is not ready")
        yield f"http://{address}", process.pid
    finally:
        process.terminate()
        process.wait(SECONDS)


def alertmanager_beside_its_files(folder: Path) -> Path:
    """Return a copy of Alertmanager that looks for its templates below the current folder, not below the root."""
    changed = program("prometheus-alertmanager").read_bytes()
    changed = changed.replace(b"/usr/share/prometheus/alertmanager", b"usr//share/prometheus/alertmanager")
    copy = folder / "alertmanager"
    copy.write_bytes(changed)
    copy.chmod(0o755)
    return copy
