"""Networks as files: the same network comes back, and damage is told in one line."""

from __future__ import annotations

import json

import numpy as np
import pytest

from moduli.errors import InputError, RunError
from moduli.games.networks import EVERYWHERE, Architecture, Network, Neuron, Source, random_network
from moduli.games.saved import load_network, save_network


def nested() -> Network:
    inner = random_network(Architecture(3, 4, (Neuron(), Neuron())), 1)
    middle = random_network(Architecture(5, 2, (Neuron(), Source(inner))), 2)
    return random_network(Architecture(4, 3, (Source(middle), Neuron(), Source(inner)), EVERYWHERE), 3)


def same(a: Network, b: Network) -> bool:
    kinds = [[type(r) for r in network.architecture.recruits] for network in (a, b)]
    shapes = [(n.architecture.inputs, n.architecture.outputs, n.architecture.links) for n in (a, b)]
    equal = all(np.array_equal(x, y) for x, y in zip(a.genomes, b.genomes, strict=True))
    inside = zip(a.architecture.sources.values(), b.architecture.sources.values(), strict=True)
    same_names = a.trained_on == b.trained_on
    return kinds[0] == kinds[1] and shapes[0] == shapes[1] and same_names and equal and all(
        same(x, y) for x, y in inside
    )  # fmt: skip


def test_a_network_comes_back_with_all_that_it_reuses(tmp_path):
    network = nested()
    save_network(network, tmp_path, {"fitness": 3.5})
    assert same(load_network(tmp_path), network)
    assert json.loads((tmp_path / "network.json").read_text())["fitness"] == 3.5


def test_the_structure_is_readable_json(tmp_path):
    save_network(nested(), tmp_path)
    described = json.loads((tmp_path / "network.json").read_text())
    assert [recruit["kind"] for recruit in described["recruits"]] == ["source", "neuron", "source"]
    assert described["recruits"][0]["network"]["inputs"] == 5


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    save_network(nested(), tmp_path)
    old = (tmp_path / "network.json").read_bytes()
    save_network(random_network(nested().architecture, 9), tmp_path)
    (tmp_path / "network.json").write_bytes(old)
    with pytest.raises(RunError, match="does not belong to"):
        load_network(tmp_path)


@pytest.mark.parametrize(
    ("damage", "kind", "message"),
    [
        (lambda folder: (folder / "network.json").unlink(), InputError, "network.json is missing"),
        (lambda folder: (folder / "network.safetensors").unlink(), InputError, "safetensors is missing"),
        (lambda folder: (folder / "network.json").write_text("{"), RunError, "is damaged"),
        (lambda folder: (folder / "network.json").write_text("[]"), RunError, "is damaged"),
        (lambda folder: change(folder, format=7), InputError, "has format 7: this version of moduli reads 1"),
        (lambda folder: change(folder, recruits=[{"kind": "neuron"}] * 9), RunError, "is damaged"),
        (lambda folder: change(folder, inputs=6), RunError, "is damaged"),
        (lambda folder: change(folder, inputs="many"), RunError, "is damaged"),
    ],
)
def test_damage_gives_one_line(tmp_path, damage, kind, message):
    save_network(nested(), tmp_path)
    damage(tmp_path)
    with pytest.raises(kind, match=message) as caught:
        load_network(tmp_path)
    assert "\n" not in str(caught.value)


def change(folder, **content) -> None:
    path = folder / "network.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **content}))
