"""The ONNX graphs against the full recompute, with random weights."""

import torch

from training.config import Config
from training.export import compare, write
from training.model import Retro
from training.tokenizer import DEFAULT_TOKENIZER


def test_cached_onnx_decode_is_the_full_recompute(tmp_path):
    torch.manual_seed(1)
    model = Retro(Config(vocabulary=700, context=384, relevance_rank=16)).eval()
    write(model, "test", DEFAULT_TOKENIZER, tmp_path)
    assert compare(model, tmp_path) < 1e-4
