"""Episodes as jobs for an evaluator: what was played is kept, and never played again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from moduli.errors import RunError
from moduli.evolution.evaluators import Job, Journal, Watcher, Workers
from moduli.games.arena import Game
from moduli.games.episodes import play
from moduli.games.networks import Networks

TOGETHER = 10
"""Networks of one job: enough to fill the slots, few enough for many workers."""


class Jobs:
    """Lets networks play on workers that were opened with `played` and the game.

    A job is known by its genomes and seeds, so a result that was kept can never belong to other networks.

    Args:
        game: what is played.
        workers: where.
        path: of the journal that keeps results.
        rng: random numbers that depend on some words and the seed of the search alone.
        progress: where to report.
    """

    def __init__(
        self,
        game: Game,
        workers: Workers,
        path: Path,
        rng: Callable[..., np.random.Generator],
        progress: Watcher | None = None,
    ):
        self._game, self._workers, self._rng, self._progress = game, workers, rng, progress
        self._journal = _Successes(path)

    @property
    def played(self) -> int:
        """How many jobs were played, not counting those whose results were kept from before."""
        return self._journal.added

    def play(self, networks: Networks, trials: int, title: str, said: str = "") -> tuple[np.ndarray, int]:
        """Every network plays `trials` episodes, whose seeds follow from the title.

        Args:
            networks: G of them.
            trials: episodes of each.
            title: what this is, such as `generation 3`.
            said: what else the user is told meanwhile.

        Returns:
            Scores `[G, trials]`, and how many actions were taken.

        Raises:
            RunError: if episodes fail; what was played is kept.
        """
        seeds = self._rng("episodes", title).integers(2**31, size=(len(networks), trials))
        parts = [slice(start, start + TOGETHER) for start in range(0, len(networks), TOGETHER)]
        contents = [(networks[part], seeds[part]) for part in parts]
        jobs = [Job(_id(part, *content), content) for part, content in zip(parts, contents, strict=True)]
        done: dict[str, Any] = {}
        heading = f"{self._game.name}, {title}{said}"
        for result in self._workers.run(jobs, self._progress, self._journal, heading):
            if result.error is not None:
                raise RunError(f"{self._game.name}, {title}: {result.error}; earlier results are kept")
            done[result.id] = result.value
        scores = np.concatenate([np.asarray(done[job.id]["scores"]) for job in jobs])
        return scores, sum(done[job.id]["steps"] for job in jobs)


def played(game: Game, content: tuple[Networks, np.ndarray]) -> dict[str, Any]:
    """In the worker: some networks play their episodes."""
    result = play(game, *content)
    return {"scores": result.scores.tolist(), "steps": int(result.lengths.sum())}


class _Successes(Journal):
    """Keeps no failures: an episode that failed is played again when the search goes on."""

    added = 0  # in this process

    def add(self, record: dict[str, Any]) -> None:
        if record["error"] is None:
            super().add(record)
            self.added += 1


def _id(part: slice, networks: Networks, seeds: np.ndarray) -> str:
    """Which networks of a generation play, and a digest of their genomes and seeds."""
    content = hashlib.sha256(seeds.tobytes())
    for genomes in networks.genomes:
        content.update(genomes.tobytes())
    return f"networks {part.start + 1} to {part.start + len(networks)} ({content.hexdigest()[:16]})"
