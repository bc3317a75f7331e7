"""Where training runs: one process on a processor or a GPU, or several under torchrun, each with its GPU."""

import contextlib
import os

import torch
import torch.distributed as distributed
from torch import Tensor, nn


class Device:
    def __init__(self, name: str | None = None):
        self.rank, self.world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        kind = name or ("cuda" if torch.cuda.is_available() else "cpu")
        self.device = torch.device(f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if kind == "cuda" else kind)
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
        if self.world > 1:
            distributed.init_process_group("nccl" if self.device.type == "cuda" else "gloo")

    @property
    def main(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def autocast(self, enabled: bool = True) -> contextlib.AbstractContextManager:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def put(self, arrays: tuple) -> list[Tensor]:
        tensors = [torch.from_numpy(array) for array in arrays]
        if self.device.type == "cuda":
            tensors = [tensor.pin_memory().to(self.device, non_blocking=True) for tensor in tensors]
        return tensors

    def average(self, tensors: list[Tensor]) -> None:
        """Make `tensors` the mean over all processes, in place and in one exchange."""
        if self.world == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        distributed.all_reduce(flat)
        flat /= self.world
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def average_gradients(self, model: nn.Module) -> None:
        # A parameter that one process did not use (no row with neighbours, say) has a gradient in the others.
        for parameter in model.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self.average([parameter.grad for parameter in model.parameters()])

    def agree(self, value: float) -> float:
        """The main process's `value`, so that all end and change in the same step."""
        if self.world == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        distributed.broadcast(shared, 0)
        return shared.item()

    def close(self) -> None:
        if self.world > 1:
            distributed.destroy_process_group()
