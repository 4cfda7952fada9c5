"""Random crops and flips: what they may and may not do to an image, and how a stream repeats them."""

import pytest
import torch

from moduli.errors import InputError
from moduli.tasks import Chain, Crop, Flip, TensorSource

CPU = torch.device("cpu")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n=200, channels=2, height=5, width=6):
    """Different numbers everywhere, from 1."""
    return torch.arange(1.0, n * channels * height * width + 1).view(n, channels, height, width)


# ------------------------------------------------------------------ crops


@pytest.mark.parametrize("mode", ["constant", "reflect"])
def test_every_crop_is_a_window_of_the_padded_image(mode):
    x, padding = images(), 2
    padded = torch.nn.functional.pad(x, (padding,) * 4, mode)
    places = []
    for image, crop in zip(padded, Crop(padding, mode)(x, generator()), strict=True):
        found = [
            (i, j) for i in range(5) for j in range(5) if torch.equal(image[:, i : i + 5, j : j + 6], crop)
        ]
        assert len(found) == 1
        places += found
    assert len(set(places)) == 25  # 200 draws of 25 places: one is missed with probability 0.007


def test_crops_of_grey_images_without_channels():
    x = images(channels=1)
    with_channel = Crop(1)(x, generator())
    assert torch.equal(Crop(1)(x.squeeze(1), generator()), with_channel.squeeze(1))


def test_places_are_uniform():
    # Where one bright pixel goes: 9 places, 9000 images, each within 5 standard deviations of 1000.
    x = torch.zeros(9000, 1, 5, 5)
    x[:, 0, 2, 2] = 1
    counts = Crop(1)(x, generator()).sum(0)[0, 1:4, 1:4]
    assert counts.sum() == 9000
    assert torch.all((counts - 1000).abs() < 5 * (9000 * 1 / 9 * 8 / 9) ** 0.5)


# ------------------------------------------------------------------ flips and chains


def test_about_half_of_the_images_are_mirrored():
    x = images()
    flipped = Flip()(x, generator())
    as_was = torch.tensor([torch.equal(a, b) for a, b in zip(x, flipped, strict=True)])
    mirrored = torch.tensor([torch.equal(a.flip(-1), b) for a, b in zip(x, flipped, strict=True)])
    assert torch.all(as_was ^ mirrored)
    assert abs(int(mirrored.sum()) - 100) < 5 * 50**0.5


def test_a_chain_is_its_parts_one_after_another():
    x, g = images(), generator()
    assert torch.equal(Chain(Crop(1), Flip())(x, generator()), Flip()(Crop(1)(x, g), g))
    assert repr(Chain(Crop(4, "reflect"), Flip())) == "Chain(Crop(padding=4, mode='reflect'), Flip())"


def test_what_is_no_image_or_no_crop():
    with pytest.raises(InputError, match=r"random crops of inputs of shape \[784\]"):
        Crop(1)(torch.zeros(3, 784), generator())
    with pytest.raises(InputError, match="random flips"):
        Flip()(torch.zeros(3, 784), generator())
    with pytest.raises(InputError, match="padding of 0"):
        Crop(0)
    with pytest.raises(InputError, match="'mirror'"):
        Crop(1, "mirror")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="5×6 cannot be mirrored over 5"):
        Crop(5, "reflect")(images(), generator())


# ------------------------------------------------------------------ in a stream


def source(augment=None, n=20):
    x = images(n)
    return TensorSource(x, {"a": torch.arange(n)}, augment)


def test_a_stream_changes_inputs_and_evaluation_does_not():
    augmented, plain = source(Crop(1)), source()
    one, other = (s.stream(8, 3, CPU) for s in (augmented, plain))
    changed = 0
    for _ in range(6):
        a, b = one.draw(), other.draw()
        assert torch.equal(a.targets["a"], b.targets["a"])  # the same samples in the same order
        changed += sum(not torch.equal(x, y) for x, y in zip(a.inputs, b.inputs, strict=True))
    assert changed > 30
    assert torch.equal(torch.cat([b.inputs for b in augmented.batches(6, CPU)]), images(20))
    assert torch.equal(augmented.inputs, images(20))


def test_an_augmented_stream_continues_bit_for_bit(tmp_path):
    make = source(Chain(Crop(2, "reflect"), Flip()))
    stream = make.stream(8, 3, CPU)
    for _ in range(3):
        stream.draw()
    torch.save(stream.state_dict(), tmp_path / "state.pt")
    expected = [stream.draw().inputs for _ in range(4)]
    again = make.stream(8, 99, CPU)
    again.draw()
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert all(torch.equal(again.draw().inputs, x) for x in expected)


def test_augmentation_follows_the_seed_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    make = source(Crop(2))
    one, same, other = (make.stream(20, seed, CPU).draw() for seed in (1, 1, 2))
    assert torch.equal(one.inputs, same.inputs)
    order = [batch.targets["a"].argsort() for batch in (one, other)]
    assert not torch.equal(one.inputs[order[0]], other.inputs[order[1]])
    assert torch.equal(before, torch.get_rng_state())


def test_states_without_augmentation_are_as_they_were():
    assert source().stream(4, 0, CPU).state_dict().keys() == {"order", "generator", "drawn"}


def test_copies_on_another_device_are_augmented_too():
    change = Crop(1)
    moved = source(change).to(torch.device("meta"))
    assert moved.augment is change
