"""The card of a model folder: how results are kept, that every figure gets to its place, and that sentences follow the figures."""

import copy
import json
import re
import sys
from pathlib import Path

import pytest
import torch

from training import bundled, plot
from training.config import Config
from training.report import __main__ as report
from training.report import results as measuring
from training.report.card import data_section, fill, write
from training.report.results import ReportError, Results, Sources, measure
from training.report.run import TrainingRun, check_export

CONFIG = Config(hidden_size=64, layers=3, cca_layers=(2,), heads=2, encoder_heads=1)
SHARES = [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0]


def figures(perplexity: float, off: float = 200.0) -> dict:
    return {"perplexity": perplexity, "bits_per_byte": perplexity / 100, "times_lower": off / perplexity}


def database(perplexity: float, whole: float) -> dict:
    """What a report says of a database, the whole of which has `whole`."""
    return {
        "by_neighbours": [{"neighbours": k, **figures(perplexity + 1 / k)} for k in (1, 2, 4, 8)],
        "without_continuation": figures(perplexity * 1.25),
        "by_share": [
            {"share": share, "documents": round(3200 * share), "chunks": round(64000 * share), **figures(whole + 10 - 10 * share)}
            for share in SHARES
        ],
    }


def text_report(own: float = 40.0, related: float | None = 150.0) -> dict:
    """As src/cli/eval/text_report.rs serialises it."""
    collection = None
    if related:
        ratios = {"perplexity_ratio": related / 200, "bits_per_byte_ratio": 0.97}
        size = {"name": "wiki", "documents": 3200, "chunks": 64000}
        collection = size | figures(related) | ratios | database(related, related)
    return {
        "documents": 50,
        "other_documents": 49,
        "tokens": 78075,
        "bytes": 300123,
        "neighbours": 2,
        "without_retrieval": 200.0,
        "with_the_documents": own,
        "with_other_documents": 201.0,
        "times_lower": 200 / own,
        "others_higher": 0.005,
        "bits_per_byte_without_retrieval": 2.345,
        "bits_per_byte_with_the_documents": 1.111,
        "bits_per_byte_with_other_documents": 2.351,
        **database(own, own + 2),
        "collection": collection,
    }


def tally(facts: int, **counts: int) -> dict:
    names = "without_retrieval with_the_documents new_after_edit old_after_edit after_deletion found_first retrieved".split()
    found = {name: counts.get(name, 0) for name in names}
    return {"facts": facts} | {name: {"count": n, "percent": 100 * n / facts if facts else None} for name, n in found.items()}


def facts_report(other: int = 61) -> dict:
    """As src/cli/eval/facts_report.rs serialises it, without the outcomes."""
    same = {"without_retrieval": 1, "with_the_documents": 133, "new_after_edit": 131, "found_first": 158, "retrieved": 159}
    return {
        "facts": 320,
        "documents": 319,
        "collection": "wiki",
        "other_chunks": 64000,
        "same": tally(160, **same),
        "other": tally(160, with_the_documents=other, old_after_edit=3, after_deletion=2),
        "all": tally(320, without_retrieval=1, with_the_documents=133 + other, new_after_edit=190, old_after_edit=3, after_deletion=2),
        "outcomes": [],
    }


def results() -> Results:
    texts = {"fp32": text_report(), "int8": text_report(own=40.1, related=None)}
    return Results(
        texts={"valid": texts, "wikitext": copy.deepcopy(texts)},
        facts={"fp32": facts_report(), "int8": facts_report()},
        parity={"fp32": 4.2e-5, "int8": 3.1e-5},
    )


@pytest.fixture
def model(tmp_path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    files = {f"{v}/{f}": {"sha256": f"{v} {f}", "bytes": n} for v in ("fp32", "int8") for f, n in (("weights.bin", 9_000_000),)}
    manifest = {
        "name": "retro-nano",
        "parameters": 9_930_000,
        "cca_layers": [2],
        "hidden_size": 64,
        "embedder": {"name": "all-MiniLM-L6-v2"},
        "variants": {"int8": {"folder": "int8"}, "fp32": {"folder": "fp32"}},
        "files": files,
    }
    (folder / "retro.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def run(tmp_path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    state = {"config": CONFIG.to_dict(), "step": 2600, "tokens": 12_000_000, "tokens_before": 6_800_000, "seconds": 5520.0}
    groups = [{"param_groups": [{"momentum": 0.95}]}, {"param_groups": [{"betas": (0.9, 0.95)}]}]
    names = {"layers.1.sink.weight": torch.zeros(1)}
    torch.save(state | {"shift": 32, "optimizer": groups, "model": names}, folder / "checkpoint.pt")
    (folder / "losses.csv").write_text(
        "step,tokens,seconds,rate,shift,covered,uncovered,fact_values\n"
        "20,7000000,10,1.00e-03,32,3.5,5.7,\n"
        "40,7100000,20,2.00e-03,32,3.4,5.6,2.5\n"
        "60,7200000,30,1.50e-03,32,3.3,5.6,2.4\n"
        "40,7100000,21,2.00e-03,32,,,2.6\n"
        "60,72"
    )
    (folder / "held_out.csv").write_text(
        "step,tokens,seconds,none,random,retrieved,covering,covering_shifted,facts_same,facts_other\n"
        "20,7000000,10,5.9,5.91,,3.6,3.7,0.4,0.2\n"
        "40,7100000,20,5.812,5.82,,3.512,3.6,0.55,0.25\n"
    )
    return folder


def card(model: Path, run: Path, found: Results, data: Path | None = None) -> str:
    manifest = json.loads((model / "retro.json").read_text())
    section = data_section(TrainingRun.open(run), manifest["name"], data)
    return write(TrainingRun.open(run), found, manifest, "on two processor cores", section)


def test_every_figure_is_in_the_card_and_every_picture_is_there_and_small(model, run):
    report.write(model, run, results(), machine="on two processor cores")
    text = (model / "README.md").read_text()
    assert not re.search(r"\{\{|<!-- (if|end)|\bNone\b|\bnan\b", text)
    for figure in [
        "9,930,000",
        "Muon for the matrices inside the layers and AdamW for the rest, on 5.2 million tokens in 2,600 steps and 1 h 32 min, "
        "on two processor cores; 2,000 tokens a step, peak learning rate 0.002",
        "earlier runs of 6.8 million tokens",
        "| retrieval off | 5.812 |",
        "chunks of 64 tokens; beside the paper's: a sink, by which a token can attend nothing |",
        "50 documents, 78,075 tokens (300,123 bytes) predicted; 49 other documents",
        "| none, retrieval off | 200.0 | +0.00 % | 2.345 | 200.0 | +0.00 % | 2.345 |",
        "| the evaluated documents | 40.00 | -80.0 % | 1.111 |",
        "| other documents | 201.0 | +0.50 % | 2.351 |",
        "| both together | 42.00 | -79.0 % |",
        "| collection `wiki`: 3,200 documents, 64,000 chunks | 150.0 | -25.0 % |",
        "| 8 | 40.12 | 40.12 | 150.1 | 150.1 |",
        "| 1/16 | 200 | 4,000 | 159.4 | 159.4 |",
        "| 1/16 | 200 | 4,000 | 51.38 |",
        "| valid, own documents | 40.00 | 50.00 | +25.0 % |",
        "320 invented facts, each stated once in its document (319 documents, among 64,000 chunks of collection `wiki`)",
        "160 prompts have the words of\ntheir document, 160 have others",
        "| (b) the value, with the documents in the database | 133 (83.1 %) | 61 (38.1 %) | 194 (60.6 %) |",
        "| (d) either value, after the documents were deleted | 0 (0.0 %) | 2 (1.2 %) | 2 (0.6 %) |",
        "| int8 | 9.0 | 200.0 (+0.00 %) | 40.10 (+0.25 %) |",
        "| fp32 | 4.2e-05 |",
        "English Wikipedia (2019)",
        "an edit of the documents made it give the new value for 190 and the old one for 3",
    ]:
        assert figure in text, figure
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert sorted(pictures) == ["facts.png", "losses.png", "perplexity.png"]
    for name in pictures:
        content = (model / name).read_bytes()
        assert content.startswith(b"\x89PNG") and len(content) < 120_000, name


def test_tables_have_as_many_cells_in_every_row(model, run):
    for block in card(model, run, results()).split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({row.count("|") for row in rows}) <= 1, block


def test_sentences_follow_the_figures(model, run):
    def with_figures(own: float, related: float, other: int) -> str:
        found = results()
        for text in found.texts:
            found.texts[text]["fp32"] = text_report(own, related)
        found.facts["fp32"] = facts_report(other)
        return card(model, run, found)

    good, bad = with_figures(40.0, 150.0, 155), with_figures(250.0, 230.0, 30)
    for text, expected in [
        (good, ["5.00 times lower", "same subject help:", "changes by -25.0 % on valid", "most of the time (it gave 83.1 %"]),
        (bad, ["1.25 times higher", "same subject do harm:", "changes by +15.0 % on valid", "seldom (it gave 83.1 %"]),
        (with_figures(40.0, 199.0, 100), ["same subject make little difference: ", "far from always"]),
    ]:
        for sentence in expected:
            assert sentence in text, sentence
    assert "same subject do harm" not in good and "times lower" not in bad


def test_what_was_not_measured_is_left_out(model, run):
    (run / "held_out.csv").unlink()
    plain = Results(texts={"valid": {"fp32": text_report(related=None) | {"with_other_documents": None, "others_higher": None}}})
    text = card(model, run, plain)
    for part in ["The collection is", "`wiki`", "## Facts", "facts.png", "Cached decode", "other documents change", "Last measured"]:
        assert part not in text, part
    assert "40.00" in text
    nothing = card(model, run, Results())
    assert "## Predicting" not in nothing and "perplexity.png" not in nothing and "## Limits" in nothing and "None" not in nothing


def test_the_licences_are_those_of_the_bundled_model(model, run, tmp_path):
    manifest = json.loads((model / "retro.json").read_text())
    (model / "retro.json").write_text(json.dumps(manifest | {"name": "mine"}))
    assert "Wikipedia" not in card(model, run, Results())
    (tmp_path / "mine.md").write_text("## Data\n\nMy own letters{{corpus}}.")
    assert "My own letters." in card(model, run, Results(), data=tmp_path / "mine.md")


def test_a_model_of_another_run_is_refused(model, run):
    manifest = json.loads((model / "retro.json").read_text())
    (model / "retro.json").write_text(json.dumps(manifest | {"hidden_size": 65}))
    with pytest.raises(ReportError, match="not exported from this run"):
        card(model, run, Results())
    with pytest.raises(ReportError, match="--run names the folder"):
        TrainingRun.open(model)


def test_a_model_of_another_checkpoint_is_refused(model, run, monkeypatch):
    weights = torch.ones(3, 2)
    state = torch.load(run / "checkpoint.pt", weights_only=True)
    torch.save(state | {"model": {"embedding.weight": weights}}, run / "checkpoint.pt")
    monkeypatch.setattr(bundled, "tensors", lambda folder: {"embedding": weights.numpy()} if folder.name == "fp32" else {})
    check_export(model, run)
    torch.save(state | {"model": {"embedding.weight": weights + 1e-7}}, run / "checkpoint.pt")
    with pytest.raises(ReportError, match="export it first"):
        check_export(model, run)


def test_parts_of_a_template():
    template = "a<!-- if x --> {{x}}<!-- if y --> and {{y}}<!-- end -->.<!-- end -->"
    assert fill(template, {"x": "1", "y": "2"}) == "a 1 and 2.\n"
    assert fill(template, {"x": "1", "y": ""}) == "a 1.\n"
    assert fill(template, {"x": "", "y": "2"}) == "a\n"
    with pytest.raises(KeyError):
        fill("{{z}}", {})


RETRO = """#!{python}
import json, pathlib, sys
folder = pathlib.Path({folder!r})
with open(folder / "calls", "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
if (folder / "broken").exists():
    sys.exit(3)
print(json.dumps({{"facts": json.load(open(folder / "facts.json"))}} if "--facts" in sys.argv else json.load(open(folder / "text.json"))))
"""


@pytest.fixture
def sources(tmp_path, model, monkeypatch) -> Sources:
    """With a stand-in for the server's binary, which notes how it is called."""
    binary = tmp_path / "retro"
    binary.write_text(RETRO.format(python=sys.executable, folder=str(tmp_path)))
    binary.chmod(0o755)
    (tmp_path / "text.json").write_text(json.dumps(text_report()))
    (tmp_path / "facts.json").write_text(json.dumps(facts_report()))
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "valid.jsonl.zst").touch()
    (corpus / "wikitext_valid.jsonl").touch()
    monkeypatch.setattr(measuring, "parity", lambda model, variant: 1e-5)
    more = {"retro": binary, "corpus": corpus, "facts": tmp_path / "facts.jsonl", "collection": "wiki", "data_dir": tmp_path}
    return Sources(model=model, results=tmp_path / "results", documents=30, **more)


def calls(tmp_path) -> list[list[str]]:
    path = tmp_path / "calls"
    found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    path.unlink(missing_ok=True)
    return found


def test_measuring_calls_the_server_once_for_each_result(sources, tmp_path):
    found = measure(sources)
    assert found.texts["valid"]["fp32"]["tokens"] == 78075 and found.facts["int8"]["facts"] == 320
    assert found.parity == {"fp32": 1e-5, "int8": 1e-5}
    made = calls(tmp_path)
    assert len(made) == 6
    tail = ["--json", "--model", str(sources.model), "--precision"]
    texts = ["--documents", "30", "--others", "50"]
    data = ["--data-dir", str(tmp_path)]
    valid = str(sources.corpus / "valid.jsonl.zst")
    assert ["eval", valid, *tail, "fp32", *texts, "--collection", "wiki", *data] in made
    assert ["eval", valid, *tail, "int8", *texts, *data] in made
    assert ["eval", "--facts", str(sources.facts), *tail, "int8", "--collection", "wiki", *data] in made
    assert measure(sources) == found and not calls(tmp_path), "all is kept"


def test_measuring_goes_on_where_it_was_stopped(sources, tmp_path):
    measure(sources)
    calls(tmp_path)
    (sources.results / "facts.int8.json").unlink()
    (tmp_path / "broken").touch()
    with pytest.raises(ReportError, match="code 3"):
        measure(sources)
    assert not (sources.results / "facts.int8.json").exists()
    (tmp_path / "broken").unlink()
    calls(tmp_path)
    measure(sources)
    assert [call[:2] for call in calls(tmp_path)] == [["eval", "--facts"]]


def test_results_of_other_weights_or_settings_are_measured_anew(sources, tmp_path):
    measure(sources)
    calls(tmp_path)
    measure(Sources(**vars(sources) | {"documents": 40}))
    assert len(calls(tmp_path)) == 4, "the facts know nothing of documents"
    manifest = json.loads((sources.model / "retro.json").read_text())
    manifest["files"]["int8/weights.bin"]["sha256"] = "new"
    (sources.model / "retro.json").write_text(json.dumps(manifest))
    unnamed = Sources(model=sources.model, results=sources.results)
    with pytest.raises(ReportError, match="of other weights"):
        measure(unnamed)
    measure(Sources(**vars(sources) | {"documents": 40}))
    assert all("int8" in call for call in calls(tmp_path))
    # The card can be written again from what is kept, whatever the settings were.
    assert measure(unnamed).texts["valid"].keys() == {"fp32", "int8"} and not calls(tmp_path)


def test_a_missing_binary_is_named(sources):
    with pytest.raises(ReportError, match="make build"):
        measure(Sources(**vars(sources) | {"retro": sources.model / "retro"}))


def test_logs_are_read_with_blanks_and_repeated_steps(run):
    rows = plot.read(run / "losses.csv")
    assert [(row["step"], row["seconds"]) for row in rows] == [(20, 10), (40, 21)], "what was done again counts, and half a line does not"
    assert plot.series(rows, "covered") == ([7.0], [3.5]) and plot.series(rows, "fact_values") == ([7.1], [2.6])
    assert plot.series(rows, "missing") == ([], []) and plot.read(run / "nothing.csv") == []
    many = [{"step": at, "tokens": 1e6 * at, "loss": float(at % 2)} for at in range(1000)]
    x, y = plot.series(many, "loss", 100)
    assert len(x) == 100 and y == [0.5] * 100


@pytest.mark.parametrize("missing", [(), ("losses.csv",), ("held_out.csv",), ("losses.csv", "held_out.csv")])
def test_curves_are_drawn_from_what_is_there(run, missing):
    for name in missing:
        (run / name).unlink()
    plot.plot(run)
    assert 2000 < (run / "losses.png").stat().st_size < 120_000
