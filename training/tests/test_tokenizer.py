"""The tokenizer's promises, on a small vocabulary trained here and on the bundled one."""

import json

import pytest
from tokenizers import Tokenizer

from training import tokenizer as step
from training.config import Config

FLAGS = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
END_OF_TEXT = {"id": 1, "content": "<|endoftext|>", "special": True} | FLAGS


@pytest.fixture(scope="module")
def small():
    return Tokenizer.from_str(step.train(iter(["the cat sat on the mat in 1984, and the dog too. " * 50]), 270))


def test_small_vocabulary(small):
    step.check(small)
    assert small.get_vocab_size() == 270


def test_control_tokens_are_plain_text(small):
    ids = small.encode("<|endoftext|><pad>").ids
    assert step.END_OF_TEXT not in ids and step.PAD not in ids


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content["added_tokens"].append(END_OF_TEXT), "can spell"),
        (lambda content: content["model"]["vocab"].update({"<pad>": 1, "<|endoftext|>": 0}), "first two"),
        (lambda content: content.update(decoder=None), "give back"),
    ],
)
def test_what_serving_could_not_use_is_refused(small, change, message):
    content = json.loads(small.to_str())
    change(content)
    with pytest.raises(ValueError, match=message):
        step.check(Tokenizer.from_str(json.dumps(content)))


@pytest.mark.skipif(not step.DEFAULT_TOKENIZER.exists(), reason="run from the repository root")
def test_bundled_vocabulary():
    bundled = Tokenizer.from_file(str(step.DEFAULT_TOKENIZER))
    step.check(bundled)
    assert bundled.get_vocab_size() == Config().vocabulary
