"""Computing many networks at once: stacked weights, a batched matrix product for each set of connections."""

from __future__ import annotations

import numpy as np

from moduli.games.networks import Key, Networks


class Team:
    """Networks that act side by side, each in a row, and the state of their recurrent connections.

    A step computes, for every layer in the order of `Architecture.layers`,

        y = tanh(b + u * y' + sum over connections of W x)

    with the layer's own value y' of the step before, its biases b and self loops u. Outputs have neither.
    Every row is computed for itself: what a network does never depends on the rows beside it, to the last
    bit.

    Args:
        networks: who may play.
        rows: how many play at the same time; each row needs a `load` first.
    """

    def __init__(self, networks: Networks, rows: int):
        layers = networks.architecture.layers()
        weights = _used(networks.weights(), [name for name, _ in layers])
        self._sizes = {name: size for name, size in layers if any(b == name for _, b in weights)}
        self._order = list(self._sizes)
        place = {name: number for number, (name, _) in enumerate(layers)}
        self._into: dict[str, list[tuple[Key, str, bool]]] = {name: [] for name in self._order}
        for key in weights:
            a, b = key
            if a not in ("bias", "loop"):
                self._into[b].append((key, a, place[a] >= place[b]))
        self._all = {key: w for key, w in weights.items() if len(networks) > 1 and _evolves(key)}
        self._rows = {key: np.repeat(w[:1], rows, 0) if _evolves(key) else w for key, w in weights.items()}
        self._last = {
            name: np.zeros((rows, size), np.float32) for name, size in layers if name in self._read_later()
        }
        self._outputs = networks.architecture.outputs

    def _read_later(self) -> set[str]:
        """Layers whose values are needed one step later."""
        loops = {b for a, b in self._rows if a == "loop"}
        return loops | {a for some in self._into.values() for _, a, delayed in some if delayed}

    def load(self, row: int, network: int) -> None:
        """Network number `network` takes a row, and begins an episode: all of its nodes are 0."""
        for key, weights in self._all.items():
            self._rows[key][row] = weights[network]
        for values in self._last.values():
            values[row] = 0.0

    def keep(self, rows: np.ndarray) -> None:
        """Leaves only some rows, given by a mask."""
        self._rows = {key: w[rows] if _evolves(key) else w for key, w in self._rows.items()}
        self._last = {name: values[rows] for name, values in self._last.items()}

    def step(self, observations: np.ndarray) -> np.ndarray:
        """Outputs `[rows, outputs]` before tanh, for observations `[rows, inputs]`.

        Actions are decoded from the order and the signs of outputs, which tanh does not change; but in
        float32 it makes all that are beyond 9 equal to 1.
        """
        total = np.zeros((len(observations), self._outputs), np.float32)  # if nothing leads to outputs
        now = {"input": observations}
        with np.errstate(invalid="ignore"):  # some BLAS set the flag for finite numbers too (numpy #24067)
            for name in self._order:
                total = self._before_tanh(name, now)
                now[name] = total if name.endswith("input") else np.tanh(total)
        for name in self._last:
            self._last[name] = now[name]
        return total

    def _before_tanh(self, name: str, now: dict[str, np.ndarray]) -> np.ndarray:
        """What a layer gets from those before it, and from the step before, `[rows, size]`."""
        total = np.zeros((len(now["input"]), self._sizes[name]), np.float32)
        if ("bias", name) in self._rows:
            total += self._rows["bias", name][:, :, 0]
            total += self._rows["loop", name][:, :, 0] * self._last[name]
        for key, start, delayed in self._into[name]:
            values = self._last[start] if delayed else now[start]
            total += np.matmul(self._rows[key], values[:, :, None])[:, :, 0]
        return total


def _evolves(key: Key) -> bool:
    """Whether connections are of M or T, not of a source."""
    a, b = key
    return "." not in b or (a not in ("bias", "loop") and "." not in a)


def _used(weights: dict[Key, np.ndarray], order: list[str]) -> dict[Key, np.ndarray]:
    """Without empty connections, those from a source's inputs that stay 0, and those that lead nowhere.

    Only what lies on paths to the outputs is computed; biases and self loops go with their layer.
    """
    weights = {key: w for key, w in weights.items() if w.size}
    fed = {"input", "bias", "loop"} | {name for name in order if not name.endswith("input")}
    fed |= {b for a, b in weights if b.endswith("input")}
    weights = {key: w for key, w in weights.items() if key[0] in fed}
    reach: set[str] = {"output"}
    while (more := reach | {a for a, b in weights if b in reach}) != reach:
        reach = more
    return {key: w for key, w in weights.items() if key[1] in reach}
