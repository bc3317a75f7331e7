"""What a run of training left: its checkpoint and its logs."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from training import plot
from training.config import Config
from training.report.results import ReportError


@dataclass(frozen=True)
class TrainingRun:
    """`tokens` are those of this run, `tokens_before` those of earlier runs that it went on from."""

    config: Config
    parameters: list[str]  # their names
    steps: int
    tokens: int
    tokens_before: int
    seconds: float
    shift: int
    optimizer: str
    peak_rate: float | None
    losses: list[dict]
    held_out: list[dict]
    corpus_tokens: int | None
    corpus_documents: int | None

    @staticmethod
    def open(folder: Path) -> "TrainingRun":
        path = folder / "checkpoint.pt"
        if not path.exists():
            raise ReportError(f"{path} is not there: --run names the folder that training.train wrote")
        state = torch.load(path, map_location="cpu", weights_only=True)
        losses = plot.read(folder / "losses.csv")
        before = state.get("tokens_before", 0)
        tokens, documents = corpus(folder.parent)
        return TrainingRun(
            config=Config.from_dict(state["config"]),
            parameters=list(state["model"]),
            steps=state["step"],
            tokens=state["tokens"] - before,
            tokens_before=before,
            seconds=state["seconds"],
            shift=state.get("shift", 0),
            optimizer=optimizer(state["optimizer"]),
            peak_rate=max((row["rate"] for row in losses if row.get("rate")), default=None),
            losses=losses,
            held_out=plot.read(folder / "held_out.csv"),
            corpus_tokens=tokens,
            corpus_documents=documents,
        )


def check_export(model: Path, run: Path) -> None:
    """The model folder holds the weights of the run's checkpoint: one that was trained on since is not what the card would tell of."""
    from training import bundled

    stored = bundled.tensors(model / json.loads((model / "retro.json").read_text())["variants"]["fp32"]["folder"])["embedding"]
    trained = torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=True)["model"]["embedding.weight"].numpy()
    if not np.array_equal(stored, trained):
        raise ReportError(f"{model} was not exported from {run / 'checkpoint.pt'}: export it first, or name another --run")


def optimizer(parts: list[dict]) -> str:
    """By the settings that each of the optimisers keeps: `momentum` is Muon's, `betas` are AdamW's."""
    muon = any("momentum" in group for part in parts for group in part["param_groups"])
    return "Muon for the matrices inside the layers and AdamW for the rest" if muon else "AdamW"


def corpus(work: Path) -> tuple[int | None, int | None]:
    """Tokens and documents of the training stream, where it is still there."""
    if not (work / "train.bounds.npy").exists():
        return None, None
    bounds = np.load(work / "train.bounds.npy")
    return int(bounds[-1, 1]) + 1, len(bounds)
