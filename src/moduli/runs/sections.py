"""Sections of a run file: checked, with one clear line for whatever is wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from moduli.errors import InputError, did_you_mean

S = TypeVar("S")


class Section(BaseModel):
    """Keys and values of one section; its fields are the keys that are known."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoOptions(Section):
    """Nothing to be said."""


def checked(section: type[S], values: Any, place: str) -> S:
    """The section made from what a file says.

    Args:
        section: a `Section`, or a dataclass.
        values: keys and values; None for an empty section.
        place: where it stands in the file, such as `train` or `compare.1`; empty for the whole file.

    Raises:
        InputError: with place and value, for an unknown key, a wrong type or an impossible value.
    """
    values = check_mapping({} if values is None else values, place)
    check_keys(values, known_keys(section), place)
    try:
        return TypeAdapter(section).validate_python(dict(values))
    except ValidationError as error:
        raise _as_input_error(error, place) from None


def known_keys(section: type) -> list[str]:
    """The keys of a section."""
    if issubclass(section, BaseModel):
        return list(section.model_fields)
    return [field.name for field in dataclasses.fields(section)]


def check_mapping(values: Any, place: str) -> Mapping[str, Any]:
    """`values`, if they are keys with values."""
    if not isinstance(values, Mapping):
        raise InputError(f"{place or 'the run file'} is {values!r}: give keys with values")
    return values


def check_keys(values: Mapping[Any, Any], known: list[str], place: str) -> None:
    """Raises `InputError` for the first key that is not known."""
    for key in values:
        if key not in known:
            raise InputError(f"{_at(place, key)}: unknown key, {did_you_mean(str(key), known)}")


def _as_input_error(error: ValidationError, place: str) -> InputError:
    errors = error.errors()
    first = errors[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        return cause
    key = first["loc"][:1]
    # Where one of several types would do, there is an error for each of them.
    reasons = [e["msg"].removeprefix("Input ").split(",")[0] for e in errors if e["loc"][:1] == key]
    reason = " or ".join(dict.fromkeys(reasons))
    others = len({e["loc"][:1] for e in errors}) - 1
    more = f" (and {others} more)" if others else ""
    if first["type"] == "missing":
        return InputError(f"{_at(place, *key)} is missing: give it a value{more}")
    return InputError(f"{_at(place, *key)}: {reason}, found {first['input']!r}{more}")


def _at(place: str, *keys: Any) -> str:
    return ".".join(str(part) for part in ([place] if place else []) + list(keys))
