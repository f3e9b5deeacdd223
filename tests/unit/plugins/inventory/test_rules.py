"""Values that a variable's rule refuses, and keys, which no message shows."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.check import inventory_errors
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.rules import RULES

from unit.plugins.inventory.inventories import KEY, SECRETS, SETTINGS, errors, fleet, only_error, roles


def test_every_rule_is_about_a_variable_of_a_role() -> None:
    assert set(RULES) <= SETTINGS


@pytest.mark.parametrize(
    ("weight", "shown"),
    [
        (0, "0"),
        (-1, "-1"),
        (2.5, "2.5"),
        ("3x", "'3x'"),
        ("", "''"),
        (True, "true"),
        (None, "empty"),
        ("0", "'0'"),
    ],
)
def test_a_weight_that_is_no_whole_number_of_at_least_1(weight: object, shown: str) -> None:
    assert only_error(fleet(n2={"model_endpoint_weight": weight})) == (
        f"n2: model_endpoint_weight is {shown}: set a whole number of at least 1 "
        "(to send a node no requests, set model_endpoint_state: drained)"
    )


STEPS = [{"percent": 5, "bake": 60}, {"percent": "25", "bake": "0"}, {"percent": 99.5, "bake": 1.5}]


@pytest.mark.parametrize(
    "variables",
    [
        {"release_canary_percent": 0, "release_shadow_percent": 100},
        {"release_canary_percent": "12.5", "release_shadow_percent": "0"},
        {"release_canary_percent": None},
        {"release_canary_steps": [], "release_canary_key": ""},
        {"release_canary_steps": STEPS, "release_canary_key": "X-API-Key"},
        {"release_min_nodes": 3},
        {"release_ramp_seconds": 0, "release_drain_timeout": "0", "release_bake_seconds": 300},
        {"release_watch_min_requests": 1, "release_watch_p95_factor": 1.5},
        {"release_watch_failure_points": 0, "release_watch_p95_factor": 0, "release_watch_p95_floor": "0"},
        {"release_watch_answers": "2.5"},
        {"release_watch_answers": None},
        {"release_lock_wait": 600},
    ],
    ids=str,
)
def test_good_settings_of_a_release(variables: dict[str, Any]) -> None:
    assert errors(fleet(lb=variables)) == []


PERCENT = "set a number from 0 to 100"


SECONDS = "set a whole number of seconds, 0 or more"


HEADER = "set the name of a request header, such as X-API-Key: letters, digits and '-'; or '' for no header"


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("release_canary_percent", -1, f"-1: {PERCENT}"),
        ("release_canary_percent", 100.5, f"100.5: {PERCENT}"),
        ("release_canary_percent", "5%", f"'5%': {PERCENT}"),
        ("release_canary_percent", "", f"'': {PERCENT}"),
        ("release_canary_percent", float("nan"), f"nan: {PERCENT}"),
        ("release_shadow_percent", 101, f"101: {PERCENT}"),
        ("release_shadow_percent", None, f"empty: {PERCENT}"),
        ("release_shadow_percent", True, f"true: {PERCENT}"),
        ("release_canary_key", "X_API_Key", f"'X_API_Key': {HEADER}"),
        ("release_canary_key", "X-Key;", f"'X-Key;': {HEADER}"),
        ("release_canary_key", "X-Key\n", f"'X-Key\\n': {HEADER}"),
        ("release_canary_key", None, f"empty: {HEADER}"),
        ("release_min_nodes", 0, "0: set a whole number of at least 1"),
        ("release_min_nodes", "most", "'most': set a whole number of at least 1"),
        ("release_min_nodes", 4, "4: model_nodes has 3 hosts: set at most 3, or add hosts"),
        ("release_min_nodes", "4", "'4': model_nodes has 3 hosts: set at most 3, or add hosts"),
        ("release_ramp_seconds", -1, f"-1: {SECONDS}"),
        ("release_drain_timeout", 1.5, f"1.5: {SECONDS}"),
        ("release_bake_seconds", "5m", f"'5m': {SECONDS}"),
        ("release_watch_min_requests", 0, "0: set a whole number of at least 1"),
        ("release_watch_failure_points", -0.1, "-0.1: set a number of 0 or more"),
        ("release_watch_answers", 101, f"101: {PERCENT}"),
        ("release_watch_answers", "off", f"'off': {PERCENT}"),
        ("release_watch_p95_factor", -1, "-1: set a number of 0 or more"),
        ("release_watch_p95_factor", float("inf"), "inf: set a number of 0 or more"),
        ("release_watch_p95_floor", "20ms", "'20ms': set a number of 0 or more"),
        ("release_lock_wait", -5, f"-5: {SECONDS}"),
        ("model_endpoint_answer_seconds", 0, "0: set a number above 0"),
        ("model_endpoint_answer_seconds", "-1", "'-1': set a number above 0"),
    ],
)
def test_settings_of_a_release_out_of_range(variable: str, value: object, message: str) -> None:
    assert only_error(fleet(lb={variable: value})) == f"lb: {variable} is {message}"


@pytest.mark.parametrize(
    "steps",
    [
        "5,25,100",
        [5, 25, 100],
        [{"percent": 5}],
        [{"percent": 5, "bake": 60, "pause": 1}],
        [{"percent": 5, "bake": 60}, {"percentage": 100, "bake": 0}],
    ],
    ids=str,
)
def test_canary_steps_of_another_form(steps: object) -> None:
    found = only_error(fleet(lb={"release_canary_steps": steps}))
    assert found == (
        f"lb: release_canary_steps is {steps!r}: set a list of steps, each with percent and bake only, such as "
        "[{percent: 5, bake: 60}, {percent: 100, bake: 0}]"
    )


@pytest.mark.parametrize(
    ("percent", "bake", "message"),
    [
        (0, 60, "percent of step 2 is 0: set a number above 0 and at most 100"),
        (101, 60, "percent of step 2 is 101: set a number above 0 and at most 100"),
        ("all", 60, "percent of step 2 is 'all': set a number above 0 and at most 100"),
        (5, 60, "percent of step 2 is 5: set more than in the step before"),
        (100, -1, "bake of step 2 is -1: set seconds, 0 or more"),
        (100, "1m", "bake of step 2 is '1m': set seconds, 0 or more"),
        (100, None, "bake of step 2 is empty: set seconds, 0 or more"),
    ],
)
def test_canary_steps_with_a_wrong_percent_or_bake(percent: object, bake: object, message: str) -> None:
    steps = [{"percent": 5, "bake": 60}, {"percent": percent, "bake": bake}]
    assert only_error(fleet(lb={"release_canary_steps": steps})).endswith(f"}}]: {message}")


@pytest.mark.parametrize(
    ("variable", "value", "fix"),
    [
        ("nginx_lb_trusted_proxies", "10.0.0.1", "set a list of addresses and networks"),
        ("nginx_lb_trusted_proxies", ["10.0.0.1", "proxy"], "'proxy' is neither an address nor a network"),
        ("nginx_lb_trusted_proxies", ["::/0"], "'::/0' trusts any client to name its own address"),
        ("nginx_lb_operators", ["10.0.0.1/8"], "'10.0.0.1/8' is neither an address nor a network"),
        ("nginx_lb_operators", [10], "10 is neither an address nor a network"),
        ("nginx_lb_operators", ["fe80::1%eth0"], "'fe80::1%eth0' is neither an address nor a network"),
        ("nginx_lb_rate", -1, "set a whole number of at least 0"),
        ("nginx_lb_burst", 0, "set a whole number of at least 1"),
        ("model_endpoint_row_limits", 100, "set a mapping of models to rows, such as {churn: 5000}"),
        ("model_endpoint_row_limits", {"churn": 0}, "churn has 0: set a whole number of at least 1"),
        ("nginx_lb_quotas", ["/predict"], "set a mapping of routes to requests a second"),
        ("nginx_lb_quotas", {"predict": 5}, "'predict' is not the beginning of a route"),
        ("nginx_lb_quotas", {"/": 5}, "to limit all routes, set nginx_lb_rate"),
        ("nginx_lb_quotas", {"/predict/": 5}, "'/predict/' is not the beginning of a route"),
        ("nginx_lb_quotas", {'/a"; return 200;': 5}, "is not the beginning of a route"),
        ("nginx_lb_quotas", {"/predict": 0}, "/predict has 0: set a whole number of at least 1"),
        ("nginx_lb_client_connections", "many", "set a whole number of at least 0"),
        ("nginx_lb_client_timeout", 0.5, "set a whole number of at least 1"),
    ],
)
def test_a_frontend_setting_that_nginx_can_not_use_is_refused(variable: str, value: object, fix: str) -> None:
    found = only_error(fleet(lb={variable: value}))
    assert found.startswith(f"lb: {variable} is ")
    assert fix in found


def test_good_frontend_settings_have_no_errors() -> None:
    settings = {
        "nginx_lb_trusted_proxies": ["192.0.2.7", "2001:db8::/32"],
        "nginx_lb_operators": ["0.0.0.0/0"],
        "nginx_lb_api_keys": {"alice": KEY, "team-2.b": KEY[::-1]},
        "nginx_lb_rate": "50",
        "model_endpoint_row_limits": {"churn": 5000, "iris": "100"},
        "nginx_lb_quotas": {"/invocations": 5, "/v2/models/iris": "2"},
        "nginx_lb_client_connections": 0,
    }
    assert inventory_errors(*fleet(lb=settings), roles(SECRETS)) == []


@pytest.mark.parametrize(
    ("variable", "value", "fix"),
    [
        ("nginx_lb_api_keys", KEY, "set a mapping of names to keys"),
        ("nginx_lb_api_keys", {"alice": KEY, "bob": KEY[1:]}, "the key of entry 2 is not valid"),
        ("nginx_lb_api_keys", {"alice": f"{KEY} "}, "the key of entry 1 is not valid"),
        ("nginx_lb_api_keys", {KEY: "alice"}, "the key of entry 1 is not valid"),
        ("nginx_lb_api_keys", {f"{KEY} alice": KEY}, "the name of entry 1 is not valid"),
        ("nginx_lb_api_keys", {"alice": KEY, "bob": KEY}, "two names have the same key"),
        ("nginx_lb_api_kyes", {"alice": KEY}, "did you mean nginx_lb_api_keys?"),
        ("nginx_lb_api_key", KEY, "did you mean nginx_lb_api_keys?"),
        ("nginx_lb_secrets", {"alice": KEY}, "there is no such variable"),
    ],
)
def test_a_mistake_with_keys_shows_none(variable: str, value: object, fix: str) -> None:
    (found,) = inventory_errors(*fleet(lb={variable: value}), roles(SECRETS))
    assert found.startswith(f"lb: {variable} is (hidden): ")
    assert fix in found
    assert KEY[1:] not in found
