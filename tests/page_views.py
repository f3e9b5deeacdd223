"""The views of the page /fleet as a person sees them in Chromium, and what is wrong with how one looks."""

from __future__ import annotations

import base64
from pathlib import Path

from chromium import Page

PICTURES = Path(__file__).parents[1] / ".cache" / "pictures"
VIEWS = {
    "now": "/fleet",
    "time": "/fleet/time?range=6h",
    "nodes": "/fleet/time?range=1h&by=node",
    "model": "/fleet/model?name=penguins&range=1d",
    "releases": "/fleet/releases",
    "alerts": "/fleet/alerts",
    "runbook": "/fleet/runbook",
}
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


def show(page: Page, url: str, size: str, theme: str) -> None:
    """Load a view in a window of one of the SIZES, `theme` being light or dark."""
    width, height = SIZES[size]
    page.events.clear()
    page.call(
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=height,
        deviceScaleFactor=1,
        mobile=size == "phone",
    )
    features = [{"name": "prefers-color-scheme", "value": theme}]
    page.call("Emulation.setEmulatedMedia", media="screen", features=features)
    page.open(url)


def picture(page: Page, whole: bool = True) -> bytes:
    """Return a PNG of what is shown, or of the whole view."""
    return base64.b64decode(
        page.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
    )


def keep_picture(page: Page, name: str) -> None:
    """Write a PNG of the whole view to the folder of the tests' pictures."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    (PICTURES / f"{name}.png").write_bytes(picture(page))


def assert_well_shown(page: Page, address: str, theme: str) -> None:
    """Fail where the browser complains, asks another address, has to be scrolled sideways or shows the wrong theme."""
    assert page.complaints() == []
    assert all(url.startswith(address) for url in page.requested())
    assert page.ask("document.documentElement.scrollWidth <= innerWidth"), "it has to be scrolled sideways"
    dark = page.ask("getComputedStyle(document.documentElement).backgroundColor") == "rgb(20, 22, 26)"
    assert dark == (theme == "dark")
