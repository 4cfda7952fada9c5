"""Texts read in columns and images that are changed at random: killed and resumed, the bits are the same."""

import shutil

import torch
from torch import nn

from moduli import JointModel, Schedule, Train, Trainer, hard
from moduli.modules.networks import LSTMLanguageModel
from moduli.tasks import Chain, Crop, Data, Flip, Multiclass, Task, TensorSource, language_task

STEPS = 17


class SnapshotAt(Schedule):
    """Every task in every step; copies the run folder before one step, as a kill would leave it."""

    def __init__(self, step, source, target):
        self.step, self.copy = step, lambda: shutil.copytree(source, target)

    def choose(self, tasks, step):
        if step == self.step:
            self.copy()
        return tasks


def tasks():
    g = torch.Generator().manual_seed(0)
    text = torch.randint(0, 6, (200,), generator=g)
    x, y = torch.randn(30, 1, 5, 5, generator=g), torch.randint(0, 3, (30,), generator=g)
    train = TensorSource(x, {"images": y}, Chain(Crop(1), Flip()))
    held_out = TensorSource(x[:9], {"images": y[:9]})
    images = Task("images", Multiclass(3), Data("images", (1, 5, 5), train, held_out, held_out), batch_size=4)
    return [language_task("text", text, text[:60], text[:50], 6, length=5, columns=3), images]


def trainer(folder, schedule=None, init=0):
    made = tasks()
    torch.manual_seed(init)
    encoders = {"text": LSTMLanguageModel(6, width=4), "images": nn.Flatten()}
    decoders = {"text": nn.Identity(), "images": nn.Linear(25, 3)}
    structure = hard(["text", "images"], lambda k: nn.Identity(), 1)
    model = JointModel(made, structure, encoders, decoders)
    options = Train(steps=STEPS, phase=5, lr=0.02)
    return Trainer(model, made, options, schedule=schedule, seed=3, device="cpu", folder=folder)


def test_killed_and_resumed(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    expected = trainer(whole, SnapshotAt(8, whole, killed)).run()
    again = trainer(killed, init=99)
    found = again.run()
    assert again.step == STEPS
    for (name, one), other in zip(
        expected.model.state_dict().items(), found.model.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other), name
    assert (found.val, found.test) == (expected.val, expected.test)
    assert (killed / "metrics.jsonl").read_text() == (whole / "metrics.jsonl").read_text()
