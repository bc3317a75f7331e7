"""The ONNX graphs of each variant against the full recompute, with random weights."""

import json

import numpy as np
import torch

from training import bundled
from training.config import Config
from training.export import compare, write
from training.model import Retro
from training.model_folder import move
from training.onnx_decode import OnnxRetro
from training.quantise import BLOCK, dequantise, quantise
from training.tokenizer import DEFAULT_TOKENIZER

VARIANTS = ["fp32", "int8", "int4", "fp16"]


def export(folder, variants=VARIANTS) -> Retro:
    torch.manual_seed(1)
    model = Retro(Config(vocabulary=700, context=384, layers=3, cca_layers=(2, 3))).eval()
    folder.mkdir(exist_ok=True)
    write(model, "test", DEFAULT_TOKENIZER, variants, folder)
    return model


def test_cached_decode_of_every_variant_is_the_full_recompute(tmp_path):
    model = export(tmp_path)
    assert compare(model, OnnxRetro(tmp_path)) < 1e-4
    for variant, tolerance in [("int8", 1e-4), ("int4", 1e-4), ("fp16", 1e-2)]:
        graphs = OnnxRetro(tmp_path, variant, float_activations=True)
        assert compare(bundled.load(tmp_path, variant), graphs, briefly=True) < tolerance, variant


def test_a_variant_gives_back_the_weights_as_far_as_its_format_goes(tmp_path):
    weights = dict(export(tmp_path).named_parameters())
    for variant, share in [("fp32", 1e-6), ("fp16", 1e-3), ("int8", 1 / 254), ("int4", 1 / 14)]:
        for name, found in bundled.load(tmp_path, variant).named_parameters():
            allowed = share * weights[name].abs().max() + 1e-7
            assert (found - weights[name]).abs().max() <= 1.001 * allowed, (variant, name)


def test_blocks_of_integers_are_within_half_a_step():
    matrix = np.random.default_rng(0).normal(size=(5, 3 * BLOCK + 8)).astype(np.float32)
    matrix[2] = 0
    for bits in (8, 4):
        stored, scales = quantise(matrix, bits)
        assert stored.shape == (5, 4, BLOCK * bits // 8) and scales.shape == (5, 4)
        found = dequantise(stored, scales, bits, matrix.shape[1])
        steps = np.repeat(scales, BLOCK, axis=1)[:, : matrix.shape[1]]
        assert (np.abs(found - matrix) <= 0.5001 * steps).all()
        assert (found[2] == 0).all()


def test_an_export_replaces_another_and_what_it_no_longer_has(tmp_path):
    out = tmp_path / "out"
    export(tmp_path / "first", ["fp32", "int8"])
    move(tmp_path / "first", out)
    (out / "README.md").write_text("the card")
    export(tmp_path / "second", ["fp32"])
    move(tmp_path / "second", out)
    listed = json.loads((out / "retro.json").read_text())["files"]
    found = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert found == {*listed, "retro.json", "README.md"}
