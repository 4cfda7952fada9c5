"""What ten decoders for each task cost: time and memory of pseudo-task augmentation.

A whole training step, and the decoders alone (forward and backward), with ten decoders for each task against
one, and against a plain PyTorch loop over ten `nn.Linear`. With *shared* dropout all decoders of a task read
the same numbers (control I), with *independent* dropout each drops numbers of its own (control D).

Cases:
  lstm     one task: sentences of 80 tokens, embedding and LSTM of 128 units, one output, batches of 32
  conv     20 tasks: images of 28x28, four 3x3 convolutions of 53 filters in common, 30 classes, batches of 8
  labels   40 labels of one input of 1536 features and no layer before the decoders, batches of 128

  python benchmarks/pseudotasks.py [--quick] [--json FILE] [--device cuda]
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from harness import Work, arguments, ratio, report, turns
from step_time import flops, peak_memory, peak_speed
from torch import Tensor, nn

from moduli import (
    PTA,
    Binary,
    Conv,
    Data,
    DecoderBank,
    Each,
    JointModel,
    Multiclass,
    Task,
    TensorSource,
    hard,
)
from moduli.sharing import RoutedStructure, chain
from moduli.training import Train, Trainer

ROWS, TOKENS, DECODERS, RATE = 500, 5000, 10, 0.5


@dataclass
class Case:
    """Data and a model up to the decoders, for every way to train it."""

    inputs: list[Tensor]  # of each task; the same tensor where tasks share it
    targets: list[Tensor]
    batch: int
    width: int  # of what decoders read
    outputs: int
    encoder: Callable[[], nn.Module]  # of one input
    layers: Callable[[], list[Conv]]  # that all tasks share
    tokens: int | None = None

    @property
    def names(self) -> list[str]:
        return [f"task{t}" for t in range(len(self.inputs))]

    @property
    def shared_input(self) -> bool:
        return len(self.inputs) > 1 and self.inputs[0] is self.inputs[1]


class Text(nn.Module):
    """Token numbers to the last state of an LSTM."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, 128)
        self.lstm = nn.LSTM(128, 128, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.lstm(self.embedding(x))[0][:, -1]


def lstm(device: str) -> Case:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(TOKENS, (ROWS, 80), generator=generator).to(device)
    y = torch.randint(2, (ROWS,), generator=generator).float().to(device)
    return Case([x], [y], 32, 128, 1, Text, list, TOKENS)


def conv(device: str, tasks: int = 20) -> Case:
    generator = torch.Generator().manual_seed(0)
    x = [torch.rand(100, 1, 28, 28, generator=generator).to(device) for _ in range(tasks)]
    y = [torch.randint(30, (100,), generator=generator).to(device) for _ in range(tasks)]
    return Case(x, y, 8, 53, 30, nn.Identity, lambda: [Conv(53) for _ in range(4)])


def labels(device: str, tasks: int = 40) -> Case:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(ROWS, 1536, generator=generator).to(device)
    y = [torch.randint(2, (ROWS,), generator=generator).float().to(device) for _ in range(tasks)]
    return Case([x] * tasks, y, 128, 1536, 1, nn.Identity, list)


# ------------------------------------------------------------------ moduli


def bank(case: Case, decoders: int, control: str, device: str) -> DecoderBank:
    sizes = dict.fromkeys(case.names, (case.width, case.outputs))
    return DecoderBank(sizes, decoders, PTA(control), RATE).to(device)


def step(case: Case, decoders: int, control: str, device: str) -> Work:
    """One step of a `Trainer`, bookkeeping included."""
    kind = Binary() if case.outputs == 1 else Multiclass(case.outputs)
    tasks, shape = [], tuple(case.inputs[0].shape[1:])
    if case.shared_input:
        source = TensorSource(case.inputs[0], dict(zip(case.names, case.targets, strict=True)))
        data = Data("input", shape, source, source, source)
        tasks = [Task(name, kind, data) for name in case.names]
    else:
        for name, x, y in zip(case.names, case.inputs, case.targets, strict=True):
            source = TensorSource(x, {name: y})
            tasks.append(Task(name, kind, Data(name, shape, source, source, source, tokens=case.tokens)))
    layers = case.layers()
    structure = RoutedStructure([], {name: chain([]) for name in case.names})
    if layers:
        structure = hard(case.names, layers.__getitem__, len(layers), pooling=True)
    encoders = Each({name: case.encoder() for name in dict.fromkeys(task.data.name for task in tasks)})
    model = JointModel(tasks, structure, encoders, bank(case, decoders, control, device))
    trainer = Trainer(model, tasks, Train(batch_size=case.batch), device=device)
    model.train()
    return trainer.one_step


def decoders_alone(case: Case, decoders: int, control: str, device: str) -> Work:
    """Forward and backward of the decoders, given what they read and the gradient of what they put out."""
    module = bank(case, decoders, control, device).train()
    hidden = _hidden(case, device)
    grads = [torch.rand(decoders, case.batch, case.outputs, device=device) for _ in case.names]

    def work() -> None:
        module.zero_grad()
        outputs = module(dict(zip(case.names, hidden, strict=True)))
        torch.autograd.backward(list(outputs.values()), grads)

    return work


def _hidden(case: Case, device: str) -> list[Tensor]:
    """What the decoders of each task read: one tensor where tasks share their input."""
    x = torch.rand(len(case.names), case.batch, case.width, device=device)
    return [x[0].requires_grad_()] * len(x) if case.shared_input else [one.requires_grad_() for one in x]


# ------------------------------------------------------------------ the loop one writes by hand


class Loop:
    """Ten `nn.Linear` for each task, one after another."""

    def __init__(self, case: Case, apart: bool, device: str):
        linear = [[nn.Linear(case.width, case.outputs) for _ in range(DECODERS)] for _ in case.names]
        self.modules = nn.ModuleList(nn.ModuleList(of_one) for of_one in linear).to(device)
        self.linear, self.apart = linear, apart

    def __call__(self, hidden: Sequence[Tensor]) -> list[list[Tensor]]:
        """The outputs of every decoder of every task; a mask for each tensor, or for each decoder."""
        if self.apart:
            pairs = zip(hidden, self.linear, strict=True)
            return [[one(F.dropout(x, RATE)) for one in linear] for x, linear in pairs]
        dropped = {id(x): F.dropout(x, RATE) for x in {id(x): x for x in hidden}.values()}
        return [[one(dropped[id(x)]) for one in of] for x, of in zip(hidden, self.linear, strict=True)]


def loop_step(case: Case, apart: bool, device: str) -> Work:
    """The same model with Adam; the samples of all tasks go through the shared layers together."""
    decoders = Loop(case, apart, device)
    encoder, layers = case.encoder(), case.layers()
    parts = nn.ModuleList([encoder, *layers, decoders.modules]).to(device)
    optimizer = torch.optim.Adam(parts.parameters(), fused=True)

    def loss_of(outputs: Tensor, y: Tensor) -> Tensor:
        if case.outputs == 1:
            return F.binary_cross_entropy_with_logits(outputs.squeeze(-1), y)
        return F.cross_entropy(outputs, y)

    def work() -> None:
        if case.shared_input:
            index = torch.randint(ROWS, (case.batch,), device=device)
            hidden = [encoder(case.inputs[0][index])] * len(case.names)
            targets = [y[index] for y in case.targets]
        else:
            drawn = [torch.randint(len(x), (case.batch,), device=device) for x in case.inputs]
            h = encoder(torch.cat([x[index] for x, index in zip(case.inputs, drawn, strict=True)]))
            for layer in layers:
                h = F.max_pool2d(layer(h), 2)
            hidden = list(h.flatten(1).split(case.batch))
            targets = [y[index] for y, index in zip(case.targets, drawn, strict=True)]
        total = torch.zeros((), device=device)
        for outputs, y in zip(decoders(hidden), targets, strict=True):
            total = total + sum(loss_of(one, y) for one in outputs) / DECODERS
        optimizer.zero_grad()
        total.backward()
        optimizer.step()

    return work


def loop_alone(case: Case, apart: bool, device: str) -> Work:
    """Forward and backward of the decoders, as `decoders_alone`."""
    decoders, hidden = Loop(case, apart, device), _hidden(case, device)
    grads = torch.rand(len(hidden), DECODERS, case.batch, case.outputs, device=device)

    def work() -> None:
        decoders.modules.zero_grad()
        outputs = [one for of_task in decoders(hidden) for one in of_task]
        torch.autograd.backward(outputs, list(grads.flatten(0, 1)))

    return work


# ------------------------------------------------------------------ memory and the limit


def draw(case: Case, device: str) -> Work:
    """The random numbers of independent dropout, 16 bits each, and nothing else."""
    count = len(case.names) * DECODERS * case.batch * case.width
    bits = torch.empty(min(count, 1 << 18) // 4, dtype=torch.int64, device=device)

    def work() -> None:
        for _ in range(max(1, count // (4 * len(bits)))):
            bits.random_(-(2**63), None)

    return work


def least(ways: dict[str, Work], times: dict[str, list[float]], device: str) -> dict[str, object]:
    """What ten decoders must cost over one, if what is added ran as fast as the machine can.

    Added are matrix products, here at the speed of a large one, and with independent dropout random numbers.
    """
    work = {way: flops(ways[way]) for way in ("one", "shared")}
    one, drawing = statistics.median(times["one"]), statistics.median(times["draw"])
    added = (work["shared"] - work["one"]) / peak_speed(device)
    return {
        "megaflop": {way: round(count / 1e6, 2) for way, count in work.items()},
        "least_over_one": {
            "shared": round(1 + added / one, 3),
            "independent": round(1 + (added + drawing) / one, 3),
        },
    }


def peaks(case: Case, ways: dict[str, Work], device: str) -> dict[str, object]:
    """Megabytes at the peak of the decoders' forward and backward, and those of tensors of two sizes."""
    numbers = len(case.names) * DECODERS * case.width
    return {
        "megabytes": {way: round(peak_memory(work, device) / 2**20, 3) for way, work in ways.items()},
        "weights": round(4 * numbers * case.outputs / 2**20, 3),
        "masked_inputs": round(4 * numbers * case.batch / 2**20, 3),
    }


def main() -> None:
    options = arguments(__doc__ or "")
    device, budget, rounds = options.device, 1.5 if options.quick else 12.0, 3 if options.quick else 9
    cases = {"lstm": lstm(device), "conv": conv(device), "labels": labels(device, 4 if options.quick else 40)}
    ratios: dict[str, dict] = {}
    memory: dict[str, dict] = {}
    limit: dict[str, dict] = {}
    for name, case in cases.items():
        for part, ours, loop in (("step", step, loop_step), ("decoders", decoders_alone, loop_alone)):
            ways = {
                "one": ours(case, 1, "I", device),
                "shared": ours(case, DECODERS, "I", device),
                "independent": ours(case, DECODERS, "D", device),
                "loop-shared": loop(case, False, device),
                "loop-independent": loop(case, True, device),
            }
            alone = part == "decoders"
            times = turns({**ways, "draw": draw(case, device)} if alone else ways, budget, device, rounds)
            for way in list(ways)[1:]:
                ratios[f"{name} {part}/{way}-over-one"] = ratio(times[way], times["one"])
            for way in ("shared", "independent"):
                ratios[f"{name} {part}/{way}-over-loop"] = ratio(times[way], times[f"loop-{way}"])
            if alone:
                limit[name], memory[name] = least(ways, times, device), peaks(case, ways, device)
                print(f"{name}: {limit[name]}\n{name}: {memory[name]}")
    report("pseudotasks", options, ratios, memory=memory, limit=limit)


if __name__ == "__main__":
    main()
