"""Genomes, written by hand and bred."""

import random

from moduli.evolution.genome import EdgeGene, GlobalGenome, Innovations, LayerGene, ModuleGenome
from moduli.evolution.operators import crossover, mutate, random_genome
from moduli.evolution.ranges import Ranges

RANGES = Ranges(filters=(4, 16), width=(4, 16))
SETTINGS = GlobalGenome(3, 57, 1.8e-4, 3.5e-9, "glorot_normal")


def layer(number, filters=8, kernel=3, dropout=0.1, activation="relu", merge="concat"):
    return LayerGene(number, filters, kernel, dropout, activation, merge)


def genome(*pairs, layers=None, id=0, **genes):
    """A genome with the given edges, numbered in this order; all layers have the given genes."""
    numbers = layers or sorted({end for _, end in pairs} | {start for start, _ in pairs} - {0})
    edges = tuple(EdgeGene(n, *pair) for n, pair in enumerate(pairs, start=1))
    return ModuleGenome(id, tuple(layer(n, **genes) for n in numbers), edges)


class Bred:
    """A population without selection: after many mutations and crossovers, `genomes`."""

    def __init__(self, seed, ranges=RANGES, steps=300):
        self.rng, self.innovations, self.ranges = random.Random(seed), Innovations(), ranges
        self.genomes = [random_genome(i, ranges, self.innovations, self.rng) for i in range(6)]
        for id in range(6, steps):
            self.genomes[id % 6] = self.child(id)

    def child(self, id):
        a, b = self.rng.sample(self.genomes, 2)
        if self.rng.random() < 0.5:
            return mutate(a, id, self.ranges, self.innovations, self.rng)
        return crossover(a, b, id, self.ranges, self.rng, equal=self.rng.random() < 0.5)
