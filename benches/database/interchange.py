"""Chunks and their embeddings as a Parquet file for `retro import` (docs/interchange.md)."""

import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benches.database.embeddings import Part
from benches.database.run import Identity
from benches.database.texts import Chunk, Chunker, read_texts
from benches.worker import PeerError

GROUP_ROWS = 16_384


@dataclass(frozen=True)
class Document:
    name: str
    chunks: list[Chunk]
    embeddings: np.ndarray  # of its chunks


def documents(parts: Iterable[Part], chunker: Chunker, rows: int) -> Iterator[Document]:
    """Until there are so many chunks; the last one ends where they do."""
    for part in parts:
        named = (json.loads(text) for text in part.documents.read_text().splitlines())
        names, of_names = itertools.tee(named)
        texts, vectors, at = read_texts(part.texts), part.matrix(), 0
        chunked = chunker.of_documents(document["text"] for document in of_names)
        for document, (_, chunks) in zip(names, chunked, strict=True):
            if [text for text, _ in chunks] != texts[at : at + len(chunks)]:
                raise PeerError(f"the chunks of {document['id']} are not those that were embedded")
            chunks = chunks[:rows]
            yield Document(document["id"], chunks, vectors[at : at + len(chunks)])
            at, rows = at + len(chunks), rows - len(chunks)
            if not rows:
                return


def write(file: Path, found: Iterable[Document], identity: Identity, collection: str) -> int:
    """Returns the number of rows."""
    import pyarrow.parquet as pq

    schema = schema_of(identity, collection)
    written, waiting, rows = 0, [], 0
    # Numbers of embeddings hardly repeat, and a dictionary of them only costs.
    words = [name for name in schema.names if name != "embedding"]
    with pq.ParquetWriter(file, schema, use_dictionary=words) as out:
        for document in found:
            waiting.append(document)
            rows += len(document.chunks)
            if rows >= GROUP_ROWS:
                out.write_table(table(waiting, schema))
                written, waiting, rows = written + rows, [], 0
        if waiting:
            out.write_table(table(waiting, schema))
    return written + rows


def schema_of(identity: Identity, collection: str):
    import pyarrow as pa

    texts = ("neighbour", "continuation")
    fields = [("document_id", pa.string()), ("chunk_index", pa.int32()), ("byte_start", pa.int64()), ("byte_end", pa.int64())]
    fields += [(name, pa.string()) for name in texts]
    fields += [(f"{name}_tokens", pa.list_(pa.int32())) for name in texts]
    fields += [(name, pa.string()) for name in ("title", "source", "metadata")]
    fields.append(("embedding", pa.list_(pa.float32(), identity.dimension)))
    keys = {
        "retro.format": "1",
        "retro.tokenizer": identity.tokenizer,
        "retro.embedder": identity.embedder,
        "retro.dimension": str(identity.dimension),
        "retro.neighbour_length": str(identity.neighbour_length),
        "retro.continuation_length": str(identity.continuation_length),
        "retro.collection": collection,
    }
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in fields], metadata=keys)


def table(found: list[Document], schema):
    import pyarrow as pa

    columns: dict[str, list] = {name: [] for name in schema.names if name != "embedding"}
    for document in found:
        start = 0
        for index, (text, tokens) in enumerate(document.chunks):
            following, following_tokens = document.chunks[index + 1] if index + 1 < len(document.chunks) else ("", [])
            end = start + len(text.encode())
            row = (document.name, index, start, end, text, following, tokens, following_tokens, "", "", "{}")
            for column, value in zip(columns.values(), row, strict=True):
                column.append(value)
            start = end
    arrays = {name: pa.array(values, schema.field(name).type) for name, values in columns.items()}
    flat = np.concatenate([document.embeddings for document in found]).reshape(-1)
    arrays["embedding"] = pa.FixedSizeListArray.from_arrays(pa.array(flat), type=schema.field("embedding").type)
    return pa.Table.from_arrays([arrays[name] for name in schema.names], schema=schema)
