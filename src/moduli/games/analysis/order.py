"""Games ordered by complexity: one is simpler than another whose features include all of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Features = Mapping[str, Iterable[str]]
"""What successful play of each game requires, by the name of the game."""


@dataclass(frozen=True)
class Order:
    """The partial order of games by inclusion of features, as its Hasse diagram (Meyerson 2018, Figure 4.2).

    Attributes:
        features: all features, the most frequent first.
        games: the games that have exactly the features of each node; the empty node ("none") has no game,
            unless there is one without features.
        edges: (lower, upper), where the lower is a proper subset of the upper and no node is between them.
            What an edge adds is `upper - lower`, so every path from none to a game adds each of its features
            exactly once.
    """

    features: tuple[str, ...]
    games: Mapping[frozenset[str], tuple[str, ...]]
    edges: tuple[tuple[frozenset[str], frozenset[str]], ...]


def partial_order(features: Features) -> Order:
    """Orders games by inclusion of their features."""
    counts = Counter(feature for own in features.values() for feature in set(own))
    names = tuple(sorted(counts, key=lambda feature: (-counts[feature], feature)))
    games: dict[frozenset[str], tuple[str, ...]] = {frozenset(): ()}
    for game, own in features.items():
        games[frozenset(own)] = (*games.get(frozenset(own), ()), game)
    place = {feature: index for index, feature in enumerate(names)}
    nodes = sorted(games, key=lambda node: (len(node), sorted(place[feature] for feature in node)))
    edges = tuple(
        (lower, upper)
        for lower in nodes
        for upper in nodes
        if lower < upper and not any(lower < between < upper for between in nodes)
    )
    return Order(names, {node: games[node] for node in nodes}, edges)


def letters(features: Iterable[str]) -> dict[str, str]:
    """The shortest beginning of each feature by which it can be told from the others."""
    names = list(features)

    def short(name: str) -> str:
        others = [other for other in names if other != name]
        cuts = (name[:length] for length in range(1, len(name)))
        return next((cut for cut in cuts if not any(other.startswith(cut) for other in others)), name)

    return {name: short(name) for name in names}
