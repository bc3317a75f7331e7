"""Prepares texts on many cores, or many machines, for a bulk load: each shard becomes a Parquet file that `retro import` takes.

    python3 examples/bulk_load.py embedded --retro target/release/retro --out shards/ corpus/*.jsonl
    python3 examples/bulk_load.py texts --out shards/ corpus/*.jsonl          # pyarrow instead of retro
    retro import shards/*.parquet --collection library

`embedded` chunks and embeds: a worker runs `retro ingest` into a folder of its own and `retro export` out of it, so that its rows are made with the
very tokenizer and embedder of the servers, and the import has only to write them. `texts` needs no model: it writes the documents' text in the columns of
docs/interchange.md, and the import chunks and embeds.

The shards are independent of each other. Here `multiprocessing` spreads them over the cores of one machine; `prepare` is a plain function of plain
arguments, so Ray (`ray.remote(prepare)`) or Spark (`sc.parallelize(files).foreach(...)`) spreads it over a cluster whose machines share the folders.
"""

import argparse
import functools
import hashlib
import json
import multiprocessing
import os
import re
import subprocess
import tempfile
from pathlib import Path

# Bytes of a piece that `texts` cuts, about; the import cuts by tokens again.
PIECE = 2000
# Documents that are in memory at a time.
GROUP = 1000


def prepare(file, out, retro=None, collection="default"):
    """Writes the documents of one file of JSON lines as one Parquet file, and gives its name; one that is there already is complete."""
    shard = Path(out) / f"{Path(file).stem}-{hashlib.sha256(str(file).encode()).hexdigest()[:8]}.parquet"
    if not shard.exists():
        # The name is there when the file is.
        making = shard.with_suffix(".making")
        embedded(file, making, retro, collection) if retro else texts(file, making)
        os.replace(making, shard)
    return str(shard)


def embedded(file, shard, retro, collection):
    with tempfile.TemporaryDirectory() as data:
        # One thread each: the shards are what runs side by side.
        own = os.environ | {"RETRO_DATA_DIR": data, "RETRO_THREADS": "1", "RETRO_LOG_LEVEL": "error"}
        for command in (["ingest", file, "--collection", collection], ["export", collection, shard]):
            subprocess.run([retro, *map(str, command)], env=own, check=True, stdout=subprocess.DEVNULL)


def texts(file, shard):
    import pyarrow as pa
    import pyarrow.parquet as pq

    numbers, strings = pa.int32(), pa.string()
    columns = {
        "document_id": strings, "chunk_index": numbers, "byte_start": pa.int64(), "byte_end": pa.int64(), "neighbour": strings,
        "continuation": strings, "neighbour_tokens": pa.list_(numbers), "continuation_tokens": pa.list_(numbers), "title": strings,
        "source": strings, "metadata": strings,
    }
    # No tokenizer is named: the import takes the text, and neither pieces nor tokens.
    schema = pa.schema(columns, metadata={"retro.format": "1"})
    with pq.ParquetWriter(shard, schema, compression="zstd") as writer:
        group = []
        for number, line in enumerate(open(file, encoding="utf-8")):
            group += rows(json.loads(line), f"{Path(file).stem}-{number}")
            if number % GROUP == GROUP - 1:
                writer.write_table(pa.Table.from_pylist(group, schema))
                group = []
        writer.write_table(pa.Table.from_pylist(group, schema))


def rows(document, name):
    """The pieces of a document, which tile its text: each begins where the one before it ends."""
    pieces = re.findall(f"(?s).{{1,{PIECE}}}", document["text"])
    start = 0
    for index, piece in enumerate(pieces):
        end = start + len(piece.encode())
        yield {
            "document_id": document.get("id", name), "chunk_index": index, "byte_start": start, "byte_end": end, "neighbour": piece,
            "continuation": pieces[index + 1] if index + 1 < len(pieces) else "", "neighbour_tokens": [], "continuation_tokens": [],
            "title": document.get("title", ""), "source": document.get("source", ""), "metadata": json.dumps(document.get("metadata", {})),
        }
        start = end


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=("embedded", "texts"))
    parser.add_argument("--retro", type=Path, help="the program, for `embedded`")
    parser.add_argument("--out", type=Path, required=True, help="folder for the Parquet files")
    parser.add_argument("--collection", default="default", help="collection that the files name")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes at a time")
    parser.add_argument("files", nargs="+", type=Path, help="JSON lines with `text`, and `id`, `title`, `source`, `metadata` where there are")
    arguments = parser.parse_args()
    if (arguments.kind == "embedded") != (arguments.retro is not None):
        parser.error("--retro belongs to `embedded`, which needs it")
    arguments.out.mkdir(parents=True, exist_ok=True)
    work = functools.partial(prepare, out=arguments.out, retro=arguments.retro and arguments.retro.resolve(), collection=arguments.collection)
    with multiprocessing.get_context("spawn").Pool(arguments.workers) as pool:
        for shard in pool.imap_unordered(work, arguments.files):
            print(shard, flush=True)


if __name__ == "__main__":
    main()
