#!/usr/bin/env bash
# Installs what building, testing and the demo need on Debian 12, and the packages that are named. Does nothing when all of it is
# there.
set -euo pipefail

packages=(
  build-essential cmake ninja-build pkg-config git python3 ccache clang-format clang-tidy
  libyaml-cpp-dev libcli11-dev libfmt-dev nlohmann-json3-dev libprotobuf-dev protobuf-compiler
  libopenmpi-dev openmpi-bin libdnnl-dev ocl-icd-opencl-dev libhwy-dev libutf8proc-dev libxxhash-dev
  libgtest-dev libbenchmark-dev libboost-context-dev bible-kjv bible-kjv-text
)

packages+=("$@")

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)
  [[ "$status" == "install ok installed" ]] || missing+=("$package")
done
if [[ ${#missing[@]} -eq 0 ]]; then
  echo "setup: every package is installed"
  exit 0
fi

as_root=()
if [[ $(id -u) -ne 0 ]]; then
  command -v sudo >/dev/null || { echo "setup: run this as root; missing: ${missing[*]}" >&2; exit 3; }
  as_root=(sudo)
fi
echo "setup: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -q
"${as_root[@]}" apt-get install -y -q --no-install-recommends "${missing[@]}"
