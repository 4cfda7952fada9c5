"""The docstrings of the room: every argument, every fitted attribute and every source is in them."""

from __future__ import annotations

import dataclasses
import inspect
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning

import moduli.linear as linear
from moduli.linear import Method, MultiTaskClassifier, MultiTaskRegressor

NAMES = sorted(linear.__all__)
CLASSES = [name for name in NAMES if inspect.isclass(getattr(linear, name))]
METHODS = [
    name for name in CLASSES if issubclass(getattr(linear, name), Method) and getattr(linear, name) != Method
]
ESTIMATORS = [
    "HierarchicalGP",
    "MultiTaskClassifier",
    "MultiTaskGP",
    "MultiTaskPerceptron",
    "MultiTaskRegressor",
]
ARGUMENT = r"^\s+{}: "
"""The line of a section of arguments or attributes that explains one; pages cannot show two in a line."""


def docstring(name: str) -> str:
    return inspect.getdoc(getattr(linear, name)) or ""


def explained(argument: str, text: str) -> bool:
    return re.search(ARGUMENT.format(argument), text, flags=re.MULTILINE) is not None


def fitted_attributes(estimator: object) -> set[str]:
    return {name for name in vars(estimator) if name.endswith("_") and not name.startswith("_")}


def samples(classes: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X, task = rng.standard_normal((60, 4)), np.repeat(["a", "b", "c"], 20)
    y = X[:, 0] + X[:, 1] + 0.3 * rng.standard_normal(60)
    return X, np.where(y > 0, 1, 0) if classes else y, task


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_ours_and_documented(name):
    thing = getattr(linear, name)
    assert thing.__module__.startswith("moduli.linear.")
    assert docstring(name).strip()
    assert not docstring(name).startswith(f"{name}(")  # what a dataclass writes by itself


@pytest.mark.parametrize("name", NAMES)
def test_arguments_are_explained(name):
    thing = getattr(linear, name)
    if dataclasses.is_dataclass(thing) or thing is Method:
        pytest.skip("a record, or what methods derive from")
    arguments = set(inspect.signature(thing).parameters) - {"self"}
    missing = [argument for argument in arguments if not explained(argument, docstring(name))]
    assert not missing, f"{name} does not explain {missing}"


@pytest.mark.parametrize("name", CLASSES)
def test_fields_of_records_are_explained(name):
    thing = getattr(linear, name)
    fields = dataclasses.fields(thing) if dataclasses.is_dataclass(thing) else ()
    missing = [field.name for field in fields if f"``{field.name}``" not in docstring(name)]
    assert not missing, f"{name} does not explain {missing}"


@pytest.mark.parametrize("name", CLASSES)
def test_public_methods_say_what_they_do_and_take(name):
    """Also those that a class has from one of ours, but not what scikit-learn brings."""
    missing = []
    for member in dir(getattr(linear, name)):
        function = getattr(getattr(linear, name), member)
        if member.startswith("_") or not inspect.isfunction(function):
            continue
        if not function.__module__.startswith("moduli.") or member in ("solve", "largest"):
            continue
        text = inspect.getdoc(function) or ""
        arguments = [p for p in inspect.signature(function).parameters if p not in ("self", "found")]
        told = re.search("rguments (as of|are ignored)", text) or len(arguments) < 2
        if not text or not (told or all(explained(p, text) or f"``{p}``" in text for p in arguments)):
            missing.append(member)
    assert not missing, f"{name} does not explain arguments of {missing}"


@pytest.mark.parametrize("kind", [MultiTaskRegressor, MultiTaskClassifier])
@pytest.mark.parametrize("name", METHODS)
def test_methods_list_what_they_find(name, kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = kind(getattr(linear, name)()).fit(*samples(kind is MultiTaskClassifier))
    missing = [
        attribute
        for attribute in fitted_attributes(fitted)
        if f"``{attribute}``" not in docstring(name) and not explained(attribute, docstring(kind.__name__))
    ]
    assert not missing, f"{name} does not list {missing}"


@pytest.mark.parametrize("name", METHODS)
def test_what_methods_list_they_find(name):
    """In `Fitted attributes of the estimator: ...`, and at least with one of the two losses."""
    _, _, listed = docstring(name).partition("Fitted attributes of the estimator:")
    found: set[str] = set()
    for kind in (MultiTaskRegressor, MultiTaskClassifier):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            found |= fitted_attributes(
                kind(getattr(linear, name)()).fit(*samples(kind is MultiTaskClassifier))
            )
    assert set(re.findall(r"``(\w+_)``", listed.partition("Args:")[0])) <= found


@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimators_list_their_attributes(name):
    estimator = getattr(linear, name)()
    classes = name in ("MultiTaskClassifier", "MultiTaskPerceptron")
    fitted = estimator.fit(*samples(classes))
    of_the_estimator = fitted_attributes(fitted) - {"support_"}  # which is of the default method
    missing = [a for a in of_the_estimator if not explained(a, docstring(name).partition("Attributes:")[2])]
    assert not missing, f"{name} does not list {missing}"


@pytest.mark.parametrize("name", sorted({*METHODS, *ESTIMATORS} - {"Ridge", "Lasso", "Pooled"}))
def test_sources_are_given(name):
    if name in ("MultiTaskRegressor", "MultiTaskClassifier"):
        pytest.skip("the source is that of the method")
    assert re.search(r"\b(19|20)\d\d\b", docstring(name)), f"{name} names no paper"


@pytest.mark.parametrize("name", [*METHODS, "MultiTaskRegressor", "MultiTaskClassifier"])
def test_objectives_are_written_out(name):
    """As an indented line, which pages show as it is."""
    assert re.search(r"^    .*(F\(|sum_t|~)", docstring(name), flags=re.MULTILINE), name


def test_estimators_store_arguments_only():
    """Wrong values are found in `fit`, and clones are equal: scikit-learn's rule."""
    for name in CLASSES:
        thing = getattr(linear, name)
        if issubclass(thing, BaseEstimator) and thing is not Method:
            wrong = {argument: object() for argument in inspect.signature(thing).parameters}
            assert thing(**wrong).get_params(deep=False) == wrong


def test_the_room_stands_apart():
    """It loads no other room and no torch, and matplotlib only where something is drawn."""
    script = "import sys, moduli.linear; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(result.stdout.split())
    assert not {"torch", "matplotlib"} & loaded
    rooms = {name.split(".")[1] for name in loaded if name.startswith("moduli.")}
    assert rooms == {"linear", "errors", "_version"}
