#!/usr/bin/env python3
"""Shows that Hugging Face's transformers loads a folder of `squall train` and gives which logits: written to tests/data.

reference.py SQUALL    trains a tiny model with that program and writes tests/data/tiny_model/, its logits by transformers
                       beside it. Needs torch and transformers.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import safetensors.torch
import torch
import transformers

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "tests" / "data" / "tiny_model"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "acme", "cuts", "its", "outlook", "beats", "##s", "a", "profit"]
LESSONS = [("acme beats its outlook", "positive"), ("acme cuts its outlook", "negative"), ("a profit", "neutral")]
TEXTS = ["acme cuts a profit", "its outlook beats", "profit", "", "acmes unknown"]


def base(folder):
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=32,
    )
    transformers.BertModel(config).save_pretrained(folder)
    special = [
        {"id": id, "content": word, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        for id, word in enumerate(WORDS[:4])
    ]
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": special,
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
                       "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "decoder": None,
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": {word: id for id, word in enumerate(WORDS)}},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


def main(squall):
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        base(work / "base")
        lines = [
            json.dumps({"text": text, "label": label, "entities": [{"name": "acme", "label": label}] if "acme" in text else None})
            for text, label in LESSONS
        ]
        (work / "train.jsonl").write_text("\n".join(lines))
        (work / "dev.jsonl").write_text(json.dumps({"text": "acme cuts profit", "label": "negative"}))
        subprocess.run(
            [squall, "train", "--train", work / "train.jsonl", "--dev", work / "dev.jsonl", "--base", work / "base", "--out",
             work / "out", "--epochs", "60", "--batch", "1", "--learning-rate", "0.02", "--head-learning-rate", "0.02", "--calibration-share", "0",
             "--patience", "1000"],
            check=True,
        )
        FOLDER.mkdir(exist_ok=True)
        for name in ("config.json", "tokenizer.json", "model.safetensors"):
            (FOLDER / name).write_bytes((work / "out" / name).read_bytes())
    model, loading = transformers.BertForSequenceClassification.from_pretrained(FOLDER, output_loading_info=True)
    assert not loading["missing_keys"] and all(key.startswith("entity.") for key in loading["unexpected_keys"]), loading
    model.eval()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(FOLDER / "tokenizer.json"))
    tensors = safetensors.torch.load_file(FOLDER / "model.safetensors")
    with open(FOLDER / "logits.jsonl", "w", encoding="utf-8") as file, torch.no_grad():
        for text in TEXTS:
            ids = tokenizer(text)["input_ids"]
            batch = torch.tensor([ids])
            hidden = model.bert(batch).last_hidden_state[0]
            # The entity head, of a name of the first word's token.
            vector = torch.cat([hidden[1], hidden[0]])
            inner = torch.tanh(tensors["entity.dense.weight"] @ vector + tensors["entity.dense.bias"])
            entity = tensors["entity.classifier.weight"] @ inner + tensors["entity.classifier.bias"]
            logits = model(batch).logits[0]
            line = {"text": text, "ids": ids, "logits": logits.tolist(), "entity_logits": entity.tolist()}
            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
