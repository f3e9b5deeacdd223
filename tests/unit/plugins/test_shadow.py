"""Two releases are compared by their answers to the same requests."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.flotilla.fleet.plugins.plugin_utils.shadow import compare_shadows, shadow_lines

INFER = "/v2/models/iris/infer"


def line(release: str, request_id: str = "a", answer: Any = None, **more: Any) -> dict[str, Any]:
    """A line as record.py writes it; `answer` is text, or what to write as JSON."""
    return {
        "time": 1.0,
        "endpoint": "node1",
        "release": release,
        "request_id": request_id,
        "method": "POST",
        "path": "/predict",
        "status": 200,
        "milliseconds": 1.0,
        "model": "iris",
        "rows": 1,
        "shadow": True,
        "answer": answer if isinstance(answer, str | None) else json.dumps(answer),
    } | more


def pair(one: Any, other: Any, request_id: str = "a", **more: Any) -> list[dict[str, Any]]:
    return [line("old", request_id, one, **more), line("new", request_id, other, **more)]


def compared(lines: list[dict[str, Any]], model: str = "iris") -> dict[str, Any]:
    return compare_shadows(lines, "old", "new")[model]


def outcome(one: Any, other: Any) -> tuple[int, float | None]:
    report = compared(pair(one, other))
    assert report["compared"] == 1
    return report["differ"], report["largest_difference"]


def test_lines_of_shadowed_requests_are_kept_of_a_log() -> None:
    kept = [line("old", answer='{"predictions":["a\u2028b\x85"]}'), line("new")]
    text = [json.dumps(entry, ensure_ascii=False) for entry in kept]
    others = [
        "",
        "[INFO] Started worker-1",
        '{"shadow":true,"ans',
        "[1]",
        '{"status":500}',
        '{"shadow":false}',
    ]
    assert shadow_lines("\n".join([text[0], *others, text[1], ""])) == kept


def test_what_tells_the_release_is_no_difference() -> None:
    one = {"predictions": [1.5], "model": "iris", "model_version": "1", "id": "x"}
    assert outcome(one, one | {"model_version": "2", "id": "y"}) == (0, None)


@pytest.mark.parametrize(
    ("one", "other", "difference"),
    [
        ({"predictions": [1.0, 2.0]}, {"predictions": [1, 2]}, (0, None)),
        ({"predictions": [1.0, 2.0]}, {"predictions": [1.5, 1.0]}, (1, 1.0)),
        (
            {"outputs": [{"data": ["a"]}, {"data": [0.5]}]},
            {"outputs": [{"data": ["b"]}, {"data": [0.75]}]},
            (1, 0.25),
        ),
        ({"predictions": ["setosa"]}, {"predictions": ["virginica"]}, (1, None)),
        ({"predictions": [True]}, {"predictions": [1]}, (1, None)),
        ({"predictions": [1]}, {"predictions": ["1"]}, (1, None)),
        ({"predictions": [None]}, {"predictions": [0]}, (1, None)),
        ({"predictions": [1.0]}, {"predictions": [1.0, 2.0]}, (1, None)),
        ({"predictions": [1.0]}, {"predictions": [[1.0]]}, (1, None)),
        ({"predictions": [1.0]}, {"predictions": [1.0], "more": 1}, (1, None)),
        ({"outputs": [{"id": 1}]}, {"outputs": [{"id": 2}]}, (1, 1)),
    ],
)
def test_numbers_labels_and_structure_are_compared(
    one: Any, other: Any, difference: tuple[int, float | None]
) -> None:
    assert outcome(one, other) == difference


def test_another_status_is_a_difference_whatever_the_answers_are() -> None:
    lines = [line("old", answer={"x": 1}), line("new", answer=None, status=500, model="")]
    assert compare_shadows(lines, "old", "new").keys() == {"iris"}
    report = compared(lines)
    assert (report["compared"], report["differ"], report["examples"]) == (1, 1, ["a"])


def test_both_may_refuse_a_request_alike() -> None:
    report = compared(pair({"error": "no"}, {"error": "no"}, status=400, model=""), "")
    assert (report["compared"], report["differ"]) == (1, 0)


def test_models_are_told_apart_and_three_examples_given() -> None:
    lines = [entry for number in range(5) for entry in pair({"p": [0]}, {"p": [number]}, f"id-{number}")]
    lines += pair({"p": [0]}, {"p": [0]}, "other", model="price", path="/v2/models/price/versions/1/infer")
    reports = compare_shadows(lines, "old", "new")
    assert list(reports) == ["iris", "price"]
    assert reports["iris"] == {
        "compared": 5,
        "differ": 4,
        "largest_difference": 4,
        "live_p50": 1.0,
        "live_p95": 1.0,
        "candidate_p50": 1.0,
        "candidate_p95": 1.0,
        "unmatched": 0,
        "examples": ["id-1", "id-2", "id-3"],
    }
    assert (reports["price"]["compared"], reports["price"]["differ"], reports["price"]["examples"]) == (
        1,
        0,
        [],
    )


def test_latencies_are_of_the_requests_both_answered() -> None:
    lines = []
    for number in range(1, 101):
        lines.append(line("new", f"id-{number}", {}, milliseconds=2.0 * number))
        lines.append(line("old", f"id-{number}", {}, milliseconds=float(number)))
    report = compared([*lines, line("new", "alone", {}, milliseconds=9999.0)])
    assert (report["live_p50"], report["live_p95"]) == (50.0, 95.0)
    assert (report["candidate_p50"], report["candidate_p95"]) == (100.0, 190.0)


@pytest.mark.parametrize(
    "lines",
    [
        [line("old", answer={})],
        [line("new", answer={})],
        [*pair({}, {}), line("old", answer={})],  # the id of a client that uses one for all
        pair(None, {}),
        pair('{"outputs":[]}\x00\x00', '{"outputs":[]}\x00\x00'),
    ],
)
def test_what_can_not_be_compared_is_counted(lines: list[dict[str, Any]]) -> None:
    report = compared(lines)
    assert (report["compared"], report["unmatched"], report["differ"]) == (0, 1, 0)
    assert (report["live_p50"], report["candidate_p95"], report["largest_difference"]) == (None, None, None)


def test_other_releases_and_what_is_no_prediction_are_left_out() -> None:
    lines = [
        line("older", answer={}),
        *pair({"versions": ["1"]}, {"versions": ["2"]}, path="/v2/models/iris"),
    ]
    assert compare_shadows(lines, "old", "new") == {}
    assert compared([*lines, *pair({}, {}, "b", path=INFER)])["compared"] == 1
