"""Models of retro-pytorch, imported, against the original. Where no registry has the package, what needs it is skipped."""

import json
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from training import oracle
from training.cases import Case
from training.importers import retro_pytorch
from training.importers.retro_pytorch_package import SHAPES, Unreachable, installed, random_model
from training.importers.retro_pytorch_source import Source, Unsupported
from training.onnx_decode import OnnxRetro
from training.quantise import BLOCK, dequantise, quantise
from training.tokenizer import synthetic

FIXTURE = Path("tests/fixtures/retro-pytorch/tiny")


@pytest.fixture(scope="module")
def original():
    try:
        installed()
    except Unreachable as reason:
        pytest.skip(str(reason))


def stored_cases() -> list[tuple[Case, dict[str, np.ndarray]]]:
    file = load_file(FIXTURE / "cases.safetensors")
    found = []
    for number in range(sum(name.endswith(".tokens") for name in file)):
        part = {name.split(".", 1)[1]: array for name, array in file.items() if name.startswith(f"case{number}.")}
        place = int(part["prompt_length"][0]), int(part["first_chunk"][0])
        found.append((Case(part["tokens"].astype(np.int64), part["neighbours"].astype(np.int64), *place), part))
    return found


def test_the_committed_folder_has_the_committed_logits():
    graphs, kinds = OnnxRetro(FIXTURE), set()
    for case, part in stored_cases():
        found = oracle.decoded_logits(graphs, case)
        sampled = np.take_along_axis(found, part["logit_ids"].astype(np.int64), axis=1)
        assert np.abs(sampled - part["logit_values"]).max() < oracle.TOLERANCE
        kinds.add((case.neighbours.shape[1], bool(case.neighbours.any())))
    assert {(0, False), (1, True), (2, True), (3, True), (2, False)} <= kinds


def test_the_committed_folder_is_what_the_importer_writes(original, tmp_path):
    oracle.write_folder(random_model(SHAPES["tiny"]), "tiny", ["fp32"], tmp_path)
    for file in ("lower.onnx", "encoder.onnx", "upper.onnx"):
        assert (tmp_path / "fp32" / file).read_bytes() == (FIXTURE / "fp32" / file).read_bytes(), file
    assert (tmp_path / "tokenizer.json").read_bytes() == (FIXTURE / "tokenizer.json").read_bytes()
    kept, written = (json.loads((folder / "retro.json").read_text()) for folder in (FIXTURE, tmp_path))
    assert kept | {"files": None} == written | {"files": None}


def int8(state: dict[str, torch.Tensor], head_size: int) -> dict[str, torch.Tensor]:
    """The weights that the variant stores."""
    result = dict(state)
    for name, tensor in state.items():
        if tensor.dim() != 2 or (name in ("token_emb.weight", "pos_emb.weight") and tensor.shape[1] % BLOCK):
            continue
        # The graphs' own attention scales queries itself; elsewhere the scale is in the matrix.
        scaled = name.endswith("to_q.weight") and not (name.startswith("decoder") and ".0.fn." in name)
        scale = np.float32(head_size**-0.5 if scaled else 1)
        stored = dequantise(*quantise(tensor.numpy() * scale, 8), 8, tensor.shape[1])
        result[name] = torch.from_numpy(stored / scale)
    return result


@pytest.mark.parametrize("name", SHAPES)
def test_cached_decode_is_the_original(original, tmp_path, name):
    model = random_model(SHAPES[name], seed=1)
    oracle.write_folder(model, name, ["fp32", "int8"], tmp_path)
    stored = int8(model.state_dict(), SHAPES[name]["dim_head"])
    made = list(islice(oracle.make_cases(SHAPES[name], seed=1), 1, None, 2))
    assert oracle.difference(model.double(), OnnxRetro(tmp_path), made) < oracle.TOLERANCE
    model.load_state_dict(stored)
    graphs = OnnxRetro(tmp_path, "int8", float_activations=True)
    assert oracle.difference(model, graphs, made[::3]) < oracle.TOLERANCE


def test_neighbours_that_are_padding_are_not_retrieval_off():
    case = next(case for case, _ in stored_cases() if case.neighbours.size and not case.neighbours.any())
    graphs = OnnxRetro(FIXTURE)
    padding = oracle.decoded_logits(graphs, case)
    case.neighbours = case.neighbours[:, :0]
    off = oracle.decoded_logits(graphs, case)
    changed = (padding != off).any(axis=-1)
    assert not changed[:63].any() and changed[63:].all()


def test_positions_of_rows_that_are_padded_at_the_right():
    graphs, lengths = OnnxRetro(FIXTURE), [9, 4]
    tokens = np.random.default_rng(0).integers(2, 264, (2, 9))

    def hidden(rows: np.ndarray, counts: list[int]) -> np.ndarray:
        caches = {f"past_{part}_0": np.zeros((len(rows), 8, 256, 32), np.float32) for part in ("key", "value")}
        inputs = {"tokens": rows, "seqlens_k": np.asarray(counts, np.int32) - 1, "total_sequence_length": np.asarray(rows.shape[1], np.int32)}
        return graphs.lower.run(["hidden"], inputs | caches)[0]

    together = hidden(tokens, lengths)
    for row, length in enumerate(lengths):
        alone = hidden(tokens[row : row + 1, :length], [length])
        assert np.abs(together[row, :length] - alone[0]).max() < 1e-5


def state_of(**arguments) -> dict[str, torch.Tensor]:
    return random_model(SHAPES["tiny"] | arguments).state_dict()


def test_what_a_model_folder_cannot_say_is_refused(original):
    no_layers = {"dec_cross_attn_layers": ()}
    for arguments, word in [({"use_deepnet": True}, "use_deepnet"), ({"chunk_size": 32}, "chunk_size"), (no_layers, "cross-attention")]:
        with pytest.raises(Unsupported, match=word):
            retro_pytorch.source(state_of(**arguments), arguments)


def test_parameters_of_another_model_are_refused(original, tmp_path):
    state = state_of() | {"decoder.layers.0.0.fn.extra.weight": torch.zeros(1)}
    with pytest.raises(Unsupported, match="extra"):
        retro_pytorch.write(retro_pytorch.source(state, {}), {}, FIXTURE / "tokenizer.json", ["fp32"], tmp_path)
    del state["to_logits.bias"]
    with pytest.raises(Unsupported, match="to_logits.bias"):
        retro_pytorch.write(retro_pytorch.source(state, {}), {}, FIXTURE / "tokenizer.json", ["fp32"], tmp_path)


def tokenizer_with(tmp_path: Path, **changed) -> Path:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(json.loads(synthetic(264)) | changed))
    return path


def test_a_tokenizer_that_the_server_would_not_take_is_refused(original, tmp_path):
    shape = retro_pytorch.source(state_of(), {}).shape
    retro_pytorch.check_tokenizer(tokenizer_with(tmp_path), shape, 1)
    for id in (2, 263, 264):
        with pytest.raises(Unsupported, match=f"entry {id}, .* cannot be a control token"):
            retro_pytorch.check_tokenizer(tokenizer_with(tmp_path), shape, id)
    with pytest.raises(Unsupported, match="give back"):
        retro_pytorch.check_tokenizer(tokenizer_with(tmp_path, normalizer={"type": "Lowercase"}), shape, 1)
    special = {"id": 1, "content": "<|endoftext|>", "special": True}
    added = special | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    with pytest.raises(Unsupported, match="added_tokens"):
        retro_pytorch.check_tokenizer(tokenizer_with(tmp_path, added_tokens=[added]), shape, 1)
    path = tmp_path / "longer.json"
    path.write_text(synthetic(265))
    with pytest.raises(Unsupported, match="265 entries, the model 264"):
        retro_pytorch.check_tokenizer(path, shape, 1)


def test_a_checkpoint_becomes_a_folder(original, tmp_path, monkeypatch, capsys):
    checkpoint, out = tmp_path / "model.pt", tmp_path / "imported"
    arguments = SHAPES["tiny"] | {"pad_id": 3}
    torch.save({"state_dict": random_model(arguments).state_dict(), "arguments": arguments}, checkpoint)
    command = ["retro_pytorch", "--checkpoint", str(checkpoint), "--tokenizer", str(FIXTURE / "tokenizer.json"), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", [*command, "--end-of-text", "1"])
    with pytest.raises(SystemExit, match="control token"):
        retro_pytorch.main()
    assert not list(tmp_path.glob("imported*")), "a refusal leaves nothing"
    torch.save({"state_dict": random_model(arguments).state_dict(), "arguments": arguments | {"pad_id": 0}}, checkpoint)
    retro_pytorch.main()
    manifest = json.loads((out / "retro.json").read_text())
    assert (manifest["name"], manifest["format"], set(manifest["variants"])) == ("imported", 3, {"fp32", "int8"})
    assert {path.name for path in out.iterdir()} == {"retro.json", "tokenizer.json", "fp32", "int8"}


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    torch.save({"weights": torch.zeros(1)}, tmp_path / "model.pt")
    with pytest.raises(Unsupported, match="state_dict"):
        retro_pytorch.read(tmp_path / "model.pt")
    with pytest.raises(Unsupported, match="no token_emb.weight"):
        Source({}, {})
