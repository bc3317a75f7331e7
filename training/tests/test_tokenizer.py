"""The tokenizer's promises, on a small vocabulary trained here and on the bundled one."""

import pytest
from tokenizers import Tokenizer

from training import tokenizer as step


@pytest.fixture(scope="module")
def small():
    return Tokenizer.from_str(step.train(iter(["the cat sat on the mat in 1984, and the dog too. " * 50]), 270))


def test_small_vocabulary(small):
    step.check(small, 270)


def test_control_tokens_are_plain_text(small):
    ids = small.encode("<|endoftext|><pad>").ids
    assert step.END_OF_TEXT not in ids and step.PAD not in ids


@pytest.mark.skipif(not step.DEFAULT_TOKENIZER.exists(), reason="run from the repository root")
def test_bundled_vocabulary():
    step.check(Tokenizer.from_file(str(step.DEFAULT_TOKENIZER)))
