"""Step 2: train.

    python -m training.train --minutes 90
    python -m training.train --minutes 90 --resume
    torchrun --nproc-per-node 4 -m training.train --size small --tokens 400000000

The learning rate follows the share of the budget that is used, be it minutes (of training, summed over resumptions),
tokens or steps, so that a run always ends fully annealed. Writes `checkpoint.pt`, `losses.csv`, `held_out.csv` and
`losses.png` into the folder of the run, `WORK/RUN`.
"""

import argparse
import csv
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from training.config import SIZES, Config
from training.counterfactual import Counterfactual, plain_words
from training.device import Device
from training.fact_rows import LENGTH as FACT_ROW
from training.fact_rows import FactRows
from training.facts import training_facts
from training.files import replacing
from training.grid import token_slots
from training.held_out import FACTS, KINDS, HeldOut
from training.model import Retro
from training.optimizer import Optimizer, learning_rate
from training.plot import plot
from training.prepare import DEFAULT_WORK
from training.sampler import CHUNK, MAX_SHIFT, Curriculum, Sampler
from training.stream import TokenStream

LOG_STEPS = 20


class Run:
    """The state of a run, with what is needed to go on after a stop."""

    def __init__(self, options: argparse.Namespace, device: Device):
        self.options, self.device = options, device
        self.folder = options.work / (options.run or options.size)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.checkpoint = self.folder / "checkpoint.pt"
        resumed = options.resume and self.checkpoint.exists()
        begun_from = self.checkpoint if resumed else options.start_from
        state = torch.load(begun_from, map_location="cpu", weights_only=True) if begun_from else {}
        if not (options.work / "tokenizer.json").exists():
            raise SystemExit(f"{options.work} is not prepared: run `python -m training.prepare FOLDER --work {options.work}` first")
        vocabulary = Tokenizer.from_file(str(options.work / "tokenizer.json")).get_vocab_size()
        config = Config.from_dict(state["config"]) if state else replace(SIZES[options.size], vocabulary=vocabulary)
        self.model = Retro(config).to(device.device)
        # tokens and sequences are those of all runs that led here: `--start-from` goes on in the stream where they stopped.
        self.step, self.seconds = 0, 0.0
        self.tokens, self.sequences = state.get("tokens", 0), state.get("sequences", 0)
        self.curriculum = Curriculum(state.get("shift", 0))
        if state:
            self.model.load_state_dict(state["model"])
        self.tokens_before = self.tokens
        self.optimizer = Optimizer(self.model, options.optimizer, options.weight_decay)
        if resumed:
            self.optimizer.load(state["optimizer"])
            self.step, self.seconds = state["step"], state["seconds"]
            self.tokens_before = state["tokens_before"]
        elif device.main:
            for name in ("losses.csv", "held_out.csv"):
                (self.folder / name).unlink(missing_ok=True)

    def save(self) -> None:
        if not self.device.main:
            return
        state = {
            "config": self.model.config.to_dict(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state(),
            "step": self.step,
            "tokens": self.tokens,
            "tokens_before": self.tokens_before,
            "sequences": self.sequences,
            "seconds": self.seconds,
            "shift": self.curriculum.shift,
        }
        with replacing(self.checkpoint) as temporary:
            torch.save(state, temporary)

    def progress(self) -> float:
        options = self.options
        if options.steps:
            return self.step / options.steps
        if options.tokens:
            return self.device.agree((self.tokens - self.tokens_before) / options.tokens)
        return self.device.agree(self.seconds / 60 / options.minutes)

    def log(self, name: str, row: dict) -> None:
        path = self.folder / name
        fresh = not path.exists()
        with open(path, "a", newline="") as file:
            writer = csv.DictWriter(file, row)
            if fresh:
                writer.writeheader()
            writer.writerow(row)

    def evaluate(self, held_out: HeldOut) -> None:
        if not self.device.main:
            return
        self.model.eval()
        measures = held_out.measures(self.model, self.device)
        self.model.train()
        row = {"step": self.step, "tokens": self.tokens, "seconds": round(self.seconds)}
        row |= {name: round(measures[name], 4) if name in measures else "" for name in KINDS + FACTS}
        self.log("held_out.csv", row)
        print("held out", " ".join(f"{name} {value:.3f}" for name, value in measures.items()), flush=True)
        plot(self.folder)


class Sums:
    """Mean losses since the last line of the log: of tokens that attend a covering window, of others, and of facts' values."""

    def __init__(self):
        self.totals: dict[str, list[float]] = {}

    def add(self, name: str, losses: torch.Tensor, which: torch.Tensor) -> None:
        total = self.totals.setdefault(name, [0.0, 0.0])
        total[0] += float((losses.detach() * which).sum())
        total[1] += float(which.sum())

    def means(self) -> dict[str, float]:
        return {name: total / count for name, (total, count) in self.totals.items() if count}


def covered_tokens(covered: torch.Tensor, first_chunk: torch.Tensor, tokens: int) -> torch.Tensor:
    """Which tokens attend a covering window, bool [B, tokens]; covered bool [B, U]."""
    slots, attends = token_slots(first_chunk, covered.shape[1], tokens)
    return torch.gather(covered, 1, slots // CHUNK) & attends


def train(run: Run) -> None:
    options, model, device = run.options, run.model, run.device
    stream = TokenStream.open(options.work, "train")
    tokenizer = Tokenizer.from_file(str(options.work / "tokenizer.json"))
    length = min(options.length, model.config.context)
    if len(stream.tokens) <= length:
        raise SystemExit(f"{options.work} has only {len(stream.tokens)} training tokens, fewer than --length {length}")
    sampler = Sampler(stream, length, options.seed, counterfactual=Counterfactual(tokenizer))
    facts = training_facts(options.seed + 1000 * run.step + device.rank, plain_words(tokenizer))
    fact_rows = FactRows(tokenizer, facts, stream)
    held_out = HeldOut(options.work, options.held_out_rows, tokenizer)

    def losses_of(tokens: torch.Tensor, first_chunk: torch.Tensor, neighbours: torch.Tensor) -> torch.Tensor:
        with device.autocast():
            logits = model(tokens[:, :-1], first_chunk, neighbours)
        return F.cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten(), reduction="none")

    compiled = torch.compile(losses_of, dynamic=False) if options.compile else losses_of
    sums, saved, evaluated, clock = Sums(), time.monotonic(), time.monotonic(), time.monotonic()
    while (progress := run.progress()) < 1:
        sampler.load_neighbours(options.work / "train.neighbours.npz")
        for part in range(options.accumulate):
            # Facts come when copying has been learned at every shift: before, their few tokens teach nothing.
            rng = np.random.default_rng([options.seed, 3, run.step, device.rank, part])
            if run.curriculum.shift == MAX_SHIFT and rng.random() < options.facts:
                *batch, weights = device.put(fact_rows.batch(rng, options.rows * length // FACT_ROW))
                losses = compiled(*batch)
                weights = weights.flatten()
                sums.add("fact_values", losses, weights > 1)
                run.tokens += batch[0][:, 1:].numel() * device.world
                loss = (losses * weights).sum() / weights.sum()
            else:
                number = run.sequences + device.rank * options.rows
                *batch, covered = device.put(sampler.batch(number, options.rows, run.curriculum.shift))
                losses = compiled(*batch)
                which = covered_tokens(covered.any(-1), batch[1], length).flatten()
                sums.add("covered", losses, which)
                sums.add("uncovered", losses, ~which)
                run.sequences += options.rows * device.world
                run.tokens += options.rows * length * device.world
                loss = losses.mean()
            (loss / options.accumulate).backward()
        device.average_gradients(model)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        rate = learning_rate(progress, options.rate)
        run.optimizer.step(rate)
        run.step += 1
        now = time.monotonic()
        run.seconds, clock = run.seconds + now - clock, now
        if run.step == 1 and device.main:
            print(f"the first step took {run.seconds:.0f} s, most of it for compiling; a line comes every {LOG_STEPS}", flush=True)
        if run.step % LOG_STEPS == 0:
            means = sums.means()
            row = {"step": run.step, "tokens": run.tokens, "seconds": round(run.seconds, 1), "rate": f"{rate:.2e}"}
            row["shift"] = run.curriculum.shift
            row |= {name: round(means[name], 4) if name in means else "" for name in ("covered", "uncovered", "fact_values")}
            if run.curriculum.shift < MAX_SHIFT:
                # All processes must widen in the same step. After that, one may have seen nothing but facts.
                covered, uncovered = device.agree(means.get("covered", np.inf)), device.agree(means.get("uncovered", 0.0))
                run.curriculum.update(covered, uncovered)
            if device.main:
                run.log("losses.csv", row)
                print(f"{100 * progress:5.1f} %", row, flush=True)
            sums = Sums()
        if now - saved > 60 * options.save_minutes:
            run.save()
            saved = now
        if now - evaluated > 60 * options.evaluate_minutes:
            run.evaluate(held_out)
            evaluated = time.monotonic()
    run.save()
    run.evaluate(held_out)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--work", type=Path, default=DEFAULT_WORK, help="folder that training.prepare wrote")
    arguments.add_argument("--run", help="folder of this run, in --work (default: the size)")
    arguments.add_argument("--size", choices=SIZES, default="nano")
    budget = arguments.add_mutually_exclusive_group(required=True)
    budget.add_argument("--minutes", type=float, help="budget in minutes of training")
    budget.add_argument("--tokens", type=int, help="budget in tokens")
    budget.add_argument("--steps", type=int, help="budget in optimiser steps")
    arguments.add_argument("--resume", action="store_true", help="go on from the checkpoint of the run")
    arguments.add_argument("--start-from", type=Path, help="checkpoint whose weights and place in the stream a new run begins with")
    arguments.add_argument("--device", choices=["cpu", "cuda"], help="default: cuda where there is one")
    arguments.add_argument("--rows", type=int, default=4, help="sequences of a batch, for each process")
    arguments.add_argument("--accumulate", type=int, default=1, help="batches of an optimiser step")
    arguments.add_argument("--length", type=int, default=512, help="tokens of a sequence, at most the model's context")
    arguments.add_argument("--facts", type=float, default=0.5, help="share of the batches that are invented facts")
    arguments.add_argument("--optimizer", choices=["adamw", "muon"], default="muon")
    arguments.add_argument("--rate", type=float, default=1e-3, help="peak learning rate")
    arguments.add_argument("--weight-decay", type=float, default=0.1)
    arguments.add_argument("--threads", type=int, default=0, help="0: PyTorch's choice")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--save-minutes", type=float, default=4)
    arguments.add_argument("--evaluate-minutes", type=float, default=15)
    arguments.add_argument("--held-out-rows", type=int, default=32)
    arguments.add_argument("--no-compile", dest="compile", action="store_false")
    options = arguments.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    device = Device(options.device)
    run = Run(options, device)
    if device.main:
        print(f"{run.model.parameter_count():,} parameters on {device.world} {device.device.type}", flush=True)
    try:
        train(run)
    finally:
        device.close()


if __name__ == "__main__":
    main()
