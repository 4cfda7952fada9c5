"""The School data by linear methods: explained variance of exam scores, by the share of pupils that train.

Each of 139 schools is a task with 27 inputs (see `moduli.data.school`). In every school the same share of
the pupils trains, the others test; inputs and scores are standardised with the training pupils.
Hyperparameters are chosen by cross-validation in the training part, for every seed anew, from a few settings
for each method, fewer for slow ones; a seed is another split, and other folds and random starts. Explained
variance is R² of all test pupils together, in percent: the literature's measure. The usual share is 75 %.
The graph-guided fused lasso is left out: with the edges of 139 schools a fit takes minutes.

  scale    shares             settings of a method   folds   seeds   time on 1 CPU core
  smoke    25 %                                  2       2       1   20 s
  cpu      25, 50 and 75 %                  1 to 8       3      10   20 min
  paper    10 to 90 %                       1 to 8       5      10   1.5 h

Every finished seed is kept in runs/linear_school/: the same command goes on where it was stopped.

  python experiments/linear_school.py --scale cpu
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
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler

from moduli.data import school
from moduli.errors import InputError
from moduli.files import write_json
from moduli.linear import (
    DGMTL,
    GOMTL,
    AlternatingStructure,
    Clustered,
    DirtyModel,
    FeatureLearning,
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
    hold_out,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Scale(NamedTuple):
    shares: tuple[float, ...]
    settings: int | None
    folds: int
    seeds: int


SCALES = {
    "smoke": Scale((0.25,), 2, 2, 1),
    "cpu": Scale((0.25, 0.5, 0.75), None, 3, 10),
    "paper": Scale((0.1, 0.25, 0.5, 0.75, 0.9), None, 5, 10),
}
METHODS = {
    "ridge": Choice(Ridge(), each(alpha=steps(-2, 1))),
    "lasso": Choice(Lasso(), each(alpha=steps(-2, 0))),
    "pooled": Choice(Pooled(), each(alpha=steps(-3, 0))),
    "group lasso": Choice(GroupLasso(), each(alpha=steps(-1, 1))),
    "l1/linf": Choice(GroupLasso(q=np.inf), each(alpha=steps(-0.5, 1.5))),
    "trace norm": Choice(TraceNorm(), each(alpha=steps(-1, 1))),
    "dirty model": Choice(DirtyModel(), some(8, lambda_b=steps(-0.5, 1.5), lambda_s=steps(-1, 0))),
    "sparse + low rank": Choice(SparseLowRank(), some(8, lambda_s=steps(-1, 0), lambda_l=steps(-0.5, 0.5))),
    "robust": Choice(Robust(), some(8, lambda_p=steps(-0.5, 0.5), lambda_q=steps(-1, 0.5))),
    "feature learning (MTFL)": Choice(FeatureLearning(), each(gamma=steps(-2, 0.5))),
    "task relationship (MTRL)": Choice(
        TaskRelationship(), some(8, lambda1=[0.001, 0.01, 0.1], lambda2=steps(-2, 0))
    ),
    "mean regularised": Choice(MeanRegularized(), some(8, lambda1=steps(1.5, 4), lambda2=[0.1, 1, 10])),
    "clustered, convex": Choice(
        Clustered(n_clusters=3), some(8, alpha=steps(-1.5, 0.5), eps_within=[10.0, 30.0, 100.0])
    ),
    "tree lasso": Choice(TreeLasso(), each(alpha=steps(-1, 0.5))),
    "ASO": Choice(AlternatingStructure(), some(8, h=[1, 2, 3], alpha=steps(-0.5, 1.5)), max_iter=200),
    "DG-MTL": Choice(DGMTL(groups=3, n_init=5), each(gamma=steps(-2, 0))),
    "GO-MTL": Choice(GOMTL(k=3), each(mu=steps(-3, 0))),
    "shared hypotheses": Choice(SharedHypotheses(k=3), each(alpha=steps(-2, 0))),
    "task clustering (DP)": Choice(TaskClustering(), [{}]),
    "mixture of tasks": Choice(MixtureOfTasks(), each(n_clusters=[1, 3, 6])),
}
DRAWN = ("ridge", "pooled", "trace norm", "feature learning (MTFL)", "mean regularised", "GO-MTL")


def split(data: dict[str, np.ndarray], share: float, seed: int) -> tuple[Samples, Samples]:
    """The training and the test part, standardised with the former."""
    X, y, task = data["X"], data["y"], data["task"]
    test = hold_out(task, 1 - share, random_state=seed)
    X = StandardScaler().fit(X[~test]).transform(X)
    y = (y - y[~test].mean()) / y[~test].std()
    return (X[~test], y[~test], task[~test]), (X[test], y[test], task[test])


def explained(
    data: dict[str, np.ndarray], share: float, seed: int, methods: dict[str, Choice], folds: int
) -> dict[str, dict[str, Any]]:
    """Of every method: explained variance of the test pupils in percent, and the chosen hyperparameters."""
    train, (X, y, task) = split(data, share, seed)
    return measured(
        methods,
        lambda choice: search(choice, *train, folds, seed),
        lambda found: 100 * float(r2_score(y, found.predict(with_task(X, task)))),
    )


def figure(results: dict[str, Any]) -> Figure:
    """Explained variance by share, of some methods; means over seeds."""
    from matplotlib.figure import Figure

    picture = Figure(figsize=(6.4, 4.0), layout="constrained")
    ax = picture.subplots()
    for name, style in zip(DRAWN, ("k:", "k--", "o-", "s-", "^-", "D-"), strict=True):
        values = [np.mean(rows[name]["value"]) for rows in results.values()]
        ax.plot([100 * float(share) for share in results], values, style, label=name, markersize=4)
    ax.set(xlabel="pupils that train, %", ylabel="explained variance, %")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    return picture


def main() -> None:
    options = arguments("linear_school", __doc__ or "")
    scale = SCALES[options.scale]
    methods = fewer(METHODS, scale.settings) if scale.settings else METHODS
    try:
        data = school.arrays()
    except InputError as error:
        raise SystemExit(str(error)) from error
    seeds = range(options.seeds or scale.seeds)
    runs = {
        (f"{share:g}", seed): partial(explained, data, share, seed, methods, scale.folds)
        for share in scale.shares
        for seed in seeds
    }
    conditions = {"folds": scale.folds, "methods": described(methods)}
    found = kept(options.folder, conditions, runs)
    results = {share: together(by_seed) for share, by_seed in found.items()}
    for share, rows in results.items():
        print(table(f"explained variance in percent, {float(share):.0%} of the pupils train", rows))
    into = options.results / "linear_school" / options.scale
    into.mkdir(parents=True, exist_ok=True)
    figure(results).savefig(into / "shares.png", dpi=110)
    write_json(into / "summary.json", {"schema": 1, **conditions, "seeds": len(seeds), "results": results})
    print(f"results in {into}")


if __name__ == "__main__":
    main()
