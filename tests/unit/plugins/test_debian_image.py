"""Where the builder takes the packages of an image from."""

from __future__ import annotations

import pytest
from ansible_collections.flotilla.fleet.plugins.module_utils.mmdebstrap import mmdebstrap_command, sources
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.rules import RULES

MIRROR = "http://mirror.example/debian"


def test_a_mirror_has_the_updates_of_a_stable_release() -> None:
    assert sources("trixie", f"{MIRROR}/") == [
        f"deb {MIRROR} trixie main",
        f"deb {MIRROR} trixie-updates main",
        f"deb {MIRROR}-security trixie-security main",
    ]
    assert sources("forky", MIRROR) == [f"deb {MIRROR} forky main"]
    assert sources("trixie", "") == []


def test_a_mirror_is_reached_through_a_proxy() -> None:
    command = mmdebstrap_command(
        "forky", ["nginx"], {}, {}, [], "t.tar", (), MIRROR, "http://proxy.example:3128"
    )
    assert '--aptopt=Acquire::http::Proxy "http://proxy.example:3128"' in command
    assert command[-3:] == ["forky", "t.tar", f"deb {MIRROR} forky main"]


@pytest.mark.parametrize(
    "name", ["registry_debian_mirror", "registry_debian_proxy", "model_image_package_index"]
)
def test_what_is_no_url_is_refused(name: str) -> None:
    rule = RULES[name]
    assert rule("") is rule(MIRROR) is rule("https://user:word@mirror.example:8080/pypi/simple") is None
    for wrong in ("mirror.example", "ftp://mirror.example", 'http://a/"; x', "http://", 3):
        assert rule(wrong), wrong
