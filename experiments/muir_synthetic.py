"""Thirty linear tasks in three groups: section 8.5 of Meyerson (2018), Tables 8.3, 8.4, Figures 8.3, 8.4.

The data are those of Kang, Grauman and Sha (2011): 20 inputs, 15 training samples (5 of them withheld for
validation) and 50 test samples for each task; the weights of tasks in a group differ by a factor. Each model
is one linear layer without bias and one block of 20x1, with a context of one number. Without noise, and with.

  single      each task keeps a hypermodule of its own
  random      as evolution, but a random number decides between candidates in place of their shares
  oracle      the mapping is that of the true groups, from the start
  evolution   30 hypermodules at the start, 4 candidates at half of the locations in each generation, with
              equal shares (alpha 0.8)

The model kept is that of the lowest validation loss, summed over tasks. The dissertation does not say how
long it trained; its published settings have generations of 100 steps and soft weights with a learning rate of
0.01 (scale paper). In the miniature (cpu) generations have 25 steps and soft weights 0.05: there the groups
are found before the tasks have learned their few samples by heart, in fewer steps. That was chosen among a
few settings, by when the groups of the noiseless data are found, and by the validation loss of the noisy data
(one seed or two of each).

  scale    generations   steps each   final steps   seeds   time on 1 CPU core
  smoke              4           10            10       1   20 s
  cpu              600           25         2 000       5   50 min
  paper          1 000          100        20 000      10   20 h

  python experiments/muir_synthetic.py --scale cpu
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from common import arguments, keep_pictures, trained
from torch import nn

from moduli import Comparison, HyperModel, MappingEvolution, Task, reparameterize
from moduli.data import kang
from moduli.errors import InputError
from moduli.files import write_file, write_json
from moduli.report import write_report
from moduli.report.groups import group_scores, grouping_figure
from moduli.report.records import read_records
from moduli.report.style import png

METHODS = ("single", "random", "oracle", "evolution")


class Scale(NamedTuple):
    generations: int
    phase: int
    final: int
    soft_lr: float
    seeds: int

    @property
    def steps(self) -> int:
        """Of a whole run."""
        return self.generations * self.phase + self.final


SCALES = {
    "smoke": Scale(4, 10, 10, 0.05, 1),
    "cpu": Scale(600, 25, 2_000, 0.05, 5),
    "paper": Scale(1_000, 100, 20_000, 0.01, 10),
}


def methods(tasks: Sequence[Task], scale: Scale) -> dict[str, Callable[[int], HyperModel]]:
    """The four ways to map hypermodules to tasks."""
    settings = {
        "candidates": 4,
        "alpha": 0.8,
        "soft_lr": scale.soft_lr,
        "final": scale.final / scale.steps,
        "burn_in": 0,
    }

    def build(**how: Any) -> HyperModel:
        models = {task.name: nn.Linear(20, 1, bias=False) for task in tasks}
        return reparameterize(models, tasks, block=(20, 1), context=1, init="he", **how)

    return {
        "single": lambda seed: build(evolution=None),
        "random": lambda seed: build(evolution=MappingEvolution(select="random", **settings)),
        "oracle": lambda seed: build(evolution=None, mapping=kang.groups()),
        "evolution": lambda seed: build(evolution=MappingEvolution(**settings)),
    }


def found(comparison: Comparison, folder: Path) -> dict[str, dict[str, list[Any]]]:
    """For each method and seed: mean test error over tasks, modules and group score of the best model.

    And of the log: the first generation at whose end the mapping is that of the true groups, or None, and
    the share of the generations from then on in which it is so.
    """
    logged = read_records(folder / "metrics.jsonl").hypermodules
    results: dict[str, dict[str, list[Any]]] = {method: {} for method in METHODS}
    for outcome in comparison.outcomes:
        scores, row = outcome.test, results[outcome.method]
        rmse = [metrics["rmse"] for metrics in scores.metrics.values()]
        mapping = outcome.extra["hypermodules"]["mapping"]
        mine = [r for r in logged if (r["method"], r["seed"]) == (outcome.method, outcome.seed)]
        mappings = [record["mapping"] for record in mine]
        true = [
            score == len(mapping) and len(set(one)) == 3
            for score, one in zip(group_scores(mappings, kang.groups()), mappings, strict=True)
        ]
        first = true.index(True) if any(true) else None
        for key, value in {
            "seed": outcome.seed,
            "rmse": float(np.mean(rmse)),
            "mse": float(np.mean(np.square(rmse))),
            "val_loss": float(np.mean(list(outcome.val.loss.values()))),
            "modules": len(set(mapping)),
            "score": group_scores([mapping], kang.groups())[0],
            "first": first,
            "after": float(np.mean(true[first:])) if first is not None else None,
        }.items():
            row.setdefault(key, []).append(value)
    return results


def main() -> None:
    options = arguments("muir_synthetic", __doc__ or "")
    scale = SCALES[options.scale]
    into = options.results / "muir_synthetic" / options.scale
    results: dict[str, Any] = {}
    for name in ("noiseless", "noisy"):
        try:
            tasks = kang.tasks(noisy=name == "noisy")
        except InputError as error:
            raise SystemExit(str(error)) from error
        folder = options.folder / name
        comparison = trained(
            methods(tasks, scale),
            tasks,
            folder,
            name=f"thirty linear tasks, {name}",
            seeds=options.seeds or scale.seeds,
            device=options.device,
            steps=scale.steps,
            phase=scale.phase,
            batch_size=10,
            select="loss",
            patience=None,
        )
        results[name] = found(comparison, folder)
        write_report(folder)
        figure = grouping_figure(comparison.summary, read_records(folder / "metrics.jsonl"), kang.groups())
        assert figure is not None
        write_file(into / f"grouping-{name}.png", png(figure, dpi=110))
        keep_pictures(folder, into, {"mapping-4": f"mapping-{name}"})
    conditions = {**scale._asdict(), "data": tasks[0].name.rsplit("_", 1)[0]}
    write_json(into / "summary.json", {"schema": 1, "scale": conditions, "results": results})
    print(f"results in {into}")


if __name__ == "__main__":
    main()
