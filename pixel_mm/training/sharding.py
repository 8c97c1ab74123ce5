"""Devices share a frozen language model that one of them couldn't hold. Not offered yet: a whole run hangs.

Each device keeps a share of every decoder layer and gathers a layer when it is run (fully sharded data parallel, Zhao
et al., VLDB 2023, in torch's `fully_shard`). What is trained is small, so every device has it whole: gradients,
clipping, checkpoints and resuming are those of `trainer=ddp`, and a checkpoint holds adapter and heads alone, as ever.
"""

from typing import Any

import torch
from pytorch_lightning.strategies import DDPStrategy
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from pixel_mm.models.freezing import is_trained
from pixel_mm.models.fusion.layers import layers_of
from pixel_mm.models.fusion.network import FusionNetwork


class ShardingError(ValueError):
    """A network whose frozen part can't be shared among devices."""


class ShardedDDPStrategy(DDPStrategy):
    """Distributed data parallel over what is trained, with the frozen decoder layers in shares."""

    def model_to_device(self) -> None:
        """Share the layers before anything is moved: the whole would not fit on a device."""
        assert self.model is not None
        network = getattr(self.model, "network", None)
        if not isinstance(network, FusionNetwork):
            raise ShardingError(
                "ShardedDDPStrategy shares the frozen language model of experiment=fusion; use trainer=ddp for others"
            )
        shard_layers(network, self.root_device.type, self.world_size)
        # DDP and Lightning leave alone what is named here: it is no one's to average or send around.
        frozen = [name for name, parameter in self.model.named_parameters() if not is_trained(parameter)]
        ignored: Any = self.model
        ignored._ddp_params_and_buffers_to_ignore = frozen
        super().model_to_device()


def shard_layers(network: FusionNetwork, device_type: str, world_size: int) -> None:
    """Leave this process its share of every decoder layer; again without effect.

    Args:
        network: whose language model is whole on this process, on the CPU.
        device_type: "cuda" or "cpu".
        world_size: processes.

    Raises:
        ShardingError: layers with something trained in them.
    """
    layers: list[nn.Module] = list(layers_of(network.language_model))
    if any(isinstance(layer, FSDPModule) for layer in layers):
        return
    if any(is_trained(parameter) for layer in layers for parameter in layer.parameters()):
        raise ShardingError("ShardedDDPStrategy: the layers of the language model must be frozen")
    mesh = init_device_mesh(device_type, (world_size,))
    for layer in layers:
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)


def held_bytes(module: nn.Module) -> int:
    """Bytes of the parameters that this process holds, shares of sharded ones included."""
    parts = (getattr(parameter, "to_local", lambda p=parameter: p)() for parameter in module.parameters())
    return sum(part.nbytes for part in parts if isinstance(part, torch.Tensor))
