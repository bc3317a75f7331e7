"""Exchanges between processes, by two real ones over gloo; and what one process alone does."""

import socket
import traceback

import torch
import torch.multiprocessing as processes
from torch import nn

from training.device import Device


class Branches(nn.Module):
    """Two parameters, of which the processes use different ones; sizes and shapes differ."""

    def __init__(self):
        super().__init__()
        self.left = nn.Parameter(torch.zeros(2, 3))
        self.right = nn.Parameter(torch.zeros(5))


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def one_of_two(rank: int, port: int, results) -> None:
    import os

    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    try:
        torch.set_num_threads(1)
        device = Device("cpu")
        tensors = [torch.full((2, 3), float(rank)), torch.arange(4.0) * (rank + 1), torch.tensor(10.0 * rank)]
        device.average(tensors)
        model = Branches()
        used = model.left if rank == 0 else model.right
        (used.sum() * (rank + 1)).backward()
        device.average_gradients(model)
        agreed = [device.agree(value) for value in (0.1 + rank, 1e9 + rank)]
        # Lists: a tensor would be shared through a file of a process that may be gone when it is read.
        found = [tensor.tolist() for tensor in (*tensors, model.left.grad, model.right.grad)]
        results.put((rank, device.main, device.world, found, agreed))
        device.close()
    except Exception:
        results.put((rank, traceback.format_exc()))
        raise


def test_two_processes_average_and_agree():
    context = processes.get_context("spawn")
    results, port = context.Queue(), free_port()
    running = [context.Process(target=one_of_two, args=(rank, port, results)) for rank in (0, 1)]
    for process in running:
        process.start()
    try:
        answers = sorted(results.get(timeout=120) for _ in running)
        for process in running:
            process.join(60)
    finally:
        for process in running:
            process.kill()
    assert [len(answer) for answer in answers] == [5, 5], answers
    for rank, main, world, found, agreed in answers:
        assert main == (rank == 0) and world == 2
        assert found[0] == [[0.5] * 3] * 2 and found[1] == [0.0, 1.5, 3.0, 4.5] and found[2] == 5.0
        assert found[3] == [[0.5] * 3] * 2, "a gradient that only the first process has counts for half"
        assert found[4] == [1.0] * 5
        assert agreed == [0.1, 1e9], "the first process's, in double precision"


def test_one_process_alone_changes_nothing():
    device = Device("cpu")
    tensor = torch.arange(3.0)
    device.average([tensor])
    assert tensor.tolist() == [0, 1, 2] and device.agree(0.25) == 0.25 and device.main
    model = Branches()
    model.left.sum().backward()
    device.average_gradients(model)
    assert model.left.grad.eq(1).all() and model.right.grad.eq(0).all()
    device.close()


def test_autocast_is_bfloat16_or_off():
    device, layer = Device("cpu"), nn.Linear(4, 4)
    with device.autocast():
        assert layer(torch.ones(1, 4)).dtype == torch.bfloat16
    with device.autocast(False):
        assert layer(torch.ones(1, 4)).dtype == torch.float32
