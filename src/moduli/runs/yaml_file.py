"""YAML in, plain data out; and changes to it from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from moduli.errors import InputError, did_you_mean


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in one place, of which YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands twice", key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Any:
    """The content of a YAML file.

    Raises:
        InputError: if the file is missing or is not YAML, with the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        near = [p.name for p in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        raise InputError(f"no file {path}" + (f", {did_you_mean(path.name, near)}" if near else "")) from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text in UTF-8: is it a run file?") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise InputError(f"{path}{_where(error)}") from None


def override(content: dict[str, Any], text: str) -> None:
    """Changes `content` as `text` says: `train.steps=100`, `tasks.0.target=age`; the value is YAML.

    Raises:
        InputError: if `text` is not of this form, or there is no such place.
    """
    path, equals, value = text.partition("=")
    keys = path.split(".")
    if not equals or not all(keys):
        raise InputError(f"--set {text}: write key=value, such as train.steps=100")
    try:
        value = yaml.load(value, _Loader)
    except yaml.YAMLError as error:
        raise InputError(f"--set {text}: the value is no YAML{_where(error)}") from None
    _set(content, keys, value, f"--set {text}")


def _set(node: Any, keys: list[str], value: Any, what: str) -> None:
    key: Any = keys[0]
    if isinstance(node, list):
        if not key.isdigit() or int(key) >= len(node):
            raise InputError(f"{what}: there are entries 0 to {len(node) - 1}, no entry {key!r}")
        key = int(key)
    if len(keys) == 1:
        node[key] = value
        return
    child = node[key] if isinstance(node, list) else node.get(key)
    if isinstance(child, str):
        child = {"kind": child}  # for which a word alone is short
    elif child is None:
        child = {}
    if not isinstance(child, dict | list):
        raise InputError(f"{what}: {key} is {child!r} and has no keys")
    node[key] = child
    _set(child, keys[1:], value, what)


def _where(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f", line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return f": {' '.join(str(error).split())}"
