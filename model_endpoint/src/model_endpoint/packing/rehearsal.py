"""Compare what the whole way of a request answers with what the estimator itself says. Runs where models are packed,
and in the image's build.

Each row goes through every form of a request, alone, together with the others, and in another order. An answer is
right if labels are the same, in type as well, and numbers are the same but for the last bits.
"""

from __future__ import annotations

import csv
import io
import json
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson

from model_endpoint.models.cells import MAX_SAFE_INTEGER
from model_endpoint.models.contract import DICTS, TEXTS
from model_endpoint.models.errors import BundleError, RequestError
from model_endpoint.models.golden import same, tolerance
from model_endpoint.models.model import Model
from model_endpoint.models.shared_calls import SharedCalls
from model_endpoint.web import column_tensors, plain, v2
from model_endpoint.web.tensors import NUMBERS

ALONE_ROWS = 30
ALONE_SHARE = 6  # of these, one in so many goes alone through every form but the first
NEIGHBOURS = 4  # requests that share a call
Answers = dict[str, list[Any]]
Form = Callable[[Model, list[Any]], Answers]


def rehearse(model: Model, rows: list[Any], expected: Answers) -> None:
    """Send `rows` in every form and compare; `expected` has a list of answers for each output.

    A model whose answer depends on its company gets all rows together alone. Raises BundleError, which names the form,
    the row and both answers.
    """
    orders = [list(range(len(rows)))]
    if model.card.depends_on_company:
        for name, form in _forms(model).items():
            _compare(name, form, model, rows, expected)
        return
    orders.append(np.random.default_rng(1).permutation(len(rows)).tolist())
    alone = np.unique(np.linspace(0, len(rows) - 1, min(ALONE_ROWS, len(rows))).astype(int)).tolist()
    for number, (name, form) in enumerate(_forms(model).items()):
        few = alone[:: 1 if number == 0 else ALONE_SHARE]
        for order in [*orders, *([at] for at in few)]:
            _compare(name, form, model, [rows[at] for at in order], _pick(expected, order))
    _among_others(model, rows, expected, alone)


def _pick(expected: Answers, order: Sequence[int]) -> Answers:
    return {name: [values[at] for at in order] for name, values in expected.items()}


def _compare(name: str, form: Form, model: Model, rows: list[Any], expected: Answers) -> None:
    if form is _as_csv:  # in which an empty text is a missing value
        kept = [at for at, row in enumerate(rows) if "" not in row]
        if not kept:
            return
        rows, expected = [rows[at] for at in kept], _pick(expected, kept)
    try:
        got = form(model, rows)
    except RequestError as error:
        raise BundleError(
            f"a row that the model itself answers is refused as {name}: {error.message}"
        ) from None
    for output, right in expected.items():
        if output not in got:
            continue
        allowed = tolerance(output in model.card.single_precision)
        for at, (left, wanted) in enumerate(zip(got[output], right, strict=True)):
            if not same(left, wanted, allowed):
                raise BundleError(
                    f"the row {json.dumps(rows[at], ensure_ascii=False)[:200]} sent as {name} is answered with "
                    f"{output} {str(left)[:80]}, the model itself says {str(wanted)[:80]}"
                )


def _among_others(model: Model, rows: list[Any], expected: Answers, alone: list[int]) -> None:
    """Send single rows that share a call with those of other requests."""
    predictor = model.predictor
    for start in range(0, len(alone), NEIGHBOURS):
        together = alone[start : start + NEIGHBOURS]
        shared = SharedCalls(_Gate(predictor, len(together)), lambda _: None)
        neighbour = Model(model.card, model.served_by, shared, model.golden)
        failures: list[BundleError] = []

        def send(at: int, neighbour: Model = neighbour, failures: list[BundleError] = failures) -> None:
            try:
                _compare("one of several requests", _as_lists, neighbour, [rows[at]], _pick(expected, [at]))
            except BundleError as error:
                failures.append(error)

        threads = [threading.Thread(target=send, args=(at,)) for at in together]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]


class _Gate:
    """Lets the first call begin only after the others wait, which then share the next one."""

    def __init__(self, predictor: Any, requests: int) -> None:
        self._predictor = predictor
        self._first = True
        self._requests = requests

    def __call__(self, rows: Any, probabilities: bool = True, more: Any = ()) -> Any:
        if self._first and self._requests > 1:
            self._first = False
            threading.Event().wait(0.01)
        return self._predictor(rows, probabilities, more)


def _forms(model: Model) -> dict[str, Form]:
    forms: dict[str, Form] = {"lists": _as_lists}
    if model.card.form == DICTS:
        return forms
    forms["a tensor for each column"] = _as_tensors
    forms["binary tensors"] = _as_binary
    if model.card.numeric:
        forms |= {"one tensor": _as_one_tensor, "one binary tensor": _as_one_binary}
    if model.card.form != TEXTS:
        forms |= {"objects": _as_objects, "CSV": _as_csv}
    return forms


def _as_lists(model: Model, rows: list[Any]) -> Answers:
    names = list(model.outputs)
    body = {"model": model.card.name, "instances": rows, "outputs": names}
    answer = orjson.loads(plain.predict({model.card.name: model}, orjson.dumps(body)).body)
    return {"predict": answer["predictions"], **answer["outputs"]}


def _as_objects(model: Model, rows: list[Any]) -> Answers:
    names = [feature.name for feature in model.card.features][::-1]
    records = [dict(zip(names, row[::-1], strict=True)) for row in rows]
    answer = plain.invocations(model, orjson.dumps({"dataframe_records": records}))
    return {"predict": orjson.loads(answer.body)["predictions"]}


def _as_csv(model: Model, rows: list[Any]) -> Answers:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([feature.name for feature in model.card.features])
    writer.writerows([["" if cell is None else cell for cell in row] for row in rows])
    answer = plain.invocations_csv(model, b"\xef\xbb\xbf" + out.getvalue().encode() + b"\r\n")
    return {"predict": orjson.loads(answer.body)["predictions"]}


def _tensors(model: Model, rows: list[Any]) -> list[tuple[dict[str, Any], list[Any]]]:
    tensors = []
    for at, feature in enumerate(model.card.features):
        values = list(rows) if model.card.form == TEXTS else [row[at] for row in rows]
        datatype = column_tensors.datatype_of(feature)
        if None in values and datatype.startswith(("INT", "UINT")):
            datatype = "FP64" if all(abs(value or 0) <= 2**53 for value in values) else datatype
        tensors.append(
            ({"name": column_tensors.name_of(feature), "datatype": datatype, "shape": [len(rows)]}, values)
        )
    return tensors


def _as_tensors(model: Model, rows: list[Any]) -> Answers:
    inputs = [tensor | {"data": values} for tensor, values in _tensors(model, rows)]
    return _inferred(v2.infer(model, orjson.dumps({"inputs": inputs})).body)


def _as_binary(model: Model, rows: list[Any]) -> Answers:
    inputs, blobs = [], []
    for tensor, values in _tensors(model, rows):
        blob = _blob(tensor["datatype"], values)
        if blob is None:  # no binary form has a missing text, whole number or boolean
            inputs.append(tensor | {"data": values})
            continue
        blobs.append(blob)
        inputs.append(tensor | {"parameters": {"binary_data_size": len(blob)}})
    text = orjson.dumps({"inputs": inputs})
    return _inferred(v2.infer(model, text + b"".join(blobs), str(len(text))).body)


def _as_one_tensor(model: Model, rows: list[Any]) -> Answers:
    tensor = {"name": v2.INPUT, "datatype": "FP64", "shape": [len(rows), model.width], "data": rows}
    return _inferred(v2.infer(model, orjson.dumps({"inputs": [tensor]})).body)


def _as_one_binary(model: Model, rows: list[Any]) -> Answers:
    cells = [cell for row in rows for cell in row]
    if any(type(cell) is int and abs(cell) > MAX_SAFE_INTEGER for cell in cells):
        return {}  # a float64 has not all of its digits
    blob = _blob("FP64", cells) or b""
    parameters = {"binary_data_size": len(blob)}
    tensor = {
        "name": v2.INPUT,
        "datatype": "FP64",
        "shape": [len(rows), model.width],
        "parameters": parameters,
    }
    text = orjson.dumps({"inputs": [tensor]})
    return _inferred(v2.infer(model, text + blob, str(len(text))).body)


def _blob(datatype: str, values: list[Any]) -> bytes | None:
    if datatype == "BYTES":
        if None in values:
            return None
        return b"".join(len(text.encode()).to_bytes(4, "little") + text.encode() for text in values)
    if None in values and not datatype.startswith("FP"):
        return None
    dtype = np.dtype("?") if datatype == "BOOL" else NUMBERS[datatype]
    return np.array([np.nan if value is None else value for value in values], dtype=dtype).tobytes()


def _inferred(body: bytes) -> Answers:
    answers: Answers = {}
    for output in orjson.loads(body)["outputs"]:
        array = np.array(output["data"], dtype=object).reshape(output["shape"])
        answers[output["name"]] = array.tolist()
    return answers
