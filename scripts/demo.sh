#!/usr/bin/env bash
# The whole story on a fresh Debian 12: installs packages, builds, prepares the King James Bible, trains a small Llama on it under
# mpirun (tensor 2 x pipeline 2), stops it half-way with a signal, resumes it, and continues a text with what it learned.
# DEMO_DIR: where the run goes (default runs). A run that is there already is put aside.
set -euo pipefail
cd "$(dirname "$0")/.."

config=configs/kjv-llama.yaml
steps=$(sed -n 's/^train:.*steps: *\([0-9]*\).*/\1/p' "$config")
run=${DEMO_DIR:-runs}/kjv-llama
layout="parallelism.data=1 parallelism.pipeline=2 parallelism.tensor=2"
job=
say() { printf '\n[%4ds] demo: %s\n' "$SECONDS" "$*"; }

# Starts the training as a job of its own; $job is its mpirun, which passes signals on to the ranks.
start() {
  launch/local.sh 4 "$config" run.dir="${run%/*}" $layout &  # unquoted: three words
  job=$!
}
# Sets code to what the training ended with.
finish() { code=0; wait "$job" || code=$?; }
# Whoever interrupts the demo waits until the training has saved.
interrupted() {
  if [[ -n $job ]]; then
    kill -USR1 "$job" 2>/dev/null || true
    wait "$job" || true
    say "interrupted; the run is in $run, launch/local.sh 4 $config run.dir=${run%/*} $layout goes on"
  fi
  exit 130
}
trap interrupted INT TERM
# The last step in metrics.jsonl, or 0.
last_step() { tail -n 1 "$run/metrics.jsonl" 2>/dev/null | sed -n 's/^{"step": \([0-9]*\),.*/\1/p' | grep . || echo 0; }

say "packages"
scripts/setup.sh
say "building the program (ninja counts its steps)"
cmake --preset release
cmake --build --preset release --target frugal
say "the King James Bible as tokens"
scripts/prepare_kjv.sh data/kjv

if [[ -d "$run" ]]; then
  aside=$run.before-$(date +%s)
  mv "$run" "$aside"
  say "an earlier run is now in $aside"
fi
say "what the run will need"
build/release/frugal train "$config" --dry-run run.dir="${run%/*}" $layout

say "training on 4 ranks; at step $((steps / 2)) of $steps it gets a signal to stop"
begin=$SECONDS
start
while kill -0 "$job" 2>/dev/null && [[ $(last_step) -lt $((steps / 2)) ]]; do sleep 0.2; done
kill -USR1 "$job" 2>/dev/null || true
finish
[[ $code -eq 75 ]] || { say "expected exit code 75 (stopped, run me again), got $code"; exit 1; }
say "stopped with exit code 75 at step $(last_step); the same command goes on from its checkpoint"
start
finish
[[ $code -eq 0 ]] || { say "the resumed training ended with $code"; exit "$code"; }
training=$((SECONDS - begin))

say "how the samples grew"
for file in "$run"/samples/step-*.txt; do
  printf '\n%s\n' "--- $(basename "$file" .txt)"
  grep -v '^---' "$file" | sed '/^$/d'
done
say "the validation loss"
grep validation "$run/log.txt"
say "a prompt that it has not seen in training"
build/release/frugal generate --checkpoint "$run" --prompt "And the LORD spake unto" --max-new-tokens 80 --seed 7

bits=$(sed -n 's/.*"bits_per_byte": \([0-9.]*\).*/\1/p' "$run/metrics.jsonl" | tail -n 1)
say "done: $training s of training, $(printf %.3f "$bits") bits per byte of validation text"
cat <<END
  run             $run (config.yaml, run.json, log.txt)
  metrics         $run/metrics.jsonl; tensorboard --logdir $run/tb
  samples         $run/samples
  checkpoints     $run/checkpoints; build/release/frugal checkpoint inspect $(ls -d "$run"/checkpoints/step-* | tail -n 1)
  text, tokens    data/kjv
  go on           launch/local.sh 4 $config run.dir=${run%/*} $layout train.steps=$((2 * steps))
END
[[ -n $bits ]] && awk -v bits="$bits" 'BEGIN { exit !(bits < 1.9) }' || { say "expected less than 1.9 bits per byte"; exit 1; }
