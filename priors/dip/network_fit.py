"""One network fitted to one image: parameters in one vector, Adam, the running average, all state in tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .layers import Dropout
from .presets import Recipe

Loss = Callable[[Tensor], Tensor]  # image (C, H, W) to a scalar


@dataclasses.dataclass(frozen=True)
class Penalties:
    """``l1 sum |W| + l2 sum W^2 / 2`` over convolution weights, terms of the loss; AdamW's decay of all parameters."""

    l1: float = 0.0
    l2: float = 0.0
    weight_decay: float = 0.0
    scale: float = 1.0  # of the two loss terms against the data loss


class NetworkFit:
    """The state of ``min_theta loss(f_theta(z))``: everything a step changes is a tensor changed in place.

    All parameters are views into one float32 vector, so Adam is one fused kernel, a snapshot one copy and the distance
    from the start one norm; 4-d weights are laid out channels last. ``output`` is the image of the last step and
    ``average`` their running mean with factor ``min(beta, (1 + t) / (k + t))``, which forgets the start.
    A step never waits for the device, so that it can be captured once in a CUDA graph and replayed.
    """

    def __init__(
        self,
        network: nn.Module,
        z: Tensor,
        shape: tuple[int, int, int],
        *,
        centre: float,
        span: float,
        sigmoid: bool,
        recipe: Recipe,
        generator: torch.Generator,
        precision: torch.dtype = torch.float32,
        penalties: Penalties | None = None,
    ) -> None:
        penalties = penalties or Penalties()
        self.network, self.shape, self.recipe, self.generator = network.train(), shape, recipe, generator
        self.centre, self.span, self.sigmoid = centre, span, sigmoid
        self.limit, self.precision, self.penalties = recipe.average, precision, penalties
        device = z.device
        self.z = z.contiguous(memory_format=torch.channels_last)
        self.noise = torch.zeros_like(z.permute(0, 2, 3, 1).contiguous())  # its own memory in one piece draws fastest
        for module in network.modules():
            if isinstance(module, Dropout):
                module.generator = generator
        self.theta, self.grad, self.weights = _flatten(
            network, device, torch.float64 if precision == torch.float64 else torch.float32
        )
        cuda = device.type == "cuda"
        self.optimizer = torch.optim.AdamW(
            [self.theta],
            lr=torch.tensor(recipe.lr, device=device) if cuda else recipe.lr,
            betas=recipe.betas,
            weight_decay=penalties.weight_decay,
            fused=True,
            capturable=cuda,
        )
        real = self.theta.dtype
        self.output = torch.zeros(shape, dtype=real, device=device)
        self.average = torch.zeros(shape, dtype=real, device=device)
        self.count = torch.zeros((), dtype=real, device=device)  # images in the average
        self.loss = torch.zeros((), dtype=real, device=device)
        self.start = self.theta.detach().clone()

    # ------------------------------------------------------------------ one iteration
    def step(self, loss: Loss) -> None:
        """One Adam step; ``output``, ``average`` and ``loss`` are those of the weights before it."""
        self.grad.zero_()
        with torch.enable_grad():
            image = self.image(self._jittered())
            value = loss(image)
            value.backward()  # type: ignore[no-untyped-call]
        value = value.detach()
        if self.penalties.l1 or self.penalties.l2:
            value = value + self._penalise()
        self.optimizer.step()
        self.observe(image.detach())
        self.loss.copy_(value)

    def image(self, z: Tensor | None = None) -> Tensor:
        """``f_theta(z)`` as an image (C, H, W) in the range given."""
        device = self.z.device.type
        with torch.autocast(device, torch.bfloat16, enabled=self.precision == torch.bfloat16, cache_enabled=False):
            raw = self.network(self.z if z is None else z)
        if not isinstance(raw, Tensor):
            raise TypeError(f"DeepImagePrior: the network must return a tensor, got {type(raw).__name__}.")
        raw = raw.to(self.theta.dtype)
        channels, height, width = self.shape
        if raw.ndim != 4 or raw.shape[:2] != (1, channels) or raw.shape[2] < height or raw.shape[3] < width:
            raise ValueError(
                f"DeepImagePrior: the network returned {tuple(raw.shape)} for z {tuple(self.z.shape)}, expected "
                f"(1, {channels}, >= {height}, >= {width})."
            )
        top, left = (raw.shape[2] - height) // 2, (raw.shape[3] - width) // 2
        cropped = raw[0, :, top : top + height, left : left + width]
        return self.centre + self.span * (torch.sigmoid(cropped) - 0.5 if self.sigmoid else cropped)

    def observe(self, image: Tensor) -> None:
        """Take ``image`` into the running average."""
        self.output.copy_(image)
        weight = torch.clamp((1 + self.count) / (self.recipe.recent + self.count), max=self.limit)
        weight = torch.where(self.count > 0, weight, 0)
        self.average.lerp_(self.output, 1 - weight)
        self.count += 1

    def distance(self) -> Tensor:
        """``||theta - theta_0||``: to fit noise the weights must travel far."""
        distance: Tensor = torch.linalg.vector_norm(self.theta.detach() - self.start)
        return distance

    def set_lr(self, lr: float) -> None:
        """Change the learning rate."""
        group = self.optimizer.param_groups[0]
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr

    @property
    def lr(self) -> float:
        """The learning rate in force."""
        return float(self.optimizer.param_groups[0]["lr"])

    def restart_average(self) -> None:
        """Forget the running average."""
        self.count.zero_()
        self.average.zero_()  # NaN would stay, whatever its weight

    # ------------------------------------------------------------------ state
    def state_dict(self) -> dict[str, Any]:
        """Every tensor that a step changes, copied."""
        adam = self.optimizer.state.get(self.theta, {})
        state: dict[str, Any] = {
            "theta": self.theta.detach(),
            "start": self.start,
            "output": self.output,
            "average": self.average,
            "count": self.count,
            "loss": self.loss,
            "generator": self.generator.get_state(),
            "lr": torch.tensor(self.lr, dtype=torch.float64),
            "adam": dict(adam),
            "buffers": dict(self.network.named_buffers()),
        }
        copied: dict[str, Any] = _cloned(state)
        return copied

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where ``state_dict`` was taken. Raises: ValueError if that was another network."""
        if state["theta"].shape != self.theta.shape:
            raise ValueError(
                f"DeepImagePrior: the saved network has {state['theta'].numel()} parameters, this one "
                f"{self.theta.numel()}; the settings differ."
            )
        with torch.no_grad():
            self.theta.copy_(state["theta"])
            for name in ("start", "output", "average", "count", "loss"):
                getattr(self, name).copy_(state[name])
            for name, buffer in self.network.named_buffers():
                buffer.copy_(state["buffers"][name])
        self.generator.set_state(state["generator"].cpu())
        self.set_lr(float(state["lr"]))
        self._restore_adam(state["adam"])

    def snapshot(self) -> tuple[Tensor, ...]:
        """Weights and moments, for the guard against loss spikes."""
        adam = self.optimizer.state[self.theta]
        return tuple(t.detach().clone() for t in (self.theta, adam["exp_avg"], adam["exp_avg_sq"]))

    def restore(self, snapshot: tuple[Tensor, ...]) -> None:
        """Go back to a ``snapshot``."""
        adam = self.optimizer.state[self.theta]
        with torch.no_grad():
            for target, saved in zip((self.theta, adam["exp_avg"], adam["exp_avg_sq"]), snapshot, strict=True):
                target.copy_(saved)
        self.restart_average()

    # ------------------------------------------------------------------ parts
    def _jittered(self) -> Tensor:
        if self.recipe.jitter == 0:
            return self.z
        self.noise.normal_(generator=self.generator)
        return torch.add(self.z, self.noise.permute(0, 3, 1, 2), alpha=self.recipe.jitter)

    def _penalise(self) -> Tensor:
        """Add the penalties' gradient and return their value."""
        weights = self.theta.detach() * self.weights
        l1, l2 = self.penalties.l1 * self.penalties.scale, self.penalties.l2 * self.penalties.scale
        self.grad.add_(weights.sign(), alpha=l1).add_(weights, alpha=l2)
        return l1 * weights.abs().sum() + 0.5 * l2 * weights.square().sum()

    def _restore_adam(self, saved: dict[str, Tensor]) -> None:
        own = self.optimizer.state.get(self.theta)
        if own and saved:  # in place: a captured graph holds these very tensors
            for name, value in saved.items():
                own[name].copy_(value)
        elif saved:
            self.optimizer.state[self.theta] = {name: value.clone() for name, value in saved.items()}
        else:
            self.optimizer.state.clear()


def _flatten(network: nn.Module, device: torch.device, dtype: torch.dtype) -> tuple[nn.Parameter, Tensor, Tensor]:
    """Move all parameters into one vector and make them views of it; also its gradient, and a mask of the weights."""
    network.to(device=device, dtype=dtype)
    parameters = [p for p in network.parameters() if p.requires_grad]
    if not parameters:
        raise ValueError("DeepImagePrior: the network has no trainable parameters.")
    size = sum(p.numel() for p in parameters)
    flat = nn.Parameter(torch.empty(size, device=device, dtype=dtype))
    grad = torch.zeros_like(flat.data)
    weights = torch.zeros_like(flat.data)
    offset = 0
    for p in parameters:
        n = p.numel()
        value = p.detach().clone()
        view, slope = (_view(t[offset : offset + n], p.shape) for t in (flat.data, grad))
        view.copy_(value)
        p.data, p.grad = view, slope
        weights[offset : offset + n] = float(p.ndim >= 2)
        offset += n
    flat.grad = grad
    return flat, grad, weights


def _view(flat: Tensor, shape: torch.Size) -> Tensor:
    """``flat`` as a tensor of ``shape``; convolution weights channels last."""
    if len(shape) != 4:
        return flat.view(shape)
    o, i, h, w = shape
    return flat.view(o, h, w, i).permute(0, 3, 1, 2)


def _cloned(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    return {key: _cloned(item) for key, item in value.items()}
