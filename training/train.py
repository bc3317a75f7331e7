"""Step 4: train.

    python -m training.train --minutes 90
    python -m training.train --minutes 90 --resume

The learning rate follows the share of the budget that is used, be it minutes (of training, summed over resumptions)
or tokens, so that a run always ends fully annealed. Writes `checkpoint.pt`, `losses.csv`,
`held_out.csv` and `losses.png` into the work folder.
"""

import argparse
import csv
import os
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from training.config import Config
from training.grid import token_slots
from training.held_out import HELD_OUT_ROWS, KINDS, HeldOut
from training.model import Retro
from training.plot import plot
from training.prepare import DEFAULT_WORK
from training.sampler import CHUNK, Curriculum, Sampler
from training.stream import TokenStream

WARM_UP = 0.02


def learning_rate(progress: float, peak: float) -> float:
    """Linear warm-up, then linear decay to 0 (arXiv 2502.15938 finds decay to zero best at a fixed budget)."""
    return peak * min(progress / WARM_UP, (1 - progress) / (1 - WARM_UP), 1.0) if progress < 1 else 0.0


def optimizer_of(model: Retro, weight_decay: float) -> torch.optim.Optimizer:
    matrices = [p for n, p in model.named_parameters() if p.dim() == 2 and not n.startswith("embedding")]
    others = [p for n, p in model.named_parameters() if p.dim() != 2 or n.startswith("embedding")]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.95), fused=True)


class Run:
    """The state of a run, with what is needed to go on after a stop."""

    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.checkpoint = options.work / "checkpoint.pt"
        resumed = options.resume and self.checkpoint.exists()
        state = torch.load(self.checkpoint, weights_only=True) if resumed else {}
        self.model = Retro(Config.from_dict(state["config"]) if resumed else Config())
        self.optimizer = optimizer_of(self.model, options.weight_decay)
        self.step, self.tokens, self.seconds = 0, 0, 0.0
        self.curriculum = Curriculum()
        if resumed:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.tokens, self.seconds = state["step"], state["tokens"], state["seconds"]
            self.curriculum = Curriculum(state["shift"])
        else:
            for name in ("losses.csv", "held_out.csv"):
                (options.work / name).unlink(missing_ok=True)

    def save(self) -> None:
        state = {
            "config": self.model.config.to_dict(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "shift": self.curriculum.shift,
        }
        temporary = self.checkpoint.with_suffix(".partial")
        torch.save(state, temporary)
        os.replace(temporary, self.checkpoint)

    def progress(self) -> float:
        if self.options.tokens:
            return self.tokens / self.options.tokens
        return self.seconds / 60 / self.options.minutes

    def log(self, name: str, row: dict) -> None:
        path = self.options.work / name
        fresh = not path.exists()
        with open(path, "a", newline="") as file:
            writer = csv.DictWriter(file, row)
            if fresh:
                writer.writeheader()
            writer.writerow(row)

    def evaluate(self, held_out: HeldOut) -> None:
        self.model.eval()
        losses = held_out.losses(self.model)
        self.model.train()
        row = {"step": self.step, "tokens": self.tokens, "seconds": round(self.seconds)}
        self.log("held_out.csv", row | {kind: round(losses[kind], 4) if kind in losses else "" for kind in KINDS})
        print("held out", " ".join(f"{kind} {loss:.3f}" for kind, loss in losses.items()), flush=True)


def covered_tokens(covered: torch.Tensor, first_chunk: torch.Tensor, tokens: int) -> torch.Tensor:
    """Which tokens attend a covering window, bool [B, tokens]; covered bool [B, U]."""
    slots, attends = token_slots(first_chunk, covered.shape[1], tokens)
    return torch.gather(covered, 1, slots // CHUNK) & attends


def train(run: Run) -> None:
    options, model = run.options, run.model
    if options.keep_gate and model.encoder.relevance is not None:
        model.encoder.relevance.requires_grad_(False)
    sampler = Sampler(TokenStream.open(options.work, "train"), seed=options.seed)
    held_out = HeldOut(options.work, rows=options.held_out_rows)

    def losses_of(tokens: torch.Tensor, first_chunk: torch.Tensor, neighbours: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(tokens[:, :-1], first_chunk, neighbours)
        return F.cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten(), reduction="none")

    compiled = torch.compile(losses_of, dynamic=False) if options.compile else losses_of
    saved = evaluated = clock = time.monotonic()
    sums = torch.zeros(2, 2)  # losses and counts of tokens, uncovered and covered
    while (progress := run.progress()) < 1:
        sampler.load_neighbours(options.work / "train.neighbours.npz")
        rate = learning_rate(progress, options.rate)
        for group in run.optimizer.param_groups:
            group["lr"] = rate
        *batch, covered = [
            torch.from_numpy(array) for array in sampler.batch(run.step, options.rows, run.curriculum.shift)
        ]
        losses = compiled(*batch)
        losses.mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        run.optimizer.step()
        run.optimizer.zero_grad(set_to_none=True)
        which = covered_tokens(covered.any(-1), batch[1], sampler.length).flatten().long()
        sums[0].index_add_(0, which, losses.detach())
        sums[1].index_add_(0, which, torch.ones(len(which)))
        run.step, run.tokens = run.step + 1, run.tokens + options.rows * sampler.length
        now = time.monotonic()
        run.seconds, clock = run.seconds + now - clock, now
        if run.step % 20 == 0:
            uncovered, with_window = (sums[0] / sums[1]).tolist()
            row = {"step": run.step, "tokens": run.tokens, "seconds": round(run.seconds, 1), "rate": f"{rate:.2e}"}
            row |= {"shift": run.curriculum.shift, "covered": round(with_window, 4), "uncovered": round(uncovered, 4)}
            run.log("losses.csv", row)
            print(f"{100 * progress:5.1f} %", row, flush=True)
            run.curriculum.update(with_window, uncovered)
            sums.zero_()
        if now - saved > 60 * options.save_minutes:
            run.save()
            saved = now
        if now - evaluated > 60 * options.evaluate_minutes:
            run.evaluate(held_out)
            plot(options.work)
            evaluated = time.monotonic()
    run.save()
    run.evaluate(HeldOut(options.work, rows=HELD_OUT_ROWS // 2))
    plot(options.work)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--work", type=Path, default=DEFAULT_WORK)
    budget = arguments.add_mutually_exclusive_group(required=True)
    budget.add_argument("--minutes", type=float, help="budget in minutes")
    budget.add_argument("--tokens", type=int, help="budget in tokens")
    arguments.add_argument("--rows", type=int, default=4, help="sequences of 512 tokens in a step")
    arguments.add_argument("--rate", type=float, default=2e-3, help="peak learning rate")
    arguments.add_argument("--weight-decay", type=float, default=0.1)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--save-minutes", type=float, default=3)
    arguments.add_argument("--evaluate-minutes", type=float, default=8)
    arguments.add_argument("--held-out-rows", type=int, default=8)
    arguments.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    arguments.add_argument("--keep-gate", action="store_true", help="do not train the relevance gate that gate.py fitted")
    arguments.add_argument("--resume", action="store_true")
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    train(Run(options))


if __name__ == "__main__":
    main()
