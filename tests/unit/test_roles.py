"""Every role's defaults and README agree with its meta/argument_specs.yml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import role_docs

ROLES = sorted(path for path in role_docs.ROLES.iterdir() if path.is_dir())

each_role = pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)


def entry_points(role: Path) -> dict[str, Any]:
    specs = role / "meta" / "argument_specs.yml"
    assert specs.exists(), f"write {specs}"
    loaded: dict[str, Any] = yaml.safe_load(specs.read_text())["argument_specs"]
    return loaded


@each_role
def test_defaults_equal_the_spec(role: Path) -> None:
    wanted = {
        name: option["default"]
        for entry in entry_points(role).values()
        for name, option in entry.get("options", {}).items()
        if "default" in option
    }
    assert yaml.safe_load((role / "defaults" / "main.yml").read_text()) == wanted


@each_role
def test_variables_carry_the_role_s_name(role: Path) -> None:
    names = [name for entry in entry_points(role).values() for name in entry.get("options", {})]
    assert [name for name in names if not name.startswith(f"{role.name}_")] == []


@each_role
def test_every_variable_is_described(role: Path) -> None:
    for entry in entry_points(role).values():
        assert entry["short_description"]
        for name, option in entry.get("options", {}).items():
            assert option.get("description"), name
            assert option.get("type"), name


@each_role
def test_readme_is_current(role: Path) -> None:
    readme = role / "README.md"
    assert readme.exists(), "run tools/role_docs.py"
    text = readme.read_text()
    assert role_docs.readme_text(role, text) == text, "run tools/role_docs.py"


@pytest.fixture
def role(tmp_path: Path) -> Path:
    """A role `box` in a folder of its own, without a README."""
    (tmp_path / "box" / "meta").mkdir(parents=True)
    options = {
        "box_port": {"type": "int", "default": 80, "description": "Where it listens, say C(80)."},
        "box_names": {
            "type": "list",
            "elements": "str",
            "default": [],
            "description": ["Who.", "All\nof it."],
        },
        "box_mode": {"type": "str", "default": "a|b", "choices": ["a|b", "c"], "description": "How."},
        "box_key": {"type": "str", "required": True, "description": "The key."},
    }
    main = {"short_description": "A box", "options": options}
    specs = {"main": main, "stop": {"short_description": "Stops it"}}
    (tmp_path / "box" / "meta" / "argument_specs.yml").write_text(yaml.safe_dump({"argument_specs": specs}))
    return tmp_path / "box"


def test_a_missing_readme_is_written_and_then_current(role: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ["--roles", str(role.parent)]
    assert role_docs.main([*chosen, "--check"]) == 1
    assert "box/README.md" in capsys.readouterr().out
    assert not (role / "README.md").exists()
    assert role_docs.main(chosen) == 0
    assert role_docs.main([*chosen, "--check"]) == 0


def test_the_table_tells_type_default_choices_and_description(role: Path) -> None:
    lines = role_docs.readme_text(role, "").splitlines()
    assert "| `box_port` | int | `80` | Where it listens, say `80`. |" in lines
    assert "| `box_names` | list of str | `[]` | Who. All of it. |" in lines
    assert "| `box_mode` | str | `a\\|b` | How. One of `a\\|b`, `c`. |" in lines
    assert "| `box_key` | str | required | The key. |" in lines
    assert lines[lines.index("### `tasks_from: stop`") :][2:5:2] == ["Stops it.", "No variables."]


def test_drift_is_found_and_the_text_around_the_table_kept(role: Path) -> None:
    readme = role / "README.md"
    readme.write_text(
        role_docs.readme_text(role, "").replace("| `80` |", "| `81` |").replace("A box.", "My words.")
    )
    chosen = ["--roles", str(role.parent)]
    assert role_docs.main([*chosen, "--check"]) == 1
    role_docs.main(chosen)
    assert "My words." in readme.read_text()
    assert "| `80` |" in readme.read_text()


def test_a_readme_without_the_markers_is_refused(role: Path) -> None:
    with pytest.raises(ValueError, match=r"box/README\.md: put the lines"):
        role_docs.readme_text(role, "# box\n")
