"""The optimiser and its learning rate."""

import torch

from training.model import Retro

WARM_UP = 0.02
# Muon's update of a matrix has the root mean square of AdamW's times this (`match_rms_adamw` of torch.optim.Muon), so both
# take the same learning rate.
MUON_ADJUSTMENT = "match_rms_adamw"
# The few numbers that set the size of CCA's scores have to move by several units, at the pace of the rest they would not arrive.
SCORE_RATE = 5.0


def learning_rate(progress: float, peak: float) -> float:
    """Linear warm-up, then linear decay to 0 (arXiv 2502.15938 finds decay to zero best at a fixed budget)."""
    return peak * min(progress / WARM_UP, (1 - progress) / (1 - WARM_UP), 1.0) if progress < 1 else 0.0


class Optimizer:
    """AdamW for everything, or Muon for the matrices inside the layers and AdamW for the rest."""

    def __init__(self, model: Retro, kind: str, weight_decay: float):
        inner, scores, others = [], [], []
        for name, parameter in model.named_parameters():
            if name.endswith(("sink.bias", "query_norm.weight", "key_norm.weight")):
                scores.append(parameter)
            elif parameter.dim() == 2 and not name.startswith("embedding") and not name.endswith("sink.weight"):
                inner.append(parameter)
            else:
                others.append(parameter)
        adam = {"lr": 0.0, "betas": (0.9, 0.95), "fused": True}
        groups = [
            {"params": others, "weight_decay": 0.0, "times": 1.0},
            {"params": scores, "weight_decay": 0.0, "times": SCORE_RATE},
        ]
        if kind == "muon":
            muon = torch.optim.Muon(inner, lr=0.0, weight_decay=weight_decay, adjust_lr_fn=MUON_ADJUSTMENT)
            self.parts = [muon, torch.optim.AdamW(groups, **adam)]
        else:
            inner_group = {"params": inner, "weight_decay": weight_decay, "times": 1.0}
            self.parts = [torch.optim.AdamW([inner_group, *groups], **adam)]

    def step(self, rate: float) -> None:
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = rate * group.get("times", 1.0)
            part.step()
            part.zero_grad(set_to_none=True)

    def state(self) -> list[dict]:
        return [part.state_dict() for part in self.parts]

    def load(self, states: list[dict]) -> None:
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)
