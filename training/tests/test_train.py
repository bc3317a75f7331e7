"""Runs of training, tiny ones: what they write, that an interrupted one goes on as if it had not been, and that processes agree."""

import csv
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from training import train
from training.config import Config
from training.held_out import HELD_OUT_CHUNKS
from training.model import Retro
from training.sampler import CHUNK, MAX_SHIFT
from training.stream import TokenStream
from training.tokenizer import DEFAULT_TOKENIZER

TINY = Config(
    hidden_size=32,
    layers=3,
    cca_layers=(2,),
    heads=1,
    feed_forward=32,
    encoder_size=32,
    encoder_layers=1,
    encoder_heads=1,
    encoder_feed_forward=32,
)
SENTENCE = "In the year {} the {} of the town was counted, and there were {} of them in all. "
THINGS = "sheep boats houses bridges orchards mills bells windows letters lamps".split()


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """A prepared folder, and in it the checkpoint of a tiny model whose curriculum is over."""
    folder = tmp_path_factory.mktemp("work")
    tokenizer = Tokenizer.from_file(str(DEFAULT_TOKENIZER))
    (folder / "tokenizer.json").write_bytes(DEFAULT_TOKENIZER.read_bytes())
    rng = np.random.default_rng(0)

    def document() -> list[int]:
        sentences = [SENTENCE.format(rng.integers(1000, 2000), rng.choice(THINGS), rng.integers(2, 99)) for _ in range(30)]
        return tokenizer.encode("".join(sentences)).ids

    for split, documents in (("train", 12), ("valid", 2)):
        stream = TokenStream.from_documents([document() for _ in range(documents)])
        assert (stream.ends - stream.starts > HELD_OUT_CHUNKS * CHUNK).all()
        stream.save(folder, split)
    torch.manual_seed(0)
    state = {"config": TINY.to_dict(), "model": Retro(TINY).state_dict()}
    torch.save(state | {"shift": MAX_SHIFT, "tokens": 1000, "sequences": 4}, folder / "begun.pt")
    return folder


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(train, "LOG_STEPS", 1)
    monkeypatch.setattr("training.held_out.HELD_OUT_FACTS", 2)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def arguments(work: Path, *more: str) -> list[str]:
    given = f"--work {work} --start-from {work / 'begun.pt'} --rows 2 --length 128 --no-compile --device cpu --held-out-rows 2"
    return [*given.split(), *more]


def run(monkeypatch, work: Path, name: str, *more: str) -> None:
    monkeypatch.setattr(sys, "argv", ["training.train", *arguments(work, "--run", name, *more)])
    train.main()


def rows(work: Path, name: str, file: str) -> list[dict]:
    with open(work / name / file) as lines:
        return list(csv.DictReader(lines))


def checkpoint(work: Path, name: str) -> dict:
    return torch.load(work / name / "checkpoint.pt", weights_only=True)


def without_times(logged: list[dict]) -> list[dict]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in logged]


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_a_run_writes_its_files_and_learns(work, monkeypatch, optimizer):
    run(monkeypatch, work, optimizer, "--steps", "6", "--facts", "0", "--optimizer", optimizer, "--rate", "1e-2")
    losses = rows(work, optimizer, "losses.csv")
    assert list(losses[0]) == ["step", "tokens", "seconds", "rate", "shift", "covered", "uncovered", "fact_values"]
    assert [int(row["step"]) for row in losses] == [1, 2, 3, 4, 5, 6]
    assert [int(row["tokens"]) for row in losses] == [1000 + 256 * step for step in range(1, 7)]
    assert float(losses[-1]["uncovered"]) < float(losses[0]["uncovered"]) - 0.1 and not losses[0]["fact_values"]
    assert all(float(row["covered"] or 9) > 1 for row in losses), "blank where no token attended a covering window"
    held_out = rows(work, optimizer, "held_out.csv")[-1]
    assert held_out["step"] == "6" and not held_out["retrieved"]
    assert all(float(held_out[kind]) > 0 for kind in ("none", "random", "covering", "covering_shifted"))
    assert 0 <= float(held_out["facts_same"]) <= 1
    assert (work / optimizer / "losses.png").exists()
    state, before = checkpoint(work, optimizer), torch.load(work / "begun.pt", weights_only=True)
    assert state["step"] == 6 and state["sequences"] == 4 + 12 and state["shift"] == MAX_SHIFT
    assert all((state["model"][name] != value).any() for name, value in before["model"].items())


def test_start_from_takes_weights_and_place_but_no_steps(work, monkeypatch):
    run(monkeypatch, work, "begun", "--steps", "1", "--rate", "0", "--facts", "0")
    state, before = checkpoint(work, "begun"), torch.load(work / "begun.pt", weights_only=True)
    assert all((state["model"][name] == value).all() for name, value in before["model"].items())
    assert state["step"] == 1 and state["tokens"] == 1000 + 256 and state["tokens_before"] == 1000
    assert state["config"] == TINY.to_dict()


def test_a_new_model_has_the_vocabulary_of_the_tokenizer(work, monkeypatch):
    monkeypatch.setattr(train, "SIZES", {"nano": replace(TINY, vocabulary=99)})
    given = "--run new --steps 1 --rows 2 --no-compile --device cpu --held-out-rows 2"
    monkeypatch.setattr(sys, "argv", ["training.train", "--work", str(work), *given.split()])
    train.main()
    state = checkpoint(work, "new")
    assert state["config"] == TINY.to_dict() and state["tokens_before"] == 0 and state["shift"] == 0


class Stop(Exception):
    pass


def test_a_resumed_run_is_as_if_it_had_not_been_interrupted(work, monkeypatch):
    options = ["--steps", "5", "--facts", "0"]
    run(monkeypatch, work, "whole", *options)

    save = train.Run.save

    def save_and_stop(self) -> None:
        save(self)
        if self.step == 3:
            raise Stop

    monkeypatch.setattr(train.Run, "save", save_and_stop)
    with pytest.raises(Stop):
        run(monkeypatch, work, "parts", *options, "--save-minutes", "0")
    assert checkpoint(work, "parts")["step"] == 3
    monkeypatch.setattr(train.Run, "save", save)
    run(monkeypatch, work, "parts", *options, "--resume")
    whole, parts = (without_times(rows(work, name, "losses.csv")) for name in ("whole", "parts"))
    assert [row["step"] for row in whole] == ["1", "2", "3", "4", "5"]
    # The line of step 3 was not written: the run was stopped in it.
    assert parts == whole[:2] + whole[3:] or parts == whole
    one, other = checkpoint(work, "whole"), checkpoint(work, "parts")
    assert one["tokens"] == other["tokens"] and one["sequences"] == other["sequences"]
    assert all(torch.equal(one["model"][name], other["model"][name]) for name in one["model"])


def test_resume_without_a_checkpoint_begins_and_a_new_run_begins_its_log_anew(work, monkeypatch):
    for more in (["--resume"], []):
        run(monkeypatch, work, "again", "--steps", "2", *more)
        assert [row["step"] for row in rows(work, "again", "losses.csv")] == ["1", "2"]
        assert [row["step"] for row in rows(work, "again", "held_out.csv")] == ["2"]


def test_facts_come_when_the_curriculum_is_over(work, monkeypatch):
    run(monkeypatch, work, "facts", "--steps", "2", "--facts", "1")
    for row in rows(work, "facts", "losses.csv"):
        assert float(row["fact_values"]) > 0 and not row["covered"] and not row["uncovered"]
    state = torch.load(work / "begun.pt", weights_only=True)
    torch.save(state | {"shift": 8}, work / "early.pt")
    run(monkeypatch, work, "early", "--steps", "1", "--facts", "1", "--start-from", str(work / "early.pt"))
    assert not rows(work, "early", "losses.csv")[0]["fact_values"]


def test_accumulated_batches_are_one_larger_batch(work, monkeypatch):
    norms, clip, batch = [], torch.nn.utils.clip_grad_norm_, train.Sampler.batch
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *given: norms.append(float(clip(*given))))
    monkeypatch.setattr(train.Sampler, "batch", lambda sampler, first, *more: batch(sampler, 0, *more))
    for count in (1, 3):
        run(monkeypatch, work, "accumulated", "--steps", "1", "--facts", "0", "--accumulate", str(count))
        state = checkpoint(work, "accumulated")
        assert state["step"] == 1 and state["tokens"] == 1000 + count * 256 and state["sequences"] == 4 + count * 2
    assert abs(norms[0] - norms[1]) < 1e-2 * norms[0], "of three times the same batch the mean gradient is that of one"


def test_a_budget_of_tokens_ends_the_run(work, monkeypatch):
    run(monkeypatch, work, "budget", "--tokens", "600", "--facts", "0.5")
    assert checkpoint(work, "budget")["step"] == 3


def test_covered_tokens_are_those_that_attend_a_covering_window():
    covered = torch.tensor([[True, False, False], [False, False, True]])
    which = train.covered_tokens(covered, torch.tensor([64, 10]), 192)
    assert which[0].nonzero().flatten().tolist() == list(range(63, 127))
    assert which[1].nonzero().flatten().tolist() == list(range(137, 192))


def test_means_leave_out_what_was_not_seen():
    sums = train.Sums()
    sums.add("covered", torch.ones(4), torch.zeros(4, dtype=torch.bool))
    for losses in (torch.tensor([1.0, 2.0, 9.0]), torch.tensor([6.0, 9.0, 9.0])):
        sums.add("uncovered", losses, losses < 9)
    assert sums.means() == {"uncovered": 3.0}


RANK = """
import os, torch
from training import train

rank, seen = os.environ["RANK"], []
train.LOG_STEPS = 1

def noting(take, number):
    def batch(source, first, *more):
        seen.append(number(first))
        return take(source, first, *more)
    return batch

def keep(run, held_out):
    torch.save({"model": run.model.state_dict(), "seen": seen}, run.folder / f"rank{rank}.pt")

train.Sampler.batch = noting(train.Sampler.batch, int)
train.FactRows.batch = noting(train.FactRows.batch, lambda rng: -1)
train.Run.evaluate = keep
train.main()
"""


def test_two_processes_end_with_the_same_weights(work, tmp_path):
    script = tmp_path / "rank.py"
    script.write_text(RANK)
    # After `--`, for torchrun would take `--run` for the beginning of an option of its own.
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--", str(script)]
    # Facts in half of the batches, so that the processes take different kinds in the same step.
    more = ["--run", "two", "--steps", "4", "--facts", "0.5", "--threads", "1"]
    environment = os.environ | {"PYTHONPATH": str(Path(train.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen([*launch, *arguments(work, *more)], env=environment, **pipes)
    try:
        output, _ = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.terminate()  # torchrun ends the processes that it started
        output, _ = process.communicate()
    assert process.returncode == 0, output
    one, other = (torch.load(work / "two" / f"rank{rank}.pt") for rank in (0, 1))
    assert all(torch.equal(one["model"][name], other["model"][name]) for name in one["model"])
    before = torch.load(work / "begun.pt", weights_only=True)["model"]
    assert all((one["model"][name] != before[name]).any() for name in before)
    # They saw different things, or that they end alike would tell nothing; in one step even different kinds.
    assert not (set(one["seen"]) & set(other["seen"])) - {-1}
    assert any((a == -1) != (b == -1) for a, b in zip(one["seen"], other["seen"], strict=True))
