"""Step 5: fit the relevance gate (relevance.py) to the trained model, everything else frozen. To be run once.

    python -m training.gate

A logistic regression on training text: a covering window is relevant, a neighbour from another document is not, be it
retrieved or random. Labels are smoothed, so that an unrelated neighbour keeps a few per cent of its weight. The gate is
put into `checkpoint.pt`, with which export and further training go on.
"""

import argparse
import dataclasses
import os
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from training import cases
from training.config import Config
from training.grid import gather_rows, grid_indices
from training.held_out import HELD_OUT_ROWS, HeldOut
from training.model import Retro
from training.prepare import DEFAULT_WORK
from training.sampler import CHUNK, MAX_SHIFT, Sampler
from training.stream import TokenStream
from training.train import optimizer_of

RANK = 64
SMOOTHING = 0.03
LENIENCE = 1.0  # added to the log odds
CCA_SCALE = 1.17


def with_gate(model: Retro) -> Retro:
    gated = Retro(dataclasses.replace(model.config, relevance_rank=RANK)).eval()
    gated.load_state_dict(model.state_dict(), strict=False)
    return gated


def with_gate_in_optimizer(state: dict, model: Retro) -> dict:
    """The optimizer's state for `model`, which has a gate, from that of a checkpoint's model, which may have none."""
    old_model = Retro(Config.from_dict(state["config"]))
    old = optimizer_of(old_model, 0.0)
    old.load_state_dict(state["optimizer"])
    names = {parameter: name for name, parameter in old_model.named_parameters()}
    moments = {names[parameter]: values for parameter, values in old.state.items()}
    step = next(iter(moments.values()))["step"]
    new = optimizer_of(model, old.param_groups[0]["weight_decay"])
    for name, parameter in model.named_parameters():
        fresh = {"step": step.clone(), "exp_avg": torch.zeros_like(parameter), "exp_avg_sq": torch.zeros_like(parameter)}
        new.state[parameter] = moments.get(name, fresh)
    return new.state_dict()


@torch.no_grad()
def features(model: Retro, tokens: torch.Tensor, first_chunk: torch.Tensor, neighbours: torch.Tensor):
    """The gate's arguments for a batch: chunk [C, m, d], chunk_mask [C, m], embedded [C, K, R, d], mask [C, K, R]."""
    rows, chunks, k, r = neighbours.shape
    with torch.autocast("cpu", torch.bfloat16):
        x = model.conditioning(tokens)
    index, real = grid_indices(first_chunk, chunks, x.shape[1])
    chunk = (gather_rows(x, index) * real[..., None]).view(rows * chunks, CHUNK, -1)
    neighbours = neighbours.view(rows * chunks, k, r)
    mask = (neighbours != 0).float()
    embedded = model.embedding(neighbours) * mask[..., None]
    return model.encoder.chunk_norm(chunk), real.view(rows * chunks, CHUNK).float(), embedded, mask


@torch.no_grad()
def initialise(model: Retro, sampler: Sampler) -> None:
    """Q: whitened embeddings, cut to RANK directions; P: what predicts them best from the hidden state (ridge)."""
    relevance, table = model.encoder.relevance, model.embedding.weight
    centred = table - table.mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(table))
    # The largest directions hold how frequent a token is, not which it is: leave them out.
    kept = slice(-RANK - 8, -8)
    token = vectors[:, kept].T / values[kept].sqrt()[:, None]
    tokens, first_chunk, _, _ = (torch.from_numpy(a) for a in sampler.batch(0, 16, MAX_SHIFT))
    hidden = model.encoder.chunk_norm(model.conditioning(tokens[:, :-1])).flatten(0, 1).double()
    goal = (table[tokens[:, :-1].flatten()] @ token.T).double()
    moment = hidden.T @ hidden
    ridge = 1e-3 * moment.trace() / len(moment) * torch.eye(len(moment), dtype=torch.float64)
    chunk = torch.linalg.solve(moment + ridge, hidden.T @ goal).T.float()
    relevance.token.weight.copy_(token)
    relevance.chunk.weight.copy_(chunk)
    for parameter in (relevance.offset.weight, relevance.offset.bias, relevance.bias):
        parameter.zero_()
    # Scale and centre: a whole chunk's evidence is to be about +4 for a covering window, -4 for another neighbour.
    tokens, first_chunk, neighbours, covering = (torch.from_numpy(a) for a in sampler.batch(1, 16, MAX_SHIFT))
    given = features(model, tokens[:, :-1], first_chunk, neighbours)
    mean = relevance.evidence(*given) / given[1].sum(-1, keepdim=True)
    there, label = given[3].any(-1), covering.flatten(0, 1)
    high, low = mean[there & label].mean(), mean[there & ~label].mean()
    scale = 8 / CHUNK / (high - low)
    print(f"mean evidence of a token: covering {high:.3f}, other {low:.3f}")
    relevance.token.weight.mul_(scale)
    relevance.offset.bias.fill_(-scale * (high + low) / 2)


def fit(model: Retro, samplers: list[Sampler], steps: int, rate: float) -> None:
    model.requires_grad_(False)
    relevance = model.encoder.relevance.requires_grad_(True)
    optimizer = torch.optim.Adam(relevance.parameters(), lr=rate)
    begun, right, count = time.monotonic(), 0.0, 0
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 20) * (1 - step / steps)
        sampler = samplers[step % len(samplers)]
        tokens, first_chunk, neighbours, covering = (
            torch.from_numpy(a) for a in sampler.batch(50_000 + step, 8, MAX_SHIFT)
        )
        given = features(model, tokens[:, :-1], first_chunk, neighbours)
        there = given[3].any(-1)
        evidence = relevance.evidence(*given)[there]
        label = covering.flatten(0, 1)[there].float()
        loss = F.binary_cross_entropy_with_logits(evidence, label.clamp(SMOOTHING, 1 - SMOOTHING))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(relevance.parameters(), 1.0)
        optimizer.step()
        right, count = right + ((evidence > 0) == (label > 0)).sum().item(), count + len(label)
        if (step + 1) % 25 == 0:
            taken = time.monotonic() - begun
            print(f"step {step + 1}: loss {loss.item():.4f}, right {right / count:.4f}, {taken:.0f} s", flush=True)
            right, count = 0.0, 0
    model.requires_grad_(True)


@torch.no_grad()
def calibrate(model: Retro) -> None:
    """Two numbers chosen by the loss on training text of the bundled model, with covering windows and without."""
    # To miss a covering window costs more than to read an unrelated neighbour.
    model.encoder.relevance.bias.add_(LENIENCE)
    # In training CCA was held back, for half of what it read did not belong.
    for number in model.config.cca_layers:
        model.layers[number - 1].cca.output.weight.mul_(CCA_SCALE)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--work", type=Path, default=DEFAULT_WORK)
    arguments.add_argument("--checkpoint", type=Path, default=DEFAULT_WORK / "checkpoint.pt")
    arguments.add_argument("--steps", type=int, default=300)
    arguments.add_argument("--rate", type=float, default=3e-3)
    arguments.add_argument("--held-out-rows", type=int, default=HELD_OUT_ROWS)
    options = arguments.parse_args()
    torch.set_num_threads(2)
    state = torch.load(options.checkpoint, weights_only=True)
    model = with_gate(cases.load(options.checkpoint))
    stream = TokenStream.open(options.work, "train")
    samplers = [Sampler(stream, seed=11), Sampler(stream, seed=12)]
    if all(sampler.load_neighbours(options.work / "train.neighbours.npz") for sampler in samplers):
        # Every second batch from the documents whose chunks have known nearest neighbours: the hard ones.
        samplers[1].sequences = int(samplers[1].table.starts[-1]) // samplers[1].length
    initialise(model, samplers[0])
    fit(model, samplers, options.steps, options.rate)
    calibrate(model)
    state["optimizer"] = with_gate_in_optimizer(state, model)
    state |= {"config": model.config.to_dict(), "model": model.state_dict()}
    temporary = options.checkpoint.with_suffix(".partial")
    torch.save(state, temporary)
    os.replace(temporary, options.checkpoint)
    held_out = HeldOut(options.work, rows=options.held_out_rows)
    losses = held_out.losses(model)
    print("held out", " ".join(f"{kind} {loss:.4f}" for kind, loss in losses.items()))


if __name__ == "__main__":
    main()
