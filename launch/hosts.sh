#!/bin/sh
# Trains on several machines over ssh: launch/hosts.sh HOSTFILE CONFIG [section.key=value ...]
#
# HOSTFILE has one line a machine: "node1 slots=4", slots being its ranks (GPUs). Every machine has the program,
# the config and the data at the same paths, and ssh without a password from here.
# FRUGAL: the program, where it is not on the PATH.   INTERFACES: network interfaces to use, like eth0.
set -eu

if [ $# -lt 2 ]; then
  echo "usage: launch/hosts.sh HOSTFILE CONFIG [section.key=value ...]" >&2
  exit 2
fi
hostfile=$1
shift

set -- --bind-to none --map-by slot "${FRUGAL:-frugal}" train "$@"
if [ -n "${INTERFACES:-}" ]; then
  set -- --mca btl_tcp_if_include "$INTERFACES" --mca oob_tcp_if_include "$INTERFACES" "$@"
fi
# Settings of NCCL and of the loader go along; OpenMPI's own do not need to.
for name in $(env | sed -n 's/^\(NCCL_[A-Z0-9_]*\)=.*/\1/p') LD_LIBRARY_PATH; do
  if env | grep -q "^$name="; then set -- -x "$name" "$@"; fi
done
# A machine that falls silent is noticed in seconds rather than minutes; when a rank dies the others are ended.
exec mpirun --hostfile "$hostfile" \
  --mca oob_tcp_keepalive_time 5 --mca oob_tcp_keepalive_intvl 1 --mca oob_tcp_keepalive_probes 3 \
  --mca odls_base_sigkill_timeout 0 "$@"
