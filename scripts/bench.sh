#!/bin/sh
# Speed, on an otherwise idle machine: scoring, beside a peer where there is one; detection; the whole way from a post to its
# alert; deliveries.
#   SQUALL_BENCH_TEXTS  posts to score, one JSON object a line (default: examples/posts.jsonl)
#   SQUALL_BENCH_ONNX   the same model for ONNX Runtime; then the peer runs too, in .venv-bench
set -eu
squall=target/release/squall
texts=${SQUALL_BENCH_TEXTS:-examples/posts.jsonl}
if [ -n "${SQUALL_BENCH_ONNX:-}" ]; then
    if [ ! -x .venv-bench/bin/python ]; then
        python3 -m venv .venv-bench
        .venv-bench/bin/python -m pip install --quiet onnxruntime tokenizers numpy
    fi
    $squall bench model --input "$texts" \
        --peer ".venv-bench/bin/python benches/peer.py $SQUALL_BENCH_ONNX models/squall-mini/tokenizer.json $texts"
else
    $squall bench model --input "$texts"
fi
cargo bench --locked --quiet --bench detection
$squall bench detect --what speed
$squall bench pipeline
$squall bench deliver
