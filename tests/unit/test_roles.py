"""Every role's defaults, README and calls agree with its meta/argument_specs.yml, and so does the page of settings."""

from __future__ import annotations

import re
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
    return role_docs.entry_points(role)


@each_role
def test_defaults_equal_the_settings_of_the_spec(role: Path) -> None:
    """Settings are the options of entry point main; those of the others are parameters, which the caller gives."""
    wanted = {
        name: option["default"]
        for name, option in entry_points(role).get("main", {}).get("options", {}).items()
        if "default" in option
    }
    assert yaml.safe_load((role / "defaults" / "main.yml").read_text()) == wanted


@each_role
def test_defaults_of_parameters_equal_the_spec(role: Path) -> None:
    """A role's variables have the defaults of parameters, where they are used without one of their own."""
    variables = role_variables(role)
    for name, entry in entry_points(role).items():
        for option, spec in entry.get("options", {}).items():
            if name != "main" and option in variables and "default" in spec:
                assert variables[option] == spec["default"], f"{name}: {option}"


def role_variables(role: Path) -> dict[str, Any]:
    files = [role / "vars" / "main.yml", *sorted((role / "vars" / "main").glob("*.yml"))]
    return {
        name: value
        for file in files
        if file.exists()
        for name, value in yaml.safe_load(file.read_text()).items()
    }


def texts(folder: Path) -> dict[Path, str]:
    """The text of each file of YAML or Jinja below a folder."""
    files = [path for path in folder.rglob("*") if path.suffix in {".yml", ".j2"}]
    return {path: path.read_text() for path in files}


def foreign_variables(role: str, text: str) -> list[str]:
    """The variables of other roles in a text that their names keep to themselves."""
    private = re.findall(r"\b__([a-z_]+)", text)
    others = [other.name for other in ROLES if other.name != role]
    return sorted(
        f"__{name}"
        for name in set(private)
        if any(name.startswith(f"{other}_") for other in others) and not name.startswith(f"{role}_")
    )


@each_role
def test_no_role_reads_another_role_s_variables(role: Path) -> None:
    found = {path.name: foreign_variables(role.name, text) for path, text in texts(role).items()}
    assert {name: variables for name, variables in found.items() if variables} == {}


def test_no_playbook_reads_a_role_s_variables() -> None:
    playbooks = texts(role_docs.ROOT / "playbooks")
    assert playbooks
    found = {path.name: foreign_variables("", text) for path, text in playbooks.items()}
    assert {name: variables for name, variables in found.items() if variables} == {}


def test_a_foreign_variable_is_found() -> None:
    text = "{{ __registry_found }} {{ __nginx_lb_state }} {{ registry_found }} {{ __lock }}"
    assert foreign_variables("nginx_lb", text) == ["__registry_found"]
    assert foreign_variables("", text) == ["__nginx_lb_state", "__registry_found"]


CALL = re.compile(r"name: flotilla\.fleet\.(\w+)\n\s+tasks_from: (\S+)")


def test_every_entry_point_that_is_called_from_outside_has_a_spec() -> None:
    called = set()
    for folder in (role_docs.ROOT / "playbooks", role_docs.ROLES):
        for path, text in texts(folder).items():
            called |= {
                (role, entry) for role, entry in CALL.findall(text) if f"/roles/{role}/" not in str(path)
            }
    assert ("nginx_lb", "remove") in called
    missing = sorted(
        f"{role}: {entry}" for role, entry in called if entry not in entry_points(role_docs.ROLES / role)
    )
    assert missing == []


@each_role
def test_every_entry_point_has_tasks(role: Path) -> None:
    for name in entry_points(role).keys() - {"main"}:
        assert (role / "tasks" / f"{name}.yml").exists(), name


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


def test_the_page_of_settings_is_current() -> None:
    assert role_docs.settings_text(role_docs.ROLES) == role_docs.SETTINGS.read_text(), (
        "run tools/role_docs.py"
    )


def test_what_playbooks_take_is_in_their_head_comments() -> None:
    listed = {
        (playbook, option["name"])
        for option in role_docs.playbook_options()
        for playbook in option["playbooks"]
    }
    commented = {
        (path.stem, name)
        for path, text in texts(role_docs.ROOT / "playbooks").items()
        for line in text.splitlines()
        if line.startswith("#")
        for name in re.findall(r"-e (\w+)=", line)
    }
    assert listed == commented


@pytest.fixture
def subject(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the settings of role `box` a subject."""
    monkeypatch.setitem(role_docs.SUBJECTS, "box", "Boxes")


@pytest.fixture
def role(tmp_path: Path) -> Path:
    """A role `box` in a folder of its own, without a README."""
    (tmp_path / "box" / "meta").mkdir(parents=True)
    options = {
        "box_port": {
            "type": "int",
            "default": 80,
            "description": "Where it listens, say C(80), C({{ f(1) }}).",
        },
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
    size = {"type": "int", "required": True, "description": "How large."}
    thing = {"type": "dict", "options": {"size": size}, "description": "A thing."}
    put = {"short_description": "Puts a thing in", "options": {"box_thing": thing}}
    specs = {"main": main, "stop": {"short_description": "Stops it"}, "put": put}
    (tmp_path / "box" / "meta" / "argument_specs.yml").write_text(yaml.safe_dump({"argument_specs": specs}))
    return tmp_path / "box"


@pytest.mark.usefixtures("subject")
def test_a_missing_readme_is_written_and_then_current(role: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ["--roles", str(role.parent), "--settings", str(role.parent / "settings.md")]
    assert role_docs.main([*chosen, "--check"]) == 1
    assert "box/README.md" in capsys.readouterr().out
    assert not (role / "README.md").exists()
    assert role_docs.main(chosen) == 0
    assert role_docs.main([*chosen, "--check"]) == 0


def test_the_table_tells_type_default_choices_and_description(role: Path) -> None:
    lines = role_docs.readme_text(role, "").splitlines()
    assert "| `box_port` | int | `80` | Where it listens, say `80`, `{{ f(1) }}`. |" in lines
    assert "| `box_names` | list of str | `[]` | Who. All of it. |" in lines
    assert "| `box_mode` | str | `a\\|b` | How. One of `a\\|b`, `c`. |" in lines
    assert "| `box_key` | str | required | The key. |" in lines
    assert lines[lines.index("### `tasks_from: stop`") :][2:5:2] == ["Stops it.", "No variables."]
    assert "| `box_thing.size` | int | required | How large. |" in lines


def test_the_page_of_settings_has_those_of_main_by_subject(
    role: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="box: name the subject"):
        role_docs.settings_text(role.parent)
    monkeypatch.setitem(role_docs.SUBJECTS, "box", "Boxes")
    lines = role_docs.settings_text(role.parent).splitlines()
    assert "## Boxes" in lines
    assert "| `box_port` | int | `80` | Where it listens, say `80`, `{{ f(1) }}`. |" in lines
    assert "box_thing" not in "\n".join(lines)
    logs = "| `lines` | `logs.yml` | int | `100` | How many lines of each log are shown. |"
    assert logs in lines


@pytest.mark.usefixtures("subject")
def test_drift_is_found_and_the_text_around_the_table_kept(role: Path) -> None:
    readme = role / "README.md"
    readme.write_text(
        role_docs.readme_text(role, "").replace("| `80` |", "| `81` |").replace("A box.", "My words.")
    )
    chosen = ["--roles", str(role.parent), "--settings", str(role.parent / "settings.md")]
    assert role_docs.main([*chosen, "--check"]) == 1
    role_docs.main(chosen)
    assert "My words." in readme.read_text()
    assert "| `80` |" in readme.read_text()


def test_a_readme_without_the_markers_is_refused(role: Path) -> None:
    with pytest.raises(ValueError, match=r"box/README\.md: put the lines"):
        role_docs.readme_text(role, "# box\n")
