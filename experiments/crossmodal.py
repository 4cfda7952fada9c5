"""Several models of different kinds, trained alone, reparameterised alone, and together. Not a library."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import keep_pictures, trained
from torch import nn

from moduli import Comparison, Each, JointModel, MappingEvolution, Task, reparameterize
from moduli.files import write_json
from moduli.report import write_report

Networks = Mapping[str, Callable[[], nn.Module]]
"""Makes the model of each task."""

PICTURES = {"hypermodules": "hypermodules", "module-sharing-1": "sharing", "layer-sharing-1": "layers"}


@dataclass(frozen=True)
class Set:
    """Tasks that are trained together: ``single`` as they are (one task), else reparameterised."""

    tasks: tuple[str, ...]
    single: bool = False

    @property
    def name(self) -> str:
        """A word for it, also of its folder."""
        return "single" if self.single else "intra" if len(self.tasks) == 1 else "joint"


def plain(tasks: Sequence[Task], networks: Networks) -> JointModel:
    """The models as they are, side by side."""
    nothing = nn.Identity()
    models = {task.name: networks[task.name]() for task in tasks}
    structure = Each(dict.fromkeys(models, nothing))
    return JointModel(tasks, structure, {task.data.name: nothing for task in tasks}, models)


def run(
    experiment: str,
    tasks: Sequence[Task],
    networks: Networks,
    sets: Sequence[Set],
    blocks: Mapping[str, int],
    evolution: MappingEvolution,
    options: Namespace,
    seeds: int,
    **train: Any,
) -> None:
    """Trains all sets, and writes the test figures of every task in every set.

    Args:
        experiment: its name.
        tasks: all that there are.
        networks: a model for each.
        sets: which tasks are trained together.
        blocks: of each task's model, 16x16; asserted.
        evolution: of the mapping.
        options: of the command line.
        seeds: how many.
        **train: settings.
    """
    by_name = {task.name: task for task in tasks}
    into: Path = options.results / experiment / options.scale
    rows: list[dict[str, Any]] = []
    for chosen in sets:
        members = [by_name[name] for name in chosen.tasks]

        def build(seed: int, members: list[Task] = members, single: bool = chosen.single) -> JointModel:
            if single:
                return plain(members, networks)
            models = {task.name: networks[task.name]() for task in members}
            model = reparameterize(models, members, block=(16, 16), context=4, init="he", evolution=evolution)
            assert model.coverage.blocks == sum(blocks[task.name] for task in members), str(model.coverage)
            return model

        label = f"{chosen.name}-{'-'.join(chosen.tasks)}"
        folder = options.folder / label
        comparison = trained(
            {chosen.name: build},
            members,
            folder,
            name=f"{experiment}: {' + '.join(chosen.tasks)}",
            seeds=seeds,
            device=options.device,
            patience=None,
            **train,
        )
        comparison.show()
        write_report(folder)
        rows.append(_row(chosen, comparison))
        write_json(into / "summary.json", _summary(by_name, rows, comparison, train))
        if len(chosen.tasks) == len(tasks):
            keep_pictures(folder, into, PICTURES)
    print(f"results in {into}")


def _row(chosen: Set, comparison: Comparison) -> dict[str, Any]:
    """Figures of a set: for each task the test and validation metric of every seed; sizes."""
    outcomes = comparison.outcomes
    row: dict[str, Any] = {
        "method": chosen.name,
        "tasks": list(chosen.tasks),
        "seeds": [outcome.seed for outcome in outcomes],
        "test": {t: [outcome.test.value(t) for outcome in outcomes] for t in chosen.tasks},
        "val": {t: [outcome.val.value(t) for outcome in outcomes] for t in chosen.tasks},
        "best_step": [outcome.extra["best_step"] for outcome in outcomes],
        "seconds": [outcome.seconds for outcome in outcomes],
        "parameters": [outcome.parameters for outcome in outcomes],
    }
    if not chosen.single:
        told = [outcome.extra["hypermodules"] for outcome in outcomes]
        row["modules"] = [len(set(one["mapping"])) for one in told]
        row["original"] = [one["parameters"]["original"] for one in told]
    return row


def _summary(
    tasks: Mapping[str, Task], rows: list[dict[str, Any]], comparison: Comparison, train: Mapping[str, Any]
) -> dict[str, Any]:
    about = comparison.summary
    return {
        "schema": 1,
        "tasks": {
            name: {"metric": task.metric, "train": len(task.data.train), "test": len(task.data.test)}
            for name, task in tasks.items()
        },
        "train": dict(train),
        "device": about["device"],
        "versions": about["versions"],
        "sets": rows,
    }
