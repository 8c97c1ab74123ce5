"""Devices share a frozen language model that one of them couldn't hold.

    python -m pixel_mm.train experiment=fusion backbone=pixel_30b trainer=fsdp data=emodb data.root=DIR

Each device keeps a share of every decoder layer and gathers a layer when it is run (fully sharded data parallel, Zhao
et al., VLDB 2023, in torch's `fully_shard`). What is trained is small, so every device has it whole: clipping,
checkpoints and resuming are those of `trainer=ddp`, and a checkpoint holds adapter and heads alone, as ever.

Devices that gather together must do so equally often and in the same order, or each waits for another for ever. That
all make the same passes is the network's part (`pixel_mm.models.fusion.shared_layers`). The strategy's is that nothing
comes between: gradients are averaged after the backward pass, where DistributedDataParallel would do it as soon as they
are there, which is earlier on a device whose rows are not heard.
"""

from typing import Any

import torch
import torch.distributed as dist
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from pixel_mm.models.freezing import is_trained, trained_parameters
from pixel_mm.models.fusion.layers import layers_of
from pixel_mm.models.fusion.network import FusionNetwork


class ShardingError(ValueError):
    """A network whose frozen part can't be shared among devices."""


class ShardedDDPStrategy(DDPStrategy):
    """Distributed data parallel over what is trained, with the frozen decoder layers in shares."""

    def model_to_device(self) -> None:
        """Share the layers before anything is moved: the whole would not fit on a device.

        Raises:
            ShardingError: see `shard_layers`; or no fusion network.
        """
        assert self.model is not None
        network = getattr(self.model, "network", None)
        if not isinstance(network, FusionNetwork):
            raise ShardingError(
                "trainer=fsdp shares the frozen language model of experiment=fusion; use trainer=ddp for others"
            )
        shard_layers(network, self.root_device.type, self.world_size)
        # Lightning sends around what is not named here.
        ignored: Any = self.model
        ignored._ddp_params_and_buffers_to_ignore = [
            name for name, parameter in self.model.named_parameters() if not is_trained(parameter)
        ]
        super().model_to_device()

    def configure_ddp(self) -> None:
        """Begin with the same weights everywhere; the model is not wrapped."""
        assert self.model is not None
        for parameter in trained_parameters(self.model).values():
            dist.broadcast(parameter.data, 0)

    def post_backward(self, closure_loss: Tensor) -> None:
        """Average gradients; with accumulated ones, those of earlier batches are averages already."""
        assert self.model is not None
        average_gradients(self.model)


def average_gradients(module: nn.Module) -> None:
    """Give every process the mean of all processes' gradients; each must have one for all that is trained."""
    gradients = [parameter.grad for parameter in trained_parameters(module).values()]
    assert all(gradient is not None for gradient in gradients)  # FusionNetwork.anchor sees to it
    there = [gradient for gradient in gradients if gradient is not None]
    together = torch.cat([gradient.flatten() for gradient in there])
    dist.all_reduce(together)
    together /= dist.get_world_size()
    for gradient, mean in zip(there, together.split([each.numel() for each in there]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def shard_layers(network: FusionNetwork, device_type: str, world_size: int) -> None:
    """Leave this process its share of every decoder layer; again without effect.

    Args:
        network: whose language model is whole on this process, on the CPU.
        device_type: "cuda" or "cpu".
        world_size: processes.

    Raises:
        ShardingError: layers with something trained in them, or in 4 bits.
    """
    layers: list[nn.Module] = list(layers_of(network.language_model))
    if any(isinstance(layer, FSDPModule) for layer in layers):
        return
    parameters = [parameter for layer in layers for parameter in layer.parameters()]
    if any(map(is_trained, parameters)):
        raise ShardingError("trainer=fsdp: the layers of the language model must be frozen")
    if not all(parameter.is_floating_point() for parameter in parameters):
        raise ShardingError("trainer=fsdp: 4-bit layers can't be shared; leave quantisation out, or take trainer=ddp")
    mesh = init_device_mesh(device_type, (world_size,))
    for layer in layers:
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)
    # Nothing of the rest is shared; as their common root, it has all layers gathered in the same streams and memory.
    fully_shard(network.language_model, mesh=mesh, ignored_params=set(network.language_model.parameters()))
    network.shares_layers = True


def held_bytes(module: nn.Module) -> int:
    """Bytes of the parameters that this process holds, shares of sharded ones included."""
    parts = (getattr(parameter, "to_local", lambda p=parameter: p)() for parameter in module.parameters())
    return sum(part.nbytes for part in parts if isinstance(part, torch.Tensor))
