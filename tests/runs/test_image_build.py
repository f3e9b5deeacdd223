"""The build of an image is followed: the run says which step the build has reached, and waits for its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLLOWED = ("Start the build", "Build the image", "Refuse an image that could not be built")


def tasks(folder: Path) -> list[dict[str, Any]]:
    """Return the role's own tasks that build, with `folder` for the builder's."""
    text = (
        (ROOT / "roles/model_image/tasks/build.yml").read_text().replace("/var/cache/flotilla", str(folder))
    )
    (block,) = (task for task in yaml.safe_load(text) if task["name"] == "Build the image on the builder")
    found = [task for task in block["block"] if task["name"] in FOLLOWED]
    assert len(found) == len(FOLLOWED)
    return [{**task, "vars": block["vars"]} for task in found]


def follow(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the tasks that build, with the docker and the context that are in `folder`."""
    play = {
        "hosts": "all",
        "gather_facts": False,
        "vars": {
            "__model_image_folder": {"path": "/tmp/flotilla-abc"},
            "__model_image_name": "flotilla/model-endpoint:abc",
            "__model_image_base": "base",
            "model_image_source": "source",
            "model_image_models": "models",
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "ansible_async_dir": str(folder / "jobs"),
        },
        "tasks": tasks(folder),
    }
    (folder / "play.yml").write_text(json.dumps([play]))
    return subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "builder,", "play.yml"],
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
            "ANSIBLE_CONFIG": f"{ROOT}/ansible.cfg",
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("code", [0, 3])
def test_a_build_is_followed_to_its_end(tmp_path: Path, code: int) -> None:
    docker = tmp_path / "docker"
    docker.write_text(
        f"#!/bin/sh\ncat >/dev/null; echo 'Step 1/2 : FROM base'\nsleep 3\necho 'the last words'; exit {code}\n"
    )
    docker.chmod(0o755)
    (tmp_path / "context.tar").touch()
    interrupted = [
        tmp_path / name for name in ("flotilla-old.log", "flotilla-old.log.code", "flotilla-new.log")
    ]
    for log in interrupted:
        log.touch()
    for log in interrupted[:2]:
        os.utime(log, (time.time() - 3700,) * 2)
    ended = follow(tmp_path)
    said = ended.stdout + ended.stderr
    assert (ended.returncode == 0) == (code == 0), said
    assert "RETRYING: [builder]: Build the image" in said
    assert ("could not be built" in said) == (code != 0), said
    if code:
        assert "the last words" in said
    assert [log.name for log in interrupted if log.exists()] == ["flotilla-new.log"]
    assert (tmp_path / "flotilla-abc.log").read_text() == "Step 1/2 : FROM base\nthe last words\n"


def test_a_build_whose_context_is_gone_ends_at_once(tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\n")
    docker.chmod(0o755)
    ended = follow(tmp_path)
    assert ended.returncode != 0
    assert "context.tar" in (tmp_path / "flotilla-abc.log").read_text()
    assert "could not be built" in ended.stdout + ended.stderr
