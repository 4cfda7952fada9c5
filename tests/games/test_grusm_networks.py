"""GRUSM networks: what is computed, against a plain loop over nodes, and what reuse must not change."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from moduli.errors import InputError
from moduli.games.networks import (
    DISSERTATION,
    EVERYWHERE,
    Architecture,
    Network,
    Networks,
    Neuron,
    Source,
    random_network,
)
from moduli.games.team import Team

I, O = 4, 3  # noqa: E741 - inputs and outputs


def plain(inputs: int = I, outputs: int = O, units: int = 2, links=DISSERTATION) -> Architecture:
    return Architecture(inputs, outputs, (Neuron(),) * units, links)


def reusing(source: Network, links=DISSERTATION, units: int = 2, first: int = 1) -> Architecture:
    """Units before and after the source, so that both orders occur."""
    recruits = (Neuron(),) * first + (Source(source),) + (Neuron(),) * (units - first)
    return Architecture(I, O, recruits, links)


def random(architecture: Architecture, seed: int = 0, bound: float = 1.0) -> Network:
    return random_network(architecture, seed, bound)


def observed(steps: int, inputs: int = I, seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(steps, inputs)).astype(np.float32)


def run(network: Network, observations: np.ndarray) -> np.ndarray:
    """Outputs of every step of an episode, by the program."""
    team = Team(Networks.of(network), 1)
    team.load(0, 0)
    return np.stack([team.step(x[None])[0] for x in observations])


class Interpreter:
    """A network node by node and connection by connection, in float64: slow, and easy to believe."""

    def __init__(self, network: Network):
        layers = network.architecture.layers()
        self.order = [(layer, i) for layer, size in layers for i in range(size)]
        self.edges: dict[tuple, list[tuple]] = {node: [] for node in self.order}
        self.bias, self.loop = dict.fromkeys(self.order, 0.0), dict.fromkeys(self.order, 0.0)
        self._collect(network, "")
        self.place = {name: number for number, (name, _) in enumerate(layers)}
        self.last = dict.fromkeys(self.order, 0.0)

    def _collect(self, network: Network, prefix: str) -> None:
        """Reads genomes by their description alone: one weight after another."""
        architecture, units = network.architecture, network.architecture.units
        for number, (recruit, genome) in enumerate(zip(architecture.recruits, network.genomes, strict=True)):
            weights = iter(genome.tolist())
            if isinstance(recruit, Neuron):
                node = (f"{prefix}hidden", units.index(number))
                self.bias[node], self.loop[node] = next(weights), next(weights)
                for i in range(architecture.inputs):
                    self.edges[node].append(((f"{prefix}input", i), next(weights)))
                for o in range(architecture.outputs):
                    self.edges[f"{prefix}output", o].append((node, next(weights)))
                for source in [s for s in architecture.sources if s < number]:
                    for link in architecture.links:
                        if "hidden" in link:
                            self._transfer(architecture, prefix, link, source, [node], weights)
            else:
                earlier = [(f"{prefix}hidden", units.index(unit)) for unit in units if unit < number]
                for link in architecture.links:
                    self._transfer(architecture, prefix, link, number, earlier, weights)
                self._collect(recruit.network, f"{prefix}{number}.")
            assert next(weights, None) is None

    def _transfer(self, architecture, prefix, link, source, units, weights) -> None:
        def nodes(word):
            if word == "hidden":
                return [units]
            if not word.startswith("source"):
                return [[(f"{prefix}{word}", i) for i in range(getattr(architecture, f"{word}s"))]]
            inner = architecture.sources[source].architecture
            if word == "source hidden":
                found = inner.hidden_layers(f"{prefix}{source}.")
                return [[(name, i) for i in range(size)] for name, size in found]
            word = word.removeprefix("source ")
            return [[(f"{prefix}{source}.{word}", i) for i in range(getattr(inner, f"{word}s"))]]

        for starts, ends in itertools.product(nodes(link[0]), nodes(link[1])):
            for end, start in itertools.product(ends, starts):
                self.edges[end].append((start, next(weights)))

    def step(self, x: np.ndarray) -> list[float]:
        now = {("input", i): float(value) for i, value in enumerate(x)}
        before_tanh = {}
        for node in self.order:
            if node in now:
                continue
            total = self.bias[node] + self.loop[node] * self.last[node]
            for start, weight in self.edges[node]:
                later = self.place[start[0]] >= self.place[node[0]]
                total += weight * (self.last[start] if later else now[start])
            before_tanh[node] = total
            now[node] = total if node[0].endswith("input") else np.tanh(total)
        self.last = now
        return [total for (layer, _), total in before_tanh.items() if layer == "output"]


SOURCES = {
    "shallow": random(plain(5, 2, 3), 1),
    "reuses another": random(Architecture(5, 2, (Neuron(), Source(random(plain(3, 4, 2), 2)), Neuron())), 3),
    "linked everywhere": random(
        Architecture(5, 2, (Neuron(), Source(random(plain(3, 4, 2), 2)), Neuron()), EVERYWHERE), 4
    ),
}


@pytest.mark.parametrize("links", [DISSERTATION, EVERYWHERE], ids=["dissertation", "everywhere"])
@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_outputs_are_those_of_a_loop_over_nodes(source, links):
    network = random(reusing(source, links, units=3), 7, bound=0.7)
    inputs = observed(6)
    interpreter = Interpreter(network)
    expected = np.array([interpreter.step(x) for x in inputs])
    np.testing.assert_allclose(run(network, inputs), expected, rtol=2e-4, atol=2e-5)


def test_a_network_without_sources_against_numpy():
    network = random(plain(units=1), 3)
    bias, loop = network.genomes[0][:2]
    w_in, w_out = network.genomes[0][2 : 2 + I], network.genomes[0][2 + I :]
    inputs, h, expected = observed(5), 0.0, []
    for x in inputs:
        h = np.tanh(bias + loop * h + w_in @ x)
        expected.append(w_out * h)
    np.testing.assert_allclose(run(network, inputs), expected, rtol=1e-5)


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("links", [DISSERTATION, EVERYWHERE], ids=["dissertation", "everywhere"])
def test_zero_transfer_weights_leave_outputs_as_they_are(source, links):
    alone = random(plain(links=links), 3)
    architecture = alone.architecture.with_recruit(Source(source))
    zeros = np.zeros(architecture.sizes[-1], np.float32)
    with_source = Network(architecture, (*alone.genomes, zeros))
    np.testing.assert_array_equal(run(with_source, observed(8)), run(alone, observed(8)))


def test_transfer_weights_matter():
    alone = random(plain(), 3)
    for links in (DISSERTATION, EVERYWHERE):
        architecture = reusing(SOURCES["shallow"], links)
        network = random(architecture, 3)
        assert np.abs(run(network, observed(8)) - run(alone, observed(8))).max() > 0.01


def test_inside_a_source_nothing_changes():
    """Fed with its own inputs, and nothing else, the nodes of a source do what they did in it alone."""
    for source in SOURCES.values():
        inputs, outputs = source.architecture.inputs, source.architecture.outputs
        links = (("input", "source input"), ("source output", "output"))
        around = Architecture(inputs, outputs, (Source(source),), links)
        identity = np.concatenate([np.eye(inputs).ravel(), np.eye(outputs).ravel()]).astype(np.float32)
        network = Network(around, (identity,))
        x = observed(6, inputs)
        np.testing.assert_allclose(run(network, x), np.tanh(run(source, x)), rtol=1e-4, atol=1e-5)


def test_source_inputs_are_zero_and_its_biases_and_loops_alive():
    """Without any weight into a source, it is what it would be if it saw only zeros."""
    source = SOURCES["shallow"]
    architecture = Architecture(I, 2, (Source(source),))
    into = np.zeros(I * 3, np.float32)
    network = Network(architecture, (np.concatenate([into, np.eye(2, dtype=np.float32).ravel()]),))
    found = run(network, observed(5))
    np.testing.assert_allclose(found, np.tanh(run(source, np.zeros((5, 5), np.float32))), rtol=1e-5)
    assert np.abs(np.diff(found, axis=0)).max() > 0  # the self loops


def test_sources_are_never_written_to():
    source = SOURCES["reuses another"]
    inner = source.architecture.sources[1]
    before = [genome.copy() for genome in (*source.genomes, *inner.genomes)]
    architecture = reusing(source)
    team = Team(Networks.of(random(architecture, 0), random(architecture, 1)), 4)
    for row in range(4):
        team.load(row, row % 2)
    for x in observed(20):
        team.step(np.repeat(x[None], 4, 0))
    for genome, then in zip((*source.genomes, *inner.genomes), before, strict=True):
        np.testing.assert_array_equal(genome, then)


def test_rows_do_not_depend_on_each_other_to_the_last_bit():
    architecture = reusing(SOURCES["reuses another"])
    networks = [random(architecture, seed) for seed in range(5)]
    team = Team(Networks.of(*networks), 7)
    chosen = [3, 0, 4, 1, 2, 3, 0]
    for row, network in enumerate(chosen):
        team.load(row, network)
    inputs = np.stack([observed(10, seed=row) for row in range(7)], 1)
    outputs = [team.step(inputs[0])]
    keep = np.array([True, False, True, True, False, True, True])
    team.keep(keep)
    team.load(1, 2)  # another network begins an episode in the row of network 4
    outputs += [team.step(x[keep]) for x in inputs[1:]]
    for row, was in enumerate(np.flatnonzero(keep)):
        if row == 1:
            alone = run(networks[2], inputs[1:, was])
        else:
            alone = run(networks[chosen[was]], inputs[:, was])[1:]
            np.testing.assert_array_equal(outputs[0][was], run(networks[chosen[was]], inputs[:1, was])[0])
        np.testing.assert_array_equal([step[row] for step in outputs[1:]], alone)


def test_genomes_do_not_grow_when_recruits_are_added():
    for links in (DISSERTATION, EVERYWHERE):
        architecture, before = plain(units=0, links=links), []
        for recruit in (Neuron(), Source(SOURCES["shallow"]), Neuron(), Source(SOURCES["reuses another"])):
            architecture = architecture.with_recruit(recruit)
            assert architecture.sizes[:-1] == before
            before = architecture.sizes


def test_sizes_of_genomes():
    shallow, deep = SOURCES["shallow"], SOURCES["reuses another"]  # 3; 2 + 2 hidden units, 2 outputs
    assert plain().sizes == [1 + 1 + I + O] * 2
    assert Architecture(I, O, (Source(shallow),)).sizes == [I * 3 + 2 * O]
    assert Architecture(I, O, (Source(deep),)).sizes == [I * 4 + 2 * O]
    a_unit, a_source = 1 + 1 + I + O, (I + 1 + O) * (5 + 3 + 2) + (5 + 3 + 2) * (1 + O)
    everywhere = Architecture(I, O, (Neuron(), Source(shallow), Neuron()), EVERYWHERE)
    assert everywhere.sizes == [a_unit, a_source, a_unit + 10 + 10]


def test_no_recruits_give_zero_outputs():
    np.testing.assert_array_equal(run(Network(plain(units=0), ()), observed(2)), np.zeros((2, O)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Architecture(0, 2), "inputs of a network is 0: give at least 1"),
        (lambda: Architecture(2, 2, links=(("input", "sauce hidden"),)), "input -> source hidden"),
        (lambda: Architecture(2, 2, (Source(Network(plain(units=0), ())),)), "no hidden units"),
        (lambda: Architecture(2, 2, (Source(SOURCES["shallow"]),), ()), "no hidden units"),
        (lambda: Network(plain(), (np.zeros(9), np.zeros(8))), r"\[9, 8\]: its architecture needs \[9, 9\]"),
        (lambda: Network(plain(), (np.zeros(9), np.full(9, np.nan))), r"genomes \[1\] .* not finite"),
        (lambda: reusing(SOURCES["shallow"], EVERYWHERE).without_unit(0), "cannot be removed"),
    ],
)
def test_bad_structure_gives_one_line(make, message):
    with pytest.raises(InputError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
