"""BatchNorm over the joined batch of all ranks (METHODS 1.1): torch's own on GPUs, and the same on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor, distributed, nn
from torch.autograd.function import FunctionCtx


class Sum(torch.autograd.Function):
    """Sum over the ranks, whose gradient is summed over the ranks too."""

    @staticmethod
    def forward(ctx: FunctionCtx, part: Tensor) -> Tensor:
        """Sum a tensor over the ranks."""
        total = part.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        """Sum the gradient over the ranks."""
        total = gradient.clone()
        distributed.all_reduce(total)
        return total


class JoinedNorm(nn.modules.batchnorm._BatchNorm):
    """BatchNorm over all ranks' rows, a rank without any included; torch.nn.SyncBatchNorm knows GPUs alone."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept any [B, C, ...]."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise [B, C, ...]; variances are those of centred values, as in F.batch_norm."""
        if not self.training:
            return super().forward(input)
        dims = [0, *range(2, input.dim())]
        rows = input.new_tensor([input.numel() // input.shape[1]])
        sums = Sum.apply(torch.cat([input.sum(dims), rows]))
        count = sums[-1].detach()
        mean = sums[:-1] / count
        centred = input - along(mean, input)
        variance = Sum.apply(centred.square().sum(dims)) / count
        self.update_running(mean.detach(), variance.detach() * count / (count - 1))
        normalised = centred * along((variance + self.eps).rsqrt(), input)
        return normalised if self.weight is None else normalised * along(self.weight, input) + along(self.bias, input)

    @torch.no_grad()
    def update_running(self, mean: Tensor, variance: Tensor) -> None:
        """Update running mean and variance (momentum average)."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)


def along(channels: Tensor, like: Tensor) -> Tensor:
    """Reshape [C] to [1, C, 1, ...], as many dimensions as `like`."""
    return channels.view(1, -1, *[1] * (like.dim() - 2))


def join_norms(network: nn.Module, device: torch.device) -> None:
    """Make every BatchNorm of a network take its statistics over all ranks; weights and names stay."""
    if device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.modules.batchnorm._BatchNorm):
                setattr(module, name, joined_norm(child))


def joined_norm(norm: nn.modules.batchnorm._BatchNorm) -> JoinedNorm:
    """Return the same layer with statistics over all ranks."""
    made = JoinedNorm(norm.num_features, norm.eps, norm.momentum, norm.affine)
    made.weight, made.bias = norm.weight, norm.bias
    made.running_mean, made.running_var = norm.running_mean, norm.running_var
    made.num_batches_tracked = norm.num_batches_tracked
    return made.train(norm.training)
