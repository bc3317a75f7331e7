"""Fills the figures of docs/database.md, and draws their picture, from the results of a run.

    python -m benches.database.report benches/results/NAME.json
"""

import argparse
import json
from pathlib import Path

from benches.database import picture, tables
from benches.saved import circumstances, filled


def write(results: dict, page: Path) -> bool:
    """Whether the page is there and has a place for figures; nothing is written else."""
    if not page.exists():
        return False
    text = page.read_text()
    if filled(text, "") is None:
        return False
    drawn = picture.draw(results, page.parent / "images")
    page.write_text(filled(text, compose(results, drawn)))
    return True


def compose(results: dict, drawn: bool) -> str:
    groups = results["groups"]
    parts = [opening(results), tables.bar_table(results)]
    sections = [
        ("ingest", "Taking documents in", ingesting),
        ("search", "Searching", searching),
        ("growth", "Growing", lambda group: growing(group, drawn)),
        ("posts", "Many small writes", posting),
    ]
    for name, title, text in sections:
        if groups.get(name):
            parts += [f"### {title}", text(groups[name])]
    if results["left_out"]:
        parts += ["### Left out", "\n".join(f"- {one['what']}: {one['why']}" for one in results["left_out"])]
    return "\n\n".join(part for part in parts if part)


def opening(results: dict) -> str:
    about, machine = results["about"], results["about"]["machine"]
    found = [
        f"`python -m benches.database` wrote these figures from `{results['file']}`; `python -m benches.database.report` writes them again from there.",
        f"Measured on {machine['processor']}, {machine['cores']} cores, {about['threads']} threads of every program, "
        f"{machine['memory_bytes'] / 2**30:.0f} GiB of memory, no GPU.",
    ]
    if about.get("embedder"):
        found.append(f"The embedder is {about['embedder']['dimension']} wide and computes in {about['embedder']['precision']} where no other is named.")
    found.append(
        f"What is compared takes turns, A B A B, {results['rounds']} round{'s' * (results['rounds'] > 1)}: the medians, and in brackets the smallest and "
        "the largest value, of a ratio that of a round."
    )
    return " ".join([*found, *circumstances(results)])


def ingesting(group: dict) -> str:
    embedder = group["embedder"]
    parts = [
        f"{group['chunks']:,} chunks of the corpus, by `retro embed`, which only embeds them, and by `retro ingest` into an empty folder. The start of the "
        "program counts only in the last column.",
        tables.ingest_table(group),
    ]
    told = f"The embedder alone on {embedder['texts']:,} chunks."
    if peer := embedder["peer"]:
        told += (
            f" sentence-transformers {peer['sentence-transformers']} with PyTorch {peer['torch']} encodes the same texts in batches of {peer['batch']}, the "
            "quickest of " + ", ".join(peer["tried"]) + "."
        )
        cosines = [record["cosine"] for records in embedder["cases"].values() for record in records if "cosine" in record]
        if cosines:
            told += f" The cosine of its vector and the server's in fp32 is at least {min(cosines):.4f}."
    parts += [told, tables.embedder_table(embedder)]
    if same := group["same"]:
        parts.append(
            f"For {same['queries']:,} of {same['chunks']:,} different chunks, an exact search finds the same {same['neighbours']} nearest others by the "
            f"vectors of int16 and of fp32 in {100 * same['share']:.1f} % of the cases."
        )
    return "\n\n".join(parts)


def searching(group: dict) -> str:
    told = (
        f"{group['queries']} queries of held-out text, one after the other, {group['neighbours']} neighbours each. The server is measured by "
        "`retro index --measure`, which searches the index of the files, with the quickest of some settings that find enough; its answers hold "
        "texts, and its bytes those of the texts as well. "
    )
    peer = next((point["peer"] for point in group["points"] if point["peer"]), None)
    if peer:
        told += (
            f"faiss {peer['version']} has the same vectors and queries, each index the smallest settings that find enough; it gives numbers of vectors only, "
            f"and its threads are {peer['waiting']} while they wait, the quicker way in a trial. "
            "IVF-PQ has a list for each chunk of the square root of all, a byte for 4 numbers, and compares the best candidates exactly; HNSW has 32 links. "
            "Recall is against the exact search of the same program, where what is as near as the last neighbour counts as well. Indexes are built once."
        )
    return "\n\n".join([told.strip(), tables.search_table(group), SERVING, tables.serving_table(group)])


SERVING = (
    "The server with such a collection, after a `POST /v1/retrieve` for each query, one after the other. A smaller collection, whose embeddings fit "
    "`vectors_mb`, is searched in memory and not by its index. The times hold embedding the text and HTTP."
)


def growing(group: dict, drawn: bool) -> str:
    told = (
        f"Search: as above, by the index. Ingestion: {group['more_chunks']:,} chunks more by `retro ingest` into a copy of the collection with its index, in "
        "turns with the same into an empty folder. Bytes: of the collection's files, and of the whole data folder, which has the documents' texts."
    )
    parts = [told]
    if drawn:
        parts.append(f"![Search, ingestion, index and disk by the size of the collection](images/{picture.NAME})")
    return "\n\n".join([*parts, tables.growth_table(group)])


def posting(group: dict) -> str:
    kept, rested, posts, searches = group["kept"], group["rested"], group["posts"], group["searches"]
    counted = "Fragments are those that the server counts." if group["after"]["fragments"] is not None else "Fragments are counted as files of data."
    told = (
        f"{kept['documents']:,} documents of at most 400 characters, each by a `POST /v1/documents?wait=true` of its own, from {group['clients']} clients: "
        f"{group['posts_per_second']:.1f} a second, p50 {posts['p50_ms']:.0f} ms, p99 {posts['p99_ms']:.0f} ms. One more client searched all the time: "
        f"{searches['count']:,} searches, p50 {searches['p50_ms']:.1f} ms, p99 {searches['p99_ms']:.1f} ms"
        f"{', some for a text that was searched for before' if group['searches_repeat'] else ''}. Afterwards {kept['missing']} documents were missing, "
        f"{kept['twice']} there twice and {kept['documents'] - kept['ready']} not ready; {kept['found']} of {kept['sample']} were found by their own "
        f"beginning. {counted} The rest lasted {rested['seconds']:.0f} s, for the housekeeping that follows a minute without documents. Disk is all of "
        "the database's folder, with earlier versions."
    )
    return "\n\n".join([told, tables.post_table(group)])


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m benches.database.report", description=__doc__.splitlines()[0])
    arguments.add_argument("results", type=Path)
    arguments.add_argument("--docs", type=Path, default=Path("docs/database.md"), help="the page to fill")
    options = arguments.parse_args()
    if not write(json.loads(options.results.read_text()), options.docs):
        raise SystemExit(f"{options.docs} is not there, or has no place for figures")
    print(options.docs)


if __name__ == "__main__":
    main()
