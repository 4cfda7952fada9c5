"""What happens to genomes: drawing, mutation, crossover, distance. Pure functions, but for the innovations.

Mutations and crossover are those of NEAT (Stanley & Miikkulainen 2002) as CoDeepNEAT uses them (Miikkulainen
et al. 2017). Edges carry no weight, so they are not disabled but removed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from moduli.evolution.genome import (
    INPUT,
    LAST,
    EdgeGene,
    GlobalGenome,
    Innovations,
    LayerGene,
    ModuleGenome,
)
from moduli.evolution.ranges import Ranges

# ------------------------------------------------------------------ at random


def random_genome(id: int, ranges: Ranges, innovations: Innovations, rng: Random) -> ModuleGenome:
    """The smallest genome, input to last layer, and a few layers and edges more; all genes are uniform."""
    last = replace(_random_layer(LAST, ranges, rng), filters=ranges.filters[0])
    genome = ModuleGenome(id, (last,), (innovations.edge(INPUT, LAST),))
    for _ in range(rng.randint(0, ranges.most_growth)):
        first, second = rng.sample((add_layer, add_edge), 2)
        grown = first(genome, ranges, innovations, rng) or second(genome, ranges, innovations, rng)
        genome = grown or genome
    return genome


def random_settings(id: int, ranges: Ranges, rng: Random) -> GlobalGenome:
    """Settings drawn from their ranges; learning rate and weight decay on a logarithmic scale."""
    return GlobalGenome(id, **{name: gene.draw(rng) for name, gene in ranges.global_genes.items()})


def _random_layer(number: int, ranges: Ranges, rng: Random) -> LayerGene:
    return LayerGene(number, **{name: gene.draw(rng) for name, gene in ranges.layer_genes.items()})


# ------------------------------------------------------------------ mutation


def mutate(
    genome: ModuleGenome, id: int, ranges: Ranges, innovations: Innovations, rng: Random
) -> ModuleGenome:
    """One mutation: of the structure, by the rates of the ranges, else or where that cannot be, of genes."""
    changes = {
        add_layer: ranges.add_layer,
        add_edge: ranges.add_edge,
        remove_layer: ranges.remove_layer,
        remove_edge: ranges.remove_edge,
    }
    rest = max(0.0, 1 - sum(changes.values()))
    (change,) = rng.choices([*changes, None], [*changes.values(), rest])
    changed = change(genome, ranges, innovations, rng) if change else None
    return replace(changed or perturb(genome, ranges, rng), id=id)


def add_layer(
    genome: ModuleGenome, ranges: Ranges, innovations: Innovations, rng: Random
) -> ModuleGenome | None:
    """An edge becomes two with a random layer between them; None if there are as many layers as may be."""
    if len(genome.layers) >= ranges.most_layers:
        return None
    split = rng.choice(genome.edges)
    number = innovations.layer(split.start, split.end, (layer.number for layer in genome.layers))
    halves = (innovations.edge(split.start, number), innovations.edge(number, split.end))
    edges = (*(edge for edge in genome.edges if edge != split), *halves)
    return replace(genome, layers=(*genome.layers, _random_layer(number, ranges, rng)), edges=edges)


def add_edge(
    genome: ModuleGenome, ranges: Ranges, innovations: Innovations, rng: Random
) -> ModuleGenome | None:
    """A new edge that closes no cycle; None if there is none."""
    there = {(edge.start, edge.end) for edge in genome.edges}
    free = [
        (start, end)
        for start in (INPUT, *genome.inputs)
        for end in genome.inputs
        if start != LAST and (start, end) not in there and not reaches(genome.edges, end, start)
    ]
    if not free:
        return None
    return replace(genome, edges=(*genome.edges, innovations.edge(*rng.choice(free))))


def remove_edge(
    genome: ModuleGenome, ranges: Ranges, innovations: Innovations, rng: Random
) -> ModuleGenome | None:
    """Without an edge that is neither all that a layer reads nor all that reads a node; None if none is."""
    starts, ends = [edge.start for edge in genome.edges], [edge.end for edge in genome.edges]
    spare = [e for e in genome.edges if starts.count(e.start) > 1 and ends.count(e.end) > 1]
    if not spare:
        return None
    gone = rng.choice(spare)
    return replace(genome, edges=tuple(edge for edge in genome.edges if edge != gone))


def remove_layer(
    genome: ModuleGenome, ranges: Ranges, innovations: Innovations, rng: Random
) -> ModuleGenome | None:
    """Without a layer; loose ends are tied across the gap. None if there is only the last layer."""
    numbers = [layer.number for layer in genome.layers if layer.number != LAST]
    if not numbers:
        return None
    gone = rng.choice(numbers)
    before = [edge.start for edge in genome.edges if edge.end == gone]
    after = [edge.end for edge in genome.edges if edge.start == gone]
    edges = [edge for edge in genome.edges if gone not in (edge.start, edge.end)]
    for start in before:
        if all(edge.start != start for edge in edges):
            edges.append(innovations.edge(start, rng.choice(after)))
    for end in after:
        if all(edge.end != end for edge in edges):
            edges.append(innovations.edge(rng.choice(before), end))
    layers = tuple(layer for layer in genome.layers if layer.number != gone)
    return replace(genome, layers=layers, edges=tuple(edges))


def perturb(genome: ModuleGenome, ranges: Ranges, rng: Random) -> ModuleGenome:
    """Some genes of layers, at least one, are changed uniformly within their ranges."""
    genes = [(n, name) for n, layer in enumerate(genome.layers) for name in _active(layer, ranges)]
    layers = list(genome.layers)
    for n, name in _some(genes, ranges.perturb, rng):
        value = ranges.layer_genes[name].near(getattr(layers[n], name), ranges.spread, rng)
        layers[n] = replace(layers[n], **{name: value})
    return replace(genome, layers=tuple(layers))


def mutate_settings(genome: GlobalGenome, id: int, ranges: Ranges, rng: Random) -> GlobalGenome:
    """Some genes, at least one, are changed uniformly within their ranges (on their scales)."""
    genes = ranges.global_genes
    changed = {
        name: genes[name].near(getattr(genome, name), ranges.spread, rng)
        for name in _some(list(genes), ranges.perturb, rng)
    }
    return replace(genome, id=id, **changed)


def _some(genes: Sequence[Any], rate: float, rng: Random) -> Sequence[Any]:
    return [gene for gene in genes if rng.random() < rate] or [rng.choice(genes)]


def _active(layer: LayerGene, ranges: Ranges) -> list[str]:
    """The genes of a layer that mean something: the last layer has the filters of the settings."""
    return [name for name in ranges.layer_genes if layer.number != LAST or name != "filters"]


# ------------------------------------------------------------------ crossover


def crossover(
    fitter: ModuleGenome, other: ModuleGenome, id: int, ranges: Ranges, rng: Random, equal: bool = False
) -> ModuleGenome:
    """A child of two genomes, aligned by the numbers of layers and edges.

    Layers that both parents have come from either, each with probability 1/2. Disjoint and excess genes come
    from the fitter parent, so the child has its graph. If both are equally fit, the child gets the genes of
    both, as far as that closes no cycle and the layers are not more than may be.

    Args:
        fitter: the parent with the higher fitness.
        other: the other one.
        id: of the child.
        ranges: for the most layers of a genome.
        rng: decides.
        equal: whether the parents are equally fit.
    """
    theirs = {layer.number: layer for layer in other.layers}
    layers = {n.number: rng.choice((n, theirs.get(n.number, n))) for n in fitter.layers}
    edges = list(fitter.edges)
    if equal and len(layers | theirs) <= ranges.most_layers:
        layers = theirs | layers
        for edge in other.edges:
            if edge not in edges and not reaches(edges, edge.end, edge.start):
                edges.append(edge)
        edges = _on_the_way(edges)
        ends = {edge.end for edge in edges}
        layers = {number: layer for number, layer in layers.items() if number in ends}
    return ModuleGenome(id, tuple(layers.values()), tuple(edges))


def crossover_settings(a: GlobalGenome, b: GlobalGenome, id: int, rng: Random) -> GlobalGenome:
    """Each gene comes from either parent."""
    picked = {
        name: getattr(rng.choice((a, b)), name) for name in ("width", "lr", "weight_decay", "initialiser")
    }
    return replace(a, id=id, **picked)


def reaches(edges: Iterable[EdgeGene], start: int, end: int) -> bool:
    """Whether there is a way from one node to another, or they are the same."""
    edges, seen, front = list(edges), {start}, [start]
    while front:
        node = front.pop()
        new = {edge.end for edge in edges if edge.start == node} - seen
        seen |= new
        front += new
    return end in seen


def _on_the_way(edges: list[EdgeGene]) -> list[EdgeGene]:
    """The edges on ways from the input to the last layer."""
    return [e for e in edges if reaches(edges, INPUT, e.start) and reaches(edges, e.end, LAST)]


# ------------------------------------------------------------------ distance


def delta(a: Collection[int], b: Collection[int], differences: Sequence[float], ranges: Ranges) -> float:
    """The distance of NEAT, c1 E/N + c2 D/N + c3 W (Eq. 1 of Stanley & Miikkulainen 2002).

    E are the excess genes (beyond the highest number of the other genome), D the disjoint ones, W is the mean
    difference of matching genes, N the number of genes of the larger genome, or 1 if that is below 20.

    Args:
        a, b: innovation numbers of two genomes.
        differences: of matching genes, 0 or more each.
        ranges: for c1, c2, c3.
    """
    a, b = set(a), set(b)
    last = min(max(a, default=0), max(b, default=0))
    excess = sum(number > last for number in a ^ b)
    disjoint = len(a ^ b) - excess
    n = max(len(a), len(b))
    mean = sum(differences) / len(differences) if differences else 0.0
    return (ranges.c1 * excess + ranges.c2 * disjoint) / (n if n >= 20 else 1) + ranges.c3 * mean


def distance(a: ModuleGenome, b: ModuleGenome, ranges: Ranges) -> float:
    """How unlike two genomes are: `delta` of their edges, and of the layers that both have.

    A layer's difference is the mean over its genes: numbers as a share of their range, words 0 or 1. Unlike
    NEAT's weights it is at most 1.
    """
    theirs = {layer.number: layer for layer in b.layers}
    pairs = [(layer, theirs[layer.number]) for layer in a.layers if layer.number in theirs]
    differences = [_difference(x, y, _active(x, ranges), ranges.layer_genes) for x, y in pairs]
    return delta([e.number for e in a.edges], [e.number for e in b.edges], differences, ranges)


def settings_distance(a: GlobalGenome, b: GlobalGenome, ranges: Ranges) -> float:
    """How unlike two settings are: `delta` without graphs, the mean difference of the genes."""
    genes = ranges.global_genes
    return delta((), (), [_difference(a, b, list(genes), genes)], ranges)


def _difference(a: Any, b: Any, names: Sequence[str], genes: dict[str, Any]) -> float:
    return sum(genes[name].difference(getattr(a, name), getattr(b, name)) for name in names) / len(names)
