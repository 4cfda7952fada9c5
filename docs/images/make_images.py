"""Draws the pictures of the documentation.

  python docs/images/make_images.py

`routes.png`, `linear.png`, `games.png`, `games_seen.png` and `games_complexity.png` need nothing.
`games_play.png` is an episode of a network of the experiment `grusm_atari`, drawn if that is in `runs/`.
`demo.png` is the comparison figure of the report of `make demo`, drawn from `results/demo/summary.json`,
which is a copy of `runs/demo/summary.json`. The others are copies of figures that the experiments wrote into
`results/`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from draw_games import architecture, complexity, seen, strip
from draw_linear import found
from matplotlib.figure import Figure

import moduli
from moduli.evaluation import read_summary
from moduli.report.figures import comparison_figure
from moduli.report.style import png
from moduli.sharing import draw_route

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parents[1] / "results"
PLAYER = (
    HERE.parents[1] / "runs" / "grusm_atari" / "cpu" / "transfer" / "space_invaders-from-freeway" / "seed0"
)
COPIES = {
    "soft_uci.png": "soft_uci/cpu/metric/curves.png",
    "soft_random_patterns.png": "soft_random_patterns/cpu/figure.png",
    "soft_mnist.png": "soft_mnist/cpu/figure.png",
    "soft_mnist_scales.png": "soft_mnist/cpu/scales_by_step.png",
    "soft_mnist_order.png": "soft_mnist/cpu/soft_order.png",
    "soft_fours.png": "soft_fours/cpu/reconstructions.png",
    "soft_fours_sigmoid.png": "soft_fours/cpu/sigmoid_swept.png",
    "soft_fours_softmax.png": "soft_fours/cpu/softmax_swept.png",
    "soft_omniglot.png": "soft_omniglot/cpu/figure.png",
    "soft_omniglot_usage.png": "soft_omniglot/cpu/usage.png",
    "pta_omniglot.png": "pta_omniglot/cpu/figure.png",
    "pta_omniglot_gains.png": "pta_omniglot/cpu/gains/figure.png",
    "qls_toy.png": "qls_toy/cpu/figure.png",
    "qls_domains.png": "qls_domains/cpu/figure.png",
    "qls_domains_picked.png": "qls_domains/cpu/shares.png",
    "qls_domains_state.png": "qls_domains/cpu/histograms.png",
    "qls_transfer.png": "qls_transfer/cpu/figure.png",
    "ctr_uci.png": "ctr_uci/cpu/dropout-0.2/evolution.png",
    "ctr_omniglot.png": "ctr_omniglot/cpu/table/evolution.png",
    "ctr_omniglot_routes.png": "ctr_omniglot/cpu/table/routes.png",
    "ctr_omniglot_topologies.png": "ctr_omniglot/cpu/topologies.png",
    "cmtr_omniglot_modules.png": "cmtr_omniglot/cpu/modules.png",
    "pta_imdb.png": "pta_imdb/cpu/figure.png",
    "pta_imdb_trajectories.png": "pta_imdb/cpu/trajectories.png",
    "muir_groups.png": "muir_synthetic/cpu/grouping-noiseless.png",
    "muir_groups_noisy.png": "muir_synthetic/cpu/grouping-noisy.png",
    "muir_mapping.png": "muir_synthetic/cpu/mapping-noiseless.png",
    "muir_onemax.png": "muir_onemax/cpu/onemax.png",
    "muir_small.png": "muir_crossmodal_small/cpu/hypermodules.png",
    "muir_small_sharing.png": "muir_crossmodal_small/cpu/sharing.png",
    "muir_small_layers.png": "muir_crossmodal_small/cpu/layers.png",
    "muir_large_sharing.png": "muir_crossmodal_large/cpu/sharing.png",
    "games_curves.png": "grusm_atari/cpu/game-curves.png",
    "games_transferability.png": "grusm_atari/cpu/transferability.png",
    "linear_kang.png": "linear_kang/cpu/relationships.png",
    "linear_school.png": "linear_school/cpu/shares.png",
}


def routes() -> Figure:
    """What two tasks apply, one row for each, under the four orders of three layers; shares are made up."""

    def layer(k: int) -> moduli.Dense:
        return moduli.Dense(2)

    orders = {
        "single": moduli.single("ab", layer, 3),
        "hard": moduli.hard("ab", layer, 3),
        "permuted": moduli.permuted("ab", layer, 3, seed=0),
        "soft": moduli.soft("ab", layer, 3),
    }
    figure, generator = Figure(figsize=(9.0, 3.4)), torch.Generator().manual_seed(3)
    grid = figure.subplots(2, 4)
    for column, (name, structure) in enumerate(orders.items()):
        for row, (task, route) in enumerate(structure.routes.items()):
            weights = torch.randn(3, 3, generator=generator).mul(1.5).softmax(1).tolist()
            draw_route(route, grid[row, column], weights, title=f"{name}, task {task}")
    figure.tight_layout()
    return figure


def main() -> None:
    drawn = {
        "routes": routes(),
        "linear": found(),
        "games": architecture(),
        "games_seen": seen(),
        "games_complexity": complexity(),
    }
    for name, figure in drawn.items():
        (HERE / f"{name}.png").write_bytes(png(figure, dpi=110))
    strip(PLAYER, HERE / "games_play.png")
    summary = RESULTS / "demo" / "summary.json"
    if summary.exists():
        (HERE / "demo.png").write_bytes(png(comparison_figure(read_summary(summary)), dpi=110))
    for name, figure in COPIES.items():
        if (RESULTS / figure).exists():
            shutil.copy(RESULTS / figure, HERE / name)
    for path in sorted(HERE.glob("*.png")):
        print(f"{path.name}: {path.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    main()
