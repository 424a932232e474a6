#!/usr/bin/env bash
# Format, includes, sizes, and clang-tidy on files that differ from a base (default: the last commit).
# scripts/check.sh [BASE]
set -euo pipefail
cd "$(dirname "$0")/.."

status=0
mapfile -t sources < <(git ls-files --cached --others --exclude-standard '*.h' '*.cc')
clang-format -n -Werror "${sources[@]}" || status=1
python3 scripts/check_includes.py || status=1
python3 scripts/check_sizes.py || status=1

base=${1:-HEAD}
mapfile -t changed < <(git diff --name-only --diff-filter=d "$base" -- '*.cc')
if [[ ${#changed[@]} -gt 0 ]]; then
  if [[ -f build/release/compile_commands.json ]]; then
    # The compile commands are the compiler's, which knows warnings that clang does not.
    clang-tidy --quiet -p build/release --extra-arg=-Wno-unknown-warning-option "${changed[@]}" || status=1
  else
    echo "check: build the release preset first, clang-tidy needs its compile commands" >&2
    status=1
  fi
fi
exit $status
