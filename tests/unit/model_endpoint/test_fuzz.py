"""Every request is answered with a 2xx or a 4xx in JSON, as /openapi.json describes."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from model_endpoint.web.app import create_app
from model_endpoint.web.service import Service

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
PATHS = ["/predict", "/invocations?model=iris", "/v2/models/iris/infer", "/v2/repository/index"]
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["model", "instances", "inputs", "outputs", "name", "shape", "datatype", "data", "id"]
            ),
            inner,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(PATHS),
    body=JSON | st.binary(max_size=60),
    kind=st.sampled_from(["", "text/csv", "x"]),
)
def test_any_body_is_answered_or_refused_in_json(
    client: FlaskClient, path: str, body: Any, kind: str
) -> None:
    if isinstance(body, bytes):
        answer = client.post(path, data=body, content_type=kind)
    else:
        answer = client.post(path, json=body)
    assert answer.status_code in (200, 400, 404, 415)
    assert answer.status_code == 200 or set(answer.get_json()) == {"error"}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH"]), path=st.text(max_size=20))
def test_any_unknown_path_is_refused_in_json(client: FlaskClient, method: str, path: str) -> None:
    answer = client.open("/v2/models/" + path, method=method)
    assert 400 <= answer.status_code < 500
    assert set(answer.get_json()) == {"error"}


def test_the_routes_are_as_described(service: Service) -> None:
    described = schemathesis.openapi.from_wsgi("/openapi.json", create_app(service))
    checks = [not_a_server_error, status_code_conformance, response_schema_conformance]
    names = []
    for found in described.get_all_operations():
        operation: Any = found.ok()  # type: ignore[union-attr]  # raises, and so fails the test, for an invalid operation
        names.append(operation.label)

        @settings(max_examples=6, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def conforms(case: Any) -> None:
            case.call_and_validate(checks=checks)

        conforms()
    assert {"POST /predict", "POST /v2/models/iris/infer", "POST /invocations"} < set(names)
