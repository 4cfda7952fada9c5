"""Files, whole or not at all: what every room that writes one uses."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from moduli.errors import RunError, SaveError


def write_atomically(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Calls `write` on a temporary file beside `path`, then moves it there: whole, or not at all.

    Raises:
        SaveError: if the file cannot be written (full disk, no permission). What stood at `path` stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:
        # torch reports a full disk as a RuntimeError of its writer.
        reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        raise SaveError(
            f"could not write {path} ({reason}): free some space; earlier files are kept"
        ) from error
    finally:
        with suppress(OSError):  # gone already, or there is no such folder
            temporary.unlink()


def write_file(path: Path | str, content: str | bytes) -> Path:
    """Writes a whole file or nothing.

    Raises:
        SaveError: if the file cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    write_atomically(Path(path), lambda file: file.write(data))
    return Path(path)


def write_json(path: Path, content: Any) -> None:
    """Writes JSON, whole or not at all; numbers that are not finite become null."""
    text = json.dumps(finite(content), indent=1, ensure_ascii=False) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))


def read_json(path: Path) -> Any:
    """Reads JSON.

    Raises:
        RunError: if the file cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise RunError(f"{path} is damaged ({error}): restore it, or begin anew") from None


def finite(value: Any) -> Any:
    """The same nest with NumPy numbers and arrays as Python's, and None where a number is not finite."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return finite(value.tolist())
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, np.generic):
        return finite(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
