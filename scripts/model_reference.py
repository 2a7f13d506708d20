#!/usr/bin/env python3
"""What transformers computes with a model folder, for the texts that the tests compare with.

usage: model_reference.py MODEL     (needs `pip install torch transformers safetensors`)

Reads the texts of tests/data/model_reference.jsonl and writes it anew: token ids and logits, in f32. To be run when
models/squall-mini is replaced. Knows what `squall optimize` makes: bytes with a scale for each row are multiplied out, and layers
get the heads and units that config.json leaves them.
"""
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

FILE = Path(__file__).resolve().parents[1] / "tests/data/model_reference.jsonl"


def weights_of(folder):
    tensors = load_file(folder / "model.safetensors")
    scale = lambda name: tensors[name + "_scale"] if tensors[name].dtype == torch.int8 else 1.0
    return {name: tensor.float() * scale(name) for name, tensor in tensors.items() if not name.endswith("_scale")}


def model_of(folder):
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    settings.pop("quantization_config", None)
    model = BertForSequenceClassification(BertConfig(**settings))
    width, heads = settings["hidden_size"], settings["num_attention_heads"]
    for layer, left in zip(model.bert.encoder.layer, settings.get("squall", {}).get("layers", [])):
        attention, attended = layer.attention, left["heads"] * width // heads
        attention.self.num_attention_heads, attention.self.all_head_size = left["heads"], attended
        for part in ("query", "key", "value"):
            setattr(attention.self, part, torch.nn.Linear(width, attended))
        attention.output.dense = torch.nn.Linear(attended, width)
        layer.intermediate.dense = torch.nn.Linear(width, left["inner"])
        layer.output.dense = torch.nn.Linear(left["inner"], width)
    missing, foreign = model.load_state_dict(weights_of(folder), strict=False)
    if missing or any(not name.startswith("entity.") for name in foreign):
        sys.exit(f"missing: {missing}, of no use: {foreign}")
    return model.eval()


def main(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = model_of(folder)
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
    main(Path(sys.argv[1]))
