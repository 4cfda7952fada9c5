"""GRUSM-ESP: new units, and the connections to reused networks, evolve in subpopulations of their own.

Section 4.3.3 of Meyerson (2018).
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from moduli.errors import InputError, Interrupted, RunError
from moduli.evolution import esp
from moduli.evolution.evaluators import Evaluator, InProcess, Job, Journal, Watcher, Workers
from moduli.files import finite, read_json, write_json
from moduli.games.arena import Game
from moduli.games.networks import DISSERTATION, Architecture, Link, Network, Networks, Neuron, Source
from moduli.games.play import play
from moduli.games.saved import save_network

TOGETHER = 10
"""Networks that are evaluated by one job: enough to fill the slots, few enough for many workers."""


@dataclass(frozen=True)
class Esp:
    """How networks evolve. Defaults are the dissertation's, or those of published programs where it has none.

    Args:
        generations: at most.
        target: the search ends when a network scores so much, None: it goes on to the last generation.
        evaluations: networks that are evaluated in each generation.
        trials: episodes for each; their mean score is the fitness of the network.
        units: hidden units at the start. The dissertation has no number, published programs begin with 5.
        subpopulation: genomes in each. Not printed either: 100 evaluations with 10 for each genome make 10.
        even: whether all genomes are evaluated equally often; else each network draws independently.
        bound: first weights are uniform in [-bound, bound].
        mutation: the probability that a genome below the best half mutates.
        scale: of the Cauchy distribution of mutations.
        patience: generations without a better network before a burst.
        wait: whether sources are recruited when bursts do not help, instead of from the start.
        lesion: whether units without which the best network is no worse are removed before one is added;
            Gomez (2003) does, the dissertation does not.
        links: the transfer connections, see `Architecture`.
        test: fresh episodes of the best network at the end.

    Raises:
        InputError: if a number is impossible.
    """

    generations: int = 200
    evaluations: int = 100
    trials: int = 5
    units: int = 5
    subpopulation: int = 10
    even: bool = False
    bound: float = 6.0
    mutation: float = 0.4
    scale: float = 0.3
    patience: int = 15
    wait: bool = False
    lesion: bool = False
    links: tuple[Link, ...] = DISSERTATION
    test: int = 30
    target: float | None = None

    def __post_init__(self):
        least = {"generations": 1, "evaluations": 1, "trials": 1, "units": 0, "subpopulation": 2}
        for name, low in {**least, "patience": 1, "test": 1}.items():
            if (value := getattr(self, name)) < low:
                raise InputError(f"{name} is {value}: give at least {low}")
        for name, most in (("bound", 1e6), ("mutation", 1), ("scale", 5)):
            if not 0 <= (value := getattr(self, name)) <= most:
                raise InputError(f"{name} is {value}: give a number from 0 to {most:g}")
        if self.lesion and any("hidden" in link for link in self.links):
            raise InputError(
                "lesion=True removes hidden units, whose weights to and from sources are in other genomes "
                f"with links {self.links}: leave one of them out"
            )


@dataclass
class Subpopulation:
    """Genomes `[n, length]` of one recruit, and the one that was in the best network with this recruit."""

    genomes: np.ndarray
    champion: np.ndarray | None = None
    fitness: float = esp.UNTESTED

    def seen(self, genome: np.ndarray, fitness: float) -> None:
        """Takes note of a network that the genome was in."""
        if fitness > self.fitness:
            self.champion, self.fitness = genome, fitness

    @property
    def best(self) -> np.ndarray:
        return self.genomes[0] if self.champion is None else self.champion


@dataclass
class Evolved:
    """What a search found.

    Attributes:
        network: the best one of all generations.
        fitness: its mean score when it was found: the highest of many noisy ones, so better than it is.
        generations: a record for each, see `search.json`.
        test: scores of the network in fresh episodes, read once.
        settings: of the search.
    """

    network: Network
    fitness: float
    generations: list[dict[str, Any]]
    test: list[float] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)


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
        with _folder(self.folder) as folder:
            self._check_settings(folder)
            self._journal = _Successes(folder / "journal.jsonl")
            try:
                with self.evaluator.open(_played, self.game) as workers:
                    for generation in range(1, self.esp.generations + 1):
                        self._generation(workers, generation, folder)
                        if self.esp.target is not None and self._fitness >= self.esp.target:
                            break
                    test = self._test(workers)
            except KeyboardInterrupt:
                kept = "what was finished is kept" if self.folder else "without a folder nothing is kept"
                done = len(self._records)
                raise Interrupted(f"{self.game.name}: stopped after {done} generations; {kept}") from None
            self._save(folder, test)
        return Evolved(self._best, self._fitness, self._records, test, self._settings())

    def _begin(self) -> None:
        """The first subpopulations, untested."""
        start = Architecture(self.game.inputs, self.game.outputs, (), self.esp.links)
        self._architecture, self._populations = start, list[Subpopulation]()
        self._waiting = list(self.sources)  # to be recruited later
        rng = self._rng("first")
        for _ in range(0 if self.esp.wait else len(self.sources)):
            self._recruit(rng)
        for _ in range(self.esp.units):
            self._recruit(rng, Neuron())
        self._records: list[dict[str, Any]] = []
        self._fitness, self._scores, self._found = esp.UNTESTED, list[float](), 0
        self._stale = self._bursts = self._saved = 0

    def _generation(self, workers: Workers, number: int, folder: Path) -> None:
        """Evaluates a generation, and breeds the next."""
        rng = self._rng("generation", number)
        settings, populations = self.esp, self._populations
        members = esp.assemble(
            rng, settings.evaluations, len(populations), settings.subpopulation, settings.even
        )
        chosen = [some.genomes[which] for some, which in zip(populations, members.T, strict=True)]
        networks = Networks(self._architecture, chosen)
        scores, steps = self._play(workers, networks, settings.trials, f"generation {number}")
        means = scores.mean(1)
        for population, which in zip(populations, members.T, strict=True):
            first = int(means.argmax())
            population.seen(population.genomes[which[first]], means[first])
        recruits = len(populations)
        better = self._note_best(networks, scores, number)
        event = self._next(workers, rng, esp.credit(members, means, settings.subpopulation), better, number)
        self._records.append(
            {
                "generation": number,
                "best": means.max(),
                "mean": means.mean(),
                "best_so_far": self._fitness,
                "event": event,
                "recruits": recruits,
                "steps": steps,
            }
        )
        if self._journal.added:  # else this generation is bred again, and what is on disk knows more
            self._save(folder)

    def _note_best(self, networks: Networks, scores: np.ndarray, number: int) -> bool:
        """Whether a network was better than all before; it is then the best."""
        means = scores.mean(1)
        first = int(means.argmax())
        if means[first] <= self._fitness:
            return False
        self._best = networks.network(first, self.game.name)
        self._fitness, self._scores, self._found = float(means[first]), scores[first].tolist(), number
        return True

    def _next(
        self, workers: Workers, rng: np.random.Generator, fitness: np.ndarray, better: bool, number: int
    ) -> str | None:
        """The next generation, by breeding or by a burst; what happened, if anything did.

        A second burst in a row brings a recruit along: a source while one waits, else a unit.
        """
        self._stale = 0 if better else self._stale + 1
        self._bursts = 0 if better else self._bursts
        settings = self.esp
        if self._stale < settings.patience:
            for population, fit in zip(self._populations, fitness, strict=True):
                population.genomes = esp.breed(
                    rng, population.genomes, fit, settings.mutation, settings.scale
                )
            return None
        self._stale, self._bursts = 0, self._bursts + 1
        removed = settings.lesion and self._bursts == 2 and self._remove_useless(workers, number)
        for population in self._populations:
            population.genomes = esp.burst(rng, population.best, settings.subpopulation, settings.scale)
        if self._bursts < 2:
            return "burst"
        self._bursts = 0
        if removed:
            return "lesion"
        self._recruit(rng)
        return "recruit"

    def _recruit(self, rng: np.random.Generator, recruit: Neuron | None = None) -> None:
        """One more subpopulation: of the first source that waits, else of a unit."""
        new = recruit or (self._waiting.pop(0) if self._waiting else Neuron())
        self._architecture = self._architecture.with_recruit(new)
        length = self._architecture.sizes[-1]
        genomes = esp.random_genomes(rng, self.esp.subpopulation, length, self.esp.bound)
        self._populations.append(Subpopulation(genomes))

    def _remove_useless(self, workers: Workers, number: int) -> bool:
        """Removes units without which the best network scores no less; whether there was one."""
        best, before = self._best, len(self._populations)
        while len(self._architecture.units) > 1 and best.architecture == self._architecture:
            units = self._architecture.units
            for unit in units:
                without = Network(
                    best.architecture.without_unit(unit), best.genomes[:unit] + best.genomes[unit + 1 :]
                )
                title = f"generation {number}, without unit {unit}"
                scores, _ = self._play(workers, Networks.of(without), self.esp.trials, title)
                if scores.mean() >= self._fitness:
                    self._architecture, best = without.architecture, without
                    del self._populations[unit]
                    break
            else:
                break
        return len(self._populations) < before

    # -------------------------------------------------------------- playing

    def _play(self, workers: Workers, networks: Networks, trials: int, title: str) -> tuple[np.ndarray, int]:
        """Scores `[G, trials]`, and how many actions were taken."""
        seeds = self._seeds(title, (len(networks), trials))
        parts = [slice(start, start + TOGETHER) for start in range(0, len(networks), TOGETHER)]
        contents = [(networks[part], seeds[part]) for part in parts]
        jobs = [Job(_digest(title, index, *content), content) for index, content in enumerate(contents)]
        done: dict[str, Any] = {}
        said = f"{self.game.name}, {title}" + (f", best {self._fitness:.6g}" if self._records else "")
        for result in workers.run(jobs, self.progress, self._journal, said):
            if result.error is not None:
                raise RunError(f"{self.game.name}, {title}: {result.error}; earlier results are kept")
            done[result.id] = result.value
        scores = np.concatenate([np.asarray(done[job.id]["scores"]) for job in jobs])
        return scores, sum(done[job.id]["steps"] for job in jobs)

    def _test(self, workers: Workers) -> list[float]:
        """Scores of the best network in episodes that nothing was chosen by."""
        seeds = -(-self.esp.test // TOGETHER)
        copies = Networks.of(*[self._best] * seeds)
        scores, _ = self._play(workers, copies, TOGETHER, "test")
        return scores.ravel()[: self.esp.test].tolist()

    def _rng(self, *what: str | int) -> np.random.Generator:
        words = "/".join(str(word) for word in (self.seed, *what))
        return np.random.default_rng(int.from_bytes(hashlib.sha256(words.encode()).digest()[:16]))

    def _seeds(self, title: str, shape: tuple[int, int]) -> np.ndarray:
        return self._rng("episodes", title).integers(2**31, size=shape)

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

    def _check_settings(self, folder: Path) -> None:
        path, now = folder / "settings.json", json.loads(json.dumps(finite(self._settings())))
        if not path.exists():
            write_json(path, now)
            return
        then = read_json(path)
        for name, value in now.items():
            if name != "generations" and then.get(name) != value:
                raise InputError(
                    f"{folder} is of a search with {name} {then.get(name)}, now it is {value}: "
                    "give another folder"
                )
        write_json(path, now)

    def _save(self, folder: Path, test: Sequence[float] | None = None) -> None:
        if self._saved != self._found:
            save_network(self._best, folder, {"fitness": self._fitness, "generation": self._found})
            self._saved = self._found
        best = {"generation": self._found, "fitness": self._fitness, "scores": self._scores}
        content = {"settings": self._settings(), "generations": self._records, "best": best}
        content["finished"] = test is not None
        if test is not None:
            content["test"] = {"scores": list(test), "mean": float(np.mean(test))}
        write_json(folder / "search.json", content)


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


class _Successes(Journal):
    """Keeps no failures: an episode that failed is played again when the search goes on."""

    added = 0  # in this process

    def add(self, record: dict[str, Any]) -> None:
        if record["error"] is None:
            super().add(record)
            self.added += 1


def _played(game: Game, content: tuple[Networks, np.ndarray]) -> dict[str, Any]:
    """In the worker: some networks play their episodes."""
    played = play(game, *content)
    return {"scores": played.scores.tolist(), "steps": int(played.lengths.sum())}


def _digest(title: str, index: int, networks: Networks, seeds: np.ndarray) -> str:
    """The id of a job, which says what is played by whom."""
    content = hashlib.sha256(seeds.tobytes())
    for genomes in networks.genomes:
        content.update(genomes.tobytes())
    return f"{title}: {index} ({content.hexdigest()[:12]})"


def _fingerprint(network: Network) -> str:
    """What tells a source from another."""
    content = hashlib.sha256(b"".join(genome.tobytes() for genome in network.genomes)).hexdigest()[:12]
    return f"{network.trained_on or 'random'} ({content})"


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    """The folder of the search; one that is removed at the end if none is given."""
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="moduli-games-") as temporary:
        yield Path(temporary)
