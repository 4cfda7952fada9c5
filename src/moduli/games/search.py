"""GRUSM-ESP: new units, and the connections to reused networks, evolve in subpopulations of their own.

Section 4.3.3 of Meyerson (2018).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from moduli.errors import InputError, Interrupted
from moduli.evolution import esp
from moduli.evolution.evaluators import Evaluator, InProcess, Watcher
from moduli.evolution.evaluators.folder import check_settings, folder_of, keep_settings
from moduli.files import read_json, write_json
from moduli.games.arena import Game
from moduli.games.found import Candidate, Evolved
from moduli.games.jobs import Jobs, played
from moduli.games.networks import Architecture, Network, Networks, Neuron, Source
from moduli.games.saved import save_network
from moduli.games.settings import Esp
from moduli.games.subpopulations import Subpopulations


class NetworkSearch:
    """Searches for a network that plays a game; `evolve_network` is the short way.

    A search is a pure function of its settings and seed: random numbers of a generation depend on the seed
    and its number, and those of an episode on the seed, the generation, the network and the trial. So it
    does not matter where episodes are played, and in which order they finish.

    With a folder, every finished job is kept in `journal.jsonl`. A search that finds it goes on from there:
    it breeds the same generations again, which takes little time, and plays nothing that was played. A job is
    known by its genomes and seeds, so a result can never belong to other networks. The number of generations
    may then be another; all other settings must be as they were.

    Args:
        game: what is played.
        sources: trained networks that are reused.
        settings: how networks evolve.
        evaluator: where they play.
        folder: see above; None: a temporary one.
        seed: of everything.
        progress: where to report.

    Raises:
        InputError: for a source that the transfer connections cannot reach.
    """

    def __init__(
        self,
        game: Game,
        sources: Sequence[Network] = (),
        settings: Esp | None = None,
        evaluator: Evaluator | None = None,
        folder: Path | None = None,
        seed: int = 0,
        progress: Watcher | None = None,
    ):
        self.game, self.esp, self.seed = game, settings or Esp(), seed
        self.evaluator, self.folder, self.progress = evaluator or InProcess(), folder, progress
        self.sources = [Source(network) for network in sources]
        if not self.esp.units and not (self.sources and not self.esp.wait):
            raise InputError("units is 0 and there is no source at the start: give at least 1 unit")

    # -------------------------------------------------------------- the loop

    def run(self) -> Evolved:
        """Searches to the end, and tests the best network.

        Raises:
            InputError: for a folder of a search with other settings.
            RunError: if episodes fail.
            Interrupted: after Ctrl-C; what was finished is kept if there is a folder.
        """
        self._begin()
        with folder_of(self.folder, "games") as folder:
            check_settings(folder, self._settings(), _FREE)
            keep_settings(folder, self._settings())
            try:
                with self.evaluator.open(played, self.game) as workers:
                    journal = folder / "journal.jsonl"
                    self._jobs = Jobs(self.game, workers, journal, self._rng, self.progress)
                    for generation in range(1, self.esp.generations + 1):
                        self._generation(generation, folder)
                        if self.esp.target is not None and self._fitness >= self.esp.target:
                            break
                    best = self._confirmed()
                    test = self._fresh(best.network, "test")
            except KeyboardInterrupt:
                kept = "what was finished is kept" if self.folder else "without a folder nothing is kept"
                done = len(self._records)
                raise Interrupted(f"{self.game.name}: stopped after {done} generations; {kept}") from None
            self._save(folder, best, test)
        return Evolved(best.network, best.fitness, self._records, test, self._settings())

    def _begin(self) -> None:
        """The first subpopulations, untested."""
        start = Architecture(self.game.inputs, self.game.outputs, (), self.esp.links)
        self._populations, rng = Subpopulations(start, self.esp), self._rng("first")
        self._waiting = list(self.sources) if self.esp.wait else []  # to be recruited later
        for recruit in [*([] if self.esp.wait else self.sources), *[Neuron()] * self.esp.units]:
            self._populations.recruit(rng, recruit)
        self._records: list[dict[str, Any]] = []
        self._best: list[Candidate] = []  # of the whole search, best first
        self._stale = self._bursts = 0
        self._saved: Candidate | None = None

    def _generation(self, number: int, folder: Path) -> None:
        """Evaluates a generation, and breeds the next."""
        rng, recruits = self._rng("generation", number), len(self._populations)
        networks, chosen = self._populations.networks(rng)
        best = f", best {self._fitness:.6g}" if self._best else ""
        scores, steps = self._jobs.play(networks, self.esp.trials, f"generation {number}", best)
        means = scores.mean(1)
        better = self._note_best(networks, scores, number)
        fitness = self._populations.learn(chosen, means)
        event = self._next(rng, fitness, better, number)
        self._records.append(
            {
                "generation": number,
                "best": float(means.max()),
                "mean": float(means.mean()),
                "best_so_far": self._fitness,
                "event": event,
                "recruits": recruits,
                "steps": steps,
            }
        )
        if self._jobs.played:  # else this generation is bred again, and what is on disk knows more
            self._save(folder, self._best[0])

    def _note_best(self, networks: Networks, scores: np.ndarray, number: int) -> bool:
        """Keeps the best networks in mind; whether one was better than all before."""
        before = self._fitness
        some = np.argsort(-scores.mean(1), kind="stable")[: self.esp.finalists]
        new = [Candidate(networks.network(i, self.game.name), number, scores[i].tolist()) for i in some]
        ranked = sorted(self._best + new, key=lambda candidate: -candidate.fitness)
        different: dict[str, Candidate] = {}
        for candidate in ranked:
            different.setdefault(_fingerprint(candidate.network), candidate)
        self._best = list(different.values())[: self.esp.finalists]
        return self._fitness > before

    @property
    def _fitness(self) -> float:
        """The highest score so far."""
        return self._best[0].fitness if self._best else esp.UNTESTED

    def _next(self, rng: np.random.Generator, fitness: np.ndarray, better: bool, number: int) -> str | None:
        """The next generation, by breeding or by a burst; what happened, if anything did.

        A second burst in a row brings a recruit along: a source while one waits, else a unit.
        """
        self._stale = 0 if better else self._stale + 1
        self._bursts = 0 if better else self._bursts
        if self._stale < self.esp.patience:
            self._populations.breed(rng, fitness)
            return None
        self._stale, self._bursts = 0, self._bursts + 1
        removed = self.esp.lesion and self._bursts == 2 and self._remove_useless(number)
        self._populations.burst(rng)
        if self._bursts < 2:
            return "burst"
        self._bursts = 0
        if removed:
            return "lesion"
        self._populations.recruit(rng, self._waiting.pop(0) if self._waiting else Neuron())
        return "recruit"

    def _remove_useless(self, number: int) -> bool:
        """Removes units without which the best network scores no less; whether there was one."""
        populations, best = self._populations, self._best[0].network
        before = len(populations)
        while len(populations.architecture.units) > 1 and best.architecture == populations.architecture:
            for unit in populations.architecture.units:
                rest = best.genomes[:unit] + best.genomes[unit + 1 :]
                without = Network(best.architecture.without_unit(unit), rest)
                title = f"generation {number}, {len(populations)} recruits without unit {unit}"
                scores, _ = self._jobs.play(Networks.of(without), self.esp.trials, title)
                if scores.mean() >= self._fitness:
                    populations.remove(unit)
                    best = replace(without, architecture=populations.architecture)
                    break
            else:
                break
        return len(populations) < before

    # -------------------------------------------------------------- the end

    def _confirmed(self) -> Candidate:
        """The finalist that does best in fresh episodes."""
        if len(self._best) == 1:
            return self._best[0]
        means = [
            np.mean(self._fresh(candidate.network, f"finalist {place}"))
            for place, candidate in enumerate(self._best, start=1)
        ]
        return self._best[int(np.argmax(means))]

    def _fresh(self, network: Network, title: str) -> list[float]:
        """Scores of a network in episodes that it was not chosen by."""
        copies = -(-self.esp.test // self.esp.trials)
        scores, _ = self._jobs.play(Networks.of(*[network] * copies), self.esp.trials, title)
        return scores.ravel()[: self.esp.test].tolist()

    def _rng(self, *what: str | int) -> np.random.Generator:
        words = "/".join(str(word) for word in (self.seed, *what))
        return np.random.default_rng(int.from_bytes(hashlib.sha256(words.encode()).digest()[:16]))

    # -------------------------------------------------------------- checks and records

    def _settings(self) -> dict[str, Any]:
        trained = [source.network.trained_on for source in self.sources]
        known = [name for name in trained if name is not None]
        return {
            "game": self.game.to_json(),
            "condition": "scratch" if not trained else "transfer" if known else "random",
            "source": "+".join(known) or None,
            "seed": self.seed,
            **asdict(self.esp),
            "sources": [_fingerprint(source.network) for source in self.sources],
        }

    def finished(self) -> bool:
        """Whether the folder has this search, and it came to its end.

        Raises:
            InputError: for a folder of a search with other settings.
            RunError: if a file of it is damaged.
        """
        if self.folder is None:
            return False
        check_settings(self.folder, self._settings(), _FREE)
        path = self.folder / "search.json"
        record: Any = read_json(path) if path.exists() else {"finished": False}
        return record["finished"] and record["settings"]["generations"] == self.esp.generations

    def _save(self, folder: Path, best: Candidate, test: Sequence[float] | None = None) -> None:
        known = {"generation": best.generation, "fitness": best.fitness}
        if best is not self._saved:
            save_network(best.network, folder, known)
            self._saved = best
        content = {
            "settings": self._settings(),
            "generations": self._records,
            "best": {**known, "scores": best.scores},
            "finished": test is not None,
        }
        if test is not None:
            content["test"] = {"scores": list(test), "mean": float(np.mean(test))}
        write_json(folder / "search.json", content)


_FREE = ("generations",)  # may be another when a search goes on


def evolve_network(
    game: Game,
    sources: Sequence[Network] = (),
    *,
    evaluator: Evaluator | None = None,
    folder: str | Path | None = None,
    seed: int = 0,
    progress: Watcher | Callable[[], Watcher] | None = None,
    **settings: Any,
) -> Evolved:
    """Evolves a network that plays a game, and may reuse trained networks: GRUSM-ESP.

    Chapter 4 of Meyerson (2018). No gradient and no labels are needed. Hidden units, and the connections to
    and from each reused network, are recruits: each has a subpopulation of genomes, and networks are put
    together from one genome of each.

    How this differs from the dissertation, where it is unclear: sources are there from the first generation
    on (`wait=False`), and the best genome of a subpopulation is that in the best network it was in.

    Args:
        game: `AtariGame("pong")`, `GymnasiumGame("CartPole-v1")`, or anything that is a `Game`.
        sources: networks that are reused as they are, such as `load_network(folder)`. None: plain ESP. Those
            of `random_network` are the dissertation's control.
        evaluator: where networks play: in this process if None, `Processes(workers=2)`, or `Ray(...)`.
        folder: keeps what was finished; called again, goes on from there. The best network is in it.
        seed: of everything.
        progress: where to report, such as `Board()`.
        **settings: see `Esp`: `generations=200, evaluations=100, trials=5` and more.

    Returns:
        The best network, and how it was found. The folder has the same in `search.json`.

    Raises:
        InputError: for impossible settings, or a folder of a search with other settings.
        RunError: if episodes fail.
        Interrupted: after Ctrl-C; what was finished is kept if there is a folder.
    """
    where = Path(folder) if folder is not None else None
    watcher = progress() if callable(progress) else progress
    return NetworkSearch(game, sources, Esp(**settings), evaluator, where, seed, watcher).run()


def _fingerprint(network: Network) -> str:
    """What tells a source from another."""
    content = hashlib.sha256(b"".join(genome.tobytes() for genome in network.genomes)).hexdigest()[:12]
    return f"{network.trained_on or 'random'} ({content})"
