"""What the experiment scripts share: their options, and where results go. Not a library."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import moduli
from moduli.errors import InputError, Interrupted, RunError
from moduli.files import write_json
from moduli.report import write_report

ROOT = Path(__file__).resolve().parent.parent
SCALES = ("smoke", "cpu", "paper")
MANY = 8  # methods


def arguments(
    name: str, description: str, own: Mapping[str, Mapping[str, Any]] | None = None
) -> argparse.Namespace:
    """The options of every experiment, and some of its `own`; ``folder`` is where training state is kept."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", choices=SCALES, default="cpu", help="how much to compute (see above)")
    parser.add_argument("--seeds", type=int, help="how many seeds; that of the scale if not given")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ...")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch on the CPU")
    parser.add_argument("--folder", type=Path, help="training state; an interrupted run goes on from there")
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="where summary.json goes")
    for option, details in (own or {}).items():
        parser.add_argument(option, **details)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.scale == "smoke":  # leaves no trace: results are of the larger scales only
        options.results = options.folder = Path(tempfile.mkdtemp(prefix=f"moduli-{name}-"))
    elif options.folder is None:
        options.folder = ROOT / "runs" / name / options.scale
    return options


def trained(
    methods: Mapping[str, Any], tasks: Sequence[moduli.Task], folder: Path, **settings: Any
) -> moduli.Comparison:
    """`moduli.compare` with progress.

    Ends the program with one line if the user stops it, or if data are missing.
    """
    try:
        return moduli.compare(methods, tasks, folder=folder, progress=moduli.Bar(), **settings)
    except (Interrupted, InputError, RunError) as error:
        sys.exit(f"{error}" + ("; the same command goes on" if isinstance(error, Interrupted) else ""))


def compare(
    methods: Mapping[str, Any], tasks: Sequence[moduli.Task], folder: Path, into: Path, **settings: Any
) -> dict[str, Any]:
    """`trained`, shown; the summary, its table and its curves are copied to the results.

    Of many methods there are hundreds of pairs, and no curve could be told from another: then the summary
    keeps what tables are made of (see `against_baseline`), and there are no curves.
    """
    comparison = trained(methods, tasks, folder, **settings)
    comparison.show()
    write_report(folder)
    into.mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / "comparison.md", into)
    if len(methods) > MANY:
        write_json(into / "summary.json", against_baseline(comparison.summary))
    else:
        shutil.copy(folder / "summary.json", into)
        shutil.copy(folder / "plots" / "curves.png", into)
    print(f"results in {into}")
    return comparison.summary


def against_baseline(summary: dict[str, Any]) -> dict[str, Any]:
    """A summary without the pairs of two methods, single tasks in pairs, and what single runs looked like."""
    kept = [
        {key: value for key, value in pair.items() if key != "tasks"}
        for pair in summary["comparisons"]
        if pair["other"] == summary["baseline"]
    ]
    methods = {
        name: {key: value for key, value in method.items() if key != "runs"}
        for name, method in summary["methods"].items()
    }
    return {**summary, "methods": methods, "comparisons": kept}


def keep_pictures(folder: Path, into: Path, pictures: Mapping[str, str]) -> None:
    """Copies pictures of a run's report to the results: `{name in the report: name there}`."""
    for name, kept in pictures.items():
        if (picture := folder / "plots" / f"{name}.png").exists():
            shutil.copy(picture, into / f"{kept}.png")
