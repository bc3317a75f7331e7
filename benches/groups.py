"""What is measured, in groups. Cases of a group are measured in turns, and what stands in a ratio is of one group."""

import dataclasses
from contextlib import ExitStack

import numpy as np

from benches import machine, shape
from benches.plan import CHUNK, SEED
from benches.run import Run, import_weights
from benches.turns import Case
from benches.worker import PeerError

RETRO_PYTORCH, RECOMPUTE, LLAMA = "retro-pytorch", "ONNX Runtime without caches", "llama.cpp"
SERVER, GIVEN, BARE = "server", "server, neighbours given", "bare graphs"
OFF, SEARCH, INTERVAL, PREFETCH = "off", "search", "search, interval 16", "search, interval 16, prefetched"
STREAMS_OFF, STREAMS_SEARCH = "streams, off", "streams, search"
SHORT_INTERVAL = 16
NEIGHBOURS = 2
PROBE_TOKENS = 8
RESERVED = 2  # tokens that are no text come first in a vocabulary
AGREEMENT = 2 * CHUNK + 8  # tokens: new neighbours are read before the end


def llama(threads: int) -> str:
    return f"{LLAMA}, {threads} thread" + "s" * (threads > 1)


def server(variant: str) -> str:
    return f"{SERVER}, {variant}"


def limits(run: Run) -> dict:
    """What the machine can do at most."""
    weights = {variant: shape.decode_bytes(run.model, variant) for variant in run.variants}
    sizes = {"weights": weights[run.precision], "memory": machine.large_buffer()}
    with run.worker("limits of the machine", "limits") as worker:
        if worker is None:
            return {}
        seconds = run.plan.limit_seconds
        cases: dict[str, Case | None] = {}
        for name, size in sizes.items():
            cases[name] = lambda size=size: worker.measure(what="bandwidth", bytes=size, seconds=seconds)
        for kind in ("fp32", "int8"):
            cases[kind] = lambda kind=kind: worker.measure(what="products", weights=kind, seconds=seconds)
        return {"decode_bytes": weights, "buffers": sizes, "about": worker.about, "cases": run.in_turns(cases, run.plan.rounds)}


def completions(run: Run) -> dict:
    """One completion with everything that changes its speed, several at once, and llama.cpp."""
    cases: dict[str, Case | None] = {
        OFF: run.server(),
        SEARCH: run.server(source="search"),
        INTERVAL: run.server(source="search", interval=SHORT_INTERVAL),
        PREFETCH: run.server(source="search", interval=SHORT_INTERVAL, prefetch=True),
        STREAMS_OFF: run.server(batch=run.plan.streams),
        STREAMS_SEARCH: run.server(batch=run.plan.streams, source="search"),
    }
    sizes = shape.decoder(run.model, run.variants[0])
    tokens = run.plan.tokens
    probe = {"prompt": CHUNK, "tokens": CHUNK, "threads": run.threads}
    with run.quicker_worker(LLAMA, "llama", probe, shape=sizes.to_dict(), file=str(run.work / "llama.gguf")) as peer:
        if peer:
            for threads in range(1, run.threads + 1):
                peer.measure(prompt=CHUNK, tokens=CHUNK, threads=threads)
                cases[llama(threads)] = lambda threads=threads: peer.measure(prompt=CHUNK, tokens=tokens, threads=threads)
        records = run.in_turns(cases, run.plan.bar_rounds)
        return {"prompt": CHUNK, "tokens": tokens, "streams": run.plan.streams, "peer": peer and peer.about, "cases": records}


def fills(run: Run) -> dict:
    """A completion that fills a context: the server, and peers that compute the whole sequence for every token."""
    sizes = dataclasses.replace(shape.decoder(run.model, run.variants[0]), context=run.plan.long_context)
    checkpoint, imported = run.work / "retro-pytorch.pt", run.work / "imported"
    texts = given_tokens(sizes.vocabulary)
    with ExitStack() as opened:
        settings = {"shape": sizes.to_dict(), "checkpoint": str(checkpoint), **texts}
        probe = {"context": CHUNK + PROBE_TOKENS}
        original = opened.enter_context(run.quicker_worker(RETRO_PYTORCH, "retro_pytorch", probe, **settings))
        folder, same = run.model, False
        if original:
            try:
                import_weights(checkpoint, run.model, imported)
                folder, same = imported, True
            except PeerError as error:
                run.leave_out("the weights of retro-pytorch in this server", f"{error}; the bundled model takes their place")
        about = shape.manifest(folder)
        settings = {"folder": str(folder), "variant": "fp32", **texts}
        recompute = opened.enter_context(run.worker(RECOMPUTE, "onnx_recompute", **settings))
        others = {name: peer for name, peer in ((RETRO_PYTORCH, original), (RECOMPUTE, recompute)) if peer}
        told = [peer.measure(context=AGREEMENT, tell=True)["told"] for peer in others.values()]
        points = []
        for context in run.plan.fills:
            fits = context <= about["context"]
            run.say(f" context {context}")
            cases: dict[str, Case | None] = {}
            for variant in sorted(about["variants"]) if fits else []:
                given = {"model": folder, "precision": variant, "source": "provided"}
                cases[server(variant)] = run.server(prompt=CHUNK, tokens=context - CHUNK, **given)
            for name, peer in others.items():
                if fits or name == RETRO_PYTORCH:
                    cases[name] = lambda peer=peer, context=context: peer.measure(context=context)
            points.append({"context": context, "cases": run.in_turns(cases, run.plan.rounds)})
        return {
            "prompt": CHUNK,
            "same_weights": same,
            "agreement": agreement(*told) if same and len(told) == 2 else None,
            "parameters": about["parameters"],
            "peers": {name: peer.about for name, peer in others.items()},
            "points": points,
            "long": long_prompts(run, folder, about) if same and run.has_server else None,
        }


def given_tokens(vocabulary: int) -> dict:
    """A prompt of one chunk, and neighbours with their continuations."""
    rng = np.random.default_rng(SEED)
    return {
        "prompt": rng.integers(RESERVED, vocabulary, CHUNK).tolist(),
        "neighbours": rng.integers(RESERVED, vocabulary, (NEIGHBOURS, 2 * CHUNK)).tolist(),
    }


def agreement(one: list[int], other: list[int]) -> dict:
    """How many new tokens two greedy completions have in common until they part."""
    pairs = list(zip(one[CHUNK:], other[CHUNK:], strict=True))
    same = next((at for at, (left, right) in enumerate(pairs) if left != right), len(pairs))
    return {"tokens": len(pairs), "same": same}


def long_prompts(run: Run, folder, about: dict) -> list[dict]:
    """Prompts longer than the bundled model takes, on the imported weights."""
    points = []
    for prompt in run.plan.long_prompts:
        given = {"model": folder, "precision": best_variant(about), "prompt": prompt, "tokens": CHUNK}
        cases = {OFF: run.server(**given), SEARCH: run.server(source="provided", **given)}
        run.say(f" prompt of {prompt} tokens")
        points.append({"prompt": prompt, "cases": run.in_turns(cases, run.plan.rounds)})
    return points


def best_variant(about: dict) -> str:
    return "int8" if "int8" in about["variants"] else "fp32"


def first_token(run: Run) -> dict:
    """The longest prompt that leaves room for a token, and the bare runs of the graphs that it needs."""
    prompt = run.context - 1
    cases: dict[str, Case | None] = {
        SERVER: run.server(prompt=prompt, tokens=1, source="search"),
        GIVEN: run.server(prompt=prompt, tokens=1, source="provided"),
    }
    texts = [str(file) for file in sorted(run.samples.glob("*.md"))]
    settings = {"folder": str(run.model), "variant": run.precision, "embedder": str(run.embedder), "texts": texts}
    with run.worker(BARE, "bare_graphs", **settings) as bare:
        operations = None
        if bare:
            operations = bare.measure(prompt=prompt, neighbours=NEIGHBOURS, count=True)["operations"]
            bare.measure(prompt=prompt, neighbours=NEIGHBOURS)
            cases[BARE] = lambda: bare.measure(prompt=prompt, neighbours=NEIGHBOURS)
        return {"prompt": prompt, "operations": operations, "cases": run.in_turns(cases, run.plan.bar_rounds)}


def batches(run: Run) -> dict:
    """Several completions at once, and prompts of several lengths."""
    points = []
    for prompt in run.plan.prompts:
        tokens = min(run.plan.tokens, run.context - prompt)
        for batch in run.plan.batches:
            cases = {
                OFF: run.server(batch=batch, prompt=prompt, tokens=tokens),
                SEARCH: run.server(batch=batch, prompt=prompt, tokens=tokens, source="search"),
            }
            run.say(f" prompt of {prompt} tokens, {batch} at once")
            points.append({"prompt": prompt, "tokens": tokens, "batch": batch, "cases": run.in_turns(cases, run.plan.rounds)})
    return {"points": points}


def neighbours(run: Run) -> dict:
    """More and fewer neighbours."""
    cases = {str(count): run.server(source="search", neighbours=count) for count in run.plan.neighbours}
    return {"prompt": CHUNK, "tokens": run.plan.tokens, "cases": run.in_turns(cases, run.plan.rounds)}


# In the order of their running: what the bars compare first.
GROUPS = {
    "limits": limits,
    "completions": completions,
    "first_token": first_token,
    "fills": fills,
    "neighbours": neighbours,
    "batches": batches,
}
NEED_SERVER = {"neighbours", "batches"}
