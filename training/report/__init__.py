"""The card of a model folder: measures the model with the server's own `retro eval`, and writes README.md and plots.

    python -m training.report --corpus FOLDER --facts facts.jsonl

Parts: `results` measures and keeps the results, `run` reads what training left, `tables` and `sentences` make text of figures,
`plots` pictures, and `card` puts all of it into `card.md`.
"""
