"""Who is told of alerts: the routes of receivers, and what a wrong one is told."""

from __future__ import annotations

import pytest
from ansible_collections.flotilla.fleet.plugins.plugin_utils.monitoring.receivers import (
    alert_receivers,
    alert_routes,
    receivers_fix,
)

HOOK = {"webhook_configs": [{"url": "https://alerts.example/secret-token"}]}


def test_a_receiver_is_told_of_all_but_the_watchdog() -> None:
    (route,) = alert_routes([{"name": "ops", **HOOK}])
    assert route["matchers"] == ['severity =~ "critical|warning"']
    assert route["continue"]


def test_the_watchdog_is_told_each_minute() -> None:
    alerts, watchdog = alert_routes([{"name": "ops", "severities": ["critical", "none"], **HOOK}])
    assert alerts["matchers"] == ['severity =~ "critical"']
    assert (watchdog["matchers"], watchdog["repeat_interval"]) == (["severity = none"], "1m")


def test_alertmanager_gets_no_key_that_it_does_not_know() -> None:
    receivers = alert_receivers([{"name": "ops", "severities": ["critical"], **HOOK}])
    assert receivers == [{"name": "nobody"}, {"name": "ops", **HOOK}]


def test_right_receivers_need_no_fix() -> None:
    assert receivers_fix([]) is None
    assert (
        receivers_fix([{"name": "ops", **HOOK}, {"name": "mail", "email_configs": [{"to": "a@b"}]}]) is None
    )


@pytest.mark.parametrize(
    ("receivers", "words"),
    [
        ("ops", "set a list of Alertmanager's receivers"),
        (["ops"], "set a list of Alertmanager's receivers"),
        ([HOOK], "receiver 1 has no name of its own"),
        ([{"name": "nobody", **HOOK}], "receiver 1 has no name of its own"),
        ([{"name": "ops", **HOOK}, {"name": "ops", **HOOK}], "two receivers have the name ops"),
        ([{"name": "ops"}], "receiver ops says no way to tell it"),
        ([{"name": "ops", "severities": ["page"], **HOOK}], "set some of critical, warning, none"),
        ([{"name": "ops", "severities": [], **HOOK}], "set some of critical, warning, none"),
        ([{"name": "ops", "severity": "critical", **HOOK}], "has the key severity"),
    ],
)
def test_a_wrong_receiver_is_told_the_fix_without_a_secret(receivers: object, words: str) -> None:
    fix = receivers_fix(receivers)
    assert fix
    assert words in fix
    assert "secret" not in fix
