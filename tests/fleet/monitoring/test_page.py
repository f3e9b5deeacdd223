"""The page /fleet of a fleet under load, in a real Chromium; the pictures are kept in .cache/pictures."""

from collections.abc import Iterator

import pytest

from chromium import Page, browsing
from fleet.deploy import live
from fleet.fleet import Fleet
from fleet.load import IRIS, Question, under_load
from fleet.machine import wait_until
from page_views import VIEWS as EVERY_VIEW
from page_views import assert_well_shown, keep_picture, show

VIEWS = EVERY_VIEW | {"model": "/fleet/model?name=penguins&range=1h"}
"""Of the model what the hour has: there is a load for some minutes only."""

PENGUIN = {
    "island": "Biscoe",
    "sex": None,
    "bill_length_mm": 47.3,
    "bill_depth_mm": 15.3,
    "flipper_length_mm": 222,
    "body_mass_g": 5250,
}
QUESTIONS = (IRIS, Question({"model": "penguins", "instances": [PENGUIN]}, ["Gentoo"]))
RATES = """[...document.querySelectorAll('.nodes tbody tr')]
  .map((row) => [row.cells[0].textContent, parseFloat(row.cells[5].textContent)])"""
CURVES = {"time", "nodes", "model"}
DRAWN = "document.querySelectorAll('figure.panel svg .serie path').length"
SEEN_SECONDS = 180
"""Prometheus asks each 15 s, computes a rule each minute, and a curve of an hour has a point in half a minute."""


@pytest.fixture(scope="module")
def page(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A browser that reaches the load balancers, beside a load that they serve."""
    addresses = [balancer.address for balancer in fleet.load_balancers]
    with (
        under_load(fleet.urls, rate=40, questions=QUESTIONS) as load,
        browsing(tmp_path_factory.mktemp("browser"), *addresses) as found,
    ):

        def counted() -> bool:
            show(found, fleet.url + VIEWS["now"], "desktop", "light")
            rates = found.ask(RATES)
            if len(rates) != len(fleet.nodes) or not all(rate and rate > 1 for _, rate in rates):
                return False
            show(found, fleet.url + VIEWS["model"], "desktop", "light")
            return bool(found.ask(DRAWN))

        wait_until("the page has the requests of each node and of the model", counted, SEEN_SECONDS)
        yield found
    load.record().assert_nothing_lost()


@pytest.mark.parametrize(("size", "theme"), [("desktop", "light"), ("phone", "dark")])
@pytest.mark.parametrize("view", VIEWS)
def test_each_view_shows_what_the_fleet_does(
    page: Page, fleet: Fleet, view: str, size: str, theme: str
) -> None:
    for url in fleet.urls:
        show(page, url + VIEWS[view], size, theme)
        assert_well_shown(page, url, theme)
    keep_picture(page, f"real-{view}-{size}-{theme}")
    empty = page.ask("[...document.querySelectorAll('main .empty')].map((found) => found.textContent)")
    assert not [words for words in empty if "come from Prometheus" in words or "known" in words]
    if view in CURVES:
        assert page.ask(DRAWN) > 0


def test_it_names_what_is_live_and_each_node(page: Page, fleet: Fleet) -> None:
    show(page, fleet.url + VIEWS["now"], "desktop", "light")
    assert [name for name, _ in page.ask(RATES)] == [node.name for node in fleet.nodes]
    assert live(fleet) in page.ask("document.querySelector('main').textContent")


def test_it_says_so_when_prometheus_is_away_and_still_shows_the_nodes(page: Page, fleet: Fleet) -> None:
    fleet.monitoring.run("docker", "stop", "flotilla-prometheus")
    try:
        show(page, fleet.url + VIEWS["now"], "desktop", "light")
        assert page.complaints() == []
        assert "Prometheus" in page.ask("document.querySelector('[role=status]').textContent")
        assert [name for name, _ in page.ask(RATES)] == [node.name for node in fleet.nodes]
        keep_picture(page, "real-now-without-prometheus")
    finally:
        fleet.monitoring.run("docker", "start", "flotilla-prometheus")
