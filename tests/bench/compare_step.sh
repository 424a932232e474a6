#!/bin/bash
# Compares training steps of GPT-2 124M: frugal against PyTorch, in turns on the same machine, so that both see
# the same disturbances. Prints the median seconds per step of every contender, its spread (10th and 90th
# percentile), tokens per second, and how many times faster frugal is.
#   tests/bench/compare_step.sh TRAIN_STEP_BENCH PYTHON [BATCH LENGTH ROUNDS STEPS]
# PYTHON is an interpreter that has torch. Every turn is a new process with two steps of warm-up.
set -euo pipefail
bench=$1 python=$2 batch=${3:-4} length=${4:-64} rounds=${5:-3} steps=${6:-5}
here=$(cd "$(dirname "$0")" && pwd)
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
shape=(--batch "$batch" --length "$length" --steps "$steps" --threads 2)

turn() {  # turn NAME COMMAND...
  local name=$1
  shift
  "$@" "${shape[@]}" | sed -n 's/^step //p' >>"$results/$name"
}

for ((round = 0; round < rounds; ++round)); do
  for precision in fp32 bf16; do
    turn "frugal-$precision" "$bench" --precision "$precision"
  done
  for precision in fp32 autocast bf16; do
    turn "torch-$precision-eager" "$python" "$here/torch_step.py" --precision "$precision"
    turn "torch-$precision-compile" "$python" "$here/torch_step.py" --precision "$precision" --compile
  done
done

quantile() {  # quantile FILE Q
  sort -g "$1" | awk -v q="$2" '{ x[NR] = $1 } END { print x[1 + int(q * (NR - 1) + 0.5)] }'
}
echo "GPT-2 124M, B=$batch T=$length, 2 threads, $rounds rounds of $steps steps, load $(cut -d' ' -f1 /proc/loadavg)"
printf '%-24s %9s %9s %9s %9s %12s %12s\n' contender median p10 p90 tokens/s "frugal fp32" "frugal bf16"
for file in "$results"/*; do
  median=$(quantile "$file" 0.5)
  awk -v name="$(basename "$file")" -v m="$median" -v a="$(quantile "$file" 0.1)" -v b="$(quantile "$file" 0.9)" \
    -v tokens=$((batch * length)) -v f="$(quantile "$results/frugal-fp32" 0.5)" -v h="$(quantile "$results/frugal-bf16" 0.5)" \
    'BEGIN { printf "%-24s %9.3f %9.3f %9.3f %9.1f %11.2fx %11.2fx\n", name, m, a, b, tokens / m, m / f, m / h }'
done
