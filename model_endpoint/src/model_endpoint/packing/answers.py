"""Describe an estimator's answers as the protocol does. Runs where models are packed."""

from __future__ import annotations

from typing import Any

import numpy as np

from model_endpoint.models.card import Output
from model_endpoint.models.errors import BundleError
from model_endpoint.models.predictor import Outputs

DATATYPES = {"b": "BOOL", "i": "INT64", "u": "UINT64", "f": "FP64", "U": "BYTES", "O": "BYTES"}


def outputs_of(answers: Outputs) -> list[Output]:
    """The outputs as the protocol describes them; raises BundleError for a type that it lacks."""
    outputs = []
    for name, array in answers.items():
        if array.dtype.kind not in DATATYPES:
            raise BundleError(f"{name} is of type {array.dtype}, for which the protocol has no datatype")
        single = array.dtype == np.float32
        datatype = "FP32" if single else DATATYPES[array.dtype.kind]
        outputs.append(Output(name, datatype, [-1, *array.shape[1:]]))
    return outputs


def classes_of(estimator: Any) -> list[Any] | None:
    """A classifier's labels as Python's own values, in a list for each output if there are several; else None."""
    try:
        classes = estimator.classes_
    except AttributeError:
        return None
    return None if classes is None else [_plain(group) for group in classes]


def _plain(label: Any) -> Any:
    return label.tolist() if hasattr(label, "tolist") else label
