"""Thirty linear tasks in three groups by linear methods: the data of Kang, Grauman & Sha (2011).

20 inputs, 15 training and 50 test samples for each task; the weights of tasks in a group differ by a factor.
Three conditions: the published data without noise and with it, where seeds differ in folds and random starts;
and noisy data of the same kind, drawn anew for every seed. No method has intercepts, as the true functions
have none. Hyperparameters are chosen by cross-validation of the training samples, from a few settings for
each method; the graph-guided fused lasso has two, as it takes seconds a fit. The error is the mean over tasks
of their test RMSE, as in the papers. Where the published data are not in the data folder, only the third
condition is run.

  scale    settings of a method   folds   seeds   time on 1 CPU core
  smoke                       2       3       1   20 s
  cpu                    1 to 8       3      10   20 min
  paper                  1 to 8       5      50   2.5 h

Every finished seed is kept in runs/linear_kang/: the same command goes on where it was stopped.

  python experiments/linear_kang.py --scale cpu
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from common import arguments
from linear_methods import (
    Choice,
    Samples,
    described,
    each,
    fewer,
    kept,
    measured,
    search,
    some,
    steps,
    table,
    together,
    with_task,
)

from moduli.data import kang
from moduli.errors import InputError
from moduli.files import write_json
from moduli.linear import (
    DGMTL,
    GOMTL,
    AlternatingStructure,
    Clustered,
    DirtyModel,
    FeatureLearning,
    GraphFusedLasso,
    GroupLasso,
    Lasso,
    MeanRegularized,
    MixtureOfTasks,
    Pooled,
    Ridge,
    Robust,
    SharedHypotheses,
    SparseLowRank,
    TaskClustering,
    TaskRelationship,
    TraceNorm,
    TreeLasso,
    plot_relationship,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Scale(NamedTuple):
    settings: int | None
    folds: int
    seeds: int


SCALES = {"smoke": Scale(2, 3, 1), "cpu": Scale(None, 3, 10), "paper": Scale(None, 5, 50)}
METHODS = {
    "ridge": Choice(Ridge(), each(alpha=steps(-3, 0))),
    "lasso": Choice(Lasso(), each(alpha=steps(-3, 0))),
    "pooled": Choice(Pooled(), each(alpha=steps(-2, 0.5))),
    "group lasso": Choice(GroupLasso(), each(alpha=steps(-2.5, 0))),
    "l1/linf": Choice(GroupLasso(q=np.inf), each(alpha=steps(-3, 0.5))),
    "trace norm": Choice(TraceNorm(), each(alpha=steps(-2.5, 0))),
    "dirty model": Choice(DirtyModel(), some(8, lambda_b=steps(-1.5, 0.5), lambda_s=steps(-2, -0.5))),
    "sparse + low rank": Choice(SparseLowRank(), some(8, lambda_s=steps(-1.5, 0), lambda_l=steps(-1.5, 0))),
    "robust": Choice(Robust(), some(8, lambda_p=steps(-1.5, 0), lambda_q=steps(-1, 0))),
    "feature learning (MTFL)": Choice(FeatureLearning(), each(gamma=steps(-4, -1))),
    "task relationship (MTRL)": Choice(
        TaskRelationship(), some(8, lambda1=[0.0001, 0.001, 0.01], lambda2=steps(-3.5, -1.5))
    ),
    "mean regularised": Choice(MeanRegularized(), some(8, lambda1=steps(-0.5, 1.5), lambda2=[0.1, 1, 10])),
    "clustered, convex": Choice(
        Clustered(n_clusters=3), some(8, alpha=steps(-3, -1), eps_within=[10.0, 30.0, 100.0])
    ),
    "tree lasso": Choice(TreeLasso(), each(alpha=steps(-2, 0))),
    "graph fused": Choice(
        GraphFusedLasso(alpha=0.01), each(gamma=[0.032, 0.1]), tol=1e-3, max_iter=100
    ),  # slow: seconds a fit
    "ASO": Choice(AlternatingStructure(), some(8, h=[2, 3], alpha=steps(-2, 0), eta=[0.001, 0.01, 0.1])),
    "DG-MTL": Choice(DGMTL(groups=3, n_init=5), each(gamma=steps(-3.5, -1))),
    "DG-MTL, true groups": Choice(DGMTL(groups=3, task_groups=kang.groups()), each(gamma=steps(-3.5, -1))),
    "GO-MTL": Choice(GOMTL(k=3), each(mu=steps(-4, -1))),
    "shared hypotheses": Choice(SharedHypotheses(k=3), each(alpha=steps(-3, 0))),
    "task clustering (DP)": Choice(TaskClustering(), [{}]),
    "mixture of tasks": Choice(MixtureOfTasks(), each(n_clusters=[1, 3, 5])),
}
DRAWN = ("ridge", "task relationship (MTRL)", "GO-MTL")


def mean_rmse(estimator: Any, X: np.ndarray, y: np.ndarray) -> float:
    """Mean over tasks of the root of the mean squared error; the last column of X is the task."""
    task = X[:, -1].astype(int)
    squares = np.bincount(task, (estimator.predict(X) - y) ** 2)
    sizes = np.bincount(task)
    return float(np.mean(np.sqrt(squares[sizes > 0] / sizes[sizes > 0])))


def samples(arrays: dict[str, np.ndarray], part: str, noisy: bool) -> Samples:
    """Inputs, outputs and tasks of the training or the test part."""
    X, y = arrays[f"{part}_X"], arrays[f"{'noisy_' if noisy else ''}{part}_Y"]
    return X.reshape(-1, X.shape[-1]), y.ravel(), np.repeat(np.arange(len(y)), y.shape[1])


def errors(
    arrays: dict[str, np.ndarray], noisy: bool, seed: int, methods: dict[str, Choice], folds: int
) -> dict[str, dict[str, Any]]:
    """Of every method: mean error over the tasks, and the chosen hyperparameters."""
    train, (X, y, task) = samples(arrays, "train", noisy), samples(arrays, "test", noisy)
    return measured(
        methods,
        lambda choice: search(
            choice, *train, folds, seed, score=lambda *fitted: -mean_rmse(*fitted), fit_intercept=False
        ),
        lambda found: mean_rmse(found, with_task(X, task), y),
    )


def figure(arrays: dict[str, np.ndarray], folds: int) -> Figure:
    """How tasks are related by three methods, fitted to the noisy data; tasks in their three groups."""
    from matplotlib.figure import Figure

    picture = Figure(figsize=(11.0, 3.6), layout="constrained")
    for ax, name in zip(picture.subplots(1, len(DRAWN)), DRAWN, strict=True):
        train = samples(arrays, "train", True)
        found = search(
            METHODS[name], *train, folds, 0, score=lambda *fitted: -mean_rmse(*fitted), fit_intercept=False
        )
        plot_relationship(found.best_estimator_, names=range(1, kang.TASKS + 1), order=False, ax=ax)
        ax.set_title(name)
    return picture


def main() -> None:
    options = arguments("linear_kang", __doc__ or "")
    scale = SCALES[options.scale]
    methods = fewer(METHODS, scale.settings) if scale.settings else METHODS
    (file,) = kang.DATASET.files
    try:
        published = file.read() if file.place.exists() else None
    except InputError as error:
        raise SystemExit(str(error)) from error
    seeds = range(options.seeds or scale.seeds)
    runs = {
        (condition, seed): partial(errors, published, condition == "noisy", seed, methods, scale.folds)
        for condition in ("noiseless", "noisy")
        for seed in seeds
        if published
    }
    runs |= {
        ("drawn", seed): partial(errors, kang.generate(seed), True, seed, methods, scale.folds)
        for seed in seeds
    }
    conditions = {"folds": scale.folds, "methods": described(methods)}
    found = kept(options.folder, conditions, runs)
    results = {condition: together(by_seed) for condition, by_seed in found.items()}
    for condition, rows in results.items():
        print(table(f"mean test RMSE of thirty tasks, {condition}", rows), flush=True)
    into = options.results / "linear_kang" / options.scale
    into.mkdir(parents=True, exist_ok=True)
    figure(published or kang.generate(0), scale.folds).savefig(into / "relationships.png", dpi=110)
    write_json(into / "summary.json", {"schema": 1, **conditions, "seeds": len(seeds), "results": results})
    print(f"results in {into}")


if __name__ == "__main__":
    main()
