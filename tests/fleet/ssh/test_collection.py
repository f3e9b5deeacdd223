"""The installed collection deploys and shows the fleet without the checkout, and serves the inventory's own models."""

import re
import subprocess
import tarfile
from pathlib import Path

from fleet.fleet import Fleet
from fleet.playbook import PROJECT

# What may stand at the root of the artifact: all that the collection needs, and nothing else that a checkout holds.
CONTENT = {
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "FILES.json",
    "LICENSE",
    "MANIFEST.json",
    "README.md",
    "docs",
    "fleet_page",
    "meta",
    "model_endpoint",
    "playbooks",
    "plugins",
    "requirements",
    "roles",
}
NEEDED = {
    "LICENSE",
    "README.md",
    "fleet_page/src/fleet_page/web.py",
    "model_endpoint/Dockerfile",
    "playbooks/site.yml",
    "plugins/filter",
    "requirements/deploy.txt",
    "roles/release",
}


def test_the_artifact_holds_what_the_collection_needs_and_nothing_else(elsewhere: Path) -> None:
    (artifact,) = (elsewhere / "artifact").glob("flotilla-fleet-*.tar.gz")
    with tarfile.open(artifact) as tar:
        names = set(tar.getnames())
    assert {name.partition("/")[0] for name in names} <= CONTENT
    assert names >= NEEDED
    assert not [name for name in names if name.endswith(".pyc") or "/." in name]


def test_the_deployment_read_the_installed_collection_alone(elsewhere: Path) -> None:
    log = (elsewhere / "site.log").read_text()
    installed = elsewhere / "collections/ansible_collections/flotilla/fleet"
    files = re.findall(r"^task path: (.+):\d+$", log, re.MULTILINE)
    assert {path for path in files if not path.startswith(f"{installed}/")} == set()
    assert {f"{installed}/playbooks/plan.yml", f"{installed}/roles/model_image/tasks/hash.yml"} <= set(files)
    assert str(PROJECT) not in log
    assert log.splitlines()[-1].startswith(("flotilla: released: ", "flotilla: unchanged: "))


def test_the_inventory_s_own_models_are_served_and_not_the_examples(fleet: Fleet) -> None:
    assert fleet.get("/v2/models/iris").json()["versions"] == ["own"]
    assert fleet.get("/v2/models/stays").json()["versions"] == ["own"]
    assert fleet.get("/v2/models/breast_cancer").status_code == 404


def test_the_status_is_shown(fleet: Fleet, elsewhere: Path) -> None:
    script = Path(__file__).with_name("elsewhere.sh")
    status = subprocess.run(
        [script, PROJECT, elsewhere, "flotilla.fleet.status"], check=False, capture_output=True, text=True
    )
    assert status.returncode == 0, status.stdout[-6000:] + status.stderr[-2000:]
    release = fleet.get("/v2/health/ready").headers["X-Release"]
    for node in fleet.nodes:
        # On a line of its own, whatever shows the results of tasks.
        assert re.search(rf"^\W*{node.name} +up +1 +{release} ", status.stdout, re.MULTILINE), status.stdout[
            -6000:
        ]
