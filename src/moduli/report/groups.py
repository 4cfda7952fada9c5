"""Whether tasks share modules with those of their own group, where the true groups are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from moduli.errors import InputError
from moduli.evaluation.summary import Summary
from moduli.report.hypermodules import band, by_generation, generation_axis
from moduli.report.records import Records
from moduli.report.style import MUTED, TICKS, WIDTH, MethodKey, Sheet, styled


def group_scores(mappings: Sequence[Sequence[int]], groups: Sequence[int]) -> list[int]:
    """How well mappings of modules to tasks agree with true groups of the tasks: a score for each mapping.

    A task counts 0 if no other task uses its module; 1 if others do, and all of them are in its group; and
    -1 if any of them is not. The score is the sum over tasks, at most their number (Figure 8.3 of Meyerson
    2018).

    Args:
        mappings: for each, such as for each generation, the module of each task `[T]`.
        groups: the true group of each task `[T]`.

    Raises:
        InputError: if a mapping is not of as many tasks as the groups.
    """
    group = np.asarray(groups)
    scores = []
    for mapping in mappings:
        module = np.asarray(mapping)
        if module.shape != group.shape:
            raise InputError(
                f"a mapping of {module.size} locations and groups of {group.size}: give each its group"
            )
        together = module[:, None] == module
        alone = together.sum(1) == 1
        wrong = (together & (group[:, None] != group)).any(1)
        scores.append(int((~alone).sum() - 2 * wrong.sum()))
    return scores


@styled
def grouping_figure(summary: Summary, records: Records, groups: Sequence[int]) -> Figure | None:
    """`group_scores` and the number of modules, by generation, of all methods with one location for a task.

    Means over seeds, bands from the lowest to the highest; dashed: the best score, and the number of groups.
    After Figure 8.3 of Meyerson (2018). None if no method logged mappings.

    Args:
        summary: of the comparison.
        records: what its runs logged.
        groups: the true group of the task at each location.
    """
    mapped = [r for r in records.hypermodules if r.get("mapping")]
    logged = {m: own for m in summary["methods"] if (own := [r for r in mapped if r["method"] == m])}
    if not logged:
        return None
    key = MethodKey(list(summary["methods"]), summary.get("baseline"), list(logged))
    sheet = Sheet(WIDTH, key.height + 2.85)
    seeds = len(summary["seeds"])
    over = f"means over {seeds} seeds; bands: lowest to highest" if seeds > 1 else "one seed"
    key.draw(sheet, f"By generation, {over}; thin dashes: the truth", lines=True)
    score = sheet.axes(0.65, key.height, 3.75, 2.35)
    modules = sheet.axes(5.1, key.height, 3.75, 2.35)
    score.set_title("group score ↑", pad=4)
    modules.set_title("modules", pad=4)
    last = 0.0
    for method, own in logged.items():
        style = key.styles[method]
        line = {"color": style["color"], "linestyle": style["linestyle"], "lw": 1.4}
        curve = by_generation(own, lambda record: group_scores([record["mapping"]], groups)[0])
        band(score, curve, line)
        band(modules, by_generation(own, lambda record: record["modules"]), line)
        last = max(last, curve.x[-1])
    for axes, truth in ((score, len(groups)), (modules, len(set(groups)))):
        axes.axhline(truth, color=MUTED, lw=1.0, ls=(0, (4, 2)), zorder=1.5)
        generation_axis(axes, last)
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True, steps=TICKS))
    modules.set_ylim(bottom=0)
    return sheet.figure
