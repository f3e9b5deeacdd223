from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from model_endpoint.runtime.settings import SettingError, Settings


def test_absent_and_empty_variables_keep_the_defaults() -> None:
    assert Settings.from_environment({"FLOTILLA_WORKERS": ""}) == Settings()


def test_variables_are_read() -> None:
    settings = Settings.from_environment({"FLOTILLA_ENDPOINT": "node-a", "FLOTILLA_WORKERS": "4"})
    assert (settings.endpoint, settings.workers) == ("node-a", 4)


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "257", "٣"])
def test_a_wrong_number_is_named(value: str) -> None:
    with pytest.raises(SettingError, match=f"FLOTILLA_WORKERS is '{value}'"):
        Settings.from_environment({"FLOTILLA_WORKERS": value})


@pytest.mark.parametrize("value", ["iris", "[1]", '{"iris": 0}', '{"iris": true}', '{"iris": "9"}'])
def test_wrong_row_limits_are_named(value: str) -> None:
    assert Settings.from_environment({"FLOTILLA_ROW_LIMITS": '{"iris": 9}'}).row_limits == {"iris": 9}
    with pytest.raises(SettingError, match=r"FLOTILLA_ROW_LIMITS is .*; set JSON with rows by model"):
        Settings.from_environment({"FLOTILLA_ROW_LIMITS": value})


def test_the_readme_names_every_variable_with_its_default(bundles: Path) -> None:
    text = (bundles.parent / "README.md").read_text()
    table = dict(re.findall(r"^\| `FLOTILLA_(\w+)` \| `?([^`|]*?)`? \|", text, re.MULTILINE))
    defaults = {field.name.upper(): getattr(Settings(), field.name) for field in fields(Settings)}
    shown = {name: str(value).replace("None", "none") for name, value in defaults.items()}
    assert table == shown | {"FAST_PATH": "true"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LOG_SAMPLE", "2"),
        ("LOG_SAMPLE", "nan"),
        ("CAPTURE_SAMPLE", "often"),
        ("FAST_PATH", "yes"),
        ("PORT", "70000"),
    ],
)
def test_a_wrong_share_switch_or_port_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=f"FLOTILLA_{name} is '{value}'"):
        Settings.from_environment({f"FLOTILLA_{name}": value})
