"""What each view of the page /fleet tells, of a generated fleet in a real Prometheus."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from fleet_page.prometheus import Prometheus
from fleet_page.web import Sources, application
from generated_fleet import BEFORE, CANDIDATE, LIVE

pytestmark = pytest.mark.long

VIEWS = ("/fleet", "/fleet/time", "/fleet/model", "/fleet/releases", "/fleet/alerts", "/fleet/runbook")
NOBODY = Prometheus("http://127.0.0.1:9")


@pytest.fixture(scope="module")
def client(sources: Sources) -> FlaskClient:
    return application(sources).test_client()


def text(client: FlaskClient, address: str, status: int = 200) -> str:
    """Return what a person reads at an address."""
    answer = client.get(address)
    assert answer.status_code == status, answer.text
    words = unescape(re.sub(r"<[^>]+>", " ", answer.text)).replace("\N{NO-BREAK SPACE}", " ")
    return re.sub(r"\s+", " ", words)


def names(client: FlaskClient, address: str) -> list[str]:
    """Return the nodes of the table, in its order."""
    return re.findall(r'only=(node\d+)"', client.get(address).text)


def test_now_tells_what_is_live_since_when_and_by_whom(client: FlaskClient) -> None:
    found = text(client, "/fleet")
    assert f"Live release {LIVE} since" in found
    assert "(2 d), by mara@bastion" in found
    assert f"Candidate {CANDIDATE} gets 20 % of the requests" in found
    assert "● 3 up ◌ 1 no answer ✖ 1 down ▲ 1 drained" in found
    assert "Last run canary site.yml by mara" in found
    assert "1 firing EndpointDown" in found


def test_a_node_s_row_has_its_figures_with_units(client: FlaskClient) -> None:
    found = text(client, "/fleet?q=node004")
    row = re.search(
        rf"node004 ● up {LIVE} green 1 ([\d.]+) /s ([\d.]+) % ([\d.]+) ms ▲ 240 % 93 MB 18.2 % of 512 MB",
        found,
    )
    assert row, found
    assert 14 < float(row[1]) < 35
    assert "1 of 6 nodes" in found


def test_nodes_can_be_filtered_and_sorted(client: FlaskClient) -> None:
    every = [f"node00{at}" for at in range(1, 7)]
    assert names(client, "/fleet") == every
    assert names(client, "/fleet?sort=name&order=desc") == every[::-1]
    assert names(client, "/fleet?state=drained") == ["node003"]
    assert names(client, "/fleet?q=ANSWER") == ["node002"]
    assert names(client, "/fleet?sort=drift&order=desc")[0] == "node004"
    assert names(client, "/fleet?sort=nonsense&state=nonsense") == every
    assert "No node is as you chose" in text(client, "/fleet?q=nowhere")


def test_a_node_without_requests_comes_last_in_either_order(client: FlaskClient) -> None:
    assert names(client, "/fleet?sort=p95&order=desc")[-1] == "node002"
    assert names(client, "/fleet?sort=p95&order=asc")[-1] == "node002"


@pytest.mark.parametrize("over", ["1h", "6h", "1d", "7d", "30d"])
@pytest.mark.parametrize("by", ["model", "release", "node"])
def test_every_range_has_curves_of_at_most_300_points(client: FlaskClient, over: str, by: str) -> None:
    page = client.get(f"/fleet/time?range={over}&by={by}").text
    curves = re.findall(r'class="serie serie-\d+"><path d="([^"]+)"', page)
    assert len(curves) > 10
    assert max(curve.count(" ") / 2 for curve in curves) <= 301
    assert page.count('class="empty"') == 0


def test_what_happened_is_drawn_as_marks(client: FlaskClient) -> None:
    found = text(client, "/fleet/time?range=6h")
    assert "site.yml: canary, by mara" in found
    assert "drain.yml of node003: changed, by mara" in found
    assert "the candidate gets 20 % of the requests, 5 % before" in found
    assert "alert LatencyBudgetBurns fires" in found
    page = client.get("/fleet/time?range=6h").text
    assert {f"mark-{kind}" for kind in ("canary", "drain", "alert")} <= set(
        re.findall(r'"mark (mark-\w+)"', page)
    )
    month = text(client, "/fleet/time?range=30d")
    assert f"site.yml: released, release {BEFORE}, by mara" in month


def test_one_curve_can_be_chosen(client: FlaskClient) -> None:
    page = client.get("/fleet/time?by=model&only=iris").text
    assert "iris" in page
    assert ">penguins</th>" not in re.sub(r"\s+", "", page).replace("<thscope", "<th scope")
    assert "No request was counted" in text(client, "/fleet/time?by=model&only=nothing%22%7D")


def test_a_model_shows_its_contract_and_what_moved(client: FlaskClient) -> None:
    found = text(client, "/fleet/model?name=penguins&range=1d")
    assert "Model penguins version 1" in found
    assert "numpy pipeline" in found
    assert "random rows 20000" in found
    assert "Biscoe, Dream, Torgersen; unknown ones are encoded as other" in found
    assert "32.1 to 59.6 in training" in found
    assert re.search(r"body_mass_g number .* ▲ \d", found)
    assert "shop" in found
    page = client.get("/fleet/model?name=penguins&range=1d").text
    assert page.count("histogram-graph") == 7  # six columns and one output
    assert len(re.findall(r'class="serie serie-1"><g class="histbars"', page)) == 7


def test_a_model_that_is_not_live_is_refused(client: FlaskClient) -> None:
    assert "has no model 'nothing'" in text(client, "/fleet/model?name=nothing", 404)


def test_releases_compare_both_sides_of_a_canary(client: FlaskClient) -> None:
    found = text(client, "/fleet/releases")
    assert f"The canary {CANDIDATE} gets 20 % of the requests" in found
    sides = re.findall(rf"(live|canary) ({LIVE}|{CANDIDATE}) ([\d.]+) /s ([\d.]+) % ([\d.]+) ms", found)
    assert [side[0] for side in sides] == ["live", "canary"]
    assert float(sides[0][4]) < float(sides[1][4])
    assert "penguins, predict" in found
    assert "no more different than chance makes them" in found
    assert "code, models or libraries (another image)" in found
    assert re.search(r"✖ failed site.yml mara@bastion 1 min 35 s node002: the endpoint is not ready", found)


def test_alerts_lead_to_their_place_in_the_runbook(client: FlaskClient) -> None:
    found = text(client, "/fleet/alerts")
    assert (
        "EndpointDown ✖ critical The endpoint of node002 does not answer. endpoint node002, machine 10.1.0.2"
        in found
    )
    assert "Drift ▲ warning" in found[found.index("Pending") :]
    assert "Watchdog" not in found
    link = re.search(r'href="/fleet/runbook#(\w+)">runbook', client.get("/fleet/alerts").text)
    assert link
    assert f'id="{link[1]}"' in client.get("/fleet/runbook").text


@pytest.mark.parametrize("view", VIEWS)
def test_no_view_has_a_script_or_a_style_of_its_own(client: FlaskClient, view: str) -> None:
    answer = client.get(view)
    assert "<script" not in answer.text
    assert "style=" not in answer.text
    assert "<style" not in answer.text
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self'")
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("view", VIEWS)
def test_the_page_can_only_be_read(client: FlaskClient, view: str) -> None:
    assert client.head(view).status_code == 200
    for method in ("post", "put", "delete", "patch", "options"):
        assert getattr(client, method)(view).status_code == 405


def test_without_prometheus_now_is_told_from_what_the_last_run_left(sources: Sources) -> None:
    client = application(replace(sources, prometheus=NOBODY)).test_client()
    found = text(client, "/fleet")
    assert "Prometheus can't be asked (http://127.0.0.1:9: " in found
    assert f"Live release {LIVE}" in found
    assert "● 4 up ✖ 1 down ▲ 1 drained" in found
    assert "Requests \N{EN DASH} average" in found
    for view in VIEWS:
        assert "Prometheus can't be asked" in text(client, view)
    assert "Biscoe, Dream, Torgersen" in text(client, "/fleet/model?name=penguins")


def test_before_the_first_run_each_view_says_what_to_do(sources: Sources, tmp_path: Path) -> None:
    client = application(Sources(NOBODY, tmp_path, sources.runbook)).test_client()
    for view in VIEWS:
        assert f"No run has left {tmp_path}/fleet.json yet. Run site.yml." in text(client, view)


def test_facts_of_another_version_are_refused_with_the_fix(sources: Sources, tmp_path: Path) -> None:
    (tmp_path / "fleet.json").write_text(json.dumps({"format": 2}))
    client = application(Sources(NOBODY, tmp_path, sources.runbook)).test_client()
    assert "has the format 2, and this page reads 1" in text(client, "/fleet")


def test_what_a_name_holds_is_never_taken_for_html(sources: Sources, tmp_path: Path) -> None:
    found = json.loads((sources.facts / "fleet.json").read_text())
    found["nodes"][0]["name"] = found["nodes"][0]["reason"] = "<b>bold</b>"
    (tmp_path / "fleet.json").write_text(json.dumps(found))
    answer = application(replace(sources, facts=tmp_path)).test_client().get("/fleet")
    assert "<b>bold" not in answer.text
    assert "&lt;b&gt;bold" in answer.text
