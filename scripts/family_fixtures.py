#!/usr/bin/env python3
"""Tiny random classifiers of the families squall loads, and what transformers computes with them.

usage: family_fixtures.py OUT     (needs `pip install torch transformers`)

Writes OUT/<family>/config.json, model.safetensors and reference.jsonl: token ids and logits of a few texts. The models have a
word list of 40 and random weights; texts are random ids, with the family's special tokens where it has some. They were made
with transformers 5.24 and torch 2.15.
"""
import json
import random
import sys
from pathlib import Path

import torch
from transformers import (BertConfig, BertForSequenceClassification, DistilBertConfig, DistilBertForSequenceClassification,
                          ModernBertConfig, ModernBertForSequenceClassification, RobertaConfig, RobertaForSequenceClassification, XLMRobertaConfig,
                          XLMRobertaForSequenceClassification)

LABELS = {"id2label": {0: "negative", 1: "neutral", 2: "positive"}, "label2id": {"negative": 0, "neutral": 1, "positive": 2}}
SHAPE = dict(vocab_size=40, hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=36,
             initializer_range=0.4, **LABELS)
# The window is so small that most of the texts are longer.
MODERN = dict(vocab_size=40, hidden_size=24, num_hidden_layers=4, num_attention_heads=2, intermediate_size=36, initializer_range=0.4,
              initializer_cutoff_factor=2.0, max_position_embeddings=64, local_attention=8, pad_token_id=0, bos_token_id=3, eos_token_id=2,
              cls_token_id=3, sep_token_id=2, attn_implementation="eager", **LABELS)
FAMILIES = {
    "bert": (BertForSequenceClassification, BertConfig(**SHAPE, max_position_embeddings=64)),
    "roberta": (RobertaForSequenceClassification, RobertaConfig(**SHAPE, max_position_embeddings=66, type_vocab_size=1)),
    "xlm-roberta": (XLMRobertaForSequenceClassification,
                    XLMRobertaConfig(**SHAPE, max_position_embeddings=66, type_vocab_size=1)),
    "distilbert": (DistilBertForSequenceClassification,
                   DistilBertConfig(vocab_size=40, dim=24, n_layers=2, n_heads=2, hidden_dim=36, initializer_range=0.4,
                                    max_position_embeddings=64, **LABELS)),
    "modernbert": (ModernBertForSequenceClassification, ModernBertConfig(**MODERN)),
    "modernbert-mean": (ModernBertForSequenceClassification, ModernBertConfig(**MODERN, classifier_pooling="mean", attention_bias=True,
                                                                              mlp_bias=True, norm_bias=True, classifier_bias=True)),
    "multi-label": (BertForSequenceClassification, BertConfig(**SHAPE, max_position_embeddings=64,
                                                              problem_type="multi_label_classification")),
}

out = Path(sys.argv[1])
for name, (kind, config) in FAMILIES.items():
    torch.manual_seed(5)
    random.seed(5)
    model = kind(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # biases and normalisations too, which start at 0 and 1
            parameter.add_(torch.randn_like(parameter) * 0.1)
    folder = out / name
    model.save_pretrained(folder)
    with open(folder / "reference.jsonl", "w", encoding="utf-8") as file:
        for length in (2, 3, 7, 20, 50):
            ids = [3] + [random.randrange(4, 40) for _ in range(length - 2)] + [2]
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([ids])).logits[0].tolist()
            file.write(json.dumps({"ids": ids, "logits": logits}) + "\n")
