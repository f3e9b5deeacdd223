"""A disk that is too full for an image is found before anything is written to it."""

from __future__ import annotations

import os
from pathlib import Path

from ansible_collections.flotilla.fleet.plugins.module_utils.machine_files import Disk, disk_of
from ansible_collections.flotilla.fleet.plugins.modules.image_space import full_disks

ENGINE, CACHE, REGISTRY = "/var/lib/docker", "/var/cache/flotilla", "/var/lib/flotilla/registry"


def test_what_is_needed_on_one_disk_is_added_up() -> None:
    needed = {ENGINE: 600, CACHE: 80, REGISTRY: 20}
    assert full_disks(needed, lambda _: Disk(1, 700, 1000)) == []
    assert full_disks(needed, lambda _: Disk(1, 699, 1000)) == [
        {"folders": [CACHE, ENGINE, REGISTRY], "needed": 700, "free": 699}
    ]


def test_each_disk_is_for_itself() -> None:
    disks = {ENGINE: Disk(1, 600, 1000), CACHE: Disk(2, 79, 1000), REGISTRY: Disk(3, 0, 1000)}
    found = full_disks({ENGINE: 600, CACHE: 80, REGISTRY: 1}, lambda folder: disks[str(folder)])
    assert found == [
        {"folders": [CACHE], "needed": 80, "free": 79},
        {"folders": [REGISTRY], "needed": 1, "free": 0},
    ]


def test_a_folder_that_is_missing_stands_for_the_one_above(tmp_path: Path) -> None:
    disk = disk_of(tmp_path / "missing" / "folder")
    assert disk.number == tmp_path.stat().st_dev
    status = os.statvfs(tmp_path)
    assert 0 < disk.free <= status.f_blocks * status.f_frsize
    assert full_disks({str(tmp_path / "missing"): 2**60})[0]["needed"] == 2**60
    assert full_disks({str(tmp_path / "missing"): 1}) == []
