import multiprocessing
import random
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from moduli.errors import InputError
from moduli.tasks import DatasetSource, TensorSource
from moduli.tasks.sources import ShuffledIndices

CPU = torch.device("cpu")
N = 10


class Rows(Dataset):
    """Row i has input [i, i] and, for several tasks, the targets i and 10 i."""

    def __init__(self, several=False, n=N):
        self.several, self.n = several, n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        x = torch.full((2,), float(i))
        return x, ({"a": torch.tensor(i), "b": torch.tensor(10.0 * i)} if self.several else torch.tensor(i))


def tensors():
    x = torch.arange(N).float()[:, None].expand(N, 2).contiguous()
    return TensorSource(x, {"a": torch.arange(N), "b": torch.arange(N) * 10.0})


SOURCES = {
    "tensors": tensors,
    "dataset": lambda: DatasetSource(Rows(several=True), ["a", "b"]),
    "dataset, one worker": lambda: DatasetSource(Rows(several=True), ["a", "b"], workers=1),
}
each_source = pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES.keys())


# ------------------------------------------------------------------ order


@pytest.mark.parametrize(("n", "size"), [(10, 3), (10, 10), (3, 8), (1, 4), (100, 7)])
def test_every_sample_once_per_permutation(n, size):
    indices = ShuffledIndices(n, size, seed=0)
    seen = torch.cat([indices.draw() for _ in range(n * 6)])
    for start in range(0, len(seen) - n + 1, n):
        assert sorted(seen[start : start + n].tolist()) == list(range(n))


def test_order_follows_the_seed():
    def first(seed):
        indices = ShuffledIndices(50, 50, seed)
        return indices.draw().tolist()

    assert first(1) == first(1)
    assert first(1) != first(2)


def test_order_is_uniform():
    # Position of sample 0 in 4000 permutations of 4: each of 4 places within 5 standard deviations.
    indices = ShuffledIndices(4, 4, seed=0)
    places = torch.stack([(indices.draw() == 0).nonzero()[0, 0] for _ in range(4000)])
    assert torch.all((places.bincount(minlength=4) - 1000).abs() < 5 * (4000 * 0.25 * 0.75) ** 0.5)


def test_order_does_not_touch_the_global_generator():
    before = torch.get_rng_state()
    tensors().stream(4, 0, CPU).draw()
    assert torch.equal(before, torch.get_rng_state())


# ------------------------------------------------------------------ batches


@each_source
def test_stream_keeps_inputs_and_targets_together(make):
    stream = make().stream(4, seed=3, device=CPU)
    for _ in range(5):
        batch = stream.draw()
        assert batch.inputs.shape == (4, 2)
        assert torch.equal(batch.inputs[:, 0], batch.targets["a"].float())
        assert torch.equal(batch.targets["b"], batch.targets["a"] * 10.0)


@each_source
def test_batches_give_every_sample_once_in_order(make):
    batches = list(make().batches(4, CPU))
    assert [len(batch.inputs) for batch in batches] == [4, 4, 2]
    assert torch.cat([batch.targets["a"] for batch in batches]).tolist() == list(range(N))


def test_all_sources_draw_in_one_order():
    streams = [make().stream(4, seed=3, device=CPU) for make in SOURCES.values()]
    for _ in range(6):
        first, *others = [stream.draw() for stream in streams]
        assert all(torch.equal(first.inputs, other.inputs) for other in others)


def test_single_target_goes_to_every_task():
    batch = DatasetSource(Rows(), ["a", "c"]).stream(3, 0, CPU).draw()
    assert torch.equal(batch.targets["a"], batch.targets["c"])


def test_batch_names_the_tasks_without_missing_labels():
    y = {"a": torch.tensor([0, 1]), "b": torch.tensor([0, -1]), "c": torch.tensor([0.0, torch.nan])}
    source = TensorSource(torch.zeros(2, 1), y)
    assert source.stream(1, 0, CPU).draw().complete == {"a"}
    assert next(source.batches(1, CPU)).complete == {"a"}


# ------------------------------------------------------------------ state


@each_source
@pytest.mark.parametrize("drawn", [0, 1, 7])
def test_stream_continues_bit_for_bit(make, drawn):
    stream = make().stream(3, seed=5, device=CPU)
    for _ in range(drawn):
        stream.draw()
    state = stream.state_dict()
    expected = [stream.draw() for _ in range(9)]

    again = make().stream(3, seed=99, device=CPU)
    again.draw()
    again.load_state_dict(state)
    for batch in expected:
        other = again.draw()
        assert torch.equal(batch.inputs, other.inputs)
        assert all(torch.equal(y, other.targets[task]) for task, y in batch.targets.items())


@each_source
def test_saved_state_does_not_move_on(make):
    stream = make().stream(3, seed=5, device=CPU)
    stream.draw()
    state = stream.state_dict()
    copy = deepcopy(state)
    for _ in range(6):
        stream.draw()
    torch.testing.assert_close(state, copy, rtol=0, atol=0)


@each_source
def test_state_survives_torch_save(make, tmp_path):
    stream = make().stream(3, seed=5, device=CPU)
    stream.draw()
    torch.save(stream.state_dict(), tmp_path / "state.pt")
    expected = stream.draw().inputs
    again = make().stream(3, seed=0, device=CPU)
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(again.draw().inputs, expected)


@pytest.mark.parametrize("workers", [0, 1])
def test_random_augmentation_is_the_same_after_a_resume_and_whatever_the_workers(workers):
    class Augmented(torch.utils.data.Dataset):
        def __len__(self):
            return 10

        def __getitem__(self, index):
            return torch.rand(3) + np.random.rand() + random.random(), torch.tensor(index)

    def stream(workers):
        return DatasetSource(Augmented(), ["a"], workers=workers).stream(4, seed=1, device=CPU)

    reference, first = stream(0), stream(workers)
    for _ in range(3):
        torch.testing.assert_close(first.draw().inputs, reference.draw().inputs, rtol=0, atol=0)
    state = first.state_dict()
    expected = [first.draw().inputs for _ in range(3)]
    second = stream(workers)
    second.load_state_dict(state)
    for x in expected:
        torch.testing.assert_close(second.draw().inputs, x, rtol=0, atol=0)
    assert not torch.equal(expected[0], expected[1])


def test_augmentation_leaves_the_global_random_numbers_alone():
    data = torch.utils.data.TensorDataset(torch.rand(10, 2), torch.zeros(10))
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    DatasetSource(data, ["a"]).stream(4, seed=1, device=CPU).draw()
    assert torch.equal(torch.rand(2), expected)


def test_dropped_stream_stops_its_worker_at_once():
    before = set(multiprocessing.active_children())
    stream = SOURCES["dataset, one worker"]().stream(3, seed=5, device=CPU)
    stream.draw()
    assert len(set(multiprocessing.active_children()) - before) == 1
    del stream
    assert set(multiprocessing.active_children()) <= before


# ------------------------------------------------------------------ bad input


def test_no_rows():
    with pytest.raises(InputError, match="no samples for a"):
        TensorSource(torch.empty(0, 2), {"a": torch.empty(0)})
    with pytest.raises(InputError, match="data set for a is empty"):
        DatasetSource(Rows(n=0), ["a"])


def test_targets_of_another_length():
    with pytest.raises(InputError, match="task 'a': 3 targets for 4 inputs"):
        TensorSource(torch.zeros(4, 2), {"a": torch.zeros(3)})


def test_data_are_moved_to_a_device_once():
    source = TensorSource(torch.rand(4, 2), {"a": torch.rand(4)})
    assert source.to(CPU) is source
    elsewhere = torch.device("meta")
    assert source.to(elsewhere) is source.to(elsewhere)
    assert source.to(elsewhere).inputs.device == elsewhere
