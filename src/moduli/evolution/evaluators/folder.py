"""The folder of a search, and whether a search that goes on there is the one that it is of."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from moduli.errors import InputError
from moduli.files import finite, read_json, write_json


@contextmanager
def folder_of(given: Path | None, name: str) -> Iterator[Path]:
    """The folder of a search; one that is removed at the end if none is given.

    Args:
        given: the user's, or None.
        name: of what is done, for the temporary one.
    """
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix=f"moduli-{name}-") as temporary:
        yield Path(temporary)


def check_settings(folder: Path, settings: Mapping[str, Any], free: Collection[str] = ()) -> None:
    """Whether the settings of a search are those in its folder's `settings.json`, if there is one.

    Args:
        folder: of the search.
        settings: a nest of them.
        free: names of those that may be others.

    Raises:
        InputError: if one is another; the message has both values.
        RunError: if the file is damaged.
    """
    path = folder / "settings.json"
    if not path.exists():
        return
    now, then = _flat(_as_json(settings)), _flat(read_json(path))
    for name in dict.fromkeys([*now, *then]):
        if name not in free and now.get(name) != then.get(name):
            raise InputError(
                f"{folder} is of a search with {name} {then.get(name)}, now it is {now.get(name)}: "
                "give another folder"
            )


def keep_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Writes `settings.json`.

    Raises:
        SaveError: if it cannot be written.
    """
    write_json(folder / "settings.json", _as_json(settings))


def _as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(finite(settings)))


def _flat(nest: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` as `{"a.b": 1}`."""
    flat: dict[str, Any] = {}
    for key, value in nest.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
