#!/bin/sh
# Trains on this machine: launch/local.sh RANKS CONFIG [section.key=value ...]
# FRUGAL: the program, where it is not on the PATH.
set -eu

if [ $# -lt 2 ]; then
  echo "usage: launch/local.sh RANKS CONFIG [section.key=value ...]" >&2
  exit 2
fi
ranks=$1
shift

program=${FRUGAL:-}
if [ -z "$program" ]; then
  built=$(dirname "$0")/../build/release/frugal
  if [ -x "$built" ]; then program=$built; else program=frugal; fi
fi

# A rank gets all cores unless told otherwise; more ranks than cores take turns, and yield while they wait.
set -- --bind-to none -np "$ranks" "$program" train "$@"
if [ "$ranks" -gt "$(nproc)" ]; then
  set -- --oversubscribe --mca mpi_yield_when_idle 1 "$@"
fi
if [ "$(id -u)" = 0 ]; then set -- --allow-run-as-root "$@"; fi
# When a rank dies the others are ended at once.
exec mpirun --mca odls_base_sigkill_timeout 0 "$@"
