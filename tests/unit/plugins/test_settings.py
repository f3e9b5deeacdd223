"""Settings are the inventory's values, or else the defaults of the roles' argument specs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import (
    SPECS,
    Option,
    entry_points,
    parameters_in,
    setting,
    settings_in,
    settings_of,
)


def test_settings_have_the_type_and_the_default_of_their_spec() -> None:
    specs: dict[str, dict[str, Option]] = {
        "box": {
            "box_n": {"type": "int", "default": 1},
            "box_x": {"type": "float"},
            "box_on": {"type": "bool", "default": False},
            "box_name": {"type": "str", "default": "b"},
        }
    }
    given = {"h": {"box_n": "7", "box_on": "yes"}}
    assert settings_of(given, "h", "box", specs) == {"n": 7, "x": None, "on": True, "name": "b"}


def test_a_setting_of_this_collection_is_the_inventory_s_else_the_spec_s() -> None:
    hostvars = {"a": {"model_endpoint_port": "6001"}, "b": {}}
    assert setting(hostvars, "a", "model_endpoint_port") == 6001
    assert setting(hostvars, "b", "model_endpoint_port") == 5001
    assert setting(hostvars, "b", "virtual_address_ip") is None
    assert settings_of(hostvars, "a", "model_endpoint")["port"] == 6001
    with pytest.raises(KeyError, match="model_endpoint_prot"):
        setting(hostvars, "a", "model_endpoint_prot")


def test_the_options_of_main_are_settings_and_those_of_other_entry_points_parameters(tmp_path: Path) -> None:
    def write(role: str, **options: list[str]) -> None:
        meta = tmp_path / role / "meta"
        meta.mkdir(parents=True)
        entries: dict[str, object] = {
            name: {"options": {option: {} for option in names}} for name, names in options.items()
        }
        (meta / "argument_specs.yml").write_text(yaml.safe_dump({"argument_specs": entries | {"go": {}}}))

    write("box", main=["box_a"], stop=["box_a", "box_b", "lid_c"])
    write("lid", main=["lid_c"])
    write("nail", hit=["nail_d"])
    roles = entry_points(tmp_path)
    assert settings_in(roles) == {"box": {"box_a": {}}, "lid": {"lid_c": {}}, "nail": {}}
    assert parameters_in(roles) == {"box_b": "box", "nail_d": "nail"}


def test_what_is_named_like_a_secret_is_shown_by_no_output() -> None:
    secret = re.compile("passphrase|password|secret|token|_keys?$")
    # Names a header of the request, which is no secret.
    open_names = {"release_canary_key"}
    named = {
        name: option
        for options in SPECS.values()
        for name, option in options.items()
        if secret.search(name) and name not in open_names
    }
    assert {"internal_ca_passphrase", "nginx_lb_api_keys", "nginx_lb_tls_key"} <= named.keys()
    assert [name for name, option in named.items() if not option.get("no_log")] == []
