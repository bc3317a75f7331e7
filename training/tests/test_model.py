"""What retrieval may and may not change."""

import pytest
import torch

from training.config import SIZES, Config
from training.grid import complete_chunks
from training.model import Retro

TOKENS = 220
VOCABULARY = 500
TINY = Config(
    vocabulary=VOCABULARY,
    hidden_size=64,
    layers=5,
    cca_layers=(2, 4),
    heads=2,
    feed_forward=96,
    encoder_size=32,
    encoder_heads=1,
    encoder_feed_forward=48,
    context=256,
)


def make(config: Config = TINY) -> Retro:
    torch.manual_seed(0)
    model = Retro(config).eval()
    for layer in model.layers:
        if layer.sink is not None:
            # The bias that training begins with leaves cross-attention little weight: what it does should be seen here.
            torch.nn.init.zeros_(layer.sink.bias)
    return model


@pytest.fixture(scope="module")
def model():
    return make()


def sequence(first_chunk: int, neighbours: int = 2):
    generator = torch.Generator().manual_seed(first_chunk)
    tokens = torch.randint(2, VOCABULARY, (1, TOKENS), generator=generator)
    chunks = complete_chunks(TOKENS, first_chunk)
    given = torch.randint(2, VOCABULARY, (1, chunks, neighbours, 128), generator=generator)
    given[0, 0, 0, 40:64] = 0  # a short neighbour before its continuation
    given[0, 1, -1, 64:] = 0  # no continuation
    return tokens, torch.tensor([first_chunk]), given


def changed_tokens(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return (one != other).any(-1)[0]


@torch.no_grad()
@pytest.mark.parametrize("first_chunk", [64, 5])
def test_tokens_before_the_first_chunk_ends_are_untouched(model, first_chunk):
    tokens, f, neighbours = sequence(first_chunk)
    changed = changed_tokens(model(tokens, f, neighbours), model(tokens, f, None))
    assert not changed[: first_chunk - 1].any()
    assert changed[first_chunk - 1 :].all()


@torch.no_grad()
@pytest.mark.parametrize("first_chunk", [64, 5])
@pytest.mark.parametrize("chunk", [0, 1, 2])
def test_neighbours_of_a_chunk_change_nothing_before_its_last_token(model, first_chunk, chunk):
    tokens, f, neighbours = sequence(first_chunk)
    other = neighbours.clone()
    other[0, chunk] = 17
    changed = changed_tokens(model(tokens, f, neighbours), model(tokens, f, other))
    last = 64 * chunk + first_chunk - 1
    assert not changed[:last].any() and changed[last]


@torch.no_grad()
@pytest.mark.parametrize("first_chunk", [64, 5])
@pytest.mark.parametrize("place", [0, 3, 67, 68, 131, 200])
def test_a_token_changes_nothing_before_it(model, first_chunk, place):
    """Though the encoder is bidirectional and reads whole chunks, which it does only for tokens after them."""
    tokens, f, neighbours = sequence(first_chunk)
    other = tokens.clone()
    other[0, place] = 2 if tokens[0, place] != 2 else 3
    changed = changed_tokens(model(tokens, f, neighbours), model(other, f, neighbours))
    assert not changed[:place].any() and changed[place:].all()


@torch.no_grad()
def test_a_chunk_is_read_with_its_own_neighbours_alone(model):
    """What cross-attention adds in a chunk's window depends on no other chunk's neighbours."""
    _, f, neighbours = sequence(5)
    other = neighbours.clone()
    other[0, 1] = 17
    hidden = torch.randn(1, TOKENS, TINY.hidden_size, generator=torch.Generator().manual_seed(1))
    layer = model.layers[1]
    one, two = (
        model.chunked_cross_attention(layer, hidden, f, *model.encode(hidden, f, given)) for given in (neighbours, other)
    )
    begin = 64 + 5 - 1
    assert changed_tokens(one, two).nonzero().flatten().tolist() == list(range(begin, begin + 64))


@torch.no_grad()
@pytest.mark.parametrize("first_chunk", [64, 5])
def test_a_token_reads_for_itself(model, first_chunk):
    """With the neighbours' encoding as it is, a hidden state decides only over what its own token reads."""
    tokens, f, neighbours = sequence(first_chunk)
    hidden = model.embedding(tokens)
    encoded = model.encode(hidden, f, neighbours)
    other = hidden.clone()
    other[0, 100] = 1
    one, two = (model.chunked_cross_attention(model.layers[1], given, f, *encoded) for given in (hidden, other))
    assert changed_tokens(one, two).nonzero().flatten().tolist() == [100]


@torch.no_grad()
def test_padding_carries_nothing(model):
    """Its embedding is never read, though it stands inside of a neighbour that is shorter than its place."""
    tokens, f, neighbours = sequence(64)
    before = model(tokens, f, neighbours)
    kept = model.embedding.weight[0].clone()
    model.embedding.weight[0] = 1
    after = model(tokens, f, neighbours)
    model.embedding.weight[0] = kept
    assert torch.equal(before[..., 1:], after[..., 1:]), "all logits but padding's own, which is tied to it"


@torch.no_grad()
@pytest.mark.parametrize("first_chunk", [64, 5])
@pytest.mark.parametrize("autocast", [False, True])
def test_missing_neighbours_are_exactly_retrieval_off(model, first_chunk, autocast):
    tokens, f, neighbours = sequence(first_chunk)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        assert torch.equal(model(tokens, f, torch.zeros_like(neighbours)), model(tokens, f, None))
        assert not torch.equal(model(tokens, f, neighbours), model(tokens, f, None))


@torch.no_grad()
def test_chunks_without_neighbours_add_nothing(model):
    tokens, f, neighbours = sequence(64)
    neighbours[0, 1] = 0
    hidden = model.embedding(tokens)
    added = model.chunked_cross_attention(model.layers[1], hidden, f, *model.encode(hidden, f, neighbours))
    silent = (added == 0).all(-1)[0]
    assert silent.nonzero().flatten().tolist() == [*range(63), *range(127, 191)]


@torch.no_grad()
def test_a_missing_neighbour_is_as_if_it_were_not_there(model):
    tokens, f, neighbours = sequence(64)
    padded = torch.cat([neighbours, torch.zeros_like(neighbours)], dim=2)
    assert (model(tokens, f, padded) - model(tokens, f, neighbours)).abs().max() < 1e-5


@torch.no_grad()
def test_the_sink_takes_what_the_neighbours_do_not_get():
    model = make()
    tokens, f, neighbours = sequence(64)
    for layer in model.layers:
        if layer.sink is not None:
            layer.sink.bias.fill_(1e4)
    assert torch.equal(model(tokens, f, neighbours), model(tokens, f, None))


@torch.no_grad()
@pytest.mark.parametrize("first_chunk", [64, 5])
@pytest.mark.parametrize("length", [4, 63, 64, 68, 69, 132, 150])
def test_a_prefix_has_the_logits_of_the_whole(model, first_chunk, length):
    tokens, f, neighbours = sequence(first_chunk)
    chunks = complete_chunks(length, first_chunk)
    whole = model(tokens, f, neighbours)[:, :length]
    prefix = model(tokens[:, :length], f, neighbours[:, :chunks] if chunks else None)
    assert (whole - prefix).abs().max() < 1e-5


@torch.no_grad()
def test_the_order_of_neighbours_does_not_matter(model):
    tokens, f, neighbours = sequence(64, neighbours=3)
    assert (model(tokens, f, neighbours) - model(tokens, f, neighbours.flip(2))).abs().max() < 1e-5


@torch.no_grad()
def test_rows_of_a_batch_are_independent(model):
    rows = [sequence(first_chunk) for first_chunk in (64, 63, 5)]
    chunks = max(row[2].shape[1] for row in rows)
    given = [torch.nn.functional.pad(row[2], (0, 0, 0, 0, 0, chunks - row[2].shape[1])) for row in rows]
    together = model(torch.cat([row[0] for row in rows]), torch.cat([row[1] for row in rows]), torch.cat(given))
    for row, logits in zip(rows, together, strict=True):
        assert (logits - model(*row)[0]).abs().max() < 1e-5


def test_every_parameter_is_trained(model):
    tokens, f, neighbours = sequence(5)
    model.zero_grad()
    model(tokens, f, neighbours).logsumexp(-1).sum().backward()
    untouched = [name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    model.zero_grad()
    assert not untouched


def test_a_size_survives_its_manifest():
    for config in [TINY, *SIZES.values()]:
        assert Config.from_dict(config.to_dict()) == config


def test_parameters():
    with torch.device("meta"):
        nano, small = (Retro(SIZES[size]).parameter_count() for size in ("nano", "small"))
    assert 9_500_000 < nano < 10_500_000
    assert 60_000_000 < small < 130_000_000
