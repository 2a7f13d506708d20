#!/usr/bin/env python3
"""What transformers computes with a model folder, for the texts that the tests compare with.

usage: model_reference.py MODEL     (needs `pip install torch transformers`)

Reads the texts of tests/data/model_reference.jsonl and writes it anew: token ids and logits, in f32. To be run when
models/squall-mini is replaced.
"""
import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

FILE = Path(__file__).resolve().parents[1] / "tests/data/model_reference.jsonl"


def main(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    lines = []
    for line in FILE.read_text(encoding="utf-8").splitlines():
        text = json.loads(line)["text"]
        ids = tokenizer(text, truncation=True, max_length=512)["input_ids"]
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0].tolist()
        lines.append(json.dumps({"text": text, "ids": ids, "logits": [round(logit, 5) for logit in logits]}, ensure_ascii=False))
    FILE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
