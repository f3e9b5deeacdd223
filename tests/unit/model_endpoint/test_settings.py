from __future__ import annotations

import pytest

from model_endpoint.settings import SettingError, Settings


def test_absent_and_empty_variables_keep_the_defaults() -> None:
    assert Settings.from_environment({"FLOTILLA_WORKERS": ""}) == Settings()


def test_variables_are_read() -> None:
    settings = Settings.from_environment({"FLOTILLA_ENDPOINT": "node-a", "FLOTILLA_WORKERS": "4"})
    assert (settings.endpoint, settings.workers) == ("node-a", 4)


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "257", "٣"])
def test_a_wrong_number_is_named(value: str) -> None:
    with pytest.raises(SettingError, match=f"FLOTILLA_WORKERS is '{value}'"):
        Settings.from_environment({"FLOTILLA_WORKERS": value})
