#!/usr/bin/env bash
# The demo's data: the King James Bible of Debian's bible-kjv packages as text, tokenizer and token shards, under
# data/kjv (another folder: scripts/prepare_kjv.sh DIR). Steps whose output is there are skipped; run scripts/setup.sh
# first. FRUGAL names the program, VOCAB_SIZE the size of the vocabulary.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=${1:-data/kjv}
frugal=${FRUGAL:-build/release/frugal}
text=$dir/kjv.txt
# Of `sha256sum` for the text of bible-kjv-text 4.38, so that everyone trains on the same bytes.
expected=31a6d37bae54fa2c1d2a47905b87321bf3521cd06cc16ab52301ce2d1a2b8f02

if [[ ! -f "$text" ]]; then
  command -v bible >/dev/null || { echo "prepare_kjv: the program 'bible' is missing: apt-get install bible-kjv" >&2; exit 3; }
  mkdir -p "$dir"
  # Chapters as "Genesis 1", an empty line, one verse a line behind its number. With a very long line nothing is broken.
  bible -l100000 gen1:1-rev22:21 </dev/null | sed -e '1{/^$/d}' -e 's/^ *//' -e 's/ *$//' >"$text.tmp"
  found=$(sha256sum "$text.tmp" | cut -d' ' -f1)
  [[ "$found" == "$expected" ]] || echo "prepare_kjv: the text differs from bible-kjv-text 4.38: losses will too" >&2
  mv "$text.tmp" "$text"
  echo "prepare_kjv: wrote $text"
fi

if [[ ! -f "$dir/tokenizer/tokenizer.json" || ! -d "$dir/train" ]]; then
  [[ -x "$frugal" ]] || { echo "prepare_kjv: $frugal is not there: build it, or set FRUGAL to the program" >&2; exit 3; }
fi
[[ -f "$dir/tokenizer/tokenizer.json" ]] ||
  "$frugal" tokenizer train --vocab-size "${VOCAB_SIZE:-2048}" --output "$dir/tokenizer" --input "$text"
[[ -d "$dir/train" ]] || "$frugal" data build --tokenizer "$dir/tokenizer" --output "$dir" --input "$text"
echo "prepare_kjv: $dir is ready"
