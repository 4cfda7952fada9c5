"""What was finished, kept on disk line by line: a killed search does not do it again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from moduli.errors import RunError, SaveError
from moduli.files import write_file


class Journal:
    """JSON lines, one for each finished job, failures too; appended and flushed as results arrive.

    Args:
        path: of the file; it need not be there.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._whole = False  # whether the last line is known to be complete

    def results(self) -> dict[str, dict[str, Any]]:
        """All lines by the ids of their jobs. A last line that was cut off by a kill is dropped.

        Raises:
            RunError: if another line is damaged.
        """
        try:
            text = self.path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise RunError(f"cannot read {self.path}: {error.strerror}") from error
        lines, cut = text.split("\n")[:-1], not text.endswith("\n")
        if cut and text:
            write_file(self.path, "".join(line + "\n" for line in lines))
        records = [self._parsed(number, line) for number, line in enumerate(lines, start=1)]
        return {record["id"]: record for record in records}

    def add(self, record: dict[str, Any]) -> None:
        """Appends a line.

        Raises:
            SaveError: if it cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise SaveError(f"could not write {self.path} ({error.strerror}): free some space") from error

    def _parsed(self, number: int, line: str) -> dict[str, Any]:
        try:
            record = json.loads(line)
            record["id"]
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"line {number} of {self.path} is damaged: remove it, its job is done again"
            ) from error
        return record
