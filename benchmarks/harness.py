"""What every benchmark shares: alternatives interleaved in one process, ratios with their spread, JSON.

A shared machine is noisy and drifts, so no absolute time is reported. The alternatives run in turns,
A B A B ..., and each turn gives one ratio.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

import moduli

Work = Callable[[], object]


def arguments(description: str) -> argparse.Namespace:
    """The options of every benchmark."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--quick", action="store_true", help="fewer turns: under 50 s on 2 cores")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, ...")
    parser.add_argument("--threads", type=int, default=None, help="threads of torch")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    return options


def seconds(work: Work, repeats: int, device: str) -> float:
    """Time of one call of `work`, the mean of `repeats`."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(repeats):
        work()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / repeats


def turns(
    alternatives: dict[str, Work], budget: float, device: str, rounds: int = 9
) -> dict[str, list[float]]:
    """Seconds per call of every alternative in every round, interleaved, in about `budget` seconds."""
    for work in alternatives.values():
        for _ in range(5):
            work()
    once = {name: seconds(work, 3, device) for name, work in alternatives.items()}
    share = budget / rounds / len(alternatives)
    repeats = {name: max(1, int(share / time_)) for name, time_ in once.items()}
    times: dict[str, list[float]] = {name: [] for name in alternatives}
    for _ in range(rounds):
        for name, work in alternatives.items():
            times[name].append(seconds(work, repeats[name], device))
    return times


def ratio(ours: list[float], other: list[float]) -> dict[str, float]:
    """Time of ours over time of the other, turn by turn: below 1 is faster."""
    ratios = [a / b for a, b in zip(ours, other, strict=True)]
    return {
        "median": round(statistics.median(ratios), 4),
        "min": round(min(ratios), 4),
        "max": round(max(ratios), 4),
        "runs": len(ratios),
    }


def report(name: str, options: argparse.Namespace, ratios: dict[str, dict], **more: object) -> None:
    """Prints the ratios, and writes them to the file that was asked for."""
    for case, figures in ratios.items():
        print(f"{case:48s} {figures['median']:.3f}   [{figures['min']:.3f}, {figures['max']:.3f}]")
    result = {
        "benchmark": name,
        "device": torch.cuda.get_device_name() if options.device.startswith("cuda") else platform.machine(),
        "threads": torch.get_num_threads(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "moduli": moduli.__version__,
        },
        "ratios": ratios,
        **more,
    }
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
