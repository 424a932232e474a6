#!/usr/bin/env bash
# Runs a compiler of CUDA, and keeps what ptxas tells of the kernels' registers beside the object file, as OBJECT.ptxas, for
# scripts/kernel_resources.py. The rest of what the compiler says is passed on.
object="" previous=""
for argument in "$@"; do
  if [[ "$previous" == -o ]]; then object=$argument; fi
  previous=$argument
done
if [[ "$object" != *.o ]]; then exec "$@"; fi
messages=$("$@" 2>&1)
code=$?
told='^ptxas info|bytes stack frame'
grep -E "$told" <<<"$messages" >"$object.ptxas"
grep -vE "$told|^$" <<<"$messages" >&2
exit $code
