"""Whether two releases answer the same traffic differently, beyond what chance explains."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any, cast

import pytest
from ansible_collections.flotilla.fleet.plugins.plugin_utils.answers import chance
from ansible_collections.flotilla.fleet.plugins.plugin_utils.answers.chance import CHANCE, level, probability
from ansible_collections.flotilla.fleet.plugins.plugin_utils.answers.compare import (
    PLACES,
    Allowance,
    Compared,
    Pair,
    compare,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.answers.counts import (
    OutputCounts,
    Reading,
    Sums,
    answers_between,
)

ALLOWED = Allowance(points=5.0, min_requests=50, readings=10)


def classes(**counts: int) -> OutputCounts:
    """The counts of an output of classes, and of what is none of them under `others`."""
    others = counts.pop("others", 0)
    return {"classes": list(counts), "counts": [*counts.values(), others, 0, 0]}


def numbers(values: Sequence[float], bounds: Sequence[float]) -> OutputCounts:
    counts = [0] * (len(bounds) + 2)
    for value in values:
        counts[-1 if math.isnan(value) else sum(bound <= value for bound in bounds)] += 1
    return {"bounds": list(bounds), "counts": counts}


def release(**models: OutputCounts | None) -> Sums:
    return Sums({name: {"predict": counts} if counts else {} for name, counts in models.items()})


def judged(live: OutputCounts, candidate: OutputCounts, allowed: Allowance = ALLOWED) -> Compared:
    return compare(release(pets=live), release(pets=candidate), allowed)


def test_the_probability_is_that_of_the_hypergeometric_distribution() -> None:
    def ways(every: int, chosen: int) -> int:
        return math.comb(every, chosen)

    for one, of_one, other, of_other in ((7, 10, 3, 12), (0, 5, 9, 9), (30, 100, 270, 1000), (1, 1, 0, 400)):
        marked, every = one + other, of_one + of_other
        sides = [range(one, min(of_one, marked) + 1), range(max(0, marked - of_other), one + 1)]
        tails = [
            sum(ways(marked, k) * ways(every - marked, of_one - k) for k in side) / ways(every, of_one)
            for side in sides
        ]
        assert probability(one, of_one, other, of_other) == pytest.approx(min(1, 2 * min(tails)))
        assert probability(other, of_other, one, of_one) == pytest.approx(min(1, 2 * min(tails)))


def test_the_probability_holds_for_very_many_requests() -> None:
    deviations = 6.0
    size = 4_000_000
    more = round(deviations * math.sqrt(2 * size * 0.25))
    found = probability(size // 2 + more, size, size // 2, size)
    assert found == pytest.approx(2 * NormalDist().cdf(-deviations), rel=0.02)
    assert probability(size, size, 0, size) == 0.0
    assert probability(0, size, 0, size) == 1.0


def returned(
    draw: Callable[[random.Random], Sequence[tuple[int, str]]], releases: int, allowed: Allowance
) -> int:
    """How many of so many releases are returned, each judged after every part of its traffic.

    `draw` gives a part of the traffic: for each request the release, 0 or 1, and the answer.
    """
    found = 0
    for seed in range(releases):
        generator = random.Random(seed)
        counts: tuple[Counter[str], Counter[str]] = (Counter(a=0, b=0, c=0), Counter(a=0, b=0, c=0))
        for _ in range(allowed.readings):
            for side, answer in draw(generator):
                counts[side][answer] += 1
            if judged(classes(**counts[0]), classes(**counts[1]), allowed)["fault"]:
                found += 1
                break
    return found


def alike(generator: random.Random) -> list[tuple[int, str]]:
    """300 requests, of which the candidate gets a tenth. One client sends equal ones, all at the same time."""
    answers = generator.choices("abc", (0.5, 0.3, 0.2), k=100) + [generator.choice("abc")] * 200
    return [(int(generator.random() < 0.1), answer) for answer in answers]


def test_false_alarms_are_no_more_than_they_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    # So small a chance as is used can't be simulated; what holds for a larger one is shown with that.
    monkeypatch.setattr(chance, "CHANCE", 0.05)
    allowed = Allowance(points=0.0, min_requests=1, readings=5)
    assert returned(alike, 400, allowed) <= 0.05 * 400
    # The test can fail: with the chance of all tests given to each, there are too many.
    monkeypatch.setattr(chance, "CHANCE", 0.05 * 3 * 5 * 4)
    assert returned(alike, 400, allowed) > 0.05 * 400


@pytest.mark.parametrize(("share", "requests"), [(0.1, 500), (0.25, 600), (0.5, 900)])
def test_a_class_that_goes_from_30_to_45_percent_is_seen_within_so_many_requests(
    share: float, requests: int
) -> None:
    """`requests` are those of the candidate, which gets `share` of all."""
    seen = 0
    for seed in range(100):
        generator = random.Random(seed)
        live = sum(generator.random() < 0.30 for _ in range(round(requests * (1 - share) / share)))
        candidate = sum(generator.random() < 0.45 for _ in range(requests))
        of_live = round(requests * (1 - share) / share)
        found = judged(
            classes(a=live, b=of_live - live, c=0), classes(a=candidate, b=requests - candidate, c=0)
        )
        seen += bool(found["fault"])
    assert seen >= 90


def test_a_release_that_answers_differently_is_told_with_both_distributions() -> None:
    found = judged(classes(cat=300, dog=700), classes(cat=450, dog=550))
    assert found["lines"] == [
        "answers of pets to 1000 requests (before: 1000): dog 55.0 % (before: 70.0 %), cat 45.0 % (before: 30.0 %)"
    ]
    assert found["fault"].startswith(
        "pets answered cat to 45.0 % of 1000 requests, against 30.0 % of 1000 by the live release: more than the 5 "
        "points that are allowed (release_watch_answers)"
    )
    assert found["fault"].endswith("run with -e release_watch_answers=100")


def test_what_chance_or_the_points_allow_is_no_fault() -> None:
    assert not judged(classes(cat=30, dog=70), classes(cat=40, dog=60))["fault"], "chance explains it"
    many = 1_000_000
    live, candidate = classes(cat=many, dog=many), classes(cat=many * 11 // 10, dog=many * 9 // 10)
    assert not judged(live, candidate)["fault"], "5 points are allowed"
    assert judged(live, candidate, Allowance(4.9, 50, 10))["fault"]
    assert not judged(classes(cat=many, dog=0), classes(cat=0, dog=many), Allowance(100, 50, 10))["fault"]


def test_each_test_has_its_share_of_the_chance() -> None:
    def parts(readings: int) -> bool:
        return bool(
            judged(classes(cat=300, dog=700), classes(cat=398, dog=602), Allowance(5, 50, readings))["fault"]
        )

    likely = probability(398, 1000, 300, 1000)
    assert level(2 * 5) > likely > level(2 * 50)
    assert (parts(5), parts(50)) == (True, False)
    assert level(0) == CHANCE


def test_a_class_that_one_release_alone_has_counts_as_one_the_other_never_answered() -> None:
    found = judged(classes(cat=500, dog=500), classes(Cat=500, dog=500))
    assert "pets answered " in found["fault"]
    assert "Cat 50.0 % (before: 0.0 %)" in found["lines"][0]
    # Unless it may be among the other one's others.
    assert not judged(classes(dog=500, others=500), classes(Cat=500, dog=500))["fault"]
    assert judged(classes(dog=500, others=500), classes(dog=900, others=100))["fault"]


BOUNDS = [float(bound) for bound in range(-40, 41)]


def normal(seed: int, mean: float, size: int = 1000) -> list[float]:
    generator = random.Random(seed)
    return [generator.gauss(mean, 10) for _ in range(size)]


def test_numbers_are_compared_at_the_bounds_that_both_releases_have() -> None:
    live, same = numbers(normal(1, 0), BOUNDS), numbers(normal(2, 0), [*BOUNDS[::2], 40.5])
    found = judged(live, same)
    assert not found["fault"]
    assert found["lines"][0].startswith("answers of pets to 1000 requests (before: 1000): 10 % below -")
    shifted = judged(live, numbers(normal(2, 5), [*BOUNDS[::2], 40.5]))
    assert "pets answered less than " in shifted["fault"]
    assert not judged(live, numbers(normal(2, 5), [0.5, 1.5]))["fault"], "no bound is common"


def test_numbers_that_go_up_by_half_a_standard_deviation_are_seen_within_500_requests() -> None:
    seen = 0
    for seed in range(50):
        live, candidate = normal(seed, 0, 4500), normal(1000 + seed, 5, 500)
        seen += bool(judged(numbers(live, BOUNDS[::4]), numbers(candidate, BOUNDS[::4]))["fault"])
    assert seen >= 45


def test_a_release_that_answers_no_numbers_any_more_is_told() -> None:
    found = judged(numbers([1.0] * 500, [0.0]), numbers([math.nan] * 500, [0.0]))
    assert "pets answered no number to 100.0 % of 500 requests" in found["fault"]


def test_numbers_are_compared_at_few_bounds_however_many_there_are() -> None:
    bounds = [number / 100 for number in range(-4000, 4000)]
    pair = Pair("price", numbers(normal(1, 0, 100), bounds), numbers(normal(2, 0, 100), bounds))
    assert PLACES // 2 < len(pair.parts) < PLACES


@pytest.mark.parametrize(
    ("live", "candidate", "said"),
    [
        (
            {"pets": classes(cat=99)},
            {"cars": None},
            "cars are not judged: the live release does not have the model",
        ),
        (
            {"cars": None},
            {"pets": classes(cat=9)},
            "cars are not judged: the new release does not have the model",
        ),
        (
            {"pets": None},
            {"pets": None},
            "pets are not judged: the bundle in either release has no distribution",
        ),
        ({"pets": classes(cat=99)}, {"pets": None}, "the bundle in the new release has no distribution"),
        ({"pets": None}, {"pets": classes(cat=99)}, "the bundle in the live release has no distribution"),
        (
            {"pets": classes(cat=99)},
            {"pets": numbers([1.0] * 99, [0.0])},
            "it answers classes in one release and numbers in the other",
        ),
        (
            {"pets": classes(cat=990)},
            {"pets": classes(cat=0, dog=49)},
            "the release was asked 49 times, the live one 990 times, and 50 each (release_watch_min_requests)",
        ),
    ],
)
def test_what_can_not_be_compared_is_said_and_not_judged(
    live: dict[str, Any], candidate: dict[str, Any], said: str
) -> None:
    found = compare(release(**live), release(**candidate), ALLOWED)
    assert not found["fault"]
    assert said in "\n".join(found["lines"])


def test_other_outputs_are_said() -> None:
    one, two = Sums({"pets": {"predict_0": classes(cat=99)}}), Sums({"pets": {"predict": classes(dog=99)}})
    assert "its outputs are predict, and were predict_0" in compare(one, two, ALLOWED)["lines"][0]


def test_of_many_classes_the_most_frequent_are_shown() -> None:
    counts = {f"class{number}": 100 - number for number in range(12)}
    (line,) = judged(classes(**counts), classes(**counts))["lines"]
    assert "class7 " in line
    assert "class8 " not in line
    assert line.endswith(" %), 4 more")


def reading(name: str, slot: str, *cats: int, **changed: Any) -> Reading:
    known: Any = {"name": name, "slot": slot, "release": slot * 2, "start": 1.5, "error": ""}
    known["models"] = {"pets": {"predict": classes(cat=cats[0], dog=cats[1])}} if cats else {}
    return cast("Reading", known | changed)


def test_answers_are_those_between_two_readings_of_all_endpoints() -> None:
    begun = [reading("n1", "blue", 10, 5), reading("n2", "blue", 1, 1), reading("n1", "green", 0, 0)]
    now = [reading("n1", "blue", 30, 5), reading("n2", "blue", 4, 2), reading("n1", "green", 7, 0)]
    assert answers_between(begun, now, "blue", "blueblue") == Sums(
        {"pets": {"predict": classes(cat=23, dog=1)}}
    )
    assert answers_between(begun, now, "green", "greengreen") == Sums(
        {"pets": {"predict": classes(cat=7, dog=0)}}
    )
    assert begun[0]["models"]["pets"]["predict"]["counts"][0] == 10


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"start": 2.5}, "it was started during the bake"),
        ({"release": "other"}, "it runs release other"),
        ({"error": "10.0.0.2:5001: timed out", "models": {}}, "10.0.0.2:5001: timed out"),
    ],
)
def test_an_endpoint_that_was_not_read_throughout_is_left_out_and_named(
    changed: dict[str, Any], reason: str
) -> None:
    begun = [reading("n1", "blue", 10, 5), reading("n2", "blue", 1, 1)]
    now = [reading("n1", "blue", 30, 5), reading("n2", "blue", 400, 2, **changed)]
    found = answers_between(begun, now, "blue", "blueblue")
    assert found == Sums({"pets": {"predict": classes(cat=20, dog=0)}}, {reason: ["n2"]})
    lines = compare(found, release(pets=classes(cat=9, dog=9)), ALLOWED)["lines"]
    assert lines[-1] == f"not counted of the live release: n2: {reason}"


def test_of_many_endpoints_that_are_not_counted_some_are_named() -> None:
    older = "it counts no answers"
    now = [reading(f"n{number}", "blue", error=older) for number in range(300)]
    now += [reading(f"m{number}", "blue", error=f"10.0.0.{number}: timed out") for number in range(100)]
    found = answers_between(now, now, "blue", "blueblue")
    line = compare(found, release(pets=classes(cat=9)), ALLOWED)["lines"][-1]
    assert line.startswith(
        "not counted of the live release: n0, n1, n2, n3, n4, n5, n6, n7, 292 more: it counts no"
    )
    assert line.endswith("; m6: 10.0.0.6: timed out; 93 more")


def test_an_endpoint_that_joined_during_the_bake_is_left_out() -> None:
    found = answers_between([], [reading("n1", "blue", 1, 1)], "blue", "blueblue")
    assert found == Sums({}, {"it was not read when the bake began": ["n1"]})
    lines = compare(found, release(pets=classes(cat=9)), ALLOWED)["lines"]
    assert lines[0] == "answers are not judged: they could not be read from both releases"
