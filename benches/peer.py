#!/usr/bin/env python3
"""What a user would run instead of squall: Hugging Face tokenizers and ONNX Runtime or PyTorch on the same texts.

usage: peer.py MODEL TOKENIZER.json TEXTS.jsonl [LIMIT]

MODEL is a file of ONNX Runtime's, or a folder of Hugging Face's, which PyTorch computes in bf16.
Texts are sorted by length and padded per batch of 32, two threads, the median of three rounds after one that
does not count. Prints `N texts/s`.
"""
import json
import os
import statistics
import sys
import time

import numpy
import tokenizers

model, vocabulary, path = sys.argv[1:4]
limit = int(sys.argv[4]) if len(sys.argv) > 4 else 2000
with open(path, encoding="utf-8") as file:
    posts = [json.loads(line) for line in file][:limit]
texts = ["\n".join(part for part in (post.get("title"), post.get("text")) if part) for post in posts]
tokenizer = tokenizers.Tokenizer.from_file(vocabulary)
tokenizer.enable_truncation(512)
tokenizer.no_padding()


def onnx():
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    inputs = [given.name for given in session.get_inputs()]
    return f"onnxruntime {onnxruntime.__version__}", lambda given: session.run(None, {name: given[name] for name in inputs})


def pytorch():
    import torch
    import transformers

    torch.set_num_threads(2)
    network = transformers.AutoModelForSequenceClassification.from_pretrained(model, dtype=torch.bfloat16).eval()

    def run(given):
        with torch.inference_mode():
            network(**{name: torch.from_numpy(values) for name, values in given.items()})

    return f"PyTorch {torch.__version__} bf16", run


engine, run = pytorch() if os.path.isdir(model) else onnx()


def score_all():
    encoded = sorted((one.ids for one in tokenizer.encode_batch(texts)), key=len)
    for start in range(0, len(encoded), 32):
        batch = encoded[start : start + 32]
        width = len(batch[-1])
        ids = numpy.array([one + [0] * (width - len(one)) for one in batch], dtype=numpy.int64)
        mask = numpy.array([[1] * len(one) + [0] * (width - len(one)) for one in batch], dtype=numpy.int64)
        run({"input_ids": ids, "attention_mask": mask, "token_type_ids": numpy.zeros_like(ids)})


rates = []
for number in range(4):
    begun = time.perf_counter()
    score_all()
    if number:
        rates.append(len(texts) / (time.perf_counter() - begun))
print(f"{engine} {model.rsplit('/', 1)[-1]}: {statistics.median(rates):.1f} texts/s")
