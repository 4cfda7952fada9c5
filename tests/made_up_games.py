"""Made-up searches for networks that play games: only what the analysis reads of them."""

import json
from pathlib import Path

import numpy as np

FEATURES = {
    "pong": frozenset({"vertical"}),
    "breakout": frozenset({"horizontal"}),
    "asterix": frozenset({"horizontal", "vertical"}),
    "bowling": frozenset({"vertical", "shooting"}),
    "freeway": frozenset({"vertical", "delayed"}),
    "boxing": frozenset({"horizontal", "vertical", "shooting"}),
    "space_invaders": frozenset({"horizontal", "shooting", "planning"}),
    "seaquest": frozenset({"horizontal", "vertical", "shooting", "delayed", "planning"}),
}
RANGES = {
    "pong": (-21, 10),
    "breakout": (1, 31),
    "asterix": (200, 2800),
    "bowling": (30, 250),
    "freeway": (0, 31),
    "boxing": (-20, 94),
    "space_invaders": (150, 1438),
    "seaquest": (40, 466),
}


def write_run(
    folder, game, scores, condition="scratch", source=None, seed=0, test=None, finished=True, **more
):
    """A folder with the `search.json` of one run whose scores are given; returns the path of the file."""
    name = game if source is None else f"{game}-from-{source}"
    path = Path(folder) / condition / name / f"seed{seed}" / "search.json"
    settings = {
        "game": {"name": game, "sticky": 0.25, "frame_skip": 1, "max_frames": 50_000},
        "condition": condition,
        "source": source,
        "seed": seed,
        "generations": 200,
        "evaluations": 100,
        "trials": 5,
        **more,
    }
    generations = [
        {"generation": number, "best": score, "mean": score - 1, "best_so_far": score, "event": None}
        | {"recruits": 5, "steps": 1000}
        for number, score in enumerate(map(float, scores), 1)
    ]
    record = {"settings": settings, "generations": generations, "best": None, "finished": finished}
    if test is not None:
        record["test"] = {"scores": [test], "mean": test}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))
    return path


def write_experiment(folder, games, generations=200, seeds=3, transfers=2, skip=()):
    """Runs of all games from scratch and with random sources, and of all pairs.

    Transfer gains more for games with more features. `skip` names conditions to leave out.
    """
    random = np.random.default_rng(0)
    for target in games:
        low, high = RANGES[target]
        setups = [("scratch", None, seeds), ("random", None, seeds)]
        setups += [("transfer", source, transfers) for source in games if source != target]
        for condition, source, number in setups:
            if condition in skip:
                continue
            for seed in range(number):
                gain = 0.06 * (len(FEATURES[target]) - 2.2) * (source is not None)
                end = low + (high - low) * (0.85 + gain + 0.08 * random.normal())
                speed = random.uniform(0.02, 0.06)
                rise = 1 - np.exp(-speed * np.arange(1, generations + 1))
                jumps = np.maximum.accumulate(rise * random.uniform(0.75, 1, generations))
                scores = np.round(low + (end - low) * jumps, 1)
                test = low + (scores[-1] - low) * random.uniform(0.7, 1)
                write_run(folder, target, scores, condition, source, seed, test=test)
    return Path(folder)
