"""Who made a release live, as the page tells it."""

from __future__ import annotations

from typing import cast

from fleet_page import releases
from fleet_page.facts import Fleet


def test_a_release_is_told_by_who_made_it_live_and_not_by_who_ran_something_since() -> None:
    release = {"id": "r1", "image": "i1", "since": 1.0, "changed": [], "given": []}
    runs = [
        {"live": "r1", "result": result, "user": user, "controller": "bastion"}
        for result, user in (("changed", "bob"), ("released", "alice"))
    ]
    fleet = cast("Fleet", {"live": release, "previous": [], "runs": runs})
    (row,) = releases.releases(fleet)
    assert row.who == "alice@bastion"
