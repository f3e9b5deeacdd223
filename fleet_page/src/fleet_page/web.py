"""The Flask application: every route, what is asked for it, and the headers of each answer."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import markdown
from flask import Blueprint, Flask, Response, abort, current_app, render_template, request
from markupsafe import Markup

from fleet_page import alerts, facts, marks, model, now, numbers, over_time, queries, releases
from fleet_page.charts import Mark
from fleet_page.facts import Fleet, Models, NoFactsError
from fleet_page.prometheus import Alert, AwayError, Prometheus, Sample, Series, Window

_POLICY = {
    "default-src": "'none'",
    "style-src": "'self'",
    "img-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
POLICY = "; ".join(f"{name} {source}" for name, source in _POLICY.items())
"""No script runs at all, and nothing is loaded from elsewhere."""

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}

pages = Blueprint("pages", __name__, url_prefix="/fleet", static_folder="static", template_folder="templates")


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the page reads: Prometheus, the folder in which runs leave facts, and the runbook."""

    prometheus: Prometheus
    facts: Path
    runbook: Path
    clock: Callable[[], float] = time.time


@dataclass(slots=True)
class View:
    """What every view knows: the fleet, None where no run has left it, and what Prometheus says of the alerts."""

    sources: Sources
    at: float
    fleet: Fleet | None = None
    models: Models = field(default_factory=lambda: facts.NO_MODELS)
    problems: list[str] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    away: bool = False

    @classmethod
    def begin(cls) -> View:
        sources: Sources = current_app.extensions["sources"]
        view = cls(sources, sources.clock())
        try:
            view.fleet = facts.read_fleet(sources.facts)
        except NoFactsError as error:
            view.problems.append(str(error))
        with contextlib.suppress(NoFactsError):  # the views that need models say what is to be done
            view.models = facts.read_models(sources.facts)
        try:
            view.alerts = sources.prometheus.alerts()
        except AwayError as error:
            view._is_away(error)
        return view

    def now(self, texts: Mapping[str, str], at: float | None = None) -> dict[str, list[Sample]]:
        """Return what Prometheus answers, nothing where it is away."""
        if self.away or not texts:
            return {}
        try:
            return self.sources.prometheus.now(texts, at or self.at)
        except AwayError as error:
            self._is_away(error)
            return {}

    def over(self, window: Window, texts: Mapping[str, str]) -> dict[str, list[Series]]:
        """Return the curves that Prometheus answers, none where it is away."""
        if self.away:
            return {}
        try:
            return self.sources.prometheus.over(window, texts)
        except AwayError as error:
            self._is_away(error)
            return {}

    def _is_away(self, error: AwayError) -> None:
        self.away = True
        self.problems.append(
            f"Prometheus can't be asked ({error}), so rates, curves and alerts are missing. "
            "Look at its log on the monitoring host (docker logs flotilla-prometheus), and run site.yml."
        )

    def render(self, template: str, **values: object) -> str:
        return render_template(
            template, view=self, firing=alerts.rows(self.alerts, "firing"), n=numbers, page=template, **values
        )

    def marks(self, window: Window, found: Mapping[str, list[Series]]) -> tuple[list[Mark], int]:
        runs = self.fleet["runs"] if self.fleet else []
        return marks.all_marks(runs, found.get("percent", []), found.get("alerts", []), window)


@pages.get("")
def now_view() -> str:
    view = View.begin()
    found, chosen = view.now(queries.NOW), now.choice(request.args)
    every = now.rows(view.fleet, found) if view.fleet else []
    return view.render(
        "now.html",
        rows=now.shown(every, chosen),
        every=every,
        choice=chosen,
        columns=now.COLUMNS,
        worst_first=now.WORST_FIRST,
        states=now.STATES,
        totals=now.totals(every, found),
        balancers=now.balancers(view.fleet, found) if view.fleet else [],
        made_live=now.put_live(view.fleet, view.fleet["live"]) if view.fleet else None,
    )


@pages.get("/time")
def time_view() -> str:
    view, chosen = View.begin(), over_time.asked(request.args)
    window = queries.window(chosen.over, view.at)
    nodes: list[str] = []
    if chosen.by == "node" and not chosen.only:
        slow = view.now({"p95": over_time.SLOWEST})
        nodes = [sample.labels.get("endpoint", "") for sample in slow.get("p95", ())]
    found = view.over(window, over_time.texts(chosen, nodes) | queries.MARKS)
    happened, earlier = view.marks(window, found)
    return view.render(
        "time.html",
        asked=chosen,
        ranges=queries.RANGES,
        ways=over_time.BY,
        choices=over_time.choices(view.fleet, view.models, chosen.by),
        charts=over_time.charts(chosen, found, window, happened),
        marks=happened,
        earlier=earlier,
        kinds=marks.KINDS,
        some_nodes=len(nodes) if view.fleet and len(view.fleet["nodes"]) > len(nodes) else 0,
    )


@pages.get("/model")
def model_view() -> str:
    view, over = View.begin(), queries.chosen(request.args.get("range", ""))
    models = view.models["models"]
    name = request.args.get("name", "") or (models[0]["name"] if models else "")
    card = next((entry for entry in models if entry["name"] == name), None)
    if name and card is None and models:
        abort(404, f"the live release has no model {name[:63]!r}")
    if card is None or view.fleet is None:
        return view.render("model.html", card=None, models=models, over=over, ranges=queries.RANGES)
    release = view.fleet["live"]["id"] if view.fleet["live"] else ""
    window = queries.window(over, view.at)
    found = view.over(window, model.texts(card, release, over) | queries.MARKS)
    counts = view.now(model.count_texts(name, release, over), window.end)
    happened, earlier = view.marks(window, found)
    columns = model.columns(card, counts)
    drawn = [column for column in columns if column.spread]
    return view.render(
        "model.html",
        card=card,
        models=models,
        release=release,
        over=over,
        ranges=queries.RANGES,
        columns=columns,
        pictures=model.pictures([*drawn[: model.DRAWN], *model.answers(card, counts)]),
        drawn=model.DRAWN,
        clients=model.clients(counts),
        requests=now.by(counts.get("requests", ()), "release"),
        charts=model.charts(found, window, happened),
        marks=happened,
        earlier=earlier,
        kinds=marks.KINDS,
    )


@pages.get("/releases")
def releases_view() -> str:
    view = View.begin()
    found = view.now(releases.texts(view.fleet, view.at)) if view.fleet else {}
    return view.render(
        "releases.html",
        runs=releases.runs(view.fleet) if view.fleet else [],
        releases=releases.releases(view.fleet) if view.fleet else [],
        sides=releases.sides(view.fleet, found) if view.fleet else [],
        answers=releases.answers(view.fleet, found) if view.fleet else [],
    )


@pages.get("/alerts")
def alerts_view() -> str:
    view = View.begin()
    return view.render(
        "alerts.html",
        pending=alerts.rows(view.alerts, "pending"),
        watchdog=alerts.watchdog_fires(view.alerts),
    )


@pages.get("/runbook")
def runbook_view() -> str:
    view = View.begin()
    try:
        text = view.sources.runbook.read_text(encoding="utf-8")
    except OSError:
        abort(404, "this page was deployed without the runbook")
    # The text is the project's own, of the image.
    content = Markup(markdown.markdown(text, extensions=["tables", "fenced_code", "toc"]))  # noqa: S704
    return view.render("runbook.html", content=content)


def application(sources: Sources) -> Flask:
    """Make the application. Every route answers GET and HEAD, and no other method."""
    app = Flask(__name__, static_folder=None)
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.extensions["sources"] = sources
    app.jinja_options = {"trim_blocks": True, "lstrip_blocks": True}
    app.register_blueprint(pages)

    @app.errorhandler(404)
    @app.errorhandler(405)
    def refused(error: Exception) -> tuple[str, int]:
        status = int(getattr(error, "code", 500))
        words = {405: "This page answers GET and HEAD alone: it can change nothing."}
        return render_template(
            "refused.html", status=status, words=words.get(status, str(getattr(error, "description", "")))
        ), status

    @app.after_request
    def secured(answer: Response) -> Response:
        answer.headers.update(HEADERS)
        answer.headers["Cache-Control"] = (
            "private, max-age=3600" if request.endpoint == "pages.static" else "no-store"
        )
        return answer

    return app


def from_environment() -> Flask:
    """Make the application of the container."""
    return application(
        Sources(
            Prometheus(os.environ["FLOTILLA_PROMETHEUS"]),
            Path(os.environ["FLOTILLA_FACTS"]),
            Path(__file__).with_name("runbook.md"),
        )
    )
