"""The Q-learning scheduler on 16 domains of reviews: its paper, section 5.1, Table 2.

Each task: is a review positive? All domains share one LSTM, whose last hidden state is read by a linear
layer of each domain (the "fully-shared" model). A step trains on 16 texts of one domain. What differs
between methods is which domain that is, or how much its loss counts; see `domains.py`. Adam, rate 0.001.
The model of the phase with the best mean validation accuracy is tested, once.

The data are those of Liu, Qiu & Huang (2017), about 1,400 training, 200 validation and 400 test texts of
each domain. Three things come first, from training and validation data only: single-task models (what
adaptive scheduling and QLS measure progress by), hand-crafted weights (the best of four, see
`Domains.by_hand`), and the first phase of QLS, which learns one policy that all seeds then follow.
Validation data choose the weights, the policy and the phase, so only test accuracies are reported.

What the paper leaves open, and what is taken here: the number of steps; the optimizer ("the training
procedure of Søgaard & Goldberg", whose batches are single sentences); hyperparameters of the methods it
compares (the defaults of `moduli`, 1.15 for loss exponentiation); how its grid of weights looked; the
network of QLS and its exploration (see `DQN`). What differs in any scale: GloVe's vectors are those of 6
billion words and not of 840 billion; punctuation is dropped; the sigmoid of one output stands for the
softmax of two; QLS chooses every 16 steps and not at every one, and learns by double Q-learning (see
`Domains.learned`).

A method that the paper has not is "QLS, with noise": the same policy, with noise on its choices of about the
size in which their Q values differ. The greedy policy is soon stuck with one domain, as training that one
hardly changes the state any more.

The miniature (cpu) differs further: the last 60 words of a review, a vocabulary of 10,000 words, vectors of
50 numbers for the 50,000 most frequent words of GloVe, 64 units instead of 128. The first phase of QLS has
72,000 steps instead of a million, and 15 models instead of 100; a choice holds for 8 steps, and 25
validation texts of each domain are looked at instead of 200. All methods have 4,800 steps, 3.4 passes
through the data.

  scale   words    length  units   steps   first phase   seeds   time
  smoke    1,000       10     16      24            96       1   10 s on 1 CPU core
  cpu     10,000       60     64   4 800        72 000       4   45 min on 1 CPU core
  paper   40,000      200    128  10 000     1 000 000       3   days on a CPU, for a GPU

  python experiments/qls_domains.py --scale cpu
"""

from __future__ import annotations

import shutil

from common import arguments, compare
from domains import NOISY, SINGLE, UNIFORM, Domains, Scale, by_domain, columns, draw_means
from sweep import Panel, write_sweep

from moduli.data import reviews
from moduli.evaluation.baselines import baselines_of

SCALES = {
    "smoke": Scale(1000, 10, 16, 50, 24, 8, 1, 15, 96, 8, 10, domains=reviews.DOMAINS[:4]),
    "cpu": Scale(10_000, 60, 64, 50, 4800, 320, 4, 600, 72_000, 8, 25),
    "paper": Scale(40_000, 200, 128, 300, 10_000, 500, 3, 2000, 1_000_000, 16, None),
}
METHODS = (
    UNIFORM, "hand-crafted", "random", "greedy", "loss exponentiation", "uncertainty", "self-paced", "focal",
    "DTP", "GradNorm", "adaptive", "QLS",
)  # fmt: skip
PAPER = columns(  # Table 2: the domains in its order, and their mean
    METHODS,
    """
    82.5 89.1 83.3 83.0 83.4 87.8 88.1 87.0 90.3 89.3 89.1 90.4
    85.7 91.1 87.2 86.0 86.6 90.7 90.7 90.6 92.8 92.4 92.3 92.8
    83.5 89.8 84.4 83.8 84.4 88.6 88.4 88.8 90.9 90.2 90.0 90.9
    86.0 93.1 86.8 86.0 86.9 90.1 91.6 93.1 87.2 92.7 92.6 93.2
    84.5 88.8 85.8 85.0 85.3 89.1 89.0 88.4 90.9 91.2 90.9 91.3
    86.5 91.3 89.4 86.8 87.3 91.4 91.3 90.8 93.3 93.2 92.9 93.2
    88.0 91.9 88.4 88.1 88.9 91.6 91.6 91.7 90.3 92.6 92.5 92.6
    81.2 87.8 81.9 81.4 82.0 86.6 86.5 86.9 89.0 87.9 87.6 89.1
    84.5 90.4 85.0 84.7 85.4 89.6 89.1 88.8 91.8 91.4 91.2 92.2
    83.7 89.9 84.6 83.7 84.6 88.9 88.6 89.4 91.3 90.5 90.2 91.9
    88.0 90.0 89.1 88.2 88.9 92.0 91.9 89.4 93.1 94.7 94.7 94.6
    92.5 92.6 93.1 92.5 93.4 92.2 91.9 90.7 93.0 94.0 93.6 94.2
    86.2 90.1 87.3 86.3 87.1 90.8 90.3 88.2 92.6 92.9 92.6 93.1
    85.5 88.6 86.7 85.8 86.3 89.8 89.9 86.8 91.3 92.2 91.9 92.2
    82.5 89.7 83.5 82.8 83.4 87.9 87.9 89.0 90.5 89.2 89.1 91.3
    74.7 78.8 78.7 74.7 75.6 79.3 79.6 76.9 81.0 81.3 81.3 81.4
    84.7 89.6 86.0 84.9 85.6 89.2 89.2 88.5 90.6 91.0 90.8 91.5
    """,
)


def main() -> None:
    options = arguments("qls_domains", __doc__ or "")
    scale, folder, device = SCALES[options.scale], options.folder, options.device
    seeds = options.seeds or scale.seeds
    domains = Domains.load(scale.domains, scale)
    alone = domains.alone(folder / "single", seeds, device)
    baselines = baselines_of(alone, SINGLE)
    weights = domains.by_hand(baselines, folder / "by hand", device)
    policy = domains.learned(baselines, folder / "policy", device)
    into = options.results / "qls_domains" / options.scale
    summary = compare(
        domains.methods(baselines, weights, policy), domains.tasks, folder / "methods", into / "comparison",
        name="16 domains of reviews", baseline=UNIFORM, seeds=seeds, device=device, **domains.settings(),
    )  # fmt: skip
    series = {
        SINGLE: by_domain(alone, SINGLE),
        **{name: by_domain(summary, name) for name in (*METHODS, NOISY)},
    }
    published = {name: [*values[: len(domains.names)], values[-1]] for name, values in PAPER.items()}
    write_sweep(
        into,
        "16 domains of reviews",
        "test accuracy, %",
        "higher",
        [Panel("all domains", "domain", [*domains.names, "mean"], series, published)],
        device=device,
        seeds=seeds,
        baseline=UNIFORM,
        steps=scale.steps,
        by_hand=weights,
    )
    draw_means(into)
    number = METHODS.index("QLS") + 1
    for figure in ("shares", "histograms"):  # which domain was picked, and what the state looked like
        shutil.copy(folder / "methods" / "plots" / f"{figure}-{number}.png", into / f"{figure}.png")


if __name__ == "__main__":
    main()
