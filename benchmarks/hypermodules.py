"""Time and memory of generated weights: moduli against what one writes by hand, and against plain models.

**Generation**, forward and backward, of the 12,764 blocks of 16x16 of the large cross-modal set (WRN-40-1, an
LSTM of two layers of 256, DeepBind of width 256; section 8.7 of Meyerson 2018), with contexts of c = 4
numbers. Cases: at the start each location has a hypermodule of its own; later an eighth of them is left; with
Q = 1 a candidate competes at every location, with Q = 0 at none. The ways, of equal outputs and gradients:
  moduli    all blocks in one operation (`Hypermodules`)
  einsum    `index_select` of the hypermodules, then one `einsum` with contexts and shares
  indexing  the same with `H[mapping]`
  layers    moduli's operation, once for each weight

The limit is the time in which the bytes that must move can be copied: forward the hypermodules are read and
the blocks written, backward the blocks' gradients and the hypermodules read and the hypermodules' gradients
written; contexts and indices are small. The bandwidth is that of a large copy in the same rounds.

**Memory**: peak of generating all weights of the set, in the shapes that the layers want, with half of the
locations competing, and of the backward pass, over the bytes of the weights; the gradients of contexts and
hypermodules, which any way has, stand apart.

**Steps**: forward, losses, backward and fused Adam of reparameterised models over plain ones, on random data:
the small cross-modal set (`DigitConv`, `TextConv` on 400 words, `DeepBind` on 201 letters, batches of 128, 32
and 64) and WRN-40-1 on batches of 128 images of 32x32. Half of the locations have a candidate, as by default;
"start" and "later" as above.

  python benchmarks/hypermodules.py [--quick] [--json FILE] [--device cuda] [--threads N]
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from harness import Work, arguments, ratio, report, seconds
from step_time import peak_memory
from torch import Tensor, nn

from moduli.hypermodules import HyperModel, Hypermodules, MappingEvolution, reparameterize
from moduli.modules.networks import DeepBind, DigitConv, LSTMLanguageModel, TextConv, WideResNet

BLOCK, CONTEXT, LEFT = 16, 4, 8  # later, one module of eight is left
BLOCKS = 12_764


def large_set() -> dict[str, nn.Module]:
    """The models of section 8.7; of the text only what is generated matters."""
    return {
        "cifar": WideResNet(),
        "text": LSTMLanguageModel(10),
        "dna": DeepBind(width=256, hidden=256),
    }


# ------------------------------------------------------------------ generation


def bank_of(K: int, Q: int, device: str) -> Hypermodules:
    """K hypermodules for all blocks, with Q candidates everywhere."""
    torch.manual_seed(0)
    table = torch.randn(K, CONTEXT, BLOCK, BLOCK) / math.sqrt(CONTEXT)
    mapping = torch.arange(BLOCKS) % K
    bank = Hypermodules(table, torch.randn(BLOCKS, CONTEXT), mapping[torch.randperm(BLOCKS)])
    if Q:
        bank.compete(torch.arange(BLOCKS), torch.randint(K, (BLOCKS, Q)), alpha=0.5)
        nn.init.normal_(bank.soft)
    return bank.to(device)


Generate = Callable[[], Tensor]


def ways_to_generate(bank: Hypermodules, model: HyperModel) -> dict[str, Generate]:
    """All blocks `[L, mn]` of a bank, in the alternative ways."""
    competing = len(bank.competing) > 0
    mapping = bank.mapping.unsqueeze(-1)
    if competing:
        mapping = torch.cat([mapping, bank.candidates], -1)
    flat = mapping.flatten()
    layers = [((weight.first, weight.first + weight.blocks),) for weight in model.coverage.weights]

    def mixed(gathered: Tensor) -> Tensor:
        if competing:
            mix = torch.einsum("lq,lc,lqcmn->lmn", bank.soft.softmax(-1), bank.contexts, gathered)
        else:
            mix = torch.einsum("lc,lcmn->lmn", bank.contexts, gathered.squeeze(1))
        return mix.flatten(1)

    return {
        "moduli": bank,
        "einsum": lambda: mixed(bank.table.index_select(0, flat).unflatten(0, mapping.shape)),
        "indexing": lambda: mixed(bank.table[mapping]),
        "layers": lambda: torch.cat([bank(layer) for layer in layers]),
    }


def there_and_back(bank: Hypermodules, generate: Generate) -> Callable[[], tuple[Tensor, ...]]:
    """Blocks, and gradients of what they are made of."""
    parameters = [p for p in bank.parameters() if p.numel()]
    torch.manual_seed(1)
    grad = torch.randn(len(bank.mapping), BLOCK * BLOCK, device=bank.table.device)
    return lambda: torch.autograd.grad(generate(), parameters, grad)


def assert_equal(bank: Hypermodules, ways: Mapping[str, Generate]) -> None:
    """All ways give the same blocks and gradients."""
    for name, generate in ways.items():
        torch.testing.assert_close(generate(), ways["moduli"](), msg=f"blocks of {name}")
        pairs = zip(there_and_back(bank, generate)(), there_and_back(bank, ways["moduli"])(), strict=True)
        for one, two in pairs:
            torch.testing.assert_close(one, two, atol=1e-3, rtol=1e-4, msg=f"gradients of {name}")


def bytes_to_move(bank: Hypermodules) -> int:
    """What no way can do without: see above."""
    table, blocks = bank.table.numel(), len(bank.mapping) * BLOCK * BLOCK
    return (3 * table + 2 * blocks) * bank.table.element_size()


def copying(device: str) -> tuple[Work, int]:
    """A large copy, and the bytes that it moves."""
    source = torch.ones(1 << 25, device=device)
    target = torch.empty_like(source)
    return lambda: target.copy_(source), 2 * source.numel() * source.element_size()


CASES = {"start-Q1": (BLOCKS, 1), "later-Q1": (BLOCKS // LEFT, 1), "later-Q0": (BLOCKS // LEFT, 0)}


def time_generation(rounds: int, device: str, ratios: dict[str, dict], *cases: str) -> dict[str, dict]:
    """Adds the ratios of some cases; how near to the limit each comes."""
    model = reparameterize(large_set(), context=CONTEXT, evolution=None)
    assert model.coverage.blocks == BLOCKS
    copy, copied = copying(device)
    limits: dict[str, dict] = {}
    for name in cases:
        bank = bank_of(*CASES[name], device)
        ways = ways_to_generate(bank, model)
        assert_equal(bank, ways)
        works: dict[str, Work] = {way: there_and_back(bank, f) for way, f in ways.items()}
        times = in_rounds({**works, "copy": copy}, rounds, 1, device)
        for other in list(ways)[1:]:
            ratios[f"generation-{name}/moduli-over-{other}"] = ratio(times["moduli"], times[other])
        possible = [taken * bytes_to_move(bank) / copied for taken in times["copy"]]
        limits[name] = {
            "megabytes": round(bytes_to_move(bank) / 1e6, 1),
            "gigabytes_per_s": round(copied / statistics.median(times["copy"]) / 1e9, 1),
            "share_of_limit": ratio(possible, times["moduli"]),
        }
        print(f"{name + '/limit':48s} {limits[name]}", flush=True)
    return limits


def memory_of_generation(device: str) -> dict[str, float]:
    """Peak bytes over those of the generated weights, without the gradients of parameters; and of these."""
    model = reparameterize(large_set(), context=CONTEXT, evolution=MappingEvolution(burn_in=0)).to(device)
    bank, weights = model.hypermodules, model.coverage.weights
    bank()  # finds out which rows make which block, once for all steps of a phase

    def forward() -> Tensor:  # as in a model, only the graph keeps the weights
        return torch.stack([weight.relu().sum() for weight in model._generate(weights)]).sum()

    size = model.coverage.generated * bank.table.element_size()
    whole = peak_memory(lambda: forward().backward(), device)
    gradients = sum(p.grad.nbytes for p in bank.parameters() if p.grad is not None)
    bank.requires_grad_(False).contexts.requires_grad_()  # almost all but the gradients of parameters
    before = peak_memory(lambda: forward().backward(), device)
    return {
        "peak_over_weights": round(max(before, whole - gradients) / size, 3),
        "gradients_over_weights": round(gradients / size, 3),
    }


# ------------------------------------------------------------------ steps

Models = dict[str, nn.Module]
Loss = Callable[[Tensor, Tensor], Tensor]


def small_set(device: str) -> tuple[Models, dict[str, tuple[Tensor, Tensor]]]:
    """The models of section 8.6, and a batch for each."""
    torch.manual_seed(0)
    models = {"mnist": DigitConv(), "imdb": TextConv(), "dna": DeepBind()}
    batches = {
        "mnist": (torch.rand(128, 1, 28, 28), torch.randint(10, (128,))),
        "imdb": (torch.randint(5000, (32, 400)), torch.rand(32, 1)),
        "dna": (torch.randint(5, (64, 201)), torch.rand(64, 1)),
    }
    return models, {name: (x.to(device), y.to(device)) for name, (x, y) in batches.items()}


def wide_resnet(device: str) -> tuple[Models, dict[str, tuple[Tensor, Tensor]]]:
    torch.manual_seed(0)
    x, y = torch.rand(128, 3, 32, 32), torch.randint(10, (128,))
    return {"cifar": WideResNet()}, {"cifar": (x.to(device), y.to(device))}


def loss_of(outputs: Mapping[str, Tensor], batches: Mapping[str, tuple[Tensor, Tensor]]) -> Tensor:
    """The sum of the tasks' losses."""
    total = torch.zeros((), device=next(iter(outputs.values())).device)
    for name, (_, y) in batches.items():
        loss: Loss = F.mse_loss if y.is_floating_point() else F.cross_entropy
        total = total + loss(outputs[name], y)
    return total


def step_of(
    parameters: Sequence[nn.Parameter],
    forward: Callable[[], Mapping[str, Tensor]],
    batches: Mapping[str, tuple[Tensor, Tensor]],
) -> Work:
    optimizer = torch.optim.Adam(parameters, lr=1e-5, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        loss_of(forward(), batches).backward()
        optimizer.step()

    return step


def steps(models: Models, batches: Mapping[str, tuple[Tensor, Tensor]], device: str) -> dict[str, Work]:
    """A step of the plain models, and of two reparameterisations."""
    inputs = {name: x for name, (x, _) in batches.items()}
    evolution = MappingEvolution(burn_in=0)
    start = reparameterize(models, context=CONTEXT, evolution=evolution)
    few = start.coverage.blocks // LEFT
    later = reparameterize(models, context=CONTEXT, evolution=evolution, mapping=few)
    plain = nn.ModuleDict(models).to(device).train()
    outputs = lambda: {name: model(inputs[name]) for name, model in plain.items()}  # noqa: E731
    works = {"plain": step_of(list(plain.parameters()), outputs, batches)}
    for name, model in (("start", start), ("later", later)):
        model = model.to(device).train()
        works[name] = step_of(list(model.parameters()), lambda model=model: model(inputs), batches)
    return works


def in_rounds(works: Mapping[str, Work], rounds: int, repeats: int, device: str) -> dict[str, list[float]]:
    """Seconds per call of every alternative in every round, interleaved, after one call of each."""
    for work in works.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(seconds(work, repeats, device))
    return times


def main() -> None:
    options = arguments(__doc__ or "")
    device, quick = options.device, options.quick
    ratios: dict[str, dict] = {}
    limits = time_generation(3 if quick else 15, device, ratios, *(["later-Q1"] if quick else CASES))
    memory = memory_of_generation(device)
    print(f"{'memory':48s} {memory}", flush=True)
    for name, make, (rounds, repeats) in (
        ("small-set", small_set, (5, 2) if quick else (25, 5)),
        ("wide-resnet", wide_resnet, (1, 1) if quick else (15, 1)),
    ):
        times = in_rounds(steps(*make(device), device), rounds, repeats, device)
        for case in ("start", "later"):
            ratios[f"step-{name}-{case}/moduli-over-plain"] = ratio(times[case], times["plain"])
    report("hypermodules", options, ratios, limit=limits, memory=memory)


if __name__ == "__main__":
    main()
