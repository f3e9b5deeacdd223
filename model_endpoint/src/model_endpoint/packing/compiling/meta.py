"""Compile models of models. Runs where models are packed and in the image's build.

Each rule gets the model, and what compiles another model.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from model_endpoint.models.compiled.columns import Arithmetic, Pick
from model_endpoint.models.compiled.composed import Piped
from model_endpoint.models.compiled.meta import (
    DECISION,
    PREDICT,
    PROBA,
    Average,
    Boost,
    Calibrate,
    Curve,
    Decide,
    OneAgainstRest,
    Relabel,
    Several,
    Stack,
    Turn,
    Vote,
)
from model_endpoint.models.compiled.nodes import Answering, Head, Step
from model_endpoint.models.compiled.several import EachLabel, InTurn, Median
from model_endpoint.packing.compiling.common import (
    NO_NUMBERS,
    NotCompilableError,
    classes_of,
    floats,
    ints,
    only_labels,
    sklearn_name,
)
from model_endpoint.packing.compiling.numeric import applied

Compile = Callable[[Any], Answering]


def vote(model: Any, compiled: Compile) -> Head:
    members = [compiled(member) for member in model.estimators_]
    weights = model._weights_not_none
    given = NO_NUMBERS if weights is None else floats(weights)
    if not classes_of(model):
        return Average(members, given)
    return Vote(members, given, model.voting == "soft", only_labels(model))


def stack(model: Any, compiled: Compile) -> Head:
    members = [compiled(member) for member in model.estimators_]
    classes = classes_of(model)
    binary = bool(classes) and len(only_labels(model)) == 2
    starts = [1 if binary and method == PROBA else 0 for method in model.stack_method_]
    final = compiled(model.final_estimator_)
    width = int(model.final_estimator_.n_features_in_)
    head = Stack(members, list(model.stack_method_), starts, final, bool(model.passthrough), width)
    return Relabel(head, only_labels(model)) if classes else head


def calibrated(model: Any, compiled: Compile) -> Head:
    members, outputs, curves = [], [], []
    for part in model.calibrated_classifiers_:
        if part.method not in ("sigmoid", "isotonic"):
            raise NotCompilableError(f"there is no rule for calibration by {part.method!r}")
        if list(part.estimator.classes_) != list(model.classes_):
            raise NotCompilableError("there is no rule for calibration of models that know fewer classes")
        members.append(compiled(part.estimator))
        outputs.append(DECISION if hasattr(part.estimator, DECISION) else PROBA)
        curves.append([_curve(calibrator) for calibrator in part.calibrators])
    return Calibrate(members, outputs, curves, only_labels(model))


def _curve(calibrator: Any) -> Step:
    if hasattr(calibrator, "a_"):
        return Curve(NO_NUMBERS, NO_NUMBERS, float(calibrator.a_), float(calibrator.b_))
    if calibrator.out_of_bounds != "clip":
        raise NotCompilableError("there is no rule for isotonic calibration that does not clip")
    return Curve(floats(calibrator.X_thresholds_), floats(calibrator.y_thresholds_), 0.0, 0.0)


def thresholded(model: Any, compiled: Compile) -> Head:
    inner = getattr(model, "estimator_", None) or model.estimator
    wanted = model._get_response_method()
    methods = [wanted] if isinstance(wanted, str) else list(wanted)
    output = next(method for method in methods if hasattr(inner, method))
    if hasattr(model, "best_threshold_"):
        threshold, positive = float(model.best_threshold_), model._curve_scorer._get_pos_label()
    else:
        positive = model.pos_label
        auto = 0.5 if output == PROBA else 0.0
        threshold = auto if model.threshold == "auto" else float(model.threshold)
    labels = list(model.classes_)
    at = 1 if positive is None else labels.index(positive)
    sign = -1.0 if output == DECISION and at == 0 else 1.0
    return Decide(compiled(inner), output, at, sign, threshold, ints([1 - at, at]), only_labels(model))


def one_against_rest(model: Any, compiled: Compile) -> Head:
    members = list(model.estimators_)
    outputs = [DECISION if hasattr(member, DECISION) else PROBA for member in members]
    if any(len(classes_of(member)) != 1 for member in members):
        raise NotCompilableError("there is no rule for one against the rest by regressors")
    compiled_members = [compiled(member) for member in members]
    if model.multilabel_ and len(members) > 1:
        return EachLabel(compiled_members, outputs, hasattr(model, PROBA), hasattr(model, DECISION))
    if model.label_binarizer_.y_type_ != "multiclass":
        raise NotCompilableError(
            f"there is no rule for one against the rest of {model.label_binarizer_.y_type_}"
        )
    return OneAgainstRest(
        compiled_members,
        outputs,
        hasattr(model, PROBA),
        hasattr(model, DECISION),
        _first_wins(model),
        _answers_zeros(model),
        only_labels(model),
    )


def _first_wins(model: Any) -> bool:
    """Whether the first of the classes with the same score wins, which differs between versions: ask the model."""
    from sklearn.dummy import DummyClassifier

    even = DummyClassifier().fit([[0.0], [0.0]], [0, 1])
    return bool(_with_members(model, even).predict(np.zeros((1, 1)))[0] == model.classes_[0])


def _answers_zeros(model: Any) -> bool:
    """Whether probabilities of 0 alone are an answer, which differs between versions as well."""
    from sklearn.dummy import DummyClassifier

    never = DummyClassifier(strategy="constant", constant=0).fit([[0.0], [0.0]], [0, 1])
    if not hasattr(model, PROBA):
        return True
    with np.errstate(invalid="ignore"):
        return bool(np.isfinite(_with_members(model, never).predict_proba(np.zeros((1, 1)))).all())


def _with_members(model: Any, member: Any) -> Any:
    """The model with another one for each class."""
    asked = copy.copy(model)
    asked.estimators_ = [member] * len(model.estimators_)
    return asked


def several(model: Any, compiled: Compile) -> Head:
    return Several([compiled(member) for member in model.estimators_], hasattr(model, PROBA))


def chain(model: Any, compiled: Compile) -> Head:
    return InTurn(
        [compiled(member) for member in model.estimators_],
        getattr(model, "chain_method_", PREDICT),
        ints(np.argsort(model.order_)),
        hasattr(model, PROBA),
        hasattr(model, DECISION),
    )


def turned_target(model: Any, compiled: Compile) -> Head:
    transformer = model.transformer_
    name = sklearn_name(transformer)
    steps: Sequence[Step]
    if name == "FunctionTransformer" and not transformer.inv_kw_args:
        steps = [] if transformer.inverse_func is None else [applied(transformer.inverse_func)]
    elif name == "StandardScaler" and transformer.with_mean and transformer.with_std:
        steps = [Arithmetic(["multiply", "add"], [floats(transformer.scale_), floats(transformer.mean_)])]
    elif name == "MinMaxScaler":
        steps = [Arithmetic(["subtract", "divide"], [floats(transformer.min_), floats(transformer.scale_)])]
    else:
        raise NotCompilableError(f"there is no rule for a target turned by {type(transformer).__name__}")
    return Turn(compiled(model.regressor_), list(steps))


def bagging(model: Any, compiled: Compile) -> Head:
    pairs = zip(model.estimators_, model.estimators_features_, strict=True)
    members: list[Answering] = [Piped([Pick(ints(at))], compiled(member)) for member, at in pairs]
    if not classes_of(model):
        return Average(members, NO_NUMBERS)
    whole = all(len(member.classes_) == len(model.classes_) for member in model.estimators_)
    if not whole or not hasattr(model.estimators_[0], PROBA):
        raise NotCompilableError("there is no rule for bagging of models that know fewer classes")
    return Vote(members, NO_NUMBERS, True, only_labels(model))


def boosted(model: Any, compiled: Compile) -> Head:
    members = [compiled(member) for member in model.estimators_]
    weights = floats(model.estimator_weights_[: len(members)])
    return Boost(members, weights, only_labels(model), getattr(model, "algorithm", "SAMME") == "SAMME.R")


def chosen(model: Any, compiled: Compile) -> Answering:
    """What was fitted in the end answers alone."""
    return compiled(model.estimator_)


def boosted_values(model: Any, compiled: Compile) -> Head:
    members = [compiled(member) for member in model.estimators_]
    return Median(members, floats(model.estimator_weights_[: len(members)]))


RULES: dict[str, Callable[[Any, Compile], Answering]] = {
    "VotingClassifier": vote,
    "VotingRegressor": vote,
    "StackingClassifier": stack,
    "StackingRegressor": stack,
    "CalibratedClassifierCV": calibrated,
    "FixedThresholdClassifier": thresholded,
    "TunedThresholdClassifierCV": thresholded,
    "OneVsRestClassifier": one_against_rest,
    "MultiOutputClassifier": several,
    "MultiOutputRegressor": several,
    "ClassifierChain": chain,
    "RegressorChain": chain,
    "RANSACRegressor": chosen,
    "TransformedTargetRegressor": turned_target,
    "BaggingClassifier": bagging,
    "BaggingRegressor": bagging,
    "AdaBoostClassifier": boosted,
    "AdaBoostRegressor": boosted_values,
}
