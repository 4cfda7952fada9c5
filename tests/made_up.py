"""Made-up comparisons of any size, as run folders: what `moduli run` leaves behind, without the training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from moduli.evaluation.summary import Outcome, summarize, write_summary
from moduli.evolution.features import uses as count_uses
from moduli.evolution.mutation import complexity, draw
from moduli.report.records import Records, read_records
from moduli.sharing.route import chain, inputs_of
from moduli.types import Scores

NAMES = [
    "heart",
    "stay",
    "glucose",
    "insulin",
    "diabetic",
    "australian",
    "ionosphere",
    "glass",
    "abalone",
    "vehicle",
]
METHODS = ["single", "hard", "permuted", "soft"]
EVOLVED = ("ctr", "cmtr")
CONFIG = """name: clinic
tasks:
  - {name: heart, table: heart.csv, target: disease}
sharing: {kind: soft, layers: 4, width: 32}
compare: [single, hard, permuted]
seeds: 5
"""


def softmax(logits):
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def describe(names):
    """Every third task is a regression in its own unit."""
    tasks = []
    for index, name in enumerate(names):
        regression = index % 3 == 1
        tasks.append(
            {
                "name": name,
                "kind": "regression" if regression else "multiclass",
                "metric": "rmse" if regression else "accuracy",
                "direction": "lower" if regression else "higher",
                "samples": {"train": 100 * (index + 1), "val": 30, "test": 50},
            }
        )
    return tasks


def curve(steps, start, end, noise, random):
    return end + (start - end) * np.exp(-4 * steps / steps.max()) + noise * random.normal(size=len(steps))


class Maker:
    """Draws outcomes and metric records of a comparison that never happened."""

    def __init__(self, names, methods, seeds, steps=20, depth=4, layers=4):
        self.random = np.random.default_rng(0)
        self.tasks, self.methods, self.seeds = describe(names), list(methods), list(seeds)
        self.steps = np.linspace(250, 250 * steps, steps).astype(int)
        self.depth, self.layers = depth, layers
        self.hardness = self.random.normal(size=len(names))
        self.outcomes, self.records = [], []
        for method in self.methods:
            for seed in self.seeds:
                self._run(method, seed)

    def _run(self, method, seed):
        quality = 0.015 * self.methods.index(method) + 0.005 * self.random.normal()
        scores = {"test": ({}, {}), "val": ({}, {})}
        for task, hard in zip(self.tasks, self.hardness, strict=True):
            final = self._task(method, seed, task, hard, quality + 0.008 * self.random.normal())
            for split, shift in (("val", 0.0), ("test", 0.002)):
                scores[split][0][task["name"]] = final["loss"] + shift
                rest = {key: value for key, value in final.items() if key != "loss"}
                scores[split][1][task["name"]] = rest
        extra = {"scales": self._scales(seed)} if method == "soft" else {}
        if method in EVOLVED:
            extra = self._evolution(method, seed)
        primary = {task["name"]: task["metric"] for task in self.tasks}
        better = {task["name"]: task["direction"] == "higher" for task in self.tasks}
        made = {split: Scores(split, *pair, primary, better) for split, pair in scores.items()}
        parameters = 10_000 * (len(self.tasks) if method == "single" else 1) + 457
        seconds = 12.5 + self.random.random()
        self.outcomes.append(
            Outcome(method, seed, parameters, seconds, int(self.steps[-1]), made["test"], made["val"], extra)
        )

    def _task(self, method, seed, task, hard, quality):
        regression = task["kind"] == "regression"
        accuracy = np.clip(0.8 + 0.06 * hard + quality, 0.05, 0.995)
        metric = curve(self.steps, 0.4, accuracy, 0.01, self.random)
        if regression:
            metric = 40 * np.exp(hard) * curve(self.steps, 3.0, 1.2 - 2 * quality, 0.02, self.random)
        loss = curve(self.steps, 1.5, 1.4 * (1 - accuracy), 0.02, self.random)
        for step, value, level in zip(self.steps.tolist(), metric, loss, strict=True):
            line = {"method": method, "seed": seed, "step": step, "task": task["name"]}
            self.records.append({**line, "split": "train", "loss": 0.8 * level})
            self.records.append({**line, "split": "val", "loss": level, task["metric"]: value})
        final = {"loss": loss[-1], task["metric"]: float(metric[-1])}
        return final if regression else {**final, "auroc": min(1.0, accuracy + 0.05)}

    def _scales(self, seed):
        """Learned softmax scales, from equal at the start to nearly hard; logged on the way."""
        kinds = self.random.normal(size=(3, self.depth, self.layers))
        own = self.random.normal(size=(len(self.tasks), self.depth, self.layers))
        logits = 1.8 * kinds[np.arange(len(self.tasks)) % 3] + 0.7 * own
        for step in self.steps.tolist():
            scales = self._named(softmax(logits * step / self.steps[-1]))
            self.records.append(
                {"method": "soft", "seed": seed, "step": step, "split": "scales", "scales": scales}
            )
        return self._named(softmax(logits))

    def _evolution(self, method, seed, layers=4):
        """Routes that grow by random mutations, fewer of them with time, more for a hard task."""
        head = {"method": method, "seed": seed}
        routes = {task["name"]: chain(range(layers), pooling=True) for task in self.tasks}
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            for phase, step in enumerate(self.steps.tolist()):
                for (name, route), hard in zip(routes.items(), self.hardness, strict=True):
                    mutation = draw(route, range(layers), max_nodes=60)
                    challenger = mutation.apply(route)[0] if mutation else route
                    chance = 0.5 * np.exp(hard - 4 * phase / len(self.steps))
                    accepted = mutation is not None and self.random.random() < chance
                    error = -self.random.random()
                    self.records.append(
                        {
                            **head,
                            "step": step,
                            "split": "evolution",
                            "task": name,
                            "chosen": int(accepted),
                            "errors": [error, error + (-0.01 if accepted else 0.01)],
                            "nodes": [complexity(route), complexity(challenger)],
                            "accepted": mutation.to_json() if mutation and accepted else None,
                        }
                    )
                    routes[name] = challenger if accepted else route
                used = np.sum([count_uses(r, layers, layers).sum(1) for r in routes.values()], axis=0)
                line = {**head, "step": step, "split": "modules", "uses": used.tolist()}
                self.records.append(line)
        return {
            "routes": {name: route.to_json() for name, route in routes.items()},
            "scales": {name: self._shares(route) for name, route in routes.items()},
        }

    def _shares(self, route):
        inputs = [len(inputs_of(route.nodes[merge - 1])) for merge in route.merges]
        return [softmax(1.5 * self.random.normal(size=number)).tolist() for number in inputs]

    def _named(self, scales):
        return {task["name"]: scale.tolist() for task, scale in zip(self.tasks, scales, strict=True)}

    def summary(self, **options):
        options = {"versions": {"moduli": "0.1.0", "torch": "2.13.0"}, "device": "cpu, 2 threads", **options}
        return summarize("clinic", self.tasks, self.outcomes, **options)

    def write(self, folder: Path, **options) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        write_summary(folder / "summary.json", self.summary(**options))
        lines = [json.dumps(record) + "\n" for record in self.records]
        (folder / "metrics.jsonl").write_text("".join(lines))
        (folder / "config.yaml").write_text(CONFIG)
        run = {
            "command": "moduli run clinic.yaml --seeds 5",
            "versions": {"moduli": "0.1.0", "torch": "2.13.0"},
        }
        (folder / "run.json").write_text(json.dumps(run))
        return folder


@pytest.fixture(scope="session")
def maker():
    """A small comparison: 4 tasks, 3 methods, 3 seeds."""
    return Maker(NAMES[:4], ["single", "hard", "soft"], range(3), steps=6)


@pytest.fixture(scope="session")
def make():
    """`Maker` itself, for comparisons of another size."""
    return Maker


def read_lines(folder: Path, lines: Sequence[dict[str, Any]]) -> Records:
    """What the report reads of a `metrics.jsonl` with these lines."""
    path = folder / "metrics.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return read_records(path)
