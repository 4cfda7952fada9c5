"""What `import moduli` gives: every name documented, nothing heavy loaded before it is used."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys

import pytest

import moduli
from moduli import types

NAMES = [name for name in moduli.__all__ if name != "__version__"]
CLASSES = [name for name in NAMES if inspect.isclass(getattr(moduli, name))]

# Documented once, where the protocol is (moduli.types, torch.nn.Module, moduli.tasks.kinds.Kind).
PROTOCOLS = {
    "forward", "extra_repr", "state_dict", "load_state_dict", "shared_parameters", "own", "backward",
    "parameters", "choose", "observe", "after_phase", "stream", "batches", "draw", "start", "wants_losses",
    "update", "stop", "name", "outputs", "group", "primary", "loss", "labelled", "predict", "metrics",
}  # fmt: skip


def documented(thing: object) -> bool:
    text = inspect.getdoc(thing) or ""
    return bool(text.strip()) and not text.startswith(f"{getattr(thing, '__name__', '')}(")


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_has_a_docstring(name):
    thing = getattr(moduli, name)
    assert documented(thing), f"{name} has no docstring"
    assert thing.__module__.startswith("moduli."), f"{name} is not ours"


def members(cls: type) -> list[tuple[str, object]]:
    """Public functions and properties that the class itself defines; its docstring speaks of fields."""
    found = []
    fields = {f.name for f in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else set()
    for name, member in vars(cls).items():
        if isinstance(member, staticmethod | classmethod):
            member = member.__func__
        if (
            not name.startswith("_")
            and name not in PROTOCOLS | fields
            and callable(member) | isinstance(member, property)
        ):
            found.append((name, member))
    return found


@pytest.mark.parametrize("name", CLASSES)
def test_every_public_method_has_a_docstring(name):
    missing = [member for member, f in members(getattr(moduli, name)) if not documented(f)]
    assert not missing, f"{name} has methods without a docstring: {missing}"


@pytest.mark.parametrize("name", NAMES)
def test_arguments_are_explained(name):
    """Functions and constructors with several arguments name each of them in the docstring.

    Errors are not made by users, and the fields of records speak for themselves.
    """
    thing = getattr(moduli, name)
    if inspect.isclass(thing) and (issubclass(thing, BaseException) or dataclasses.is_dataclass(thing)):
        pytest.skip("an error or a record")
    explained = inspect.getdoc(thing) or ""
    arguments = [p for p in inspect.signature(thing).parameters if p not in ("self", "args", "kwargs")]
    shared = inspect.getdoc(moduli.soft) if thing in (moduli.single, moduli.hard, moduli.permuted) else ""
    if len(arguments) > 2:
        missing = [p for p in arguments if p not in explained and p not in shared]
        assert not missing, f"{name} does not explain {missing}"


def test_all_is_what_can_be_imported():
    assert len(set(moduli.__all__)) == len(moduli.__all__)
    assert set(NAMES) <= set(dir(moduli))
    with pytest.raises(AttributeError):
        moduli.no_such_name  # noqa: B018


@pytest.mark.parametrize("name", ["Stage", "Structure", "Combine", "Schedule", "Control", "Stateful"])
def test_the_plug_points_are_documented(name):
    protocol = getattr(types, name)
    assert documented(protocol)
    if name not in ("Stateful", "Stage"):
        inherited = ("state_dict", "load_state_dict")
        own = [m for m, f in vars(protocol).items() if inspect.isfunction(f) and not m.startswith("_")]
        undocumented = [m for m in own if m not in inherited and not documented(getattr(protocol, m))]
        assert undocumented in ([], ["after_phase"])


def loaded_after(code: str) -> set[str]:
    """The top-level modules that a fresh Python has loaded after running `code`."""
    script = f"{code}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


HEAVY = {"pandas", "matplotlib", "sklearn", "torchmetrics", "scipy", "jinja2", "networkx", "pyarrow", "rich"}


def test_importing_moduli_loads_nothing_heavy():
    loaded = loaded_after("import moduli")
    assert "moduli" in loaded
    assert not loaded & (HEAVY | {"torch", "numpy"})


def test_training_needs_torch_and_nothing_else_that_is_heavy():
    code = "import moduli; moduli.fit, moduli.JointModel, moduli.soft, moduli.Task, moduli.Regression"
    loaded = loaded_after(code)
    assert "torch" in loaded
    # torch itself loads some of these where they are installed
    assert not (loaded - loaded_after("import torch")) & HEAVY
