"""Time and memory of a training step: moduli against a plain PyTorch loop over the same model.

The plain loop is what one writes by hand: for each task draw a batch, encode, apply the shared layers,
decode, add the loss; then one backward pass and one step of `torch.optim.Adam`. `plain_fused` is the same
with Adam's fused kernel, and `concatenated` the same with the tasks' samples concatenated for the shared
layers.

Cases (hard sharing but for one, as any of the compared loops can do it):
  tables10              10 small tables, encoder and 4 layers of 32 units, batches of 32
  soft10                the same in soft order: at each of 4 depths every task mixes all 4 layers, dropout 0.5
  images20x1, x16       20 image tasks of 28x28, four 3x3 convolutions of 53 filters, 1 or 16 samples a task
  labels40              40 labels on one input of 64 features, 4 layers of 256 units, batches of 128
  tables5 ... tables50  the growth of a step with the number of tasks

  python benchmarks/step_time.py [--quick] [--json FILE] [--device cuda]
"""

from __future__ import annotations

import itertools
import json
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from harness import Work, arguments, ratio, report, seconds, turns
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from moduli import (
    Binary,
    Conv,
    Data,
    Dense,
    Each,
    JointModel,
    LinearBank,
    Multiclass,
    PadChannels,
    Task,
    TensorSource,
    hard,
    soft,
)
from moduli.model import dense_ends
from moduli.training import Train, Trainer

UCI_FEATURES = (14, 30, 7, 24, 13, 19, 4, 8, 13, 8)
UCI_CLASSES = (2, 2, 8, 2, 5, 2, 3, 2, 3, 10)
ROWS = 500


@dataclass
class Case:
    """One model and its data, for every way to train it."""

    inputs: list[Tensor]  # of each task; the same tensor where tasks share it
    targets: list[Tensor]
    outputs: list[int]
    batch: int
    layers: list[nn.Module]
    encoders: list[nn.Module]  # one for each distinct input
    decoders: list[nn.Module]
    pooling: bool
    soft: bool = False  # soft order with dropout instead of hard sharing

    @property
    def shared_input(self) -> bool:
        return len(self.inputs) > 1 and self.inputs[0] is self.inputs[1]


def tables(n: int, device: str, soft: bool = False) -> Case:
    generator = torch.Generator().manual_seed(0)
    features = [UCI_FEATURES[t % 10] for t in range(n)]
    classes = [UCI_CLASSES[t % 10] for t in range(n)]
    return Case(
        [torch.rand(ROWS, f, generator=generator).to(device) for f in features],
        [torch.randint(c, (ROWS,), generator=generator).to(device) for c in classes],
        classes,
        32,
        [nn.Sequential(nn.Linear(32, 32), nn.ReLU()) for _ in range(4)],
        [nn.Sequential(nn.Linear(f, 32), nn.ReLU()) for f in features],
        [nn.Linear(32, c) for c in classes],
        pooling=False,
        soft=soft,
    )


def images(n: int, batch: int, device: str) -> Case:
    generator = torch.Generator().manual_seed(0)
    return Case(
        [torch.rand(100, 1, 28, 28, generator=generator).to(device) for _ in range(n)],
        [torch.randint(20, (100,), generator=generator).to(device) for _ in range(n)],
        [20] * n,
        batch,
        [nn.Sequential(nn.Conv2d(53, 53, 3, padding=1), nn.ReLU()) for _ in range(4)],
        [PadChannels(53) for _ in range(n)],
        [nn.Sequential(nn.Flatten(), nn.Linear(53, 20)) for _ in range(n)],
        pooling=True,
    )


def labels(n: int, device: str) -> Case:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2000, 64, generator=generator).to(device)
    return Case(
        [x] * n,
        [torch.randint(2, (2000,), generator=generator).float().to(device) for _ in range(n)],
        [1] * n,
        128,
        [nn.Sequential(nn.Linear(256, 256), nn.ReLU()) for _ in range(4)],
        [nn.Sequential(nn.Linear(64, 256), nn.ReLU())],
        [nn.Linear(256, 1) for _ in range(n)],
        pooling=False,
    )


# ------------------------------------------------------------------ the alternatives


def plain(case: Case, device: str, fused: bool = False) -> Work:
    """The loop one writes by hand."""
    parts = nn.ModuleList([*case.layers, *case.encoders, *case.decoders]).to(device)
    depth = len(case.layers)
    scales = [nn.Parameter(torch.zeros(depth, depth, device=device)) for _ in case.decoders if case.soft]
    optimizer = torch.optim.Adam([*parts.parameters(), *scales], fused=fused or None)
    loss_of = F.cross_entropy if case.outputs[0] > 1 else _binary_loss

    def core(h: Tensor) -> Tensor:
        for layer in case.layers:
            h = layer(h)
            h = F.max_pool2d(h, 2) if case.pooling else h
        return h

    def soft_core(h: Tensor, scale: Tensor) -> Tensor:
        for shares in scale.softmax(-1):
            results = [F.dropout(layer(h), 0.5) for layer in case.layers]
            h = sum((s * y for s, y in zip(shares, results, strict=True)), torch.zeros_like(h))
        return h

    def step() -> None:
        total = torch.zeros((), device=device)
        if case.shared_input:
            index = torch.randint(len(case.inputs[0]), (case.batch,), device=device)
            h = core(case.encoders[0](case.inputs[0][index]))
            for y, decoder in zip(case.targets, case.decoders, strict=True):
                total = total + loss_of(decoder(h), y[index])
        else:
            ends = zip(case.inputs, case.targets, case.encoders, case.decoders, strict=True)
            for t, (x, y, encoder, decoder) in enumerate(ends):
                index = torch.randint(len(x), (case.batch,), device=device)
                h = encoder(x[index])
                h = soft_core(h, scales[t]) if case.soft else core(h)
                total = total + loss_of(decoder(h), y[index])
        optimizer.zero_grad()
        total.backward()
        optimizer.step()

    return step


def concatenated(case: Case, device: str) -> Work:
    """As `plain`, with the samples of all tasks concatenated for the shared layers."""
    parts = nn.ModuleList([*case.layers, *case.encoders, *case.decoders]).to(device)
    optimizer = torch.optim.Adam(parts.parameters())

    def step() -> None:
        encoded, targets = [], []
        for x, y, encoder in zip(case.inputs, case.targets, case.encoders, strict=True):
            index = torch.randint(len(x), (case.batch,), device=device)
            encoded.append(encoder(x[index]))
            targets.append(y[index])
        h = torch.cat(encoded)
        for layer in case.layers:
            h = layer(h)
            h = F.max_pool2d(h, 2) if case.pooling else h
        total = torch.zeros((), device=device)
        for part, y, decoder in zip(h.split(case.batch), targets, case.decoders, strict=True):
            total = total + F.cross_entropy(decoder(part), y)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()

    return step


def _binary_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(outputs.squeeze(-1), targets)


def ours(case: Case, device: str) -> Work:
    """The same model in moduli: one step of its `Trainer`, bookkeeping included."""
    tasks = tasks_of(case)
    model = model_of(case, tasks)
    trainer = Trainer(model, tasks, Train(batch_size=case.batch), device=device)
    model.train()
    return trainer.one_step


def model_of(case: Case, tasks: list[Task]) -> JointModel:
    """The model of a case, in moduli."""
    names = [task.name for task in tasks]
    if case.pooling:
        structure = hard(names, lambda k: Conv(53), 4, pooling=True)
        encoders: nn.Module = Each({name: nn.Identity() for name in names})  # `Conv` fills up channels
        decoders: nn.Module = LinearBank(dict.fromkeys(names, (53, 20)))
    else:
        width = 256 if case.shared_input else 32
        layer = lambda k: Dense(width)  # noqa: E731
        structure = soft(names, layer, 4, dropout=0.5) if case.soft else hard(names, layer, 4)
        encoders, decoders = dense_ends(tasks, width)
    return JointModel(tasks, structure, encoders, decoders)


def tasks_of(case: Case) -> list[Task]:
    """The tasks of a case; all three splits are the same rows."""
    names = [f"task{t}" for t in range(len(case.inputs))]
    if case.shared_input:
        source = TensorSource(case.inputs[0], dict(zip(names, case.targets, strict=True)))
        data = Data("input", tuple(case.inputs[0].shape[1:]), source, source, source)
        return [Task(name, Binary(), data) for name in names]
    tasks = []
    for name, x, y, classes in zip(names, case.inputs, case.targets, case.outputs, strict=True):
        source = TensorSource(x, {name: y})
        tasks.append(Task(name, Multiclass(classes), Data(name, tuple(x.shape[1:]), source, source, source)))
    return tasks


# ------------------------------------------------------------------ memory

CASES: dict[str, Callable[[str], Case]] = {
    "tables10": lambda device: tables(10, device),
    "soft10": lambda device: tables(10, device, soft=True),
    "images20x1": lambda device: images(20, 1, device),
    "images20x16": lambda device: images(20, 16, device),
    "labels40": lambda device: labels(40, device),
}


def peak_memory(step: Work, device: str) -> int:
    """Bytes that one step holds at its peak, beyond what was there before it."""
    if device.startswith("cuda"):
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        return torch.cuda.max_memory_allocated() - before
    activity = torch.profiler.ProfilerActivity.CPU
    with torch.profiler.profile(activities=[activity], profile_memory=True) as profile:
        step()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder, "trace.json")
        profile.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    changes = sorted((e["ts"], e["args"]["Bytes"]) for e in events if e.get("name") == "[memory]")
    return max(itertools.accumulate(size for _, size in changes))


# ------------------------------------------------------------------ the limit


def flops(step: Work) -> int:
    """Floating-point operations of the matrix products and convolutions of a step, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def peak_speed(device: str) -> float:
    """Floating-point operations per second of a large matrix product: what the machine can do."""
    x = torch.rand(1024, 1024, device=device)
    for _ in range(3):
        x @ x
    return 2 * 1024**3 / min(seconds(lambda: x @ x, 3, device) for _ in range(9))


def main() -> None:
    options = arguments(__doc__ or "")
    device, budget = options.device, 3.0 if options.quick else 30.0
    ratios: dict[str, dict] = {}
    memory: dict[str, dict] = {}
    limit: dict[str, dict] = {}
    for name, make in CASES.items():
        ways = {"moduli": ours(make(device), device), "plain": plain(make(device), device)}
        ways["plain_fused"] = plain(make(device), device, fused=True)
        if name not in ("soft10", "labels40"):
            ways["concatenated"] = concatenated(make(device), device)
        times = turns(ways, budget, device)
        for other in list(ways)[1:]:
            ratios[f"{name}/moduli-over-{other}"] = ratio(times["moduli"], times[other])
        work, possible = flops(ways["moduli"]), peak_speed(device)
        share = work / possible / statistics.median(times["moduli"])
        limit[name] = {"megaflop": round(work / 1e6, 1), "share_of_matmul_speed": round(share, 3)}
        print(f"{name + '/limit':48s} {limit[name]}")
        peaks = {way: peak_memory(ways[way], device) / 2**20 for way in ("moduli", "plain")}
        memory[name] = {
            "ratio": round(peaks["moduli"] / peaks["plain"], 3),
            "megabytes": {way: round(peak, 2) for way, peak in peaks.items()},
        }
        print(f"{name + '/memory moduli-over-plain':48s} {memory[name]['ratio']:.3f}   {peaks}")

    counts = (5, 10, 20, 50)
    many = {str(n): ours(tables(n, device), device) for n in counts}
    growth = turns(many, budget / 2, device)
    for n in counts[1:]:
        ratios[f"tables{n}/moduli-over-tables5"] = ratio(growth[str(n)], growth["5"])
    report("step_time", options, ratios, memory=memory, limit=limit)


if __name__ == "__main__":
    main()
