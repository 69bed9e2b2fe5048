"""Generator networks: published sizes, any image shape, private randomness, fixed upsampling."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from pnp.priors.dip import ConvDecoder, DeepDecoder, Hourglass, TwoLayer
from pnp.priors.dip.layers import Dropout, Pointwise, Upsample, initialise, pad_by_slices, two_phase_bilinear
from pnp.priors.dip.memory import ORDER, activation_bytes, explain_shortage, free_bytes
from pnp.priors.dip.presets import NAMES, Layout, build
from pnp.priors.dip.settings import Settings

CPU = torch.device("cpu")
LIGHT = {"inputs": 8, "channels": (16, 32, 64, 64, 64), "padding": "zeros", "join": "add", "pointwise": False}


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("network", "count"),
    [
        (Hourglass(3), 2_217_831),  # Ulyanov et al. 2018, 32 -> 3 channels
        (DeepDecoder(3), 100_224),  # Heckel & Hand 2019, k = 128
        (DeepDecoder(4, channels=(256,) * 6), 397_312),  # their inpainting example, k = 256
        (DeepDecoder(1, channels=(256, 256, 128, 64, 64), order="late"), 177_728),
        (Hourglass(1, **LIGHT), 365_277),
    ],
)
def test_parameter_counts(network, count):
    """The networks have the published number of parameters."""
    assert parameters(network) == count


def test_no_skips_means_no_skip_parameters():
    """The encoder-decoder without skips lacks the skip branches and their share of the joints, nothing else."""
    with_skips, without = Hourglass(3, inputs=32), Hourglass(3, inputs=32, skip=0)
    per_scale = [4 * i + 4 + 2 * 4 + 2 * 4 + 4 * 128 * 9 for i in (32, 128, 128, 128, 128)]
    assert parameters(with_skips) - parameters(without) == sum(per_scale)


@given(
    name=st.sampled_from([n for n in NAMES if n not in ("auto", "paper", "over-decoder")]),
    height=st.integers(3, 70),
    width=st.integers(3, 70),
    channels=st.integers(1, 4),
)
def test_any_size_and_channels(name, height, width, channels):
    """Every preset makes an image of the size and channels asked for."""
    fit = Settings(network=name).start_fit(
        (channels, height, width), low=-1.0, high=3.0, device=CPU, relative_sigma=0.1
    )
    with torch.no_grad():
        image = fit.image()
    assert image.shape == (channels, height, width)
    assert torch.isfinite(image).all()
    assert image.min() >= -1
    assert image.max() <= 3


@pytest.mark.parametrize(
    ("device", "side", "noise", "in_solver", "name"),
    [
        ("cpu", 256, None, False, "tapered"),
        ("cpu", 256, 0.05, False, "tapered"),
        ("cpu", 512, 0.09, False, "light"),
        ("cpu", 513, 0.09, False, "tapered"),
        ("cpu", 513, 0.4, False, "light"),
        ("cpu", 256, 0.09, True, "tapered"),
        ("cpu", 256, 0.4, True, "light"),
        ("cuda", 512, 0.01, False, "fast"),
    ],
)
def test_automatic_network(device, side, noise, in_solver, name):
    """Chosen by device, size, noise, and whether a solver asks for it again and again; the user's choice stands."""
    where = torch.device(device)
    assert Settings().name(where, side**2, noise, in_solver=in_solver)[0] == name
    assert Settings(network="tiny").name(where, side**2, noise, in_solver=in_solver)[0] == "tiny"


@pytest.mark.parametrize("name", ["tapered", "light", "conv-decoder", "two-layer"])
def test_weights_come_from_the_seed_alone(name):
    """The global generator is neither read nor moved; one seed gives one network, another seed another."""

    def draw(seed):
        network = build(name, 1, (32, 32), Layout(), None, generator(seed))
        return nn.utils.parameters_to_vector(network.parameters()).detach()

    before = torch.get_rng_state()
    first = draw(0)
    assert torch.equal(torch.get_rng_state(), before)
    with torch.random.fork_rng():
        torch.manual_seed(123)
        assert torch.equal(draw(0), first)
    assert not torch.equal(draw(1), first)


def test_weights_follow_the_usual_law():
    """Uniform in +-1/sqrt(fan in), as PyTorch's own initialisation; norms are 1 and 0."""
    network = Hourglass(1, channels=(64, 64))
    initialise(network, generator())
    weight = network.body.down[1][0].weight
    bound = 1 / (64 * 9) ** 0.5
    assert weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert network.body.down[1][1].weight.eq(1).all()


@given(height=st.integers(2, 9), width=st.integers(2, 9), seed=st.integers(0, 100))
def test_two_phase_bilinear_is_bilinear(height, width, seed):
    """The deterministic arithmetic equals the library's bilinear upsampling, and so does its gradient."""
    x = torch.randn(1, 2, height, width, generator=generator(seed), dtype=torch.float64, requires_grad=True)
    ours, theirs = two_phase_bilinear(x), F.interpolate(x, scale_factor=2, mode="bilinear")
    assert torch.allclose(ours, theirs, atol=1e-13)
    weights = torch.randn(ours.shape, generator=generator(seed + 1), dtype=torch.float64)
    slopes = [torch.autograd.grad((t * weights).sum(), x)[0] for t in (ours, theirs)]
    assert torch.allclose(*slopes, atol=1e-12)


def test_two_phase_bilinear_keeps_channels_last():
    """What the convolutions around it compute in: any other layout costs a copy of the largest maps each way."""
    x = torch.rand(1, 4, 3, 5).contiguous(memory_format=torch.channels_last)
    assert two_phase_bilinear(x).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "gaussian"])
def test_upsampling_is_a_fixed_low_pass(mode):
    """Constants stay, no parameter is learnt, and an alternating picture loses energy unless nearest."""
    up = Upsample(mode)
    assert not list(up.parameters())
    constant = torch.full((1, 3, 4, 5), 0.7)
    assert torch.allclose(up(constant), torch.full((1, 3, 8, 10), 0.7))
    checks = ((torch.arange(8)[:, None] + torch.arange(8)) % 2).double()[None, None] - 0.5
    kept = up(checks).square().mean() / checks.square().mean()
    assert kept == 1 if mode == "nearest" else kept < 0.5


@given(height=st.integers(2, 9), width=st.integers(2, 9), mode=st.sampled_from(["reflect", "replicate"]))
def test_padding_by_slices_is_padding(height, width, mode):
    """The deterministic padding equals the library's."""
    x = torch.randn(1, 2, height, width, generator=generator())
    assert torch.equal(pad_by_slices(x, mode), F.pad(x, (1, 1, 1, 1), mode))


def test_pointwise_is_a_1x1_convolution():
    """The matrix product over the pixels equals the convolution."""
    layer, x = Pointwise(3, 5), torch.randn(2, 3, 6, 7, generator=generator())
    assert torch.allclose(layer(x), F.conv2d(x, layer.weight, layer.bias), atol=1e-6)


@pytest.mark.parametrize("maps", [False, True])
def test_dropout_draws_from_its_own_generator(maps):
    """Mean kept, zeros at the rate asked for, whole maps if wanted; off outside training."""
    layer = Dropout(0.25, maps=maps)
    layer.generator = generator()
    x, before = torch.ones(1, 400, 10, 10), torch.get_rng_state()
    y = layer(x)
    assert torch.equal(torch.get_rng_state(), before)
    assert y.eq(0).double().mean() == pytest.approx(0.25, abs=0.06 if maps else 0.01)
    assert set(y.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    if maps:
        assert (y.eq(0).flatten(2).double().mean(dim=2) % 1 == 0).all()
    assert torch.equal(layer.eval()(x), x)


@pytest.mark.parametrize("upsample", ["bilinear", "nearest", "gaussian"])
def test_late_decoder_interpolates_after_normalising(upsample):
    """order="late" is convolution, ReLU, normalisation, interpolation per stage, though computed in another order."""
    network = DeepDecoder(2, channels=(6, 5, 4), order="late", upsample=upsample)
    initialise(network, generator())
    z = torch.rand(1, 6, 3, 4, generator=generator())
    convolutions = [m for m in network.body if isinstance(m, Pointwise)]
    norms = [m for m in network.body if isinstance(m, nn.BatchNorm2d)]
    x = z
    for stage, (convolve, normalise) in enumerate(zip(convolutions, norms, strict=True)):
        x = normalise(F.relu(convolve(x)))
        x = Upsample(upsample)(x) if stage < 2 else x
    assert torch.allclose(network(z), network.head(x), atol=1e-5)


def test_added_joint_equals_concatenation():
    """conv(cat(skip, deeper)) = conv_s(skip) + conv_u(deeper)."""
    from pnp.priors.dip.networks import _Added

    joint = _Added(4, 6, 5, "zeros")
    skip, deeper = torch.randn(1, 4, 8, 8, generator=generator()), torch.randn(1, 6, 8, 8, generator=generator(1))
    weight = torch.cat([joint.skip.weight, joint.deeper.weight], dim=1)
    whole = F.conv2d(torch.cat([skip, deeper], dim=1), weight, joint.deeper.bias, padding=1)
    assert torch.allclose(joint(deeper, skip), whole, atol=1e-5)


def test_two_layer_starts_at_zero():
    """The two halves of the first coefficients cancel."""
    network = TwoLayer(2, (12, 14), channels=8)
    initialise(network, generator())
    assert network(torch.zeros(())).abs().max() < 1e-6


def test_shortage_names_a_preset():
    """The message for exhausted memory names a preset that needs less."""
    small = activation_bytes(ConvDecoder(1, channels=(8, 8)), (64, 64))
    assert 0 < small < activation_bytes(Hourglass(1), (64, 64))
    needs = {
        name: activation_bytes(build(name, 1, (256, 256), Layout(), 0.1, generator()), (256, 256)) for name in ORDER
    }
    for name in ("paper", "tiny"):
        advice = explain_shortage(name, (1, 256, 256), CPU, free_bytes(CPU)).split("image")[1]
        assert "GiB" in advice
        named = [other for other in ORDER if f"network={other!r}" in advice]
        assert len(named) == 1
        assert "the smallest" in advice or needs[named[0]] < needs[name]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Upsample("cubic"),
        lambda: Dropout(1.0),
        lambda: Hourglass(1, join="multiply"),
        lambda: Hourglass(1, channels=(8, 8), skip=(4,)),
        lambda: Hourglass(1, padding="wrap"),
        lambda: Hourglass(1, normalisation="layer"),
        lambda: DeepDecoder(1, order="never"),
        lambda: TwoLayer(1, (8, 8), channels=3),
        lambda: TwoLayer(1, (8, 8), width=0.0),
        lambda: build("resnet", 1, (32, 32), Layout(), None, generator()),
    ],
)
def test_bad_settings_are_refused(make):
    """Unknown names and values out of range are ValueErrors."""
    with pytest.raises(ValueError, match=r"expected|must be"):
        make()
