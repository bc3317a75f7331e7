"""llama.cpp by its low-level API: one token at a time, greedy, on a Llama of random weights in Q8_0 of the same decoder size."""

import time
from importlib import metadata

import gguf
import llama_cpp
import numpy as np

BLOCK = 32  # numbers with one scale in Q8_0; rows are whole blocks
SPECIAL = 3  # entries of the vocabulary that are no text


def write(path: str, shape: dict, context: int, seed: int) -> int:
    """Returns the number of parameters."""
    rng, parameters = np.random.default_rng(seed), 0
    width, vocabulary = shape["hidden_size"], shape["vocabulary"]
    feed_forward = -(-shape["feed_forward"] // BLOCK) * BLOCK
    attention = shape["heads"] * shape["head_size"]
    out = gguf.GGUFWriter(path, "llama")
    out.add_context_length(context)
    out.add_embedding_length(width)
    out.add_block_count(shape["layers"])
    out.add_feed_forward_length(feed_forward)
    out.add_head_count(shape["heads"])
    out.add_head_count_kv(shape["heads"])
    out.add_key_length(shape["head_size"])
    out.add_value_length(shape["head_size"])
    out.add_layer_norm_rms_eps(1e-6)
    out.add_rope_dimension_count(shape["head_size"])
    out.add_vocab_size(vocabulary)
    out.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    out.add_tokenizer_model("llama")
    out.add_token_list([b"<unk>", b"<s>", b"</s>"] + [f"t{number}".encode() for number in range(vocabulary - SPECIAL)])
    out.add_token_scores([0.0] * vocabulary)
    out.add_token_types([2, 3, 3] + [1] * (vocabulary - SPECIAL))

    def matrix(name: str, rows: int, columns: int) -> None:
        nonlocal parameters
        parameters += rows * columns
        values = rng.standard_normal((rows, columns)).astype(np.float32) * 0.02
        kind = gguf.GGMLQuantizationType.Q8_0
        out.add_tensor(f"{name}.weight", gguf.quants.quantize(values, kind), raw_dtype=kind)

    def norm(name: str) -> None:
        nonlocal parameters
        parameters += width
        out.add_tensor(f"{name}.weight", np.ones(width, np.float32))

    matrix("token_embd", vocabulary, width)  # of the output too
    norm("output_norm")
    for layer in range(shape["layers"]):
        norm(f"blk.{layer}.attn_norm")
        norm(f"blk.{layer}.ffn_norm")
        for part in ("attn_q", "attn_k", "attn_v"):
            matrix(f"blk.{layer}.{part}", attention, width)
        matrix(f"blk.{layer}.attn_output", width, attention)
        matrix(f"blk.{layer}.ffn_gate", feed_forward, width)
        matrix(f"blk.{layer}.ffn_up", feed_forward, width)
        matrix(f"blk.{layer}.ffn_down", width, feed_forward)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return parameters


class Peer:
    def __init__(self, threads: int, seed: int, shape: dict, file: str):
        self.rng, self.vocabulary = np.random.default_rng(seed), shape["vocabulary"]
        parameters = write(file, shape, shape["context"], seed)
        numbers = {"n_threads": threads, "n_threads_batch": threads}
        self.model = llama_cpp.Llama(file, n_ctx=shape["context"], n_batch=shape["context"], verbose=False, **numbers)
        self.about = {
            "version": metadata.version("llama-cpp-python"),
            "parameters": parameters,
            "system": llama_cpp.llama_print_system_info().decode().strip(),
        }

    def greedy(self) -> int:
        logits = llama_cpp.llama_get_logits_ith(self.model.ctx, -1)
        return int(np.argmax(np.ctypeslib.as_array(logits, (self.vocabulary,))))

    def decode(self, tokens: list[int]) -> int:
        batch = llama_cpp.llama_batch_get_one((llama_cpp.llama_token * len(tokens))(*tokens), len(tokens))
        code = llama_cpp.llama_decode(self.model.ctx, batch)
        if code:
            raise RuntimeError(f"llama_decode answers {code}")
        return self.greedy()

    def measure(self, prompt: int, tokens: int, threads: int) -> dict:
        llama_cpp.llama_set_n_threads(self.model.ctx, threads, threads)
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.model.ctx), True)
        given = self.rng.integers(SPECIAL, self.vocabulary, prompt).tolist()
        begin = time.perf_counter()
        token = self.decode(given)
        first = time.perf_counter()
        for _ in range(tokens - 1):
            token = self.decode([token])
        end = time.perf_counter()
        return {"tokens": tokens, "seconds": end - begin, "prompt_seconds": first - begin}
