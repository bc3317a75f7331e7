"""The database measured: taking documents in, finding neighbours, growing, and many small writes beside searches.

    python -m benches.database --retro target/release/retro --corpus FOLDER
    python -m benches.database.report benches/results/NAME.json

Parts: `plan` says how much is measured, `texts` reads the corpus, `embeddings` makes and keeps the vectors, `interchange` writes them for
`retro import`, `retro` and `server` drive the server, the peers are in `faiss_peer` and `sentence_peer`, the groups in `ingest`, `rows`
(search and growth) and `posts`. `bars`, `tables` and `report` say what came of it.
"""
