#!/bin/sh
# A CUDA 13.0 toolkit to compile with, out of NVIDIA's wheels on PyPI: no GPU, no root, 271 MB.
#   eval "$(scripts/cuda-toolchain.sh [FOLDER])"      the default is target/cuda
# Prints what is to be exported. 13.0 and not newer: a driver of the 580 series takes no newer code.
set -eu
folder=$(realpath -m "${1:-target/cuda}")
if [ ! -e "$folder/complete" ]; then
    rm -rf "$folder" "$folder.wheels"
    python3 -m pip install --quiet --disable-pip-version-check --no-deps --only-binary=:all: --target "$folder.wheels" \
        nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 \
        nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85 >&2
    mkdir -p "$(dirname "$folder")"
    mv "$folder.wheels/nvidia/cu13" "$folder"
    rm -rf "$folder.wheels"
    # Build scripts look into lib64, and ask the linker for libcudart, of which the wheel has no link: the static one serves.
    ln -s lib "$folder/lib64"
    mkdir "$folder/link"
    ln -s ../lib/libcudart_static.a "$folder/link/libcudart.a"
    touch "$folder/complete"
fi
cat <<EXPORTS
export CUDA_HOME='$folder' CUDA_PATH='$folder' PATH='$folder/bin':"\$PATH"
export CUDARC_CUDA_VERSION=13000 CUDA_COMPUTE_CAP=\${CUDA_COMPUTE_CAP:-90} CUDAFORGE_THREADS=\${CUDAFORGE_THREADS:-2}
export RUSTFLAGS="-L native=$folder/link \${RUSTFLAGS:-}"
EXPORTS
