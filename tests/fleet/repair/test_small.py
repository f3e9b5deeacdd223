"""Who may read Nginx's files, and what a build needs and leaves on the builder's disk."""

import re
from pathlib import Path

from fleet.deploy import FINE, assert_live, deploy, live
from fleet.fleet import Fleet
from fleet.load import under_load
from fleet.machine import Machine
from fleet.playbook import refusal
from fleet.releases import new_model as make_model

CONFIGURATION, STATE = "/etc/flotilla/nginx/nginx.conf", "/var/lib/flotilla/state.json"
CACHE = "/var/cache/flotilla"


def stages(builder: Machine) -> list[str]:
    """Return the images without a tag that the stages of builds have left."""
    untagged = "docker", "image", "ls", "--quiet", "--filter", "dangling=true"
    return builder.run(*untagged, "--filter", "label=flotilla.stage").split()


def nginx_started(balancer: Machine) -> str:
    return balancer.run("docker", "inspect", "--format", "{{.State.StartedAt}}", "flotilla-nginx")


def test_a_disk_of_the_builder_that_is_too_full_is_named_before_the_build(
    fleet: Fleet, tmp_path: Path
) -> None:
    builder = fleet.builder
    before = stages(builder)
    unbuilt = make_model(tmp_path, "3")  # the builder has kept the images of earlier tests
    builder.run("mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", CACHE)
    try:
        said = refusal("site.yml", fleet.inventory, "--extra-vars", f"model_image_source={unbuilt}")
    finally:
        builder.run("umount", CACHE)
    wanted = rf"{builder.name}: flotilla/model-endpoint:\w+ needs [\d.]+ MB in {CACHE}, and [\d.]+ MB are free\. Free"
    assert re.search(wanted, said), said[-6000:]
    assert stages(builder) == before


def test_a_release_closes_what_an_earlier_version_left_open_and_leaves_one_stage_of_the_builds(
    fleet: Fleet, new_model: Path
) -> None:
    first = live(fleet)
    (before,) = stages(fleet.builder)
    started = {balancer.name: nginx_started(balancer) for balancer in fleet.load_balancers}
    for balancer in fleet.load_balancers:
        balancer.run("chown", "0", CONFIGURATION)
        balancer.run("chmod", "0644", CONFIGURATION, STATE)
    with under_load(fleet.urls) as load:
        outcome = deploy(fleet, source=new_model)
        outcome.assert_ended(FINE, "released")
        assert_live(fleet, outcome.verdict["live"], load.during(1))
        deploy(fleet, "playbooks/rollback.yml").assert_ended(FINE, "rolled back")
        assert_live(fleet, first, load.during(1))
    load.record().assert_nothing_lost()
    for balancer in fleet.load_balancers:
        told = balancer.run("stat", "--format", "%a %u", CONFIGURATION, STATE).splitlines()
        assert told == ["400 10002", "600 0"]
        assert nginx_started(balancer) == started[balancer.name]
    (after,) = stages(fleet.builder)
    assert after != before
