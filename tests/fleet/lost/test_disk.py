"""A node whose disk was replaced serves again after one run."""

from fleet.deploy import FINE, deploy, live
from fleet.fleet import Fleet
from fleet.lost.machines import assert_whole, nothing_lost, replace


def test_a_node_whose_engine_has_lost_its_disk_serves_again(fleet: Fleet) -> None:
    node = fleet.nodes[0]
    release = live(fleet)
    with nothing_lost(*fleet.load_balancers):
        node.run("systemctl", "stop", "docker.socket", "docker.service")
        node.run("find", "/var/lib/docker", "-mindepth", "1", "-delete")
        node.run("systemctl", "start", "docker.socket", "docker.service")
        assert node.endpoints() == {}
        mended = deploy(fleet)
    assert mended.code == FINE, mended.output[-6000:]
    assert node.endpoints() == {release: "running"}
    assert_whole(fleet)


def test_a_node_whose_only_disk_was_replaced_serves_again(fleet: Fleet) -> None:
    node = fleet.nodes[1]
    release = live(fleet)
    with nothing_lost(*fleet.load_balancers):
        replace(node)
        mended = deploy(fleet)
    assert mended.code == FINE, mended.output[-6000:]
    assert node.endpoints() == {release: "running"}
    assert_whole(fleet)
