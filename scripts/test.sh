#!/usr/bin/env bash
# Installs, builds and runs the whole test suite on a fresh Debian 12; then part of it under sanitizers.
# FRUGAL_TEST_FULL=1 runs the whole tables of layouts, and everything under the sanitizers too (there with
# the reduced tables).
set -euo pipefail
cd "$(dirname "$0")/.."

jobs=${FRUGAL_JOBS:-$(nproc)}
passed=0
failed=0
skipped=0
say() { printf '[%4ds] %s\n' "$SECONDS" "$*"; }

# Runs ctest for a preset with the remaining arguments; adds to passed, failed and skipped, whose names it says.
run_tests() {
  local preset=$1
  shift
  local report="build/$preset/junit.xml"
  rm -f "$report"
  ctest --preset "$preset" -j "$jobs" --output-junit junit.xml "$@" || true
  if [[ ! -f "$report" ]]; then
    say "$preset: ctest wrote no report"
    failed=$((failed + 1))
    return
  fi
  local counts
  counts=$(python3 - "$report" <<'PY'
import sys, xml.etree.ElementTree as tree
root = tree.parse(sys.argv[1]).getroot()
skips = [case for case in root.iter("testcase") if case.find("skipped") is not None]
# A test that left something out says so itself; any other that did not run did not pass.
chosen = [case for case in skips if "SKIP_RETURN_CODE" in case.find("skipped").get("message", "")]
for case in chosen:
    print("skipped in part:", case.get("name"), file=sys.stderr)
total, failures, disabled = (int(root.get(k, 0)) for k in ("tests", "failures", "disabled"))
failures += disabled + len(skips) - len(chosen)
print(total - failures - len(chosen), failures, len(chosen))
PY
)
  local p f s
  read -r p f s <<<"$counts"
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}

# build PRESET [TARGET [OPTIONS-OF-CMAKE...]]
build() {
  say "$1: configuring and building"
  mkdir -p build
  cmake --preset "$1" "${@:3}" >"build/configure-$1.log" 2>&1 || { cat "build/configure-$1.log"; exit 1; }
  cmake --build --preset "$1" -j "$jobs" --target "${2:-all}"
}

say "installing packages"
scripts/setup.sh
build release
say "release: testing"
run_tests release
for preset in asan tsan; do
  select=(-L "$preset") target=${preset}_tests
  if [[ "${FRUGAL_TEST_FULL:-0}" == 1 ]]; then select=() target=all; fi
  build "$preset" "$target"
  say "$preset: testing"
  FRUGAL_TEST_FULL=0 run_tests "$preset" "${select[@]}"
done
if command -v nvcc >/dev/null; then
  cudnn=$(scripts/get_cudnn_frontend.sh) || say "no headers of cuDNN's frontend: attention by cuDNN is neither built nor tested"
  build cuda-dev cuda_dev_tests ${cudnn:+"$cudnn"}
  say "cuda-dev: testing"
  run_tests cuda-dev -L cuda_dev
else
  say "no CUDA toolkit here: the kernels were tested on the CPU, and nothing was compiled for a GPU"
fi
say "done; skipped in part: $skipped"
echo "$passed passed, $failed failed"
[[ $failed -eq 0 && $passed -gt 0 ]]
