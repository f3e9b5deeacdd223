"""Which packages of an image Debian has in newer versions, by the output of mmdebstrap."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.flotilla.fleet.plugins.module_utils.image_record import (
    ImageRecord,
    found_images,
    record_of,
    replaced_tags,
    write_record,
)
from ansible_collections.flotilla.fleet.plugins.module_utils.mmdebstrap import (
    downloaded_packages,
    look_command,
    simulated_packages,
)
from ansible_collections.flotilla.fleet.plugins.modules.debian_packages import (
    NoAnswerError,
    Recipe,
    look_at,
    newer_packages,
)

# Of mmdebstrap 1.3.5 --verbose, with apt 2.6.
DOWNLOAD = """\
I: running apt-get update...
Get:1 http://deb.debian.org/debian trixie InRelease [140 kB]
Get:4 http://security.debian.org/debian-security trixie-security/main amd64 Packages [311 kB]
Fetched 10.2 MB in 1s (7148 kB/s)
I: downloading packages with apt...
Get:2 http://deb.debian.org/debian trixie/main amd64 libc6 amd64 2.41-12+deb13u5 [2850 kB]
Get:8 http://deb.debian.org/debian trixie/main amd64 busybox amd64 1:1.37.0-6+b9 [485 kB]
Fetched 3877 kB in 0s (139 MB/s)
"""
SIMULATION = """\
I: simulate downloading packages with apt...
Inst gcc-14-base (14.2.0-19 Debian:13.8/stable [amd64])
Conf gcc-14-base (14.2.0-19 Debian:13.8/stable [amd64])
Inst libc6 (2.41-12+deb13u6 Debian:13.8/stable [amd64]) []
Inst busybox (1:1.37.0-6+b9 Debian:13.8/stable [amd64])
"""
IMAGE = "flotilla/keepalived:abc"
RECIPE: Recipe = {"image": IMAGE, "suite": "trixie", "packages": ["busybox"]}
RECORD: ImageRecord = {"made": 1.0, "packages": downloaded_packages(DOWNLOAD), "looked": 1.0, "newer": {}}


class Builder:
    """Stands in for the programs of the builder; of versions, one is newer whose text is greater."""

    def __init__(self, output: str = SIMULATION, code: int = 0) -> None:
        self.output, self.code = output, code
        self.commands: list[Sequence[str]] = []

    def run(self, command: list[str]) -> tuple[int, str, str]:
        self.commands.append(command)
        if command[0] == "dpkg":
            return (0 if command[2] > command[4] else 1), "", ""
        return self.code, "", self.output


def test_the_versions_of_packages_are_read_from_what_is_downloaded_and_what_is_simulated() -> None:
    assert RECORD["packages"] == {"libc6": "2.41-12+deb13u5", "busybox": "1:1.37.0-6+b9"}
    assert simulated_packages(SIMULATION) == {
        "gcc-14-base": "14.2.0-19",
        "libc6": "2.41-12+deb13u6",
        "busybox": "1:1.37.0-6+b9",
    }
    assert downloaded_packages(SIMULATION) == simulated_packages(DOWNLOAD) == {}


def test_the_look_asks_for_the_packages_that_are_unpacked_from_the_same_mirror() -> None:
    command = look_command("forky", ["nginx"], "http://mirror.example/debian", "http://proxy.example:3128")
    assert "--simulate" in command
    assert "--include=base-files,nginx" in command
    assert '--aptopt=Acquire::http::Proxy "http://proxy.example:3128"' in command
    assert command[-1] == "deb http://mirror.example/debian forky main"


def test_newer_packages_are_told_with_the_version_before() -> None:
    look = look_at(RECIPE, RECORD, Builder().run, "", "")
    assert look["recorded"]
    assert look["newer"] == {
        "gcc-14-base": ["", "14.2.0-19"],
        "libc6": ["2.41-12+deb13u5", "2.41-12+deb13u6"],
    }


def test_what_a_mirror_that_lags_behind_has_is_not_newer() -> None:
    assert newer_packages({"a": "2", "gone": "1"}, {"a": "1"}, lambda one, other: one > other) == {}


def test_an_image_without_a_record_is_not_compared() -> None:
    builder = Builder()
    look = look_at(RECIPE, {**RECORD, "packages": {}}, builder.run, "", "")
    assert (look["recorded"], look["newer"], builder.commands) == (False, {}, [])


@pytest.mark.parametrize(("output", "code"), [("E: no such host", 100), ("nothing that is known", 0)])
def test_a_mirror_that_does_not_answer_says_nothing_of_packages(output: str, code: int) -> None:
    with pytest.raises(
        NoAnswerError, match=r"newer packages of flotilla/keepalived:abc.*registry_debian_mirror"
    ):
        look_at(RECIPE, RECORD, Builder(output, code).run, "", "")


def test_a_record_is_kept_beside_the_tarball(tmp_path: Path) -> None:
    assert record_of(tmp_path, IMAGE) is None
    write_record(tmp_path, IMAGE, {**RECORD, "newer": {"libc6": "3"}})
    assert record_of(tmp_path, IMAGE) == {**RECORD, "newer": {"libc6": "3"}}
    assert found_images(tmp_path) == {
        "flotilla-keepalived-abc": {"made": 1.0, "recorded": True, "looked": 1.0, "newer": ["libc6"]}
    }


def test_the_newest_images_of_a_repository_stay_and_those_of_others(tmp_path: Path) -> None:
    names = ("nginx:aaaaaaaaaaaa", "nginx:bbbbbbbbbbbb", "nginx:cccccccccccc", "nginx-x:dddddddddddd")
    for number, name in enumerate(names):
        write_record(tmp_path, f"flotilla/{name}", {**RECORD, "made": number})
        tmp_path.joinpath(f"flotilla-{name.replace(':', '-')}.tar").touch()
    assert replaced_tags(tmp_path, "flotilla/nginx:cccccccccccc", 2) == ["aaaaaaaaaaaa"]
    # Its own stays, however old: it was imported again.
    assert replaced_tags(tmp_path, "flotilla/nginx:aaaaaaaaaaaa", 2) == ["bbbbbbbbbbbb"]
    assert replaced_tags(tmp_path, "flotilla/nginx:cccccccccccc", 3) == []


@pytest.mark.parametrize("text", [None, "", "[]", json.dumps({"made": "?"})])
def test_an_image_of_an_earlier_version_has_the_age_of_its_tarball_and_no_packages(
    tmp_path: Path, text: str | None
) -> None:
    tarball = tmp_path / "flotilla-keepalived-abc.tar"
    tarball.touch()
    os.utime(tarball, (5, 5))
    if text is not None:
        tarball.with_suffix(".json").write_text(text)
    assert record_of(tmp_path, IMAGE) == {"made": 5.0, "packages": {}, "looked": 0, "newer": {}}
    (found,) = found_images(tmp_path).values()
    assert (found["made"], found["recorded"]) == (5.0, False)
