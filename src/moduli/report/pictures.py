"""The figures of the report with their captions, and what they are for those who cannot see them."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

from markupsafe import Markup
from matplotlib.figure import Figure

from moduli.evaluation.summary import Summary
from moduli.report.balance import conflict_figure, weights_figure
from moduli.report.curves import LOSS, METRIC, learning_curves, task_curves
from moduli.report.decoders import dropout_schedules, trajectories_figure
from moduli.report.evolution import evolution_figure, evolved_methods, module_use_figure
from moduli.report.evolved_routes import FEW, evolved_routes_figure
from moduli.report.figures import comparison_figure, gains_figure
from moduli.report.hypermodules import growth_figure, hypermodule_methods, sharing_figure
from moduli.report.layers import layers_figure
from moduli.report.mappings import mapping_figure
from moduli.report.records import Records
from moduli.report.routes import routes_figure
from moduli.report.scales import relatedness_figure, scales_over_time, soft_order_figure
from moduli.report.schedule import histograms_figure, probabilities_figure, q_figure, shares_figure
from moduli.report.search import Search, modules_figure, search_figure
from moduli.report.style import svg
from moduli.report.topologies import topologies_figure


@dataclass(frozen=True)
class Picture:
    """A figure for the page.

    ``name`` is unique on the page (letters, digits, hyphens) and names the file in `plots/`, ``alt`` says
    in words what is to be seen. ``figure`` is a matplotlib figure, or the path of a PNG or SVG file.
    """

    name: str
    caption: str
    alt: str
    figure: Figure | Path

    def html(self) -> Markup:
        """The element to embed: inline SVG for a figure, else an image as a data URL."""
        if isinstance(self.figure, Figure):
            drawing = svg(self.figure, self.name)
            return Markup(drawing.replace("<svg", f'<svg role="img" aria-label="{escape(self.alt)}"', 1))
        kind = "svg+xml" if self.figure.suffix == ".svg" else "png"
        data = base64.b64encode(self.figure.read_bytes()).decode()
        return Markup('<img src="data:image/{};base64,{}" alt="{}">').format(kind, data, self.alt)


def _present(pictures: Iterable[tuple[str, str, str, Figure | None]]) -> list[Picture]:
    return [
        Picture(name, caption, alt, figure) for name, caption, alt, figure in pictures if figure is not None
    ]


def value_pictures(summary: Summary) -> list[Picture]:
    """Test scores, and gains over the baseline."""
    methods, baseline = ", ".join(summary["methods"]), summary.get("baseline")
    return _present(
        [
            (
                "comparison",
                "Test metric per task. Tasks that share an axis have a metric without a unit; the others "
                "have their own. An interval that leaves the frame is cut there.",
                f"Dot plot of the test metric of {methods} on every task, with 95 % intervals; "
                "the numbers are in the table above.",
                comparison_figure(summary),
            ),
            (
                "gains",
                f"Paired differences from {baseline}. An interval that does not touch the line is clearly "
                "on one side of it.",
                f"Dot plot of the relative gain of every method over {baseline}, for all tasks and each.",
                gains_figure(summary),
            ),
        ]
    )


def curve_pictures(summary: Summary, records: Records) -> list[Picture]:
    """Learning curves, over all tasks and for each."""
    rest = "A run that stopped early keeps its last value."
    return _present(
        [
            (
                "curves",
                f"Means over tasks. {rest}" if len(summary["tasks"]) > 1 else rest,
                "Validation loss and metrics by training step, mean over tasks, one line per method.",
                learning_curves(summary, records),
            ),
            (
                "curves-loss",
                f"Validation loss of each task. {rest}",
                "Validation loss by training step for each task, one line per method.",
                task_curves(summary, records, LOSS),
            ),
            (
                "curves-metric",
                f"Validation metric of each task. {rest}",
                "Validation metric by training step for each task, one line per method.",
                task_curves(summary, records, METRIC),
            ),
        ]
    )


def sharing_pictures(summary: Summary, records: Records) -> list[Picture]:
    """What the tasks of each method share: learned soft orders, relatedness, fixed routes.

    Routes that evolve are shown by `evolution_pictures`.
    """
    pictures, evolved = [], evolved_methods(summary, records)
    for number, method in enumerate(summary["methods"], start=1):
        if method in evolved:
            continue
        pictures += [
            (
                f"soft-order-{number}",
                f"Learned soft order of {method}: the darker, the more of a layer's output is used at that "
                "depth. The line joins the strongest layer of each depth. Layers are numbered within one "
                "run, so another seed shows other numbers.",
                f"Grids of depth by layer, one per task, shaded by the softmax scales that {method} learned.",
                soft_order_figure(summary, method),
            ),
            (
                f"scales-over-time-{number}",
                f"How the tasks of {method} grow apart, and how near to a hard order they come. Distance: "
                "half the summed absolute difference of two tasks' scales, mean over pairs of tasks; 0 is "
                "the same mix, 1 no common layer. Largest scale: 1 is a hard order.",
                f"Distance between tasks' scales, and largest scale, by step and depth for {method}.",
                scales_over_time(summary, records, method),
            ),
            (
                f"relatedness-{number}",
                f"How much of their layers tasks of {method} have in common: 1 - mean distance of their "
                "scales over depths. Similar tasks stand side by side. That two tasks use the same layers "
                "does not show that either helps the other.",
                f"Heat map of the overlap of layer use between tasks under {method}, ordered by clustering.",
                relatedness_figure(summary, method),
            ),
            (
                f"routes-{number}",
                f"Fixed order of modules of {method}: the number is that of the shared module.",
                f"For each task, the order in which {method} applies the shared modules.",
                routes_figure(summary, method),
            ),
        ]
    return _present(pictures)


def decoder_pictures(summary: Summary, records: Records) -> list[Picture]:
    """Pseudo-tasks: how the decoders of a task move, and their dropout rates."""
    return _present(
        [
            (
                "trajectories",
                "How the decoders of one task move: each point is the weights of one decoder after a phase, "
                "before the control acts, projected by t-SNE with cosine distances. What is near was alike; "
                "sizes of gaps, directions and the shape of a cloud mean little. A frozen decoder is one "
                "point. Vectors of more than 256 numbers were first projected at random to 256.",
                "Scatter plots, one for each method with several decoders for a task: the paths of the "
                "decoders' weights over training in two dimensions.",
                trajectories_figure(summary, records),
            ),
            (
                "dropout-schedules",
                "Dropout rates that the control changed, in the first run of each method. Thin: one task, "
                "the mean over its decoders. Thick: the mean over all tasks.",
                "Mean dropout rate before the decoders by training step, one thin line per task and a thick "
                "one for their mean.",
                dropout_schedules(summary, records),
            ),
        ]
    )


def balance_pictures(summary: Summary, records: Records) -> list[Picture]:
    """Balancing: weights of the tasks, and conflict of their gradients."""
    pictures = []
    for number, method in enumerate(summary["methods"], start=1):
        pictures += [
            (
                f"weights-{number}",
                f"How hard {method} pulls on each task: the factor on its loss. Only weights of one step "
                "compare; a large one can stand for a small loss.",
                f"Weight of each task by training step under {method}, one line per task.",
                weights_figure(summary, records, method),
            ),
            (
                f"conflict-{number}",
                f"Do the tasks of {method} pull the shared parameters in one direction? Cosine of the "
                "gradients of two tasks: 1 the same direction, 0 unrelated, below 0 at odds. Means over "
                "many steps, so single batches may be at odds where the mean is not. Similar tasks stand "
                "side by side.",
                f"Heat map of the mean cosine between gradients of pairs of tasks under {method}, and the "
                "share of pairs with a negative cosine by training step.",
                conflict_figure(summary, records, method),
            ),
        ]
    return _present(pictures)


def schedule_pictures(summary: Summary, records: Records) -> list[Picture]:
    """Schedules: what was trained when, and what a learned schedule goes by."""
    pictures = []
    for number, method in enumerate(summary["methods"], start=1):
        pictures += [
            (
                f"shares-{number}",
                f"What {method} trained when: the stronger the shade, the more steps of a phase trained the "
                "task.",
                f"Raster of tasks by training step, shaded by how often {method} trained each task.",
                shares_figure(summary, records, method),
            ),
            (
                f"probabilities-{number}",
                f"Probability with which {method} drew each task.",
                f"Probability of each task by training step under {method}, one line per task.",
                probabilities_figure(summary, records, method),
            ),
            (
                f"histograms-{number}",
                f"What the schedule of {method} sees: for each task the histogram of the model's uncertainty "
                "on validation samples. From 0, certain, below to 1 above; the stronger the shade, the more "
                "samples. Grey: not looked at.",
                f"Small rasters, one per task: histogram of uncertainty by training step under {method}.",
                histograms_figure(summary, records, method),
            ),
            (
                f"q-{number}",
                f"What the schedule of {method} expects of training each task: the sum of rewards to come, "
                "later ones discounted. The task with the highest value is chosen, except while exploring.",
                f"Q value of each task by training step under {method}, one line per task.",
                q_figure(summary, records, method),
            ),
        ]
    return _present(pictures)


def evolution_pictures(summary: Summary, records: Records) -> list[Picture]:
    """Evolution of routes: fitness and growth, the routes, what modules they use, and which are similar."""
    pictures = []
    many = len(summary["tasks"]) > FEW
    drawn = (
        "A circle is a use of a module, its colour and number say which. Bands, where there are any, are "
        "levels: their number is that of the poolings before. The wider a line, the larger its share of what "
        "it leads into. At the right of each name: uses in all."
    )
    evolved = evolved_methods(summary, records)
    if evolved:
        text = (
            "After each meta-iteration a task keeps its route (the champion), or takes a mutated one (a "
            "challenger) that did better on validation samples. Fitness is that of the champions."
        )
        alt = "Validation metric by meta-iteration of all methods, size of the routes, accepted mutations."
        pictures.append(("evolution", text, alt, evolution_figure(summary, records)))
    for number, method in enumerate(summary["methods"], start=1):
        if method not in evolved:
            continue
        pictures += [
            (
                f"evolved-routes-{number}",
                f"The routes of {method} at its best meta-iteration. {drawn}",
                f"Graphs of modules from encoder to decoder, one per task, that {method} evolved.",
                evolved_routes_figure(summary, method, FEW),
            ),
            (
                f"module-use-{number}",
                f"Which modules tasks of {method} use. One use of a module in a route counts once, whatever "
                "its share. Tasks stand from the simplest route to the most complex.",
                f"Uses of each module by meta-iteration, and a table of modules by tasks, under {method}.",
                module_use_figure(summary, records, method),
            ),
            (
                f"topologies-{number}",
                f"Tasks of {method} with similar routes stand near each other. Neighbours mean something; "
                "axes and large distances do not, and evolution is partly chance: compare seeds.",
                f"Map of tasks by the features of the routes that {method} evolved.",
                topologies_figure(summary, method),
            ),
            (
                f"evolved-routes-all-{number}",
                f"The routes of all tasks under {method}, drawn as above.",
                f"Graphs of modules from encoder to decoder, one for every task, that {method} evolved.",
                evolved_routes_figure(summary, method) if many else None,
            ),
        ]
    return _present(pictures)


def search_pictures(searches: Mapping[str, Search]) -> list[Picture]:
    """Searches for modules, by method: what was tried, and what was found."""
    pictures: list[tuple[str, str, str, Figure | None]] = []
    for number, (method, search) in enumerate(searches.items(), start=1):
        pictures += [
            (
                f"search-{number}",
                f"The search for the modules of {method}. The fitness of a set is its validation score after "
                "a short training in which routes evolved.",
                f"Fitness of sets of modules by generation, in the search for {method}.",
                search_figure(search),
            ),
            (
                f"modules-{number}",
                f"The modules that {method} is made of: those of the best set, used in turn to fill the "
                "pool, each time with weights of their own.",
                f"Graphs of layers of the modules that were found for {method}.",
                modules_figure(search),
            ),
        ]
    return _present(pictures)


def hypermodule_pictures(summary: Summary, records: Records) -> list[Picture]:
    """Hypermodules: how many tasks share them, the most used, and which stands where."""
    pictures = [
        (
            "hypermodules",
            "A generation is a phase of training: at some locations other modules are tried, and at its end "
            "the better one stays. For the final training a run goes back to its best generation, so that "
            "lines may jump there.",
            "Share of all locations at which the most used module stands, number of modules, and locations "
            "whose module changed, by generation, one line per method.",
            growth_figure(summary, records),
        )
    ]
    for number, method in enumerate(summary["methods"], start=1):
        if method not in hypermodule_methods(summary):
            continue
        pictures += [
            (
                f"module-sharing-{number}",
                f"The modules of {method} by the tasks that use them: each is counted once, for exactly the "
                "tasks in whose models it stands. Together they are all modules.",
                f"Number and share of the modules of each set of tasks under {method}, by generation.",
                sharing_figure(summary, records, method),
            ),
            (
                f"mapping-{number}",
                f"Which module stands where under {method}. A row is a location (a block of weights), a "
                "column a generation, a colour a module. The modules used most have strong colours. Pale "
                "ones are the others: different where they touch, but one colour can be several modules. "
                "Columns are dense where much changes.",
                f"Map of the locations of {method} by generation, coloured by module.",
                mapping_figure(summary, records, method),
            ),
            (
                f"layer-sharing-{number}",
                f"Which layers of {method} share: the stronger the colour, the more blocks of the row's "
                "layer have a module that stands in the column's layer, too. In framed fields: at another "
                "block of the layer itself. The columns of large layers are strong, as these have many "
                "modules.",
                f"Matrix of layers by layers: share of blocks whose modules two layers of {method} have in "
                "common.",
                layers_figure(summary, method),
            ),
        ]
    return _present(pictures)
