#!/usr/bin/env bash
# Checks and measures Frugal on a machine with NVIDIA GPUs in at most nine minutes, from programs that were built
# elsewhere, and writes one record:
#
#   scripts/gpu_check.sh [--programs DIR] [--minutes N] [--output FILE] [--dry-run]
#   scripts/gpu_check.sh --pack DIR        copies what that machine needs into DIR
#
#   --programs  where the programs are: build/cuda-release, or what --pack has made
#   --output    the record; tests/bench/results/DATE-GPU.json
#   --dry-run   lists what would be done
#
# In order: ops on the GPU against the reference; trainings against the CPU and against themselves; the whole program;
# ceilings and kernels; steps of four models; the same in PyTorch; compute-sanitizer. What lacks its tool is skipped and
# noted, and so is what finds no time left. Exit code: 0 all well, 1 something failed, 3 no GPU.
set -uo pipefail
cd "$(dirname "$0")/.."

programs=build/cuda-release minutes=9 output="" dry_run=false pack=""
usage() { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; }
while [[ $# -gt 0 ]]; do
  case $1 in
    --programs | --minutes | --output | --pack)
      [[ $# -ge 2 ]] || { echo "gpu_check: $1 needs a value" >&2; exit 2; }
      case $1 in
        --programs) programs=$2 ;;
        --minutes) minutes=$2 ;;
        --output) output=$2 ;;
        --pack) pack=$2 ;;
      esac
      shift 2
      ;;
    --dry-run) dry_run=true; shift ;;
    -h | --help) usage; exit 0 ;;
    *) echo "gpu_check: there is no option '$1'; --help says which there are" >&2; exit 2 ;;
  esac
done
needed=(frugal gpu_ops_test gpu_training_test gpu_bench train_step_bench)
missing_programs() {
  local program
  for program in "${needed[@]}"; do
    [[ -x "$programs/$program" ]] && continue
    echo "gpu_check: $programs/$program is not there: build it with" \
      "'cmake --preset cuda-release && cmake --build --preset cuda-release --target gpu_programs', or name --programs" >&2
    return 0
  done
  return 1
}

if [[ -n "$pack" ]]; then
  missing_programs && exit 2
  mkdir -p "$pack/lib"
  for program in "${needed[@]}"; do
    cp "$programs/$program" "$pack/" && strip "$pack/$program"
    # All libraries but the C library's own, which must be the machine's.
    ldd "$programs/$program" | awk '$3 ~ /^\// { print $3 }' |
      grep -vE '/(libc|libm|libdl|librt|libpthread|libresolv|libutil)\.so' | sort -u | xargs -r cp -Lt "$pack/lib"
  done
  git rev-parse HEAD >"$pack/COMMIT"
  git diff --quiet HEAD || echo "with changes" >>"$pack/COMMIT"
  echo "gpu_check: $pack holds $(du -sh "$pack" | cut -f1); there: scripts/gpu_check.sh --programs $pack"
  exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
deadline=$((SECONDS + minutes * 60))
failures=0

# stage NAME LIMIT COMMAND...: runs COMMAND for at most LIMIT seconds; its output is kept under NAME.
stage() {
  local name=$1 limit=$2 begin=$SECONDS code=0 state
  shift 2
  if $dry_run; then
    printf '%-28s at most %3d s: %s\n' "$name" "$limit" "$*"
    return
  fi
  if ((deadline - SECONDS < 5)); then
    code=-1 state="no time left"
  else
    if ((limit > deadline - SECONDS)); then limit=$((deadline - SECONDS)); fi
    timeout --kill-after=5 "$limit" "$@" >"$work/$name.log" 2>"$work/$name.err"
    code=$?
    case $code in
      0) state=passed ;;
      124 | 137) state="took more than $limit s" ;;
      *) state=failed ;;
    esac
    if [[ $code == 3 && $name == step-* ]] && grep -qE 'of memory left|out of memory' "$work/$name.err"; then
      state="does not fit"
    fi
  fi
  if [[ $state == failed || ($state == took* && $name != sanitizer-*) ]]; then
    failures=$((failures + 1))
    tail -n 25 "$work/$name.log" "$work/$name.err" >&2
  fi
  printf '%s\t%s\t%d\t%d\n' "$name" "$state" "$code" $((SECONDS - begin)) >>"$work/stages"
  printf '[%4d s] %-28s %s\n' "$SECONDS" "$name" "$state"
}

# Where cuBLASLt, cuDNN and NCCL may lie beside the system's folders. Not for PyTorch, which finds its own.
library_path() {
  local path=$programs/lib dir
  for dir in /usr/local/cuda/lib64 $(python3 -c '
import glob, site, sys
for folder in site.getsitepackages() + [site.getusersitepackages()]:
    print(*glob.glob(folder + "/nvidia/*/lib"), sep="\n")' 2>/dev/null); do
    [[ -d "$dir" ]] && path+=:$dir
  done
  echo "$path"
}
libraries=$(library_path)
ours() { stage "$1" "$2" env FRUGAL_VERBOSE=ops LD_LIBRARY_PATH="$libraries" "$programs/$3" "${@:4}"; }

if ! $dry_run; then
  missing_programs && exit 2
  if ! nvidia-smi --query-gpu=name --format=csv,noheader >"$work/gpus" 2>/dev/null || [[ ! -s "$work/gpus" ]]; then
    echo "gpu_check: this machine has no NVIDIA GPU (nvidia-smi finds none); --dry-run lists what would be done" >&2
    exit 3
  fi
  clocks() { nvidia-smi --query-gpu=index,clocks.sm,clocks.mem,temperature.gpu,power.draw --format=csv >"$work/clocks-$1"; }
  clocks before
fi

ours ops 90 gpu_ops_test
ours trainings 100 gpu_training_test

# The whole program on text that is at hand: train, train again, resume, generate.
cat >"$work/program.sh" <<'SH'
set -euo pipefail
frugal=$1 dir=$2
mkdir -p "$dir"
cat README.md */README.md */*/README.md | tr -d '\r' >"$dir/text"
"$frugal" tokenizer train --vocab-size 512 --input "$dir/text" --output "$dir/tokenizer"
"$frugal" data build --tokenizer "$dir/tokenizer" --output "$dir" --input "$dir/text"
train() {
  "$frugal" train configs/debug.yaml device=cuda run.dir="$dir/runs" tokenizer.path="$dir/tokenizer" \
    "data.train=[{path: $dir/train}]" "data.validation=[{path: $dir/validation}]" "$@"
}
losses() { sed -n 's/.*"loss": *\([^,]*\),.*"grad_norm": *\([^,]*\),.*/\1 \2/p' "$dir/runs/$1/metrics.jsonl"; }
# Algorithms of products are timed once for a run, and are part of its bits: the others begin with those of the first.
train run.name=one
for run in two three four; do
  mkdir -p "$dir/runs/$run"
  if [[ -f "$dir/runs/one/algorithms.txt" ]]; then cp "$dir/runs/one/algorithms.txt" "$dir/runs/$run/"; fi
done
train run.name=two
cmp <(losses one) <(losses two)
train run.name=three train.steps=10 scheduler.decay_steps=20
train run.name=three train.steps=20 scheduler.decay_steps=20
train run.name=four train.steps=20 scheduler.decay_steps=20
cmp <(losses three | tail -n 5) <(losses four | tail -n 5)
"$frugal" generate --checkpoint "$dir/runs/one" --prompt "The run" --max-new-tokens 8
SH
stage program 60 env LD_LIBRARY_PATH="$libraries" bash "$work/program.sh" "$(realpath "$programs")/frugal" "$work/data"

ours kernels 100 gpu_bench
steps() { ours "step-$1" "$2" train_step_bench --json --device cuda --model "${@:3}"; }
# The same batches as PyTorch's below.
steps gpt2-124m 30 gpt2-124m --precision bf16 --batch 128 --micro-batch 32 --length 1024 --steps 20
steps gpt2-124m-plain 30 gpt2-124m --precision bf16 --batch 128 --micro-batch 32 --length 1024 --steps 10 --graph 0
steps gpt2-124m-large-step 30 gpt2-124m --precision bf16 --batch 512 --micro-batch 64 --length 1024 --steps 5
steps gpt2-124m-fp16 30 gpt2-124m --precision fp16 --batch 128 --micro-batch 32 --length 1024 --steps 10
steps gpt2-1558m 60 gpt2-1558m --precision bf16 --batch 32 --micro-batch 8 --length 1024 --steps 10
steps qwen2.5-1.5b 60 qwen2.5-1.5b --precision bf16 --batch 32 --micro-batch 8 --length 1024 --steps 10
steps llama-3-8b-8-layers 60 llama-3-8b --layers 8 --precision bf16 --batch 4 --micro-batch 1 --length 8192 --steps 10

if $dry_run || python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
  torch() { stage "torch-$1" "$2" python3 tests/bench/torch_step.py --json --device cuda --precision autocast --model "${@:3}"; }
  torch qwen2.5-1.5b 90 qwen2.5-1.5b --compile --batch 32 --micro-batch 8 --length 1024 --steps 10
  torch qwen2.5-1.5b-eager 40 qwen2.5-1.5b --batch 32 --micro-batch 8 --length 1024 --steps 10
  torch gpt2-124m 60 gpt2-124m --compile --batch 128 --micro-batch 32 --length 1024 --steps 20
  torch gpt2-1558m 90 gpt2-1558m --compile --batch 32 --micro-batch 8 --length 1024 --steps 10
  torch llama-3-8b-8-layers 90 llama-3-8b --layers 8 --compile --batch 4 --micro-batch 1 --length 8192 --steps 10
  torch gpt2-124m-eager 40 gpt2-124m --batch 128 --micro-batch 32 --length 1024 --steps 20
else
  printf 'torch\tskipped\t77\t0\n' >>"$work/stages"
fi

sanitizer=$(command -v compute-sanitizer || true)
for cases in norm attention cross_entropy matmul; do
  if [[ -z "$sanitizer" ]] && ! $dry_run; then
    printf 'sanitizer-%s\tskipped\t77\t0\n' "$cases" >>"$work/stages"
    continue
  fi
  stage "sanitizer-$cases" 25 env LD_LIBRARY_PATH="$libraries" "${sanitizer:-compute-sanitizer}" --tool memcheck \
    --error-exitcode 9 "$programs/gpu_ops_test" "$cases"
done

$dry_run && exit 0
clocks after
if [[ -f "$programs/COMMIT" ]]; then cp "$programs/COMMIT" "$work/commit"; else git rev-parse HEAD >"$work/commit"; fi
python3 scripts/gpu_record.py write "$work" ${output:+"$output"} || failures=$((failures + 1))
echo "gpu_check: $failures failed"
[[ $failures -eq 0 ]]
