"""The commit whose fleet is taken over, and what it deploys."""

import io
import json
import os
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet.fleet import Fleet
from fleet.playbook import PROJECT

COMMIT = "228b44170eb32c757291ae3dd655e7ca982d63a4"


@dataclass(frozen=True)
class Older:
    """The files of the older commit, in a folder of their own."""

    folder: Path

    @classmethod
    def unpack(cls, folder: Path) -> "Older":
        """Write the commit's files to `folder`; fails where the repository's history lacks the commit."""
        archive = ["git", "-C", str(PROJECT), "archive", "--format=tar", COMMIT]
        packed = subprocess.run(archive, check=False, capture_output=True)
        assert packed.returncode == 0, (
            f"{PROJECT}: the history lacks commit {COMMIT[:7]}, whose fleet is to be taken over; "
            f"run `git fetch --unshallow`. Git says: {packed.stderr.decode().strip()}"
        )
        with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as tar:
            tar.extractall(folder, filter="data")
        return cls(folder)

    @property
    def model_endpoint(self) -> Path:
        """The folder that the commit builds the endpoint's image from."""
        return self.folder / "model_endpoint"

    def new_model(self, folder: Path) -> Path:
        """Return a copy, in `folder`, of the commit's endpoint with another version of model iris."""
        source = Path(shutil.copytree(self.model_endpoint, folder / "model_endpoint"))
        card = source / "models/iris/model.yml"
        text = card.read_text()
        assert text.count("version: '1'\n") == 1, text
        card.write_text(text.replace("version: '1'\n", "version: '2'\n"))
        return source

    def deploy(self, fleet: Fleet, **settings: Any) -> None:
        """Run the commit's own site.yml, under its own ansible.cfg, with `settings` as extra variables."""
        # Molecule has set where this checkout's roles and plugins are.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        run = subprocess.run(
            [
                "ansible-playbook",
                "--inventory",
                fleet.inventory,
                "--extra-vars",
                json.dumps(settings),
                "site.yml",
            ],
            cwd=self.folder,
            env={**environment, "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            text=True,
        )
        assert run.returncode == 0, f"{COMMIT[:7]} does not deploy its fleet:\n{run.stdout[-6000:]}"
