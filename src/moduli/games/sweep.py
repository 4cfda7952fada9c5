"""Many searches in one folder: games from scratch, pairs of games, and the control with random networks.

DIR/scratch/pong/seed0
DIR/transfer/pong-from-freeway/seed0
DIR/random/pong/seed0
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from moduli.errors import InputError, Interrupted, RunError, did_you_mean
from moduli.evolution.evaluators import Evaluator, InProcess, Processes, Watcher
from moduli.files import read_json
from moduli.games.arena import Game
from moduli.games.episodes import play
from moduli.games.named import game_from_json, game_named
from moduli.games.networks import Network, Networks, random_network
from moduli.games.saved import load_network, save_network
from moduli.games.search import NetworkSearch
from moduli.games.settings import Esp


@dataclass(frozen=True)
class Plan:
    """A search that is to be run.

    Attributes:
        title: what it is called, such as `pong from freeway, seed 0`.
        folder: where it is kept.
        game: what is played.
        settings: how networks evolve.
        seed: of the search.
        sources: networks that are reused.
    """

    title: str
    folder: Path
    game: Game
    settings: Esp
    seed: int
    sources: tuple[Network, ...] = ()


def plan_scratch(folder: str | Path, games: Sequence[Game], seeds: int = 1, **settings: Any) -> list[Plan]:
    """Every game with every seed, without sources.

    Args:
        folder: of all searches.
        games: what is played.
        seeds: how many: 0, 1, and so on.
        **settings: see `Esp`.

    Raises:
        InputError: for impossible settings.
    """
    esp = Esp(**settings)
    return [
        Plan(f"{game.name}, seed {seed}", _folder(folder, "scratch", game.name, seed), game, esp, seed)
        for seed in range(_at_least_one(seeds))
        for game in games
    ]


def plan_transfer(
    folder: str | Path,
    games: Sequence[str] | None = None,
    sources: Sequence[str] | None = None,
    seeds: int | None = None,
    played: Mapping[str, Any] | None = None,
    **settings: Any,
) -> list[Plan]:
    """Every pair of a game and another that is its source.

    The source of seed n is the best network of the search from scratch with seed n. What is not given is as
    in the search from scratch of the game, if there is one, else as in that of the source.

    Args:
        folder: has the searches from scratch.
        games: names of those to be learned; None: all that were learned from scratch.
        sources: names of those whose networks are reused; None: all that were learned from scratch.
        seeds: how many; None: all that a source was trained with.
        played: other settings of games, see `game_named`.
        **settings: other settings of the evolution, see `Esp`.

    Raises:
        InputError: if a source was not trained, its search is not finished, or there is no pair.
        RunError: if a file of a source is damaged.
    """
    found = trained_from_scratch(folder)
    plans = []
    for trained in _chosen(found, sources or list(found), folder, seeds):
        network = trained.network()
        for name in games or list(found):
            if name != trained.name:
                like = found.get(name, {}).get(trained.seed, trained)
                game = game_named(name, like.settings["game"], **played or {})
                where = _folder(folder, "transfer", f"{name}-from-{trained.name}", trained.seed)
                title = f"{name} from {trained.name}, seed {trained.seed}"
                plans.append(Plan(title, where, game, like.esp(settings), trained.seed, (network,)))
    if not plans:
        raise InputError("no game is left with another one as its source: give more games, or more sources")
    return plans


def plan_random(
    folder: str | Path,
    games: Sequence[str] | None = None,
    seeds: int | None = None,
    played: Mapping[str, Any] | None = None,
    **settings: Any,
) -> list[Plan]:
    """The control: every game with a random network as its source.

    The dissertation has random networks "with on average the same number of parameters" as trained ones.
    Here each has the architecture of the best network of some search from scratch, drawn among those of
    other games, and weights as searches begin with. It is kept in the folder `source` of its search, which
    goes on with it whatever else is learned from scratch meanwhile.

    Args:
        folder, games, seeds, played, **settings: see `plan_transfer`; seeds are those of the searches from
            scratch if not given.

    Raises:
        InputError: if no other game was learned from scratch, or such a search is not finished.
        RunError: if a file of one is damaged.
    """
    found = trained_from_scratch(folder)
    champions = _chosen(found, list(found), folder, None)
    known = sorted({trained.seed for trained in champions})
    plans = []
    for seed in known if seeds is None else range(_at_least_one(seeds)):
        for name in games or list(found):
            where = _folder(folder, "random", name, seed)
            drawn, source = _random_source(where, name, seed, champions, folder)
            like = found.get(name, {}).get(seed, drawn)
            game, esp = game_named(name, like.settings["game"], **played or {}), like.esp(settings)
            plans.append(
                Plan(f"{name} from a random network, seed {seed}", where, game, esp, seed, (source,))
            )
    return plans


def _random_source(
    where: Path, name: str, seed: int, champions: Sequence[Trained], folder: str | Path
) -> tuple[Trained, Network]:
    """A random network for a search in `where`, and the trained one whose architecture was drawn for it."""
    others = [trained for trained in champions if trained.name != name]
    if not others:
        raise InputError(
            f"{folder} has no game but {name} that was learned from scratch: a random source has the "
            "size of the network of another one, train one first"
        )
    rng = _rng(name, seed)
    drawn = others[rng.integers(len(others))]
    if (where / "source" / "network.json").exists():
        return drawn, load_network(where / "source")
    bound = drawn.esp({}).bound
    source = random_network(drawn.network().architecture, int(rng.integers(2**31)), bound)
    save_network(source, where / "source")
    return drawn, source


def run_plans(
    plans: Sequence[Plan],
    evaluator: Evaluator | None = None,
    progress: Watcher | None = None,
    say: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """Runs searches one after another; those that are finished are not run again.

    Called again after a stop, it goes on with the search that was stopped.

    Args:
        plans: what is run.
        evaluator: where networks play: in this process if None.
        progress: where a search reports.
        say: is told which search begins.

    Returns:
        The content of every `search.json`, in the same order.

    Raises:
        InputError: for a folder of a search with other settings, before anything is run.
        RunError: if episodes fail.
        Interrupted: after Ctrl-C; what was finished is kept.
    """
    searches = [
        NetworkSearch(plan.game, plan.sources, plan.settings, evaluator, plan.folder, plan.seed, progress)
        for plan in plans
    ]
    waiting = [number for number, search in enumerate(searches) if not search.finished()]
    if len(waiting) < len(plans):
        say(f"{len(plans) - len(waiting)} of {len(plans)} searches were finished before")
    for done, number in enumerate(waiting):
        say(f"{plans[number].title} (search {done + 1} of {len(waiting)})")
        try:
            searches[number].run()
        except KeyboardInterrupt as error:
            left = f"{len(waiting) - done} of {len(plans)} searches are not finished"
            raise Interrupted(
                f"{str(error) or 'stopped'}; {left}: the same command goes on from there"
            ) from None
    return [read_json(plan.folder / "search.json") for plan in plans]


def evaluator_with(workers: int) -> Evaluator:
    """This process alone for one worker, else so many processes.

    Raises:
        InputError: for none.
    """
    if workers < 1:
        raise InputError(f"workers is {workers}: give at least 1")
    return InProcess() if workers == 1 else Processes(workers)


# ------------------------------------------------------------------ what was trained


@dataclass(frozen=True)
class Trained:
    """A search from scratch: its folder, and what it was."""

    folder: Path
    settings: Mapping[str, Any]
    finished: bool

    @property
    def name(self) -> str:
        return self.settings["game"]["name"]

    @property
    def seed(self) -> int:
        return self.settings["seed"]

    def network(self) -> Network:
        """The best network."""
        return load_network(self.folder)

    def esp(self, changes: Mapping[str, Any]) -> Esp:
        """How networks evolved, with other values for some settings."""
        names = {field.name for field in fields(Esp)}
        saved = {name: value for name, value in self.settings.items() if name in names}
        saved["links"] = tuple((a, b) for a, b in saved["links"])
        return Esp(**{**saved, **changes})


def trained_from_scratch(folder: str | Path) -> dict[str, dict[int, Trained]]:
    """The searches from scratch in a folder, by the name of the game and the seed.

    Raises:
        InputError: if there is none.
        RunError: if a file is damaged.
    """
    found: dict[str, dict[int, Trained]] = {}
    for path in sorted(Path(folder).glob("scratch/*/seed*/search.json")):
        record = read_json(path)
        try:
            trained = Trained(path.parent, record["settings"], record["finished"])
            found.setdefault(trained.name, {})[trained.seed] = trained
        except (KeyError, TypeError) as error:
            raise _damaged(path, error) from None
    if not found:
        raise InputError(f"{folder} has no networks trained from scratch: train some with that folder first")
    return found


def load_player(folder: str | Path) -> tuple[Game, Network]:
    """What a search played, and its best network so far.

    Raises:
        InputError: if the folder is not that of a search, or nothing was found yet.
        RunError: if a file is damaged.
    """
    path = Path(folder) / "settings.json"
    if not path.is_file():
        raise InputError(f"{folder} is not the folder of a search ({path.name} is missing)")
    try:
        game = game_from_json(read_json(path)["game"])
    except (KeyError, TypeError) as error:
        raise _damaged(path, error) from None
    return game, load_network(folder)


def fresh_scores(game: Game, network: Network, episodes: int = 10, seed: int = 0) -> np.ndarray:
    """Scores `[episodes]` of a network; the seeds of the episodes are `seed`, `seed + 1` and so on.

    Raises:
        InputError: if there is no episode, the seed is negative, or the network is of another shape.
    """
    if episodes < 1 or seed < 0:
        raise InputError(f"episodes is {episodes}, seed is {seed}: give at least 1, and at least 0")
    seeds = np.arange(seed, seed + episodes)
    return play(game, Networks.of(network), seeds[None]).scores[0]


def _chosen(
    found: Mapping[str, Mapping[int, Trained]], names: Sequence[str], folder: str | Path, seeds: int | None
) -> list[Trained]:
    """Finished searches with the first seeds, or with all; seed after seed."""
    chosen = []
    for name in names:
        if name not in found:
            raise InputError(
                f"{folder} has no network trained from scratch on {name!r}, {did_you_mean(name, found)}: "
                "train it with that folder first"
            )
        for seed in sorted(found[name]) if seeds is None else range(_at_least_one(seeds)):
            trained = found[name].get(seed)
            if trained is None or not trained.finished:
                what = "was not trained" if trained is None else "is not finished"
                raise InputError(
                    f"{_folder(folder, 'scratch', name, seed)} {what}: only finished networks are reused, "
                    "train to the end with that folder first"
                )
            chosen.append(trained)
    return sorted(chosen, key=lambda trained: trained.seed)


def _folder(folder: str | Path, condition: str, name: str, seed: int) -> Path:
    """`module:space/Id-v0` is a file name too."""
    return Path(folder) / condition / re.sub(r"[^\w.-]+", "_", name) / f"seed{seed}"


def _damaged(path: Path, error: Exception) -> RunError:
    return RunError(f"{path} is damaged ({error!r}): restore it, or take its folder away")


def _rng(name: str, seed: int) -> np.random.Generator:
    digest = hashlib.sha256(f"source of {name}/{seed}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16]))


def _at_least_one(seeds: int) -> int:
    if seeds < 1:
        raise InputError(f"seeds is {seeds}: give at least 1")
    return seeds
