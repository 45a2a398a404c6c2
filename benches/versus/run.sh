#!/usr/bin/env bash
# How does millstream stand beside Kafka Streams? Fetches what is missing, builds, compares.
#
#   benches/versus/run.sh [OPTION ...] [WORKLOAD ...]     --help shows the options, --list the
#                                                         workloads
#
# All workloads take most of a day. What is measured is added to what the directory of the results
# holds, so that one table can grow over several calls.
#
# The table, the chart and the raw figures go to `versus` in the build output, or to `--out DIR`.
#
#   MILLSTREAM_CACHE   jars and build output (default: ~/.cache/millstream)
#   CARGO_TARGET_DIR   build output (default: inside the cache)
set -u -e -o pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
CACHE=${MILLSTREAM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/millstream}
export MILLSTREAM_CACHE=$CACHE
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$CACHE/target}

"$ROOT/tests/run.sh" setup
if command -v ccache >/dev/null; then
  export CC=${CC:-ccache gcc} CXX=${CXX:-ccache g++}
fi
# Paths of the caller stay what they are: cargo runs a benchmark in the package's folder.
arguments=()
while [ $# -gt 0 ]; do
  arguments+=("$1")
  if [ "$1" = --out ] && [ $# -gt 1 ]; then
    mkdir -p "$2"
    arguments+=("$(cd "$2" && pwd)")
    shift
  fi
  shift
done
cd "$ROOT"
exec cargo bench --quiet --bench versus -- "${arguments[@]}"
