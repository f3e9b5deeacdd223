"""A fleet that an older commit deployed is taken over by this one's site.yml: no request is lost."""

import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from fleet import tls
from fleet.deploy import FAILED, FINE, Outcome, assert_live, deploy, live, state
from fleet.fleet import Fleet
from fleet.load import Load, Record, under_load
from fleet.upgrade.older import Older

# One load balancer's reload: requests that its old worker had begun, and connections it took before.
RELOAD_SECONDS = 1.0
STATE = "/var/lib/flotilla/state.json"


# How clients are served in the tests after the first.
TLS: dict[str, Any] = {"nginx_lb_tls": "internal"}


def take_over(fleet: Fleet, **settings: Any) -> Outcome:
    """Run this checkout's site.yml, with bounds that leave room for the noise of cores that do all the work."""
    return deploy(
        fleet,
        release_bake_seconds=2,
        release_ramp_seconds=0,
        release_watch_p95_factor=5,
        release_watch_p95_floor=0.08,
        **settings,
    )


def https(fleet: Fleet) -> list[str]:
    """Return the URLs of all load balancers for clients that speak TLS."""
    return [f"https://{balancer.address}" for balancer in fleet.load_balancers]


def under_tls_load(fleet: Fleet) -> AbstractContextManager[Load]:
    """Send the load over TLS, from clients that trust the fleet's internal authority."""
    return under_load(https(fleet), authority=tls.authority(fleet))


def nginx_containers(fleet: Fleet) -> list[str]:
    """Return, by load balancer, the id of Nginx's container and since when it has been running."""
    shown = ("docker", "inspect", "--format", "{{.Id}} {{.State.StartedAt}}", "flotilla-nginx")
    return [balancer.run(*shown).strip() for balancer in fleet.load_balancers]


def assert_one_switch(fleet: Fleet, record: Record, old: str, new: str) -> None:
    """Check that each load balancer sent its requests to `old`, then to `new`, and not back or elsewhere."""
    for url in fleet.urls:
        through = record.through(url)
        assert set(through.by_release()) == {old, new}
        assert through.overlap(old, new) <= RELOAD_SECONDS, url


def test_a_takeover_loses_nothing_and_switches_the_release_once(fleet: Fleet, older_release: str) -> None:
    nginx = nginx_containers(fleet)
    with under_load(fleet.urls) as load:
        outcome = take_over(fleet)
        new = live(fleet)
        assert_live(fleet, new, load.during(1))
    record = load.record()
    record.assert_nothing_lost()
    outcome.assert_ended(FINE, "released")
    assert_one_switch(fleet, record, older_release, new)
    assert nginx_containers(fleet) == nginx, "Nginx's container was made anew, or restarted"
    assert {state(fleet, balancer.name)["format"] for balancer in fleet.load_balancers} == {1}

    with under_load(fleet.urls) as load:
        again = take_over(fleet)
    load.record().assert_nothing_lost()
    again.assert_ended(FINE, "unchanged")
    assert again.changed == 0, again.output[-6000:]
    assert set(load.record().by_release()) == {new}


def test_a_canary_that_is_under_way_is_withdrawn_by_the_takeover(
    fleet: Fleet, older_release: str, older: Older, older_model: Path
) -> None:
    """Clients speak TLS here; the older commit has another name for the file of the certificate."""
    older.deploy(fleet, model_image_source=str(older_model), nginx_lb_canary_percent=50, **TLS)
    nginx = nginx_containers(fleet)
    with under_tls_load(fleet) as load:
        load.during(2)
        (canary,) = load.record().by_release().keys() - {older_release}
        outcome = take_over(fleet, **TLS)
        new = live(fleet)
        assert_live(fleet, new, load.during(1))
    record = load.record()
    record.assert_nothing_lost()
    outcome.assert_ended(FINE, "released")
    assert set(record.by_release()) == {older_release, canary, new}
    for url in https(fleet):
        through = record.through(url)
        assert through.overlap(older_release, new) <= RELOAD_SECONDS, url
        # The slot that it has is the one in which the new release is staged.
        assert through.overlap(canary, new) == 0, url
    assert nginx_containers(fleet) == nginx, "Nginx's container was made anew, or restarted"
    assert take_over(fleet, **TLS).changed == 0


def test_the_older_release_can_be_gone_back_to(fleet: Fleet) -> None:
    """Its image is the older commit's. The fleet is the one that the tests above have taken over."""
    new, older = live(fleet), state(fleet, fleet.load_balancer.name)["previous"][0]["id"]
    with under_tls_load(fleet) as load:
        deploy(fleet, "playbooks/rollback.yml", **TLS).assert_ended(FINE, "rolled back")
        assert_live(fleet, older, load.during(1))
        deploy(fleet, "playbooks/rollback.yml", release=new, **TLS).assert_ended(FINE, "rolled back")
        assert_live(fleet, new, load.during(1))
    load.record().assert_nothing_lost()


def test_a_state_whose_format_is_newer_is_refused(fleet: Fleet) -> None:
    balancer = fleet.load_balancer
    known = balancer.run("cat", STATE)
    newer = json.dumps({**json.loads(known), "format": 99})
    balancer.run("tee", STATE, stdin=newer)
    try:
        with under_tls_load(fleet) as load:
            outcome = take_over(fleet, **TLS)
        assert outcome.code == FAILED
        assert "format 99, and this Flotilla knows 2" in outcome.verdict["message"]
        assert balancer.run("cat", STATE) == newer
        load.record().assert_nothing_lost()
    finally:
        balancer.run("tee", STATE, stdin=known)
    assert take_over(fleet, **TLS).changed == 0
