"""Networks as files: structure as JSON, weights as safetensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from moduli.errors import InputError, RunError
from moduli.files import read_json, write_file
from moduli.games.networks import Architecture, Network, Neuron, Recruit, Source

NAMES = "network.json", "network.safetensors"
FORMAT = 1


def save_network(network: Network, folder: str | Path, facts: dict[str, Any] | None = None) -> None:
    """Writes `network.json` and `network.safetensors` into a folder.

    The JSON file is written last, and names the weights it belongs to: a reader never takes one of a pair
    for the other.

    Args:
        network: with all the sources that it reuses.
        folder: made if it is not there.
        facts: further content of the JSON file, such as the score.

    Raises:
        SaveError: if a file cannot be written.
    """
    import hashlib

    from safetensors.numpy import save

    structure, weights = Path(folder) / NAMES[0], Path(folder) / NAMES[1]
    content = save(dict(_tensors(network)))
    write_file(weights, content)
    digest = hashlib.sha256(content).hexdigest()
    described = {"format": FORMAT, "weights": digest, **(facts or {}), **_described(network)}
    write_file(structure, json.dumps(described, indent=1) + "\n")


def load_network(folder: str | Path) -> Network:
    """Reads what `save_network` wrote.

    Raises:
        InputError: if there is no network.
        RunError: if a file is damaged, or of another network than the other file.
    """
    import hashlib

    from safetensors import SafetensorError
    from safetensors.numpy import load

    structure, weights = Path(folder) / NAMES[0], Path(folder) / NAMES[1]
    for path in (structure, weights):
        if not path.is_file():
            raise InputError(f"{folder} has no trained network ({path.name} is missing): train one first")
    described, content = read_json(structure), weights.read_bytes()
    try:
        version, digest = described["format"], described["weights"]
        network = _network(described, load(content), "") if version == FORMAT else None
    except (KeyError, TypeError, AttributeError, InputError, SafetensorError) as error:
        raise RunError(f"{structure} is damaged ({error}): restore it, or train anew") from None
    if network is None:
        raise InputError(f"{structure} has format {version}: this version of moduli reads {FORMAT}")
    if digest != hashlib.sha256(content).hexdigest():
        raise RunError(f"{weights} does not belong to {structure}: restore both, or train anew")
    return network


def _described(network: Network) -> dict[str, Any]:
    architecture = network.architecture
    recruits = [
        {"kind": "source", "network": _described(recruit.network)}
        if isinstance(recruit, Source)
        else {"kind": "neuron"}
        for recruit in architecture.recruits
    ]
    return {
        "trained_on": network.trained_on,
        "inputs": architecture.inputs,
        "outputs": architecture.outputs,
        "links": [list(link) for link in architecture.links],
        "recruits": recruits,
    }


def _tensors(network: Network, prefix: str = ""):
    for index, genome in enumerate(network.genomes):
        yield f"{prefix}{index}", genome
    for index, source in network.architecture.sources.items():
        yield from _tensors(source, f"{prefix}{index}.")


def _network(described: dict[str, Any], tensors: dict[str, np.ndarray], prefix: str) -> Network:
    recruits: list[Recruit] = [
        Source(_network(recruit["network"], tensors, f"{prefix}{index}."))
        if recruit["kind"] == "source"
        else Neuron()
        for index, recruit in enumerate(described["recruits"])
    ]
    links = tuple((str(a), str(b)) for a, b in described["links"])
    architecture = Architecture(described["inputs"], described["outputs"], tuple(recruits), links)
    genomes = tuple(tensors[f"{prefix}{index}"] for index in range(len(recruits)))
    return Network(architecture, genomes, described["trained_on"])
