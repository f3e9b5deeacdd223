"""Each view of the page /fleet in a real Chromium: light and dark, on a desktop and on a phone, and by keyboard alone.

The pictures are kept in .cache/pictures. FLOTILLA_README_PICTURE=1 makes the README's, docs/fleet.png, anew.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from werkzeug.serving import make_server

import generated_fleet
from chromium import Page, browsing
from fleet_page.web import application
from page_views import SIZES, VIEWS, assert_well_shown, keep_picture, picture, show

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browsing(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with generated_fleet.shown(tmp_path_factory.mktemp("generated")) as sources:
        server = make_server("127.0.0.1", 0, application(sources), threaded=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("view", VIEWS)
def test_each_view_fits_and_complains_of_nothing(
    page: Page, address: str, view: str, size: str, theme: str
) -> None:
    show(page, address + VIEWS[view], size, theme)
    keep_picture(page, f"{view}-{size}-{theme}")
    assert_well_shown(page, address, theme)
    assert page.ask("document.querySelectorAll('main .empty').length") == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
def test_all_text_can_be_read(page: Page, address: str, view: str, theme: str) -> None:
    """The contrast of text with what is behind it is at least 4.5, as WCAG 2 asks."""
    show(page, address + VIEWS[view], "desktop", theme)
    assert page.ask(LOW_CONTRAST) == []


LOW_CONTRAST = """(() => {
  const parts = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([red, green, blue]) => [red, green, blue].map((part) => part / 255)
    .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = (element) => {
    for (; element; element = element.parentElement) {
      const paint = parts(getComputedStyle(element).backgroundColor);
      if (paint.length === 3 || paint[3] > 0) return paint;
    }
    return [255, 255, 255];
  };
  const found = new Set();
  for (const element of document.querySelectorAll('body *')) {
    if (![...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
    const style = getComputedStyle(element);
    const own = light(parts(element.closest('svg') ? style.fill : style.color));
    const other = light(behind(element));
    const ratio = (Math.max(own, other) + 0.05) / (Math.min(own, other) + 0.05);
    if (ratio < 4.5) found.add([element.tagName, ratio.toFixed(2)].join(' '));
  }
  return [...found];
})()"""


def test_text_that_can_t_be_read_is_found(page: Page, address: str) -> None:
    show(page, address + "/fleet", "desktop", "light")
    page.ask("document.querySelector('h1').style.setProperty('color', '#bbbbbb')")
    assert page.ask(LOW_CONTRAST) == ["H1 1.92"]


@pytest.mark.parametrize("view", VIEWS)
def test_the_keyboard_reaches_everything_and_shows_where_it_is(page: Page, address: str, view: str) -> None:
    show(page, address + VIEWS[view], "desktop", "light")
    page.press("Tab")
    assert page.ask("document.activeElement.textContent") == "Skip to the content"
    reachable = page.ask(
        "document.querySelectorAll('a[href], input:not([type=hidden]), select, button, .scroll').length"
    )
    seen = 1
    for _ in range(reachable - 1):
        page.press("Tab")
        assert page.ask("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        assert page.ask("parseFloat(getComputedStyle(document.activeElement).outlineWidth)") >= 3
        seen += page.ask("document.activeElement !== document.body")
    assert seen == reachable


def test_the_table_is_filtered_by_keyboard_alone(page: Page, address: str) -> None:
    show(page, address + "/fleet", "desktop", "light")
    page.ask("document.querySelector('#q').focus()")
    page.type("node004")
    page.press("Enter")
    page.wait("location.search.includes('q=node004') && document.readyState === 'complete'")
    assert page.ask("document.querySelectorAll('.nodes tbody tr').length") == 1
    assert page.complaints() == []


def test_the_browser_would_tell_of_a_style_that_the_policy_forbids(page: Page, address: str) -> None:
    show(page, address + "/fleet", "desktop", "light")
    page.ask("document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\">red</p>')")
    page.wait("true")
    assert any("Content Security Policy" in complaint for complaint in page.complaints())


def test_the_readme_has_a_picture_of_the_page(page: Page, address: str) -> None:
    readme = ROOT / "docs" / "fleet.png"
    if os.environ.get("FLOTILLA_README_PICTURE"):
        show(page, address + "/fleet", "desktop", "light")
        readme.write_bytes(picture(page, whole=False))
    assert readme.read_bytes().startswith(b"\x89PNG")
    assert readme.stat().st_size < 150_000
    assert "docs/fleet.png" in (ROOT / "README.md").read_text()
