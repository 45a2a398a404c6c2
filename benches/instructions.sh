#!/usr/bin/env bash
# How many instructions does a record take? Unlike times they are the same on a busy machine.
#
#   benches/instructions.sh            compares with `instructions.tsv`, and fails above 5 %
#   benches/instructions.sh --bless    writes what it counts to that file
#
# Each benchmark is run twice under valgrind, with some commits and with more: the difference, by
# record, is without what only the first commits do. Another compiler counts differently, too.
set -u -e -o pipefail
shopt -s inherit_errexit

readonly FEW=1 MANY=4 PERCENT_MAX=105
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly ROOT
readonly KNOWN=$ROOT/benches/instructions.tsv
cd "$ROOT"
RECORDS_PER_COMMIT=$(sed -n 's/^const COUNTED_RECORDS_PER_COMMIT: u64 = \(.*\);/\1/p' \
  benches/common/mod.rs | tr -d _)
readonly RECORDS_PER_COMMIT

if [ "$(uname -m)" != x86_64 ]; then
  echo "nothing to compare with: what is known was counted on x86_64"
  exit 0
fi
host=$(rustc -vV | sed -n 's/^host: //p')
command -v valgrind >/dev/null || { echo "no valgrind: run \`tests/run.sh setup\`"; exit 1; }
runner=CARGO_TARGET_$(tr 'a-z-' 'A-Z_' <<<"$host")_RUNNER
export "$runner=valgrind --tool=callgrind --toggle-collect=*::common::timed_by* --callgrind-out-file=/dev/null"

# Instructions of all that is measured in a run: BENCH NAME COMMITS
total() {
  local told
  told=$(MILLSTREAM_BENCH_COMMITS=$3 cargo bench --quiet --no-default-features --bench "$1" -- \
    --test --exact "$2" 2>&1) || { echo "$told" >&2; return 1; }
  local counted
  # The benchmark's own process is the last to end.
  counted=$(sed -n 's/^==[0-9]*== Collected : *//p' <<<"$told" | tail -n 1)
  [ "${counted:-0}" -gt 0 ] || { echo "nothing was counted of $2" >&2; return 1; }
  echo "$counted"
}

# Instructions of a record: BENCH NAME, or BENCH "NAME minus NAME" of names that were counted before
of_record() {
  local few many
  if [[ $2 == *" minus "* ]]; then
    many=$(counted "${2% minus *}")
    few=$(counted "${2#* minus }")
    echo $((many - few))
    return
  fi
  few=$(total "$1" "$2" "$FEW")
  many=$(total "$1" "$2" "$MANY")
  echo $(((many - few) / ((MANY - FEW) * RECORDS_PER_COMMIT)))
}

# What was counted before of this name, which is an error if that is nothing.
counted() {
  awk -F'\t' -v name="$1" '$2 == name { print $3; found = 1 }
    END { if (!found) { print "nothing was counted before of " name >"/dev/stderr"; exit 1 } }' "$counts"
}

failed=0
counts=$(mktemp)
trap 'rm -f "$counts"' EXIT
while IFS=$'\t' read -r bench name known; do
  now=$(of_record "$bench" "$name")
  printf '%s\t%s\t%s\n' "$bench" "$name" "$now" >>"$counts"
  echo "$name: $now instructions per record, $known known"
  if [ "$((now * 100))" -gt "$((known * PERCENT_MAX))" ]; then
    echo "more than 5 % above what is known: find out why, or write it down with --bless"
    failed=1
  fi
done <"$KNOWN"
[ -s "$counts" ] || { echo "error: $KNOWN names no benchmark"; exit 1; }
if [ "${1:-}" = --bless ]; then
  cp "$counts" "$KNOWN"
  exit 0
fi
exit "$failed"
