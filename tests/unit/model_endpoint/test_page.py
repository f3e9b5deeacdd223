"""The page at /docs, in a real Chromium, as a server serves it over HTTP."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask.testing import FlaskClient

from chromium import Page, browsing
from model_endpoint.models import model
from model_endpoint.models.model import Models
from model_endpoint.packing import bundle, image, proof, rehearsal
from unit.model_endpoint import contracts
from unit.model_endpoint.server import Server

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore:X does not have valid feature names")]

# Between them they have every kind of field.
KINDS = ("mixed", "texts", "nullable", "dates", "large_integers", "category", "dicts")
ANSWERED = "!document.querySelector('#result').hidden && !document.querySelector('#send').disabled"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browsing(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture(scope="module")
def server(served: Path) -> Iterator[Server]:
    server = Server(served, FLOTILLA_ENDPOINT="node-a", FLOTILLA_RELEASE="r1")
    server.wait()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Models]]:
    """A server with a model of every kind of column, and these models."""
    folder = tmp_path_factory.mktemp("kinds")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rehearsal, "ALONE_ROWS", 2)  # other tests prove these models
        patch.setattr(proof, "RANDOM_ROWS", 100)
        for name in KINDS:
            estimator, data = contracts.KINDS[name]()
            bundle.pack(estimator, data, folder / "in" / name, name=name, version="1", sample=6)
        image.build(folder / "in", folder / "out")
    server = Server(folder / "out")
    server.wait()
    yield server, model.load(folder / "out")
    server.stop()


def show(page: Page, server: Server, name: str) -> None:
    """Open the page and choose a model."""
    page.events.clear()
    page.open(f"http://127.0.0.1:{server.port}/docs")
    page.wait("!document.querySelector('#form').hidden")
    choose(page, "#model", name)


def choose(page: Page, selector: str, value: str) -> None:
    page.ask(
        f"(() => {{ const list = document.querySelector('{selector}'); list.value = {json.dumps(value)};"
        "list.dispatchEvent(new Event('change', {bubbles: true})); })()"
    )


def field(page: Page, name: str) -> str:
    """The selector of a column's field, which is found by its label, as a person finds it."""
    found = page.ask(
        f"[...document.querySelectorAll('label')].find((label) => label.textContent === {json.dumps(name)})?.htmlFor"
    )
    assert found, name
    return f"#{found}"


def text(page: Page, selector: str) -> str:
    return str(page.ask(f"document.querySelector('{selector}').innerText"))


def content(page: Page, selector: str) -> str:
    """The text of an element, whether it is to be seen or not."""
    return str(page.ask(f"document.querySelector('{selector}').textContent"))


def predict(page: Page) -> None:
    """Press the button, and wait for the answer."""
    page.ask("document.querySelector('#result').hidden = true, document.querySelector('#send').click()")
    page.wait(ANSWERED)


def require_quiet(page: Page, server: Server) -> None:
    """The page asked its own server alone, and the console has no complaint."""
    assert page.requested()
    assert {urlsplit(url).netloc for url in page.requested()} == {f"127.0.0.1:{server.port}"}
    assert page.complaints() == []


def test_the_form_has_an_example_and_its_answer_has_probabilities(page: Page, server: Server) -> None:
    show(page, server, "penguins")
    assert page.ask(f"document.querySelector('{field(page, 'bill_length_mm')}').value") == "39.1"
    assert page.ask(f"document.querySelector('{field(page, 'island')}').value") == '"Torgersen"'
    assert "32.1 to 59.6 in training" in text(page, "#fields")
    predict(page)
    assert text(page, "#answer") == "Adelie"
    rows = page.ask("[...document.querySelectorAll('.bars tr')].map((row) => row.innerText.split('\\t'))")
    assert [row[0] for row in rows] == ["Adelie", "Chinstrap", "Gentoo"]
    assert float(rows[0][-1].removesuffix(" %")) > 99
    widths = page.ask(
        "[...document.querySelectorAll('.bar')].map((bar) => bar.getBoundingClientRect().width)"
    )
    assert widths[0] > 100 > widths[1]
    facts = text(page, "#facts")
    for fact in ("Release\nr1", "Endpoint\nnode-a", "Status\n200"):
        assert fact in facts
    assert " ms" in facts
    require_quiet(page, server)


def test_a_form_is_filled_and_sent_with_the_keyboard_alone(page: Page, server: Server) -> None:
    show(page, server, "penguins")
    page.ask(f"document.querySelector('{field(page, 'island')}').focus()")
    page.press("Tab")  # to sex
    page.press("Tab", " ")  # which is missing
    assert page.ask("document.activeElement.checked")
    page.press("Tab")
    page.type("50.0")
    page.press("Enter")
    page.wait(ANSWERED)
    sent = text(page, "#curl")
    assert '"sex": null' in sent
    assert '"bill_length_mm": 50.0' in sent
    require_quiet(page, server)


def test_every_field_has_a_label_and_the_page_a_language(page: Page, kinds: tuple[Server, Models]) -> None:
    server, models = kinds
    for name in models:
        show(page, server, name)
        unnamed = (
            "[...document.querySelectorAll('input, select, textarea')].filter((one) => !one.labels.length &&"
        )
        assert page.ask(f"{unnamed} !one.getAttribute('aria-label')).map((one) => one.id)") == []
    assert page.ask("document.documentElement.lang") == "en"


def test_the_example_of_every_kind_of_column_gets_its_golden_answer(
    page: Page, kinds: tuple[Server, Models]
) -> None:
    server, models = kinds
    for name, one in models.items():
        show(page, server, name)
        predict(page)
        assert "error" not in json.loads(content(page, "#whole")), (name, content(page, "#whole"))
        golden = one.golden[0]["outputs"]["predict"][0]
        shown = text(page, "#answer")
        assert shown == golden if isinstance(golden, str) else float(shown) == pytest.approx(golden), name
    require_quiet(page, server)


def test_a_wrong_value_is_told_at_its_field_and_not_sent(page: Page, server: Server) -> None:
    show(page, server, "penguins")
    selector = field(page, "body_mass_g")
    page.ask(f"document.querySelector('{selector}').focus()")
    page.type("heavy")
    page.events.clear()
    page.press("Enter")
    assert page.wait(f"document.querySelector('{selector}').getAttribute('aria-invalid')") == "true"
    assert "heavy is no number" in text(page, "#fields")
    assert f"#{page.ask('document.activeElement.id')}" == selector
    assert page.requested() == []


def test_a_value_that_training_did_not_have_is_sent_and_warned_of(page: Page, server: Server) -> None:
    show(page, server, "penguins")
    selector = field(page, "island")
    choose(page, selector, "other")
    page.ask(f"document.querySelector('{selector}-other').focus()")
    page.type('O\'Higgins "Elephant"')
    predict(page)
    assert "island" in text(page, "#answer")
    require_quiet(page, server)


def test_what_is_copied_runs_and_gets_the_same_answer(page: Page, server: Server) -> None:
    show(page, server, "penguins")
    choose(page, field(page, "island"), "other")
    page.ask(f"document.querySelector('{field(page, 'island')}-other').focus()")
    page.type('O\'Higgins "Elephant" Größe')
    predict(page)
    answer = json.loads(content(page, "#whole"))
    curl = content(page, "#curl")
    done = subprocess.run(["/bin/sh", "-c", f"{curl} --silent"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == answer
    program = content(page, "#python")
    printed: list[Any] = []
    exec(program, {"print": printed.append})
    assert printed == [answer]
    page.ask("document.querySelector('[data-copy=curl]').click()")
    page.wait("document.querySelector('#copied').textContent === 'Copied: curl'")


def test_the_page_is_light_or_dark_as_the_reader_wants_it(page: Page, server: Server) -> None:
    def painted(scheme: str) -> tuple[str, str]:
        page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        style = "getComputedStyle(document.body)"
        return page.ask(f"{style}.backgroundColor"), page.ask(f"{style}.color")

    show(page, server, "iris")
    assert painted("light") == ("rgb(255, 255, 255)", "rgb(27, 39, 51)")
    assert painted("dark") == ("rgb(18, 24, 31)", "rgb(228, 234, 240)")


def test_a_request_elsewhere_would_be_seen_and_is_not_let_out(page: Page, server: Server) -> None:
    page.events.clear()
    page.open("about:blank")
    page.ask("fetch('http://elsewhere.example/').catch(() => 0)")
    assert "http://elsewhere.example/" in page.requested()
    show(page, server, "iris")
    page.ask("fetch('http://elsewhere.example/').catch(() => 0)")
    page.wait("true")
    assert any("Content Security Policy" in complaint for complaint in page.complaints())


def test_the_forms_come_from_the_contracts(client: FlaskClient) -> None:
    forms = client.get("/docs/models.json").get_json()
    assert [form["name"] for form in forms["models"]] == ["breast_cancer", "iris", "penguins"]
    assert (forms["release"], forms["endpoint"]) == ("r1", "node-a")
    island = forms["models"][2]["fields"][0]
    assert island["choices"] == ['"Biscoe"', '"Dream"', '"Torgersen"']
    assert island["open"]
    assert island["hint"] == "any other value is encoded as other"
