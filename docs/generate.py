"""Writes the generated parts of README.md and docs/ from the JSON files in results/.

A part stands between two comments, the first of which says what it shows and from which file:

    <!-- comparison: soft_uci/cpu/paper/summary.json -->
    <!-- end -->

Kinds of parts: `comparison` (a summary.json), `ranking` (the same, of many methods: a line for each), `sweep`
(that of an experiment over settings), `speed` (a benchmark's ratios), `growth` (its times by number of
tasks), `limit` (how near it is to what is possible), `decoders` (the benchmark of pseudo-tasks), `balancing`
(that of balancing and schedules), `errors` (mean errors of a summary.json beside those of the dissertation's
Table 7.1), `search` (a search for modules), `topologies` (evolved routes beside looks), `routing` (the
benchmark of evolved routes), `workers` (that of the search), `groups` (tasks in known groups), `crossmodal`
(models of different kinds together), `generation` (the benchmark of generated weights), `scores`, `transfer`
and `prediction` (networks that play games: final scores, what reuse gained, whether that was to be
expected), `playing` (their benchmark), `solvers` (the benchmark of linear methods), `kang` and `school`
(linear methods on these data). A file that does not exist yet gives a line that says so. `grids` has no file:
it is what a module of the package says (the classes of objects of Atari games).

  python docs/generate.py           writes all parts
  python docs/generate.py --check   writes nothing; exit code 1 if a part is not what its file says
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from moduli.evaluation import statistics as st
from moduli.evaluation.tables import comparison_markdown, interval_text, number_text, p_text, ranking

ROOT = Path(__file__).resolve().parent.parent
PART = re.compile(r"<!-- (?P<kind>\w+): (?P<file>\S+) -->\n.*?<!-- end -->", re.DOTALL)


def pages(root: Path) -> list[Path]:
    """README.md and every page of the documentation."""
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]


def generated(text: str, results: Path) -> str:
    """A page with every generated part as the files in `results` say it is."""

    def part(match: re.Match[str]) -> str:
        kind, file = match["kind"], match["file"]
        if kind not in {*PARTS, *OF_THE_PACKAGE}:
            known = ", ".join([*PARTS, *OF_THE_PACKAGE])
            raise SystemExit(f"unknown kind of generated part {kind!r}: there are {known}")
        path = results / file
        if kind in OF_THE_PACKAGE:
            return f"<!-- {kind}: {file} -->\n\n{OF_THE_PACKAGE[kind]()}\n\n<!-- end -->"
        body = PARTS[kind](json.loads(path.read_text(encoding="utf-8"))) if path.exists() else _absent(file)
        return f"<!-- {kind}: {file} -->\n\n{body.strip()}\n\n<!-- end -->"

    return PART.sub(part, text)


def _absent(file: str) -> str:
    return f"*There is no `results/{file}` yet.*"


# ------------------------------------------------------------------ comparisons


def comparison(summary: dict[str, Any]) -> str:
    """Conditions, the table of all tasks, the summed loss, and every method against the baseline."""
    return "\n\n".join(
        [_conditions(summary), comparison_markdown(summary).strip(), _summed_loss(summary), _against(summary)]
    )


def _conditions(summary: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in summary["versions"].items())
    seeds = summary["seeds"]
    count = seeds if isinstance(seeds, int) else len(seeds)
    failures = len(summary.get("failures", []))
    failed = f" {failures} of the runs failed." if failures else ""
    return f"{count} seed{'s' * (count != 1)}, {summary['device']}, {versions}.{failed}"


def _summed_loss(summary: dict[str, Any]) -> str:
    """The loss summed over tasks, mean and interval over seeds: what the papers' learning curves show."""
    rows = []
    for name, method in summary["methods"].items():
        per_task = st.as_array([task["loss"] for task in method["tasks"].values()])
        center, half = st.mean_interval(per_task.sum(axis=0))
        rows.append([name, _interval(center, half, 3)])
    return "Loss on the test split, summed over the tasks:\n\n" + _table(["method", "summed loss ↓"], rows)


def _against(summary: dict[str, Any]) -> str:
    baseline = summary["baseline"]
    rows = []
    for entry in summary["comparisons"]:
        if entry["other"] != baseline or entry["difference"] is None:
            continue
        low, high = entry["ci95"] or (None, None)
        test = entry["wilcoxon_tasks"]
        rows.append(
            [
                entry["method"],
                f"{number_text(entry['difference'], 2, sign=True)} %",
                f"{number_text(low, 2, sign=True)} to {number_text(high, 2, sign=True)}",
                f"{entry['wins']} / {entry['ties']} / {entry['losses']}",
                p_text(test["p_holm"]) if test["p"] is not None else test["reason"],
            ]
        )
    if not rows:
        return f"No method can be compared with {baseline}."
    head = ["method", "mean gain", "95 % interval", "better / equal / worse", "p"]
    note = (
        f"Against {baseline}, over all pairs of a task and a seed. The interval resamples tasks and seeds; "
        "p is that of a Wilcoxon signed-rank test on the tasks' means, corrected for the number of "
        "comparisons (Holm)."
    )
    return f"{note}\n\n{_table(head, rows)}"


def _interval(center: float, half: float, digits: int) -> str:
    known = st.as_array([center, half]).tolist()
    center_, half_ = (None if number != number else number for number in known)
    return interval_text(center_, half_, digits)


def ranked(summary: dict[str, Any]) -> str:
    """Conditions, and a line for each method: what is said of all tasks together, best rank first."""
    heads, rows = ranking(summary)
    drop = [heads.index(head) for head in heads if head.startswith(("parameters", "steps"))]
    resampled = {
        pair[
            "method"
        ]: f"{number_text(pair['ci95'][0], 1, sign=True)} to {number_text(pair['ci95'][1], 1, sign=True)}"
        for pair in summary["comparisons"]
        if pair["other"] == summary["baseline"] and pair["ci95"]
    }
    kept = [
        [*(cell for i, cell in enumerate(line) if i not in drop), resampled.get(line[0], "–")]
        for line in rows
    ]
    head = [*(cell for i, cell in enumerate(heads) if i not in drop), "Δm %, tasks resampled"]
    note = (
        "± is the 95 % interval over the seeds, the tasks being as they are; in the last column tasks are "
        "resampled as well, which says what other tasks like these might have given."
    )
    return f"{_conditions(summary)}\n\n{_table(head, kept)}\n\n{note}"


# ------------------------------------------------------------------ results by setting


def sweep(summary: dict[str, Any]) -> str:
    """Conditions, and for each panel a table: methods by setting, with the paper's numbers below them."""
    arrow = {"lower": "↓", "higher": "↑"}[summary["direction"]]
    parts = [_conditions(summary)]
    for panel in summary["panels"]:
        if len(panel["points"]) > _MANY:
            parts.append(_turned(panel, f"{summary['value']} {arrow}"))
            continue
        head = [f"{summary['value']} {arrow}, by {panel['axis']}", *(str(point) for point in panel["points"])]
        rows = [
            [method, *(_spread(values) for values in by_point)]
            for method, by_point in panel["series"].items()
        ]
        rows += [
            [f"{method}, in the paper", *("–" if x is None else f"{x:g}" for x in numbers)]
            for method, numbers in panel["paper"].items()
        ]
        parts.append(f"{panel['title']}:\n\n{_table(head, rows)}")
    return "\n\n".join(parts)


_MANY = 10  # points of a panel; beyond, they are the lines of its table and not its columns


def _turned(panel: dict[str, Any], value: str) -> str:
    """A table with a line for each point, and one of the paper's numbers."""
    points = [str(point) for point in panel["points"]]
    methods = list(panel["series"])
    rows = [
        [point, *(_spread(panel["series"][method][i]) for method in methods)]
        for i, point in enumerate(points)
    ]
    text = f"{panel['title']}, {value}:\n\n{_table([panel['axis'], *methods], rows)}"
    if panel["paper"]:
        known = list(panel["paper"])
        numbers = [
            [point, *("–" if panel["paper"][m][i] is None else f"{panel['paper'][m][i]:g}" for m in known)]
            for i, point in enumerate(points)
        ]
        text += f"\n\nIn the paper:\n\n{_table([panel['axis'], *known], numbers)}"
    return text


def _spread(values: Sequence[float | None]) -> str:
    """Mean and half-width of the 95 % interval over seeds."""
    return _interval(*st.mean_interval(st.as_array(values)), 2) if len(values) else "–"


# ------------------------------------------------------------------ speed


def speed(result: dict[str, Any]) -> str:
    """Every case against every alternative: ratio of times, and the same as steps per second; memory."""
    rows = []
    for case, ratio in result["ratios"].items():
        name, _, versus = case.partition("/")
        ours, _, other = versus.partition("-over-")
        if ours != "moduli" or other.startswith("tables"):
            continue
        rows.append([name, other.replace("_", " "), *_ratio(ratio), f"{1 / ratio['median']:.2f}×"])
    head = ["case", "against", "time, ratio", "range", "turns", "steps per second"]
    memory = [
        [case, *(f"{peak:.2f} MB" for peak in figures["megabytes"].values()), f"{figures['ratio']:.2f}"]
        for case, figures in result.get("memory", {}).items()
    ]
    parts = [_machine(result), _table(head, rows)]
    if memory:
        head = ["case", "moduli", "plain", "ratio"]
        parts += ["Memory that a step needs at its peak, beyond parameters and data:", _table(head, memory)]
    return "\n\n".join(parts)


def limit(result: dict[str, Any]) -> str:
    """How much arithmetic a step has, and at which share of a matrix product's speed it is done."""
    rows = [
        [case, f"{figures['megaflop']:,.1f}", f"{100 * figures['share_of_matmul_speed']:.0f} %"]
        for case, figures in result.get("limit", {}).items()
    ]
    head = ["case", "million operations per step", "share of matrix-product speed"]
    return _table(head, rows) if rows else "The limit was not measured."


def growth(result: dict[str, Any]) -> str:
    """The time of a step with n tables over that with the fewest, beside the ratio of the work."""
    rows = []
    for case, ratio in result["ratios"].items():
        match = re.fullmatch(r"tables(\d+)/moduli-over-tables(\d+)", case)
        if match:
            tasks, fewest = int(match[1]), int(match[2])
            rows.append([str(tasks), f"{tasks / fewest:.0f}", *_ratio(ratio)])
            head = ["tasks", f"work, against {fewest} tasks", "time, ratio", "range", "turns"]
    return _table(head, rows) if rows else "No growth was measured."


def decoders(result: dict[str, Any]) -> str:
    """Ten decoders for each task: times against one and against a loop, beside the least possible; memory."""
    ratios, limits, memory = result["ratios"], result["limit"], result["memory"]
    rows = []
    for case in dict.fromkeys(key.partition("/")[0] for key in ratios):
        for way in ("shared", "independent"):
            least = limits[case.split()[0]]["least_over_one"][way] if case.endswith("decoders") else None
            rows.append(
                [
                    case,
                    way,
                    _range(ratios[f"{case}/{way}-over-one"]),
                    "–" if least is None else f"{least:.2f}",
                    _range(ratios[f"{case}/loop-{way}-over-one"]),
                    _range(ratios[f"{case}/{way}-over-loop"]),
                ]
            )
    head = ["case", "dropout", "ten over one", "least", "a loop over one", "ten over the loop"]
    sizes = [
        [case, *(f"{peak:.2f}" for peak in found["megabytes"].values())]
        + [f"{found[size]:.2f}" for size in ("weights", "masked_inputs")]
        for case, found in memory.items()
    ]
    ways = next(iter(memory.values()))["megabytes"]
    columns = ["case", *(way.replace("-", ", ") for way in ways), "D × M × C", "D × B × M"]
    turns = next(iter(ratios.values()))["runs"]
    return "\n\n".join(
        [
            f"{_machine(result)} Medians of {turns} turns, and the range.",
            _table(head, rows),
            "Megabytes at the peak of the decoders' forward and backward, beyond parameters and data:",
            _table(columns, sizes),
        ]
    )


def balancing(result: dict[str, Any]) -> str:
    """Step times over equal weights by method and case; beside torchjd's own ways; of schedules."""
    ratios = result["ratios"]
    cases = [case for case in dict.fromkeys(key.partition("/")[0] for key in ratios) if case != "schedules"]
    ways = [key.split("/", 1)[1] for key in ratios if key.endswith(" over equal")]
    ways = [w.removesuffix(" over equal") for w in dict.fromkeys(ways) if " by " not in w]

    def cell(key: str) -> str:
        return _range(ratios[key]) if key in ratios else "–"

    over_equal = [[way, *(cell(f"{case}/{way} over equal") for case in cases)] for way in ways]
    beside = []
    for key in ratios:
        case, _, rest = key.partition("/")
        if " over torchjd's " in rest:
            kind, _, way = rest.partition(" over torchjd's ")
            theirs = _range(ratios[f"{case}/{kind} by {way} over equal"])
            beside.append(
                [case, kind, f"`{way}`", cell(f"{case}/{kind} over equal"), theirs, _range(ratios[key])]
            )
    shares = [
        [case, *(f"{100 * part[name]:.0f} %" for name in ("step", "gradients", "aggregator"))]
        for case, part in result["shares_of_upgrad"].items()
    ]
    schedules = []
    for key in (key for key in ratios if key.startswith("schedules/")):
        case = key.removeprefix("schedules/").partition(",")[0]
        schedules.append([case, str(result["state_every"][case]), _range(ratios[key])])
    least = []
    for case, found in result["arithmetic"].items():
        least += [[case, what, f"{ratio:.2f}"] for what, ratio in found.items()]
    turns = next(iter(ratios.values()))["runs"]
    return "\n\n".join(
        [
            f"{_machine(result)} Medians of {turns} turns, and the range.",
            "Time of a step over that of a step with equal weights:",
            _table(["method", *cases], over_equal),
            "The same with torchjd's own ways, and ours over theirs:",
            _table(
                ["case", "method", "torchjd's", "ours / equal", "theirs / equal", "ours / theirs"], beside
            ),
            "The limit, multiplications of a step with all gradients and their Gramian over equal weights:",
            _table(["case", "gradients", "ratio"], least),
            "What a step with UPGrad is made of:",
            _table(["case", "the step itself", "gradients of all tasks", "the aggregator"], shares),
            "The Q-learning scheduler over random scheduling, looks at the validation samples included:",
            _table(["case", "steps between looks", "time, ratio"], schedules),
        ]
    )


# ------------------------------------------------------------------ evolution

TABLE_7_1 = {
    "single": ("36.41 (0.53)", "39.19 (0.50)"),
    "soft": ("32.33 (0.74)", "33.41 (0.71)"),
    "ctr": ("17.52 (0.21)", "17.64 (0.19)"),
    "cmtr": ("11.80 (1.02)", "12.18 (1.02)"),
}


def errors(summary: dict[str, Any]) -> str:
    """Mean error over tasks in percent, with its standard error over seeds, beside the dissertation's."""
    rows = []
    for name, method in summary["methods"].items():
        cells = [
            _mean_error([by_split(task) for task in method["tasks"].values()])
            for by_split in (lambda task: task["val"]["values"], lambda task: task["values"])
        ]
        rows.append([name, *cells, f"{method['parameters']:,}", *TABLE_7_1.get(name, ("–", "–"))])
    head = [
        "method",
        "validation error, %",
        "test error, %",
        "parameters",
        "validation, there",
        "test, there",
    ]
    seeds = len(summary["seeds"])
    note = (
        f"Means over {len(summary['tasks'])} tasks, with standard errors over {seeds} seeds in parentheses."
    )
    return "\n\n".join([_conditions(summary), _table(head, rows), note])


def _mean_error(accuracy_TS: Sequence[Sequence[float]]) -> str:
    means = [100 * (1 - sum(of_seed) / len(of_seed)) for of_seed in zip(*accuracy_TS, strict=True)]
    mean = sum(means) / len(means)
    if len(means) < 2:
        return f"{mean:.2f}"
    variance = sum((x - mean) ** 2 for x in means) / (len(means) - 1)
    return f"{mean:.2f} ({(variance / len(means)) ** 0.5:.2f})"


def search(found: dict[str, Any]) -> str:
    """The generations of a search for modules, and its finalists."""
    rows = []
    for g in found["generations"]:
        numbers = [str(g["generation"]), f"{g['best']:.3f}", f"{g['mean']:.3f}", str(g["failed"])]
        rows.append([*numbers, " + ".join(map(str, g["modules"]))])
    head = ["generation", "best fitness", "mean fitness", "failed", "modules by species"]
    finalists = ", ".join(f"{e['fitness']:.3f}" for e in found["finalists"] if e["fitness"] is not None)
    best = found["best"]["set"]["settings"]
    hours = sum(e["seconds"] for e in (*found["evaluations"], *found["finalists"])) / 3600
    note = (
        f"Finalists, after longer training: {finalists}. The best set has width {best['width']}, learning "
        f"rate {best['lr']:.2g}, weight decay {best['weight_decay']:.2g}, "
        f"{best['initialiser'].replace('_', ' ')}. All trainings took {hours:.2f} hours of workers."
    )
    return "\n\n".join([_table(head, rows), note])


def topologies(result: dict[str, Any]) -> str:
    """For how many alphabets the nearest in routes is the nearest in looks."""
    names, by_route, by_looks = (result[key] for key in ("alphabets", "nearest_by_route", "nearest_by_looks"))
    same = [f"{a} – {b}" for a, b, c in zip(names, by_route, by_looks, strict=True) if b == c]
    which = f" ({'; '.join(same)})" if same else ""
    return (
        f"{len(names)} alphabets, {len(result['features'][0])} features. The alphabet with the nearest "
        f"routes is also the nearest in looks in {result['matches']} cases{which}. With labels at random, at "
        f"least as many are seen with probability {result['p']:.2g}. Mean validation error of this run: "
        f"{result['validation_error']:.1f} %."
    )


def routing(result: dict[str, Any]) -> str:
    """Iterations over evolved routes against the alternatives, planning, and copying."""
    rows = []
    for name, facts in result["cases"].items():
        ratios = [
            result["ratios"].get(f"{name}/moduli-over-{other}") for other in ("plain", "nodes", "prefix")
        ]
        if None not in ratios:
            mutations, _, samples = name.removeprefix("mutations").partition("x")
            cells = [_range(r) for r in ratios]
            share = f"{100 * facts['share_of_limit']:.0f} %"
            rows.append([mutations, samples, *cells, f"{facts['planning_ms']:.0f} ms", share])
    head = ["mutations", "samples", "over plain", "over our `Conv`, node by node", "and shared beginnings"]
    copying = result["ratios"]["copying/64-modules-over-4"]
    note = (
        f"New challengers for {result['cases']['copying']['tasks']} tasks take "
        f"{result['cases']['copying']['ms']:.1f} ms; with 64 modules in the pool over 4: {_range(copying)}."
    )
    return "\n\n".join([_machine(result), _table([*head, "planning", "convolutions alone"], rows), note])


def workers(result: dict[str, Any]) -> str:
    """Evaluations per hour by one and by two workers."""
    (ratio,) = result["ratios"].values()
    per_hour = result["evaluations_per_hour"]
    return (
        f"{_machine(result)}\n\nEvaluations per hour: {per_hour['one']:,} by one worker, "
        f"{per_hour['two']:,} by two, {result['speedup']:.2f} times as many. Time of two over one: "
        f"{_range(ratio)}."
    )


# ------------------------------------------------------------------ hypermodules

TABLES_8_3_AND_8_4 = {
    "noiseless": {"single": "2.873", "random": "1.537", "oracle": "0.000", "evolution": "0.000"},
    "noisy": {"single": "1.31", "random": "–", "oracle": "0.37", "evolution": "0.38"},
}
QUOTED = {
    "STL (Kang et al. 2011)": "0.97",
    "DG-MTL (Kang et al. 2011)": "0.42",
    "GO-MTL (Kumar & Daumé 2012)": "0.36",
}
TABLE_8_5 = {
    "mnist": {"single": "0.77 %", "intra": "1.13 %", "joint": "0.91 %"},
    "imdb": {"single": "14.34 %", "intra": "13.90 %", "joint": "14.15 %"},
}


def groups(result: dict[str, Any]) -> str:
    """Mean test errors on tasks in known groups, and when these were found, beside the dissertation's."""
    parts = []
    for name, methods in result["results"].items():
        key = "mse" if name == "noiseless" else "rmse"
        rows = []
        for method, found in methods.items():
            first = [f for f in found["first"] if f is not None]
            when = f"{len(first)} of {len(found['seed'])}"
            when += f", generation {min(first)} to {max(first)}" if first else ""
            cells = [_mean_of(found[key], 3), _mean_of(found["modules"], 1), _mean_of(found["score"], 1)]
            rows.append([method, *cells, when, TABLES_8_3_AND_8_4[name][method]])
        if name == "noisy":
            rows += [[method, *["–"] * 4, there] for method, there in QUOTED.items()]
        head = [name, f"test {key.upper()}", "modules", "group score", "seeds that found the groups", "there"]
        parts.append(_table(head, rows))
    scale, seeds = result["scale"], len(result["results"]["noisy"]["evolution"]["seed"])
    after = [x for x in result["results"]["noiseless"]["evolution"]["after"] if x is not None]
    stays = f" From then on, evolution without noise has them in {_mean_of([100 * x for x in after], 0)} %"
    note = (
        f"Means over 30 tasks, then over {seeds} seeds, with standard deviations over seeds in parentheses; "
        f"modules and group score (at most 30) are those of the model kept. {scale['generations']} "
        f"generations of {scale['phase']} steps, then {scale['final']:,} steps without evolution."
        + (f"{stays} of the generations." if after else "")
    )
    return "\n\n".join([*parts, note])


def crossmodal(result: dict[str, Any]) -> str:
    """Test figures of every task, trained alone and in every set of tasks."""
    known = any(task in TABLE_8_5 for task in result["tasks"])
    sets = sorted(result["sets"], key=lambda row: (row["method"] != "single", len(row["tasks"])))
    parts = []
    for task, about in result["tasks"].items():
        rows = []
        for row in (row for row in sets if task in row["tasks"]):
            others = " + ".join(name for name in row["tasks"] if name != task)
            kinds = {"single": "as it is", "intra": "reparameterised, alone"}
            cells = [_mean_of(_shown(row[split][task], about["metric"]), 2) for split in ("val", "test")]
            modules = _mean_of(row["modules"], 0) if "modules" in row else "–"
            there = TABLE_8_5.get(task, {}).get(row["method"], "–")
            rows.append([kinds.get(row["method"], f"with {others}"), *cells, modules, *[there] * known])
        unit = {"error": "error, %", "mse": "mean squared error"}.get(about["metric"], about["metric"])
        head = [f"{task}, {unit}", "validation", "test", "modules", *["test, there"] * known]
        parts.append(_table(head, rows))
    n, train = len(result["sets"][0]["seeds"]), result["train"]
    sizes = []
    for row in sets:
        if row["method"] != "single" and len(row["tasks"]) in (1, len(result["tasks"])):
            now, before = (sum(row[key]) / n for key in ("parameters", "original"))
            sizes.append(f"{' + '.join(row['tasks'])} {now:,.0f} of {before:,.0f}")
    over = f"Means over {n} seeds, standard deviations in parentheses." if n > 1 else "One seed."
    note = (
        f"{over} {train['steps']:,} steps, a generation is {train['phase']} steps; {result['device']}. "
        f"Parameters at inference (Eq. 8.7), of those of the models as they are: {'; '.join(sizes)}."
    )
    return "\n\n".join([*parts, note])


def generation(result: dict[str, Any]) -> str:
    """Generated weights against other ways to make them, the limit, memory, and steps over plain ones."""
    ratios, rows = result["ratios"], []
    ways = ("einsum", "indexing", "layers")
    for name, facts in result["limit"].items():
        cells = [_range(ratios[f"generation-{name}/moduli-over-{way}"]) for way in ways]
        rows.append([name, *cells, f"{facts['megabytes']:.0f} MB", _range(facts["share_of_limit"])])
    head = [
        "case",
        "over einsum",
        "over indexing",
        "over one call for each weight",
        "must move",
        "share of the limit",
    ]
    steps = [
        [key.removeprefix("step-").partition("/")[0], _range(ratios[key])]
        for key in ratios
        if key.startswith("step-")
    ]
    memory = result["memory"]
    note = (
        f"Memory at the peak is {memory['peak_over_weights']:.2f} times the generated weights, beside "
        f"gradients of parameters ({memory['gradients_over_weights']:.2f} times)."
    )
    return "\n\n".join(
        [
            _machine(result),
            "Time of generation, forward and backward, over that of other ways:",
            _table(head, rows),
            note,
            "Time of a training step over that of the plain models:",
            _table(["case", "ratio"], steps),
        ]
    )


# ------------------------------------------------------------------ games

CONTROLS = ("scratch", "random")


def grids() -> str:
    """The classes of objects of the Atari games, and what it takes to play them."""
    from moduli.games.atari import FEATURES, GAMES, KINDS

    rows = [
        [
            f"`{name}`",
            title,
            ", ".join(KINDS[name]),
            str(80 * len(KINDS[name])),
            ", ".join(sorted(FEATURES[name])),
        ]
        for name, title in GAMES.items()
    ]
    table = _table(["name", "game", "classes of objects", "inputs", "what it takes (Figure 4.2)"], rows)
    return table.replace("---:", "---")  # words, not numbers


def scores(result: dict[str, Any]) -> str:
    """Conditions, final scores beside those that were published, and scores on fresh episodes."""
    from moduli.games.analysis import PUBLISHED

    final, fresh, there = [], [], []
    for row in result["table"]:
        name, best = _game(row["game"]), row["best"]
        setups = [("scratch", None), ("random", None), ("transfer", None), ("transfer", best)]
        found = [[run for run in result["runs"] if _is_of(run, row["game"], *setup)] for setup in setups]
        source = f" ({_game(best)})" if best else ""
        cells = [_of_runs([run["scores"][-1] for run in runs]) for runs in found]
        final.append([name, *cells[:-1], cells[-1] + source])
        tests = [[run["test"] for run in runs if run["test"] is not None] for runs in found]
        fresh.append([name, *map(_of_runs, tests)])
        if row["game"] in PUBLISHED:
            known = PUBLISHED[row["game"]]
            numbers = [
                f"{n:g}" for n in (known.scratch, known.random, known.transfer, known.human, known.dqn)
            ]
            numbers[2] += f" ({_game(known.source)})"
            there.append([name, *numbers])
    best = "transfer, best source"
    head = ["game", "scratch", "random", "transfer, all sources", best]
    return "\n\n".join(
        [
            _searches(result),
            "Final scores: the highest mean of a few episodes in a whole search.",
            _table(head, final),
            "The networks of these searches in fresh episodes, by which nothing was chosen:",
            _table([*head[:-1], "transfer, the same source"], fresh),
            "Means over searches, standard deviations in parentheses. Table 4.1 of the dissertation has, at "
            "its scale (human and DQN after Mnih et al. 2015):",
            _table([*head[:3], best, "human", "DQN"], there),
            _picture(
                "Score by generation of every game, under transfer, random and scratch", "games_curves.png"
            ),
            "*After Figure 4.3. Transfer is over all sources.*",
        ]
    )


def transfer(result: dict[str, Any]) -> str:
    """Transfer effectiveness of all pairs against each control, and how many gain."""
    targets = list(dict.fromkeys(pair["target"] for pair in result["pairs"]))
    sources = [game for game in result["games"] if any(pair["source"] == game for pair in result["pairs"])]
    worth = {(pair["source"], pair["target"]): pair["effectiveness"] for pair in result["pairs"]}
    generations = ", ".join(map(str, result["generations"]))
    parts = [
        f"Success is the sum of the mean scores at generations {generations}; effectiveness is the "
        "difference of two successes over the range of the game's final scores."
    ]
    for control in (control for control in CONTROLS if control in result["graphs"]):
        rows = []
        for source in sources:
            values = [worth.get((source, target), {}).get(control) for target in targets]
            rows.append([_game(source), *(number_text(value, 2, sign=True) for value in values)])
        known = sum(numbers[control] is not None for numbers in worth.values())
        parts += [
            f"Against {control}, {len(result['graphs'][control])} of {known} pairs gain:",
            _table(["source ↓ target →", *map(_game, targets)], rows),
        ]
    seen = _picture("Graphs of the pairs that gain, against scratch and random", "games_transferability.png")
    return "\n\n".join([*parts, seen, "*After Figure 4.5: an arrow where the effectiveness is positive.*"])


def prediction(result: dict[str, Any]) -> str:
    """Complexity of games, correlation of predicted and actual effectiveness, weights of indicators."""
    games = [
        [_game(game), ", ".join(result["features"].get(game, [])) or "–", number_text(time, 1)]
        for game, time in result["complexity"].items()
    ]
    parts = [_table(["game", "what it takes", "generations to threshold"], games)]
    found = result["predictions"]
    known = {control: each for control, each in found.items() if each["r"] is not None}
    if known:
        rows = [
            [control, str(len(each["pairs"])), number_text(each["r"], 2), p_text(each["p"])]
            for control, each in known.items()
        ]
        parts.append(_table(["against", "pairs", "R", "p"], rows))
    fitted = {control: each["coefficients"] for control, each in found.items() if each["coefficients"]}
    if fitted:
        names = next(iter(fitted.values()))
        rows = [
            [name, *(number_text(each[name], 2, sign=True) for each in fitted.values())] for name in names
        ]
        parts.append(_table(["indicator", *(f"against {control}" for control in fitted)], rows))
    parts += [each["note"] for each in found.values() if each["note"]]
    return "\n\n".join(parts)


def playing(result: dict[str, Any]) -> str:
    """Frames per second of networks at play, beside the emulator alone and a plain loop; two workers."""
    ratios = result["ratios"]
    fast, micro = [], []
    for game, rates in result["frames_per_second"].items():
        shares = [
            _times(ratios[f"{game}: {ours} / emulator alone"], 100, " %")
            for ours in ("ours", "ours with a source")
        ]
        over_plain = [
            _times(ratios[f"{game}: {what} / plain loop"], 1, "×") for what in ("ours", "emulator alone")
        ]
        fast.append([_game(game), *shares, *over_plain, *(f"{rates[what]:,}" for what in ("bare", "ours"))])
        taken = result["microseconds_per_frame"][game]
        parts = ("bare", "emulator and actions", "observation", "network")
        micro.append([_game(game), *(f"{taken[what]:.1f}" for what in parts)])
    head = ["game", "of the emulator's speed", "with a source", "over the plain loop", "at most"]
    start = result["start_up_microseconds"]
    return "\n\n".join(
        [
            f"{_machine(result)} Medians of {next(iter(ratios.values()))['runs']} turns, and the range.",
            _table([*head, "frames/s, emulator alone", "ours"], fast),
            "Microseconds of a frame, and what they are spent on:",
            _table(["game", "emulator alone", "emulator and actions", "observation", "network"], micro),
            f"An emulator takes {start['emulator'] / 1000:.0f} ms to open, an episode "
            f"{start['episode']:.0f} µs to begin. Two workers play a generation "
            f"{_times(ratios['two workers / one'], 1, '×')} as fast as one.",
        ]
    )


def solvers(result: dict[str, Any]) -> str:
    """Linear methods: time to the same objective beside other solvers, and by number of samples."""
    ratios, rows = result["ratios"], []
    for case, tolerances in result["tolerances"].items():
        for other, tol in tolerances.items():
            if other == "moduli":
                continue
            found = ratios.get(f"{case} / {other}")
            cells = ["not reached", "–", "–"] if found is None else _ratio(found)
            used = " / ".join("–" if t is None else f"{t:g}" for t in (tolerances["moduli"], tol))
            rows.append([case, other.replace("_", " "), *cells, used])
    head = ["case", "against", "time, ratio", "range", "turns", "tolerance, ours / theirs"]
    parts = [
        f"{_machine(result)} Time to an objective within {result['gap']:g} of the best, relative.",
        _table(head, rows),
    ]
    more = []
    for case, ratio in ratios.items():
        if match := re.fullmatch(r"(\d+) samples of each task / (\d+)", case):
            more.append([match[1], f"{int(match[1]) / int(match[2]):g}", *_ratio(ratio)])
            head = ["samples of each task", f"work, against {match[2]}", "time, ratio", "range", "turns"]
    if more:
        parts += ["More samples:", _table(head, more)]
    return "\n\n".join(parts)


# ------------------------------------------------------------------ linear methods

KANG_CONDITIONS = {
    "noiseless": "published data, without noise",
    "noisy": "published data, noisy",
    "drawn": "noisy data of the same kind, drawn anew for every seed",
}
KANG_PUBLISHED = {
    "ridge": ("STL", 0.97),
    "feature learning (MTFL)": ("MTL-FEAT", 0.48),
    "DG-MTL": ("DG-MTL", 0.42),
    "DG-MTL, true groups": ("not published: its authors' settings, run anew", 0.4206),
    "GO-MTL": ("GO-MTL", 0.36),
}


def kang(result: dict[str, Any]) -> str:
    """Mean test errors of thirty tasks in three groups, by condition, best first; published ones beside."""
    parts = []
    for condition, rows in result["results"].items():
        lines = []
        for name, row in sorted(rows.items(), key=lambda item: _average(item[1]["value"])):
            line = [name, _mean_of(row["value"], 3)]
            if condition == "noisy":
                line += _beside(KANG_PUBLISHED.get(name), _average(row["value"]))
            if condition == "drawn":
                line.append(_gain(row["value"], rows["ridge"]["value"], 3))
            lines.append([*line, _most_often(row["chosen"])])
        more = {"noisy": ["published", "difference"], "drawn": ["against ridge"]}.get(condition, [])
        head = ["method", "test RMSE ↓", *more, "chosen most often"]
        title = KANG_CONDITIONS[condition]
        parts += [f"{title[0].upper()}{title[1:]}:", _table(head, lines)]
        if condition == "drawn":
            parts.append(_clearly(rows, "ridge", lower=True))
    note = (
        f"Means over {result['seeds']} seeds, standard deviations in parentheses; ± is the 95 % t interval "
        f"of paired differences. Hyperparameters by {result['folds']}-fold cross-validation, those that were "
        "chosen most often with the number of seeds."
    )
    return "\n\n".join([*parts, f"{note}{_unfinished(result['results'])}", _at_ends(result)])


def school(result: dict[str, Any]) -> str:
    """Explained variance by share of pupils that train, gains over ridge, and what was chosen."""
    shares = result["results"]
    largest = max(shares, key=float)
    best_first = sorted(shares[largest], key=lambda name: -_average(shares[largest][name]["value"]))
    titles = {share: f"{100 * float(share):g} %" for share in shares}
    lines, chosen = [], []
    for name in best_first:
        line = [name]
        for rows in shares.values():
            values = rows[name]["value"]
            gain = "baseline" if name == "ridge" else _gain(values, rows["ridge"]["value"], 1)
            line += [_mean_of(values, 1), gain]
        lines.append(line)
        settings = [_most_often(rows[name]["chosen"]) for rows in shares.values()]
        chosen.append([name, *settings, f"{shares[largest][name]['seconds']:.1f} s"])
    head = ["method", *(head for title in titles.values() for head in (f"{title} train", "gain"))]
    clear = [
        f"With {titles[share]}: {_clearly(rows, baseline, lower=False)}"
        for share, rows in shares.items()
        for baseline in ("ridge", "pooled")
    ]
    note = (
        f"Explained variance in percent ↑: means over {result['seeds']} splits, standard deviations in "
        "parentheses. Gains are over ridge, in the same splits, with the 95 % t interval. The splits are of "
        "the same pupils: they overlap, so that intervals are narrower than those of as many independent "
        "samples, and say nothing about other schools. The lists below go by these intervals, with no "
        "correction for the number of comparisons."
    )
    own = ["method", *(f"chosen with {title}" for title in titles.values()), f"time, {titles[largest]}"]
    return "\n\n".join(
        [
            _table(head, lines),
            note,
            "\n".join(f"* {line}" for line in clear),
            f"What {result['folds']}-fold cross-validation chose most often, with the number of splits, and "
            "the median time of search and fit on one busy core:",
            _table(own, chosen),
            _unfinished({titles[share]: rows for share, rows in shares.items()}).strip(),
            _at_ends(result),
        ]
    )


def _average(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _beside(known: tuple[str, float] | None, ours: float) -> list[str]:
    """A published figure with its name there, and how far ours is from it."""
    if known is None:
        return ["–", "–"]
    return [f"{known[1]:g} ({known[0]})", number_text(ours - known[1], 3, sign=True)]


def _gain(values: Sequence[float], baseline: Sequence[float], digits: int) -> str:
    """Mean and interval of paired differences."""
    differences = st.as_array(values) - st.as_array(baseline)
    if not differences.any():
        return "–"
    return "+" * bool(differences.mean() > 0) + _interval(*st.mean_interval(differences), digits)


def _clearly(rows: dict[str, Any], baseline: str, lower: bool) -> str:
    """Which methods are better or worse than a baseline, by the intervals of paired differences."""
    better, worse, other = [], [], []
    for name, row in rows.items():
        center, half = st.mean_interval(st.as_array(row["value"]) - st.as_array(rows[baseline]["value"]))
        if name != baseline:
            clear = abs(center) > half
            (other if not clear else better if (center < 0) == lower else worse).append(name)
    found = {f"better than {baseline}": better, f"worse than {baseline}": worse, "neither": other}
    listed = {what: ", ".join(f"`{name}`" for name in names) or "none" for what, names in found.items()}
    return "; ".join(f"{what}: {names}" for what, names in listed.items()) + "."


def _most_often(chosen: Sequence[str]) -> str:
    """The commonest settings, and of how many seeds they are."""
    counts = Counter(chosen)
    settings, count = counts.most_common(1)[0]
    return f"{settings} ({count} of {len(chosen)})" if settings else "–"


def _at_ends(result: dict[str, Any]) -> str:
    """Which hyperparameters most seeds have at an end of their values, by condition."""
    found = []
    for condition, rows in result["results"].items():
        ends = []
        for name, row in rows.items():
            grid = result["methods"][name]["grid"]
            for key in grid[0]:
                values = sorted({point[key] for point in grid})
                chosen = [
                    float(dict(pair.split("=") for pair in text.split(", "))[key]) for text in row["chosen"]
                ]
                for end, value in (("lowest", values[0]), ("highest", values[-1])):
                    if len(values) > 1 and 2 * chosen.count(value) > len(chosen):
                        ends.append(f"`{name}` ({end} {key})")
        found.append(f"* {condition}: {', '.join(ends) or 'none'}.")
    head = "Most seeds chose an end of the values on offer, beyond which there may be better ones, of:"
    return f"{head}\n\n" + "\n".join(found)


def _unfinished(results: dict[str, Any]) -> str:
    """Which fits the limit of iterations ended."""
    found = [
        f"{name}, {condition} ({row['unfinished']} of {len(row['value'])})"
        for condition, rows in results.items()
        for name, row in rows.items()
        if row["unfinished"]
    ]
    return f" The limit of iterations ended final fits of {'; '.join(found)}." if found else ""


def _times(ratio: dict[str, float], scale: float, unit: str) -> str:
    """How many times as fast, from a ratio of times."""
    digits = 0 if scale > 1 else 2
    median, low, high = (f"{scale / ratio[key]:.{digits}f}" for key in ("median", "max", "min"))
    return f"{median}{unit} ({low} to {high})"


def _searches(result: dict[str, Any]) -> str:
    """How many searches of which size."""
    runs, sizes = result["runs"], {**result["settings"]}
    seeds = len({run["seed"] for run in runs})
    count = {
        name: sum(run["condition"] == name for run in runs) for name in ("scratch", "transfer", "random")
    }
    kinds = ", ".join(f"{number} {name}" for name, number in count.items())
    size = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in sizes.items())
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    notes = "".join(f" {note}" for note in result["notes"] if not note.startswith("No prediction"))
    return f"{len(runs)} searches ({kinds}), {seeds} seed{'s' * (seeds != 1)}. {size}. {versions}.{notes}"


def _is_of(run: dict[str, Any], game: str, condition: str, source: str | None) -> bool:
    return run["game"] == game and run["condition"] == condition and source in (None, run["source"])


def _of_runs(values: Sequence[float]) -> str:
    if not values:
        return "–"
    return f"{_mean_of(values, 0 if max(values) >= 100 else 2)}, n = {len(values)}"


def _game(name: str) -> str:
    return name.replace("_", " ")


def _picture(text: str, file: str) -> str:
    return f"![{text}](images/{file})"


def _shown(values: Sequence[float], metric: str) -> list[float]:
    return [100 * value for value in values] if metric == "error" else list(values)


def _mean_of(values: Sequence[float], digits: int) -> str:
    mean = sum(values) / len(values)
    if len(values) < 2:
        return f"{mean:,.{digits}f}"
    deviation = (sum((x - mean) ** 2 for x in values) / (len(values) - 1)) ** 0.5
    return f"{mean:,.{digits}f} ({deviation:,.{digits}f})"


def _range(ratio: dict[str, float]) -> str:
    return "{median:.2f} ({min:.2f} to {max:.2f})".format(**ratio)


def _machine(result: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    threads = result.get("threads")
    return f"Measured on {result['device']}, {threads} thread{'s' * (threads != 1)}; {versions}."


def _ratio(ratio: dict[str, float]) -> list[str]:
    return [f"{ratio['median']:.2f}", f"{ratio['min']:.2f} to {ratio['max']:.2f}", str(ratio["runs"])]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are aligned to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


PARTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "comparison": comparison,
    "ranking": ranked,
    "sweep": sweep,
    "speed": speed,
    "growth": growth,
    "limit": limit,
    "decoders": decoders,
    "balancing": balancing,
    "errors": errors,
    "search": search,
    "topologies": topologies,
    "routing": routing,
    "workers": workers,
    "groups": groups,
    "crossmodal": crossmodal,
    "generation": generation,
    "scores": scores,
    "transfer": transfer,
    "prediction": prediction,
    "playing": playing,
    "solvers": solvers,
    "kang": kang,
    "school": school,
}
OF_THE_PACKAGE: dict[str, Callable[[], str]] = {"grids": grids}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="only say which pages are stale")
    check = parser.parse_args().check
    stale = []
    for page in pages(ROOT):
        before = page.read_text(encoding="utf-8")
        after = generated(before, ROOT / "results")
        if after != before:
            stale.append(str(page.relative_to(ROOT)))
            if not check:
                page.write_text(after, encoding="utf-8")
    for page in stale:
        print(f"{page}: {'stale, run python docs/generate.py' if check else 'written'}")
    if check and stale:
        sys.exit(1)


if __name__ == "__main__":
    main()
