"""What schedules do for an unseen domain: the Q-learning scheduler's paper, section 5.1, Table 3.

One of the 16 domains of `qls_domains.py` is left out, and every method trains the fully-shared model on the
other 15. Then its LSTM is frozen, and a new linear decoder is fitted to the left-out domain: 5-fold cross-
validation over all its labelled texts, about 2,000. The decoder is scikit-learn's logistic regression on
the LSTM's last hidden state, with its default penalty (C = 1): a linear layer under cross-entropy, trained
to the end.

Nothing of the left-out domain is known before: vocabulary, single-task models, hand-crafted weights and the
policy of QLS are made anew from the other 15. Models are selected by their validation accuracy on these.
Beside the methods of Table 3 there are "uniform", of which the paper gives no numbers, and "QLS, with noise"
(see `qls_domains.py`).

What the paper leaves open is as in `qls_domains.py`, and how many labelled texts the five folds are of.

The miniature (cpu) differs as there, and further: two domains are left out one after another instead of
16, and training has 1,600 steps; for each of them the first phase of QLS has 16,000.

  scale   left out   steps   first phase   seeds   time
  smoke          2      16            64       1   20 s on 1 CPU core
  cpu            2   1 600        16 000       3   25 min on 1 CPU core
  paper         16  10 000     1 000 000       3   days on a CPU, for a GPU

  python experiments/qls_transfer.py --scale cpu
"""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import torch
from common import arguments
from domains import NOISY, SINGLE, UNIFORM, Domains, Scale, columns, draw_means
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sweep import Panel, write_sweep
from torch import nn

from moduli import Task
from moduli.data import reviews
from moduli.evaluation.baselines import baselines_of

SCALES = {
    "smoke": Scale(1000, 10, 16, 50, 16, 8, 1, 15, 64, 8, 10, ("books", "MR")),
    "cpu": Scale(10_000, 60, 64, 50, 1600, 160, 3, 300, 16_000, 8, 25, ("books", "MR")),
    "paper": Scale(40_000, 200, 128, 300, 10_000, 500, 3, 2000, 1_000_000, 16, None),
}
METHODS = (
    "hand-crafted", "loss exponentiation", "uncertainty", "self-paced", "focal", "DTP", "GradNorm",
    "adaptive", "QLS",
)  # fmt: skip
PAPER = columns(  # Table 3: the domains in its order, and their mean
    METHODS,
    """
    86.3 81.8 85.9 82.2 81.7 86.5 86.3 86.4 86.6
    86.2 83.6 86.1 85.0 84.1 86.4 86.1 86.1 86.3
    86.8 84.5 86.7 85.6 85.0 86.6 87.0 86.8 86.9
    86.5 84.1 86.4 84.7 84.8 86.7 86.7 86.5 86.6
    86.3 84.7 86.2 85.1 84.7 86.2 86.3 86.2 86.3
    87.3 86.2 87.3 86.9 86.2 87.3 87.1 87.1 87.3
    89.0 84.4 88.7 85.3 85.1 89.0 89.1 89.0 89.3
    85.6 79.7 85.0 80.2 80.2 85.9 85.9 85.9 86.1
    86.3 83.7 86.1 84.1 84.1 85.6 86.3 86.0 86.4
    86.0 85.0 86.0 86.1 85.7 85.7 85.9 85.8 85.9
    86.1 82.9 85.9 83.8 83.1 86.3 86.2 86.2 86.3
    90.5 88.8 90.5 89.9 89.4 90.5 90.3 90.4 90.6
    87.3 84.0 87.0 84.0 84.0 86.6 87.5 87.2 87.6
    85.9 83.2 85.7 84.2 83.8 86.1 86.0 85.9 86.0
    87.7 86.8 87.7 87.5 87.1 87.5 87.6 87.5 87.6
    75.7 73.7 75.6 74.3 74.0 75.7 75.4 75.4 75.8
    86.2 83.5 86.0 84.3 83.9 86.2 86.2 86.2 86.4
    """,
)


def transferred(encoder: nn.Module, task: Task) -> float:
    """Accuracy in percent of a linear decoder on a frozen encoder: the mean over five folds."""
    splits = [task.data.split(part) for part in ("train", "val", "test")]
    with torch.no_grad():
        features = torch.cat([encoder(x) for split in splits for x in split.inputs.split(512)])  # type: ignore[attr-defined]
    labels = torch.cat([split.targets[task.name] for split in splits])  # type: ignore[attr-defined]
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    decoder = LogisticRegression(max_iter=1000)
    scores = cross_val_score(decoder, features.cpu().numpy(), labels.cpu().numpy(), cv=folds)
    return 100 * float(scores.mean())


def left_out(name: str, scale: Scale, folder: Path, seeds: int, device: str) -> dict[str, list[float]]:
    """For each method the accuracy on one domain after training on all others, one for each seed."""
    others = [domain for domain in reviews.DOMAINS if domain != name]
    domains, words = Domains.load(others, scale), reviews.vocabulary(others, scale.words)
    (unseen,) = reviews.tasks([name], scale.words, scale.length, known=words)
    alone = baselines_of(domains.alone(folder / "single", 1, device), SINGLE)
    weights = domains.by_hand(alone, folder / "by hand", device)
    policy = domains.learned(alone, folder / "policy", device)
    known = domains.methods(alone, weights, policy)
    methods = {method: known[method] for method in (UNIFORM, *METHODS, NOISY)}
    domains.train(methods, folder / "methods", seeds, baseline=UNIFORM, device=device)
    found = {}
    for method in methods:
        places = [folder / "methods" / "training" / method / f"seed-{seed}" for seed in range(seeds)]
        found[method] = [transferred(domains.trained(place), unseen) for place in places]
        print(f"{name}, {method}: {fmean(found[method]):.1f} %", flush=True)
    return found


def main() -> None:
    options = arguments("qls_transfer", __doc__ or "")
    scale = SCALES[options.scale]
    seeds = options.seeds or scale.seeds
    found = {
        name: left_out(name, scale, options.folder / name, seeds, options.device) for name in scale.domains
    }
    series = {}
    for method in (UNIFORM, *METHODS, NOISY):
        rows = [found[name][method] for name in scale.domains]
        series[method] = [*rows, [fmean(values) for values in zip(*rows, strict=True)]]
    rows = [reviews.DOMAINS.index(name) for name in scale.domains]
    published = {}
    for method, values in PAPER.items():
        some = [values[row] for row in rows]
        published[method] = [*some, round(fmean(some), 1)]
    into = options.results / "qls_transfer" / options.scale
    write_sweep(
        into,
        "transfer to a domain that was left out",
        "accuracy, %",
        "higher",
        [Panel("5-fold cross-validation", "domain left out", [*scale.domains, "mean"], series, published)],
        device=options.device,
        seeds=seeds,
        baseline=UNIFORM,
        steps=scale.steps,
    )
    draw_means(into)


if __name__ == "__main__":
    main()
