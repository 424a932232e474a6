#!/usr/bin/env bash
# Format, includes, sizes, and clang-tidy on files that differ from a base, new ones included.
# scripts/check.sh [BASE]     default: the last commit; in a tree without changes the one before it
set -euo pipefail
cd "$(dirname "$0")/.."

status=0
mapfile -t sources < <(git ls-files --cached --others --exclude-standard '*.h' '*.cc' '*.cu')
clang-format -n -Werror "${sources[@]}" || status=1
python3 scripts/check_includes.py || status=1
python3 scripts/check_sizes.py || status=1

base=${1:-HEAD}
if [[ $# -eq 0 && -z "$(git status --porcelain)" ]]; then
  base=HEAD~1
  if ! git rev-parse -q --verify "$base" >/dev/null; then
    echo "check: this clone has no commit before the last: clang-tidy has nothing to compare with and is left out" >&2
    base=HEAD
  fi
fi
git rev-parse -q --verify "$base^{commit}" >/dev/null || { echo "check: no commit $base" >&2; exit 2; }
mapfile -t changed < <({ git diff --name-only --diff-filter=d "$base" -- '*.cc'
                         git ls-files --others --exclude-standard '*.cc'; } | sort -u)
if [[ ${#changed[@]} -gt 0 ]]; then
  if [[ -f build/release/compile_commands.json ]]; then
    built=()
    for file in "${changed[@]}"; do
      if grep -F "\"$PWD/$file\"" build/release/compile_commands.json >/dev/null; then
        built+=("$file")
      else
        echo "check: $file is not part of the release build, so clang-tidy leaves it out" >&2
      fi
    done
    # clang does not know every warning option of GCC that the compile commands carry.
    printf '%s\n' "${built[@]}" | xargs -r -P "$(nproc)" -n 4 \
      clang-tidy --quiet --extra-arg=-Wno-unknown-warning-option -p build/release || status=1
  else
    echo "check: build the release preset first, clang-tidy needs its compile commands" >&2
    status=1
  fi
fi
exit $status
