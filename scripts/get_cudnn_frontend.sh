#!/usr/bin/env bash
# Gets the headers that attention by cuDNN is built with: those of the wheel nvidia-cudnn-frontend, which are in no package of
# Debian. Puts them under DIR (build/cudnn-frontend) and says the option of CMake that names them:
#
#   cmake --preset cuda-release "$(scripts/get_cudnn_frontend.sh)"
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$(realpath -m "${1:-build/cudnn-frontend}")
if [[ ! -f "$dir/include/cudnn_frontend.h" ]]; then
  mkdir -p "$dir"
  python3 -m pip download --quiet --no-deps --dest "$dir" nvidia-cudnn-frontend==1.32.0 >&2
  python3 -m zipfile -e "$dir"/nvidia_cudnn_frontend-*.whl "$dir"
fi
echo "-DFRUGAL_CUDNN_FRONTEND=$dir/include"
