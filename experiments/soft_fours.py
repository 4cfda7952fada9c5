"""What a layer of a soft order does: Meyerson & Miikkulainen (2018), section 5, Table 1, A.5.

Ten tasks, each one image of a "4" of MNIST: from the coordinates (x, y) of a pixel to its brightness, all in
[0, 1]. All 784 pixels train, nothing is held out. A linear encoder to 100 units is shared by all tasks, then
come four shared ReLU layers of 100 units in soft order, and the mean of the 100 units is the output. So two
tasks differ in nothing but their scales. Squared error, no dropout.

To see what layer l does at depth d for task t, its scale s(t, l, d) is swept over [0, 1], everything else
fixed, and the image is drawn for each value. With a softmax that is not possible, since the others would
move, so "the softmax for each task at each depth was replaced with a sigmoid activation". Put into a model
that was *trained* with a softmax, sigmoids would give other weights everywhere, and another image. So this
is read as a model that is trained with sigmoids: the model "sigmoid" below. The other reading is there as
well: "softmax" is trained with softmaxes, and when one of its scales is swept the others keep their values.

The paper shows six rows of images (layer 1, depths 1 to 3, two tasks) and says that the layer does a similar
thing in each. Here the images are drawn, and similarity is a number too: the effect of a layer in a context
(t, d) is the image at scale 1 minus the image at scale 0. For pairs of tasks and each pair of depths, the
mean correlation of the effects of the same layer stands beside that of different layers. Depth 4 is left
out, as in the paper: behind it there is only the mean over units.

What the paper leaves open, and what is taken here: which fours (drawn from the training part with seed 0),
batch size (64 pixels, the same in all tasks), steps (below), Glorot-uniform weights; sigmoids start at 1/4,
as softmaxes do.

  scale   steps   seeds   time on 1 CPU core
  smoke      20       1   15 s
  cpu      4000       1   4 min
  paper  50 000       3   3 h

  python experiments/soft_fours.py --scale cpu
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations, product

import numpy as np
import torch
from common import arguments, trained
from matplotlib.figure import Figure
from sweep import Panel, write_sweep
from torch import Tensor, nn

from moduli import (
    Data,
    Dense,
    JointModel,
    LinearBank,
    Regression,
    Route,
    RoutedStructure,
    Task,
    TensorSource,
    soft,
)
from moduli.data import mnist
from moduli.errors import InputError
from moduli.files import write_file
from moduli.report.style import WIDTH as PAGE, Sheet, png, styled
from moduli.sharing import Apply

STEPS = {"smoke": 20, "cpu": 4000, "paper": 50_000}
SEEDS = {"smoke": 1, "cpu": 1, "paper": 3}
SIDE, FOURS, WIDTH, LAYERS, DEPTH = 28, 10, 100, 4, 4
SWEPT = torch.linspace(0, 1, 6)

Context = tuple[str, int]
"""A task and a depth."""


class SigmoidOrder(RoutedStructure):
    """A soft order whose scales are independent numbers in (0, 1) instead of shares of one."""

    def merge_weights(self) -> Tensor | None:
        return None if self.scales is None else self.scales.view(-1, LAYERS).sigmoid()


class MeanOfUnits(nn.Module):
    """The decoder, `[B, units] -> [B, 1]`."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(-1, keepdim=True)


def pixel_grid() -> Tensor:
    """Coordinates (x, y) of all pixels in [0, 1], row by row, `[784, 2]`."""
    places = torch.linspace(0, 1, SIDE)
    return torch.cartesian_prod(places, places).flip(1)


def fours(seed: int = 0) -> list[Task]:
    """A task for each of ten fours, all on the same input, the pixel grid."""
    source = mnist.tasks()[0].data.train
    assert isinstance(source, TensorSource)
    rows = torch.nonzero(source.targets["mnist"] == 4).flatten()
    drawn = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:FOURS]]
    images = {f"four {t + 1}": source.inputs[row] for t, row in enumerate(drawn)}
    pixels = TensorSource(pixel_grid(), images)
    data = Data("pixels", (2,), pixels, pixels, pixels)
    return [Task(name, Regression(), data) for name in images]


def brightness(tasks: Sequence[Task]) -> dict[str, Tensor]:
    """The pixels `[784]` of the image of each task."""
    source = tasks[0].data.train
    assert isinstance(source, TensorSource)
    return dict(source.targets)


def model(scales: str, tasks: Sequence[Task], seed: int) -> JointModel:
    """Soft order with "softmax" or "sigmoid" scales."""
    names = [task.name for task in tasks]
    core = soft(names, lambda k: Dense(WIDTH), LAYERS, depth=DEPTH)
    if scales == "sigmoid":
        core = SigmoidOrder(list(core.modules_pool), core.routes)
        nn.init.constant_(core.scales, -math.log(LAYERS - 1))  # type: ignore[arg-type]
    return JointModel(tasks, core, LinearBank({"pixels": (2, WIDTH)}), dict.fromkeys(names, MeanOfUnits()))


# ------------------------------------------------------------------ images for any scales


def follow(route: Route, pool: Sequence[nn.Module], x: Tensor, scales: Tensor) -> Tensor:
    """What a route makes of `x`, its merges weighted by the rows of `scales [merges, K]` as they are."""
    values, rows = [x], iter(scales)
    for node in route.nodes:
        if isinstance(node, Apply):
            values.append(pool[node.module](values[node.input]))
        else:
            mixed = [values[number] for number in node.inputs]
            values.append(torch.einsum("k,kbu->bu", next(rows), torch.stack(mixed)))
    return values[route.sink]


@torch.no_grad()
def image(joint: JointModel, task: str, scales: Tensor) -> Tensor:
    """The picture `[28, 28]` that the model draws for a task with the scales `[depth, layer]`."""
    core = joint.structure
    assert isinstance(core, RoutedStructure)
    grid = pixel_grid().to(scales.device)
    hidden = joint.encoders({"pixels": grid})["pixels"]
    hidden = follow(core.routes[task], list(core.modules_pool), hidden, scales)
    return joint.decoders({task: hidden})[task].view(SIDE, SIDE)


def learned(joint: JointModel, task: str) -> Tensor:
    """The scales of a task, `[depth, layer]`."""
    core = joint.structure
    assert isinstance(core, RoutedStructure)
    assert core.scales is not None
    return torch.tensor(core.merge_weights_of(task), device=core.scales.device)


def swept(joint: JointModel, context: Context, layer: int, values: Tensor) -> list[Tensor]:
    """The pictures of a task while one scale of one depth takes each of the values."""
    task, depth = context
    pictures = []
    for value in values:
        scales = learned(joint, task)
        scales[depth, layer] = value
        pictures.append(image(joint, task, scales))
    return pictures


def effects(joint: JointModel, tasks: Sequence[Task]) -> dict[tuple[Context, int], np.ndarray]:
    """For each context and layer the picture with the layer fully on minus that without it, as a vector."""
    found = {}
    for task, depth, layer in product(tasks, range(DEPTH - 1), range(LAYERS)):
        off, on = swept(joint, (task.name, depth), layer, torch.tensor([0.0, 1.0]))
        found[(task.name, depth), layer] = (on - off).flatten().cpu().numpy()
    return found


def similarity(found: Mapping[tuple[Context, int], np.ndarray]) -> dict[str, dict[str, float]]:
    """Mean correlation of effects in two tasks, by their depths, of the same layer and of different ones."""
    keys = list(found)
    correlation = np.corrcoef(np.stack([found[key] for key in keys]))
    groups: dict[tuple[int, int], dict[str, list[float]]] = {}
    for (i, ((one, d), k)), (j, ((other, e), m)) in combinations(enumerate(keys), 2):
        if one != other:
            by_layer = groups.setdefault((min(d, e) + 1, max(d, e) + 1), {})
            by_layer.setdefault("the same layer" if k == m else "another layer", []).append(correlation[i, j])
    return {
        f"{d} and {e}": {which: float(np.mean(values)) for which, values in by_layer.items()}
        for (d, e), by_layer in sorted(groups.items())
    }


# ------------------------------------------------------------------ figures


@styled
def table_of_images(joint: JointModel, tasks: Sequence[Task], layer: int = 0) -> Figure:
    """Table 1: a row for each depth, two tasks side by side, one scale from 0 (left) to 1 (right)."""
    cell, left, top, gap = 0.63, 0.75, 0.75, 0.3
    sheet = Sheet(PAGE, top + (DEPTH - 1) * (cell + 0.04) + 0.1)
    sheet.text(0.1, 0.06, f"Layer {layer + 1}; its scale at one depth from 0 to 1, everything else fixed")
    for t, task in enumerate(tasks[:2]):
        start = left + t * (len(SWEPT) * cell + gap)
        scales = learned(joint, task.name)[:, layer].tolist()
        known = ", ".join(f"{scale:.2f}" for scale in scales[: DEPTH - 1])
        sheet.text(start, 0.3, f"{task.name}; learned: {known}")
        for depth in range(DEPTH - 1):
            y = top + depth * (cell + 0.04)
            if t == 0:
                sheet.text(0.1, y + cell / 2 - 0.07, f"depth {depth + 1}")
            for n, picture in enumerate(swept(joint, (task.name, depth), layer, SWEPT)):
                axes = sheet.axes(start + n * cell, y, cell - 0.04, cell - 0.04)
                _show(axes, picture)
                if depth == 0:
                    axes.set_title(f"{SWEPT[n]:.1f}", fontsize=8, pad=2, loc="center")
    return sheet.figure


@styled
def reconstructions(models: Mapping[str, JointModel], tasks: Sequence[Task]) -> Figure:
    """The ten images, and below them what each model makes of them."""
    cell, left, top = 0.7, 0.95, 0.12
    sheet = Sheet(PAGE, top + (1 + len(models)) * (cell + 0.04) + 0.05)
    rows = {"image": [pixels.view(SIDE, SIDE) for pixels in brightness(tasks).values()]}
    for name, joint in models.items():
        rows[name] = [image(joint, task.name, learned(joint, task.name)) for task in tasks]
    for row, (name, pictures) in enumerate(rows.items()):
        y = top + row * (cell + 0.04)
        sheet.text(0.1, y + cell / 2 - 0.07, name)
        for n, picture in enumerate(pictures):
            _show(sheet.axes(left + n * cell, y, cell - 0.04, cell - 0.04), picture)
    return sheet.figure


def _show(axes, picture: Tensor) -> None:
    axes.imshow(picture.cpu().numpy(), cmap="gray", vmin=0, vmax=1)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)


def main() -> None:
    options = arguments("soft_fours", __doc__ or "")
    seeds, steps = options.seeds or SEEDS[options.scale], STEPS[options.scale]
    try:
        tasks = fours()
    except InputError as error:
        raise SystemExit(str(error)) from error
    kinds, targets = ("softmax", "sigmoid"), brightness(tasks)
    errors: dict[str, list[list[float]]] = {kind: [[] for _ in tasks] for kind in kinds}
    alike: dict[str, dict[str, list[float]]] = {}
    models: dict[str, JointModel] = {}
    for seed in range(seeds):
        comparison = trained(
            {kind: partial(model, kind, tasks) for kind in kinds},
            tasks,
            options.folder / f"seed-{seed}",
            seeds=[seed],
            device=options.device,
            steps=steps,
            phase=max(1, steps // 10),
            batch_size=64,
            select="last",
        )
        for kind, joint in comparison.best_models.items():
            models.setdefault(kind, joint)  # the pictures are those of seed 0
            for t, task in enumerate(tasks):
                (loss,) = comparison.summary["methods"][kind]["tasks"][task.name]["loss"]
                errors[kind][t].append(100 * loss / targets[task.name].var(correction=0).item())
            for where, by_layer in similarity(effects(joint, tasks)).items():
                for which, correlation in by_layer.items():
                    alike.setdefault(f"{kind}, {which}", {}).setdefault(where, []).append(correlation)
    into = options.results / "soft_fours" / options.scale
    same = {"device": options.device, "seeds": seeds, "steps": steps}
    numbers = list(range(1, FOURS + 1))
    write_sweep(
        into / "error",
        "ten fours of MNIST",
        "squared error, % of the variance of the image",
        "lower",
        [Panel("reconstruction of each image", "image", numbers, errors)],
        **same,
    )
    places = list(next(iter(alike.values())))
    series = {method: [by_place[place] for place in places] for method, by_place in alike.items()}
    write_sweep(
        into / "effects",
        "effects of layers on the images",
        "correlation of two effects",
        "higher",
        [Panel("effects in two tasks, mean over pairs of tasks", "the two depths", places, series)],
        **same,
    )
    write_file(into / "reconstructions.png", png(reconstructions(models, tasks), dpi=110))
    for kind, joint in models.items():
        write_file(into / f"{kind}_swept.png", png(table_of_images(joint, tasks), dpi=110))


if __name__ == "__main__":
    main()
