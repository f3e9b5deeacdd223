"""The tests of running fleets name plays and files that exist, and each scenario keeps to its own folder.

Otherwise a run of half an hour would be the first to notice.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml

from fleet import releases, steps
from fleet.playbook import PROJECT

TESTS = PROJECT / "tests" / "fleet"
SCENARIOS = sorted(path.parent.name for path in (PROJECT / "molecule").glob("*/molecule.yml"))
TEST_FILES = sorted(TESTS.glob("*/*.py"))


def test_every_play_that_a_test_waits_for_exists() -> None:
    playbooks = [yaml.safe_load(path.read_text()) for path in (PROJECT / "playbooks").glob("*.yml")]
    plays = {play["name"] for playbook in playbooks for play in playbook if "hosts" in play}
    assert set(steps.PLAYS) - plays == set()


def test_the_tasks_that_install_a_state_exist() -> None:
    assert (PROJECT / steps.INSTALL_STATE).exists()


def test_every_scenario_runs_the_tests_of_its_name() -> None:
    shared = yaml.safe_load((PROJECT / ".config/molecule/config.yml").read_text())["verifier"]["directory"]
    assert shared == "../../tests/fleet/default"
    for scenario in SCENARIOS:
        folder = PROJECT / "molecule" / scenario
        verifier = yaml.safe_load((folder / "molecule.yml").read_text()).get("verifier", {})
        directory = (folder / verifier.get("directory", shared)).resolve()
        # Scenario ssh has the default's promises, over SSH.
        assert directory in {TESTS / scenario, TESTS / "default"}, scenario
        assert (directory == TESTS / scenario) == (scenario != "ssh"), scenario
    folders = {path.name for path in TESTS.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders <= set(SCENARIOS)


def imported(source: str) -> set[str]:
    """Return the modules that a Python file imports, each with the names that it takes from them."""
    nodes = list(ast.walk(ast.parse(source)))
    found = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def strangers(source: str, scenario: str) -> set[str]:
    """Return what a test file of a scenario imports from test files, or from the folder of another scenario."""
    others = tuple(f"fleet.{other}." for other in SCENARIOS if other != scenario)
    return {name for name in imported(source) if name.startswith(others) or ".test_" in name}


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_scenario_shares_code_through_modules_of_the_folder_above(path: Path) -> None:
    assert strangers(path.read_text(), path.parent.name) == set()


def test_code_of_another_scenario_is_found() -> None:
    source = (
        "from fleet import load\nfrom fleet.edge import endpoints\nfrom fleet.fire.test_nodes import THREE\n"
    )
    assert strangers(source, "fire") == {"fleet.edge.endpoints", "fleet.fire.test_nodes.THREE"}
    assert strangers(source, "edge") == {"fleet.fire.test_nodes.THREE"}


def test_a_release_with_faults_installs_them_before_it_serves(tmp_path: Path) -> None:
    package = releases.with_faults(tmp_path) / "src" / "model_endpoint"
    assert (package / "faults.py").read_text() == (TESTS / "faults.py").read_text()
    main = (package / "__main__.py").read_text()
    assert "model_endpoint.faults" in imported(main)
    assert main.index("faults.install(settings, models)") < main.index("app = create_app(")


def test_a_new_model_has_another_version(tmp_path: Path) -> None:
    card = "models/iris/model.yml"
    new = yaml.safe_load((releases.new_model(tmp_path) / card).read_text())
    old = yaml.safe_load((PROJECT / "model_endpoint" / card).read_text())
    assert new == {**old, "version": "2"} != old
