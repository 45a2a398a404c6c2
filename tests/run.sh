#!/usr/bin/env bash
# Runs the checks and tests of millstream, stage by stage, and counts what passed.
#
#   tests/run.sh [STAGE ...]      no argument: every stage up to `msrv`, in this order
#
#   setup        installs what is missing (apt-get) and fetches Apache Kafka's jars, once
#   format       rustfmt
#   lint         clippy without a warning: default features, none, each alone, all
#   docs         rustdoc without a warning, and every example in the documentation
#   test         unit, integration and topology tests, default features
#   sim          thousands of simulated runs under faults, of seeds that are new each time
#   instructions what benchmarks execute per record is no more than what is known of them
#   fuzz         every decoder takes some thousand hostile inputs, new ones each time
#   examples     builds every example and runs it to its end, without a broker
#   conformance  the same programs on Kafka Streams and on millstream (needs a JVM)
#   broker       tests against a real Kafka broker, started and stopped by the tests (needs a JVM)
#   package      what would be published builds, and holds the files that it should
#   msrv         nothing needs a newer Rust than `rust-version` in Cargo.toml says
#   deny         licences and origins of dependencies, and known flaws where their list can be had
#                (needs cargo-deny)
#   network      brokers of a cluster of three are killed one after the other; not all of it holds
#                (needs what `broker` needs)
#   soak MINUTES processes are hit every half minute for so long (needs what `broker` needs)
#   fuzz SECONDS the stage `fuzz`, and then each decoder under libFuzzer for so long; inputs that
#                reach something new are kept in the cache, and so are those that break something
#   quick        format, lint and tests without RocksDB and librdkafka: a minute, no C compiler
#
# Every stage runs, also after one has failed, under a time limit, and whatever it started is
# stopped. Its output goes to a log in the cache. The last line is `N passed, N failed`: tests and
# stages together. The exit code is 0 if nothing failed.
#
#   MILLSTREAM_CACHE          jars, logs and build output (default: ~/.cache/millstream)
#   MILLSTREAM_STAGE_SECONDS  time limit of one stage (default: 2400)
#   MILLSTREAM_DATA_PLANE     what reads and writes in the processes that stages `broker`, `network`
#                             and `soak` start: native or librdkafka (default: native)
#   MILLSTREAM_SEEDS          simulated runs of each pipeline in stage `sim` (default: 1700)
#   CARGO_TARGET_DIR          build output (default: inside the cache)
set -u -o pipefail

readonly WHOLE=(setup format lint docs test sim instructions fuzz examples conformance broker package
  msrv)
readonly STAGES=("${WHOLE[@]}" deny network soak quick)
readonly KAFKA_VERSION=4.3.1
# The oldest release that some tests run on; tests/broker/kafka.rs says why this one.
readonly KAFKA_OLDEST=3.3.2
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${MILLSTREAM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/millstream}
readonly ROOT CACHE

export MILLSTREAM_CACHE=$CACHE
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$CACHE/target}
export CARGO_TERM_COLOR=never

# RocksDB and librdkafka are compiled once per feature set; ccache makes that once per machine.
use_ccache() {
  command -v ccache >/dev/null || return 0
  export CC=${CC:-ccache gcc} CXX=${CXX:-ccache g++}
}

# --- one stage -----------------------------------------------------------------------------------

status=0

# Runs a command and remembers a failure, so that the rest of the stage still runs.
step() {
  printf '\n+ %s\n' "$*"
  "$@" || complain "exit code $?: $*"
}

complain() {
  echo "error: $*"
  status=1
}

stage_setup() {
  install_packages
  install_rust_components
  fetch_kafka
}

# Debian packages for what is not there, in one call of apt-get.
install_packages() {
  local missing
  missing=$(missing_packages | xargs)
  [ -n "$missing" ] || { echo "every package is there"; return; }
  local root=()
  if [ "$(id -u)" != 0 ]; then root=(sudo -n); fi
  if ! command -v apt-get >/dev/null || ! "${root[@]}" true; then
    complain "missing, and not installable without apt-get and root: $missing"
    return
  fi
  # The list of packages may be older than the archive, or empty in a fresh container.
  step "${root[@]}" apt-get update -qq
  missing=$(missing_packages | xargs)
  # shellcheck disable=SC2086 # one word per package
  step "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends $missing
}

missing_packages() {
  command -v make >/dev/null || echo make
  command -v gcc >/dev/null || echo gcc
  command -v g++ >/dev/null || echo g++
  command -v ccache >/dev/null || echo ccache
  command -v pkg-config >/dev/null || echo pkg-config
  [ -e /usr/include/openssl/ssl.h ] || echo libssl-dev
  [ -e /usr/include/zlib.h ] || echo zlib1g-dev
  has_libclang || libclang_packages
  [ "$(java_major)" -ge 17 ] && command -v javac >/dev/null || echo default-jdk-headless
  command -v mvn >/dev/null || echo maven
  command -v valgrind >/dev/null || echo valgrind
}

# bindgen needs libclang and, beside it, clang's own headers (stddef.h and the like).
has_libclang() {
  [ -n "${LIBCLANG_PATH:-}" ] && return
  local library
  for library in /usr/lib/llvm-*/lib/libclang*.so* /usr/lib/*-linux-gnu/libclang-[0-9]*.so*; do
    [ -e "$library" ] || continue
    compgen -G '/usr/lib/llvm-*/lib/clang/*/include/stddef.h' >/dev/null && return
    compgen -G '/usr/lib/clang/*/include/stddef.h' >/dev/null && return
  done
  return 1
}

# Version 14 where it exists (Debian 12), else the newest that the archive has.
libclang_packages() {
  local versions version
  versions=$(apt-cache pkgnames libclang-common- 2>/dev/null |
    sed -n 's/^libclang-common-\([0-9]*\)-dev$/\1/p' | sort -n)
  version=$(grep -x 14 <<<"$versions" || tail -n 1 <<<"$versions")
  echo "libclang1-${version:-14} libclang-common-${version:-14}-dev"
}

java_major() {
  local major
  major=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
  echo "${major:-0}"
}

install_rust_components() {
  if ! command -v cargo >/dev/null; then
    complain "no cargo: install Rust from https://rustup.rs"
  elif ! cargo fmt --version >/dev/null 2>&1 || ! cargo clippy --version >/dev/null 2>&1; then
    step rustup component add rustfmt clippy
  fi
}

# Kafka's broker, tools and streams library with everything they need, in one folder of jars; and
# the broker of the oldest release.
fetch_kafka() {
  fetch_jars "$KAFKA_VERSION" kafka_2.13 kafka-tools kafka-streams kafka-streams-test-utils
  fetch_jars "$KAFKA_OLDEST" kafka_2.13
}

# fetch_jars VERSION ARTIFACT...
fetch_jars() {
  local version=$1 home=$CACHE/kafka-$1
  if [ -d "$home/lib" ]; then
    echo "Kafka $version is in $home/lib"
    return
  fi
  local work=$home/fetching.$$
  mkdir -p "$work"
  kafka_pom "$@" >"$work/pom.xml"
  step mvn --batch-mode --no-transfer-progress --file "$work/pom.xml" \
    dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$work/lib"
  if [ "$status" = 0 ]; then
    # A rename is all or nothing: the folder exists only when it is complete.
    mv -T "$work/lib" "$home/lib" || complain "$home/lib could not be put in place"
  fi
  rm -rf "$work"
}

# kafka_pom VERSION ARTIFACT...
kafka_pom() {
  local version=$1 artifact
  shift
  cat <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>millstream</groupId>
  <artifactId>kafka-jars</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <build>
    <pluginManagement>
      <plugins>
        <plugin>
          <artifactId>maven-dependency-plugin</artifactId>
          <version>3.6.1</version>
        </plugin>
      </plugins>
    </pluginManagement>
  </build>
  <dependencies>
POM
  for artifact; do
    kafka_dependency org.apache.kafka "$artifact" "$version"
  done
  # Without a logging backend the broker dies silently; this one writes warnings to stderr.
  kafka_dependency org.slf4j slf4j-simple 1.7.36
  printf '  </dependencies>\n</project>\n'
}

kafka_dependency() {
  printf '    <dependency><groupId>%s</groupId><artifactId>%s</artifactId>' "$1" "$2"
  printf '<version>%s</version></dependency>\n' "$3"
}

need_kafka() {
  local version
  for version in "$KAFKA_VERSION" "$KAFKA_OLDEST"; do
    [ -d "$CACHE/kafka-$version/lib" ] ||
      complain "no Kafka $version in $CACHE; run \`tests/run.sh setup\`"
  done
}

stage_format() {
  step cargo fmt --all -- --check
}

# The feature sets that must each hold on their own, as arguments of cargo, one set per line.
feature_sets() {
  echo ""
  echo "--no-default-features"
  sed -n '/^\[features\]/,/^\[dep/s/^\([a-z][a-z0-9_-]*\) *=.*/\1/p' Cargo.toml |
    grep -vx default | sed 's/^/--no-default-features --features /'
  echo "--all-features"
}

stage_lint() {
  local arguments
  while read -r arguments; do
    # shellcheck disable=SC2086 # one word per argument
    step cargo clippy --quiet --all-targets $arguments -- -D warnings
  done < <(feature_sets)
  lint_separate_tests
}

# `--all-targets` leaves out the test binaries that a plain `cargo test` does not run.
lint_separate_tests() {
  local test
  for test in broker conformance; do
    has_test "$test" && step cargo clippy --quiet --test "$test" -- -D warnings
  done
}

has_test() {
  grep -q "^name = \"$1\"" Cargo.toml || [ -e "tests/$1.rs" ] || [ -e "tests/$1/main.rs" ]
}

stage_docs() {
  RUSTDOCFLAGS="-D warnings" step cargo doc --quiet --no-deps
  RUSTDOCFLAGS="-D warnings" step cargo doc --quiet --no-deps --no-default-features
  step cargo test --quiet --no-fail-fast --doc
}

stage_test() {
  step cargo test --no-fail-fast --lib --bins --tests
}

# Twelve pipelines. A seed that fails is printed with the command that repeats it.
stage_sim() {
  export MILLSTREAM_SEEDS=${MILLSTREAM_SEEDS:-1700} MILLSTREAM_FROM=${MILLSTREAM_FROM:-$(date +%s%3N)}
  echo "seeds from $MILLSTREAM_FROM on, $MILLSTREAM_SEEDS for each pipeline"
  step cargo test --release --no-fail-fast --no-default-features --test sim
}

# The compiler has done most of its work for `sim`.
stage_instructions() {
  step benches/instructions.sh
}

# A crate of its own, with its own lock file and its own flags for the compiler.
stage_fuzz() {
  export CARGO_TARGET_DIR=$CARGO_TARGET_DIR/fuzz
  # They would stand in for the flags of the crate.
  unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
  cd tests/fuzz || { complain "no crate in tests/fuzz"; return; }
  step cargo fmt -- --check
  step cargo clippy --locked --quiet --all-targets -- -D warnings
  step cargo test --locked --no-fail-fast --tests
  if [ -n "${MILLSTREAM_FUZZ_SECONDS:-}" ]; then fuzz_guided; fi
}

# Coverage is counted by LLVM itself, so that the stable toolchain does. The name of the machine
# keeps the flags away from build scripts and macros, which could not be linked with them.
fuzz_guided() {
  local flags="-Cpasses=sancov-module" option machine target
  for option in level=4 inline-8bit-counters pc-table trace-compares; do
    flags+=" -Cllvm-args=-sanitizer-coverage-$option"
  done
  machine=$(rustc -vV | sed -n 's/^host: //p')
  step cargo build --locked --quiet --bin seeds
  RUSTFLAGS="--cfg millstream_fuzz $flags" step cargo build --locked --quiet --release \
    --features guided --bin guided --target "$machine"
  for target in $("$CARGO_TARGET_DIR/debug/seeds"); do
    fuzz_target "$target" "$CARGO_TARGET_DIR/$machine/release/guided"
  done
}

fuzz_target() {
  local target=$1 corpus=$CACHE/fuzz/$1 log=$CACHE/logs/fuzz-$1.log
  step "$CARGO_TARGET_DIR/debug/seeds" "$target" "$corpus"
  MILLSTREAM_FUZZ_TARGET=$target "$2" -max_total_time="$MILLSTREAM_FUZZ_SECONDS" -timeout=10 \
    -rss_limit_mb=1024 -print_final_stats=1 -artifact_prefix="$CACHE/fuzz/found-$target-" \
    "$corpus" >"$log" 2>&1 || { complain "exit code $? of target $target"; tail -n 40 "$log"; }
  echo "fuzz: $target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs," \
    "$(grep -ao 'cov: [0-9]*' "$log" | tail -n 1 | cut -c 6-) places reached"
}

stage_quick() {
  step cargo fmt --all -- --check
  step cargo clippy --quiet --all-targets --no-default-features -- -D warnings
  step cargo test --no-fail-fast --lib --bins --tests --no-default-features
  step cargo test --quiet --no-fail-fast --doc --no-default-features
}

stage_examples() {
  step cargo build --quiet --examples --no-default-features
  step cargo test --no-fail-fast --examples --no-default-features
  local example count=0
  for example in $(example_names); do
    step timeout 120 cargo run --quiet --no-default-features --example "$example"
    count=$((count + 1))
  done
  [ "$count" -gt 0 ] || complain "there is no example to run"
  echo "$count examples"
}

example_names() {
  local path
  for path in examples/*.rs examples/*/main.rs; do
    [ -e "$path" ] || continue
    path=${path#examples/}
    path=${path%/main.rs}
    echo "${path%.rs}"
  done
}

stage_conformance() {
  need_kafka
  step cargo test --release --no-fail-fast --no-default-features --test conformance
}

stage_broker() {
  need_kafka
  local -A started
  step cargo test --no-run --test broker
  # What passed is shown, too: it tells how long recoveries took. All of them wait most of the time,
  # so that several run at once, those of one kind beside those of another. Which of the first kind
  # do, they see to by themselves (tests/broker/chaos/machine.rs).
  start_broker_tests chaos 40 chaos::
  start_broker_tests contract 8 kafka_contract::
  start_broker_tests others 4 --skip chaos:: --skip kafka_contract::
  local kind
  for kind in others contract chaos; do
    wait "${started[$kind]}" || complain "exit code $? of the broker's tests: $kind"
    cat "$CACHE/logs/broker-$kind.log"
  done
}

# Starts tests on the broker: of what kind, how many at once, and which. Puts the process into the
# caller's `started`.
start_broker_tests() {
  local kind=$1 threads=$2
  shift 2
  cargo test --no-fail-fast --test broker -- --show-output --test-threads="$threads" "$@" \
    >"$CACHE/logs/broker-$kind.log" 2>&1 &
  started[$kind]=$!
}

stage_network() {
  need_kafka
  step cargo test --no-fail-fast --test broker -- --show-output --test-threads=1 \
    --ignored chaos::network::
}

stage_soak() {
  need_kafka
  step cargo test --test broker -- --show-output --exact chaos::soak::soak --ignored
}

# Builds from the packed files alone, without default features, so that no C is compiled again.
stage_package() {
  step cargo package --quiet --allow-dirty --no-default-features
  local list wanted unwanted
  list=$(cargo package --quiet --allow-dirty --list) || complain "no list of the package's files"
  for wanted in Cargo.toml LICENSE README.md CHANGELOG.md src/lib.rs; do
    grep -qx "$wanted" <<<"$list" || complain "the package lacks $wanted"
  done
  for unwanted in .ci/ benches/versus/ tests/broker/ tests/conformance/ tests/fuzz/ target/ .git/
  do
    if grep "^$unwanted" <<<"$list"; then complain "the package should not hold $unwanted"; fi
  done
  diff <(git ls-files src) <(grep '^src/' <<<"$list" | sort) ||
    complain "src/ is not packed as it is tracked"
  echo "$(wc -l <<<"$list") files"
}

# Of what users of the library build; `tests/fuzz` is built by nobody else.
stage_deny() {
  if ! command -v cargo-deny >/dev/null; then
    complain "no cargo-deny; run \`cargo install cargo-deny --locked\`"
    return
  fi
  step cargo deny --offline --all-features check licenses bans sources
  if cargo deny fetch db; then
    step cargo deny --all-features check --disable-fetch advisories
  else
    echo "the list of known flaws cannot be fetched: advisories are not checked"
  fi
}

stage_msrv() {
  local msrv
  msrv=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
  if rustup toolchain list 2>/dev/null | grep -q "^$msrv[.-]"; then
    step cargo "+$msrv" check --all-targets --no-default-features --features bincode
  else
    echo "toolchain $msrv is not installed: the lint stands in for it"
    step cargo clippy --quiet --all-features --lib -- -D clippy::incompatible_msrv
  fi
  dependencies_above "$msrv"
}

# Every package of Cargo.lock says which Rust it needs; none may need more than $1.
dependencies_above() {
  local metadata package needs count=0
  metadata=$(cargo metadata --format-version 1 --all-features) || complain "no cargo metadata"
  while read -r package needs; do
    count=$((count + 1))
    case $needs in null | "$1" | "$1.0") continue ;; esac
    if [ "$(printf '%s\n' "$1" "$needs" | sort -V | tail -n 1)" = "$needs" ]; then
      complain "$package needs Rust $needs, not $1"
    fi
  done < <(
    # In each package the id comes first and the Rust that it needs comes later.
    grep -oE '"id":"[^"]+","license"|"rust_version":("[^"]*"|null)' <<<"$metadata" |
      awk -F'"' '$2 == "id" { id = $4 } $2 == "rust_version" { print id, $4 == "" ? "null" : $4 }'
  )
  [ "$count" -gt 1 ] || complain "no package says which Rust it needs"
  echo "$count packages"
}

# --- all stages ----------------------------------------------------------------------------------

stage_pid=
passed=0
failed=0

# Everything that a stage starts is in its process group, and ends with it.
stop_stage() {
  [ -n "$stage_pid" ] || return 0
  local pid=$stage_pid _
  stage_pid=
  kill -TERM -- "-$pid" 2>/dev/null || return 0
  for _ in $(seq 50); do
    kill -0 -- "-$pid" 2>/dev/null || return 0
    sleep 0.1
  done
  kill -KILL -- "-$pid" 2>/dev/null
}

interrupted() {
  stop_stage
  echo "interrupted"
  exit 130
}

run_stage() {
  local stage=$1 log=$CACHE/logs/$1.log begun=$SECONDS result
  # `timeout` puts itself and what it runs into a process group of their own.
  timeout --kill-after=20 "${MILLSTREAM_STAGE_SECONDS:-2400}" \
    "$ROOT/tests/run.sh" --inside "$stage" >"$log" 2>&1 </dev/null &
  stage_pid=$!
  wait "$stage_pid"
  result=$?
  stop_stage
  count_tests "$log"
  if [ "$result" = 0 ]; then
    passed=$((passed + 1))
    echo "ok $stage ($((SECONDS - begun)) s)"
  else
    failed=$((failed + 1))
    echo "FAILED $stage ($((SECONDS - begun)) s)$([ "$result" = 124 ] && echo ': time limit')"
    failure_summary "$log"
  fi
}

# Sums lines like `test result: ok. 12 passed; 0 failed; 0 ignored; ...`.
count_tests() {
  local good bad
  read -r good bad < <(
    awk '/^test result: / { for (i = 2; i <= NF; i++) {
           if ($i == "passed;") good += $(i - 1)
           if ($i == "failed;") bad += $(i - 1) } }
         END { print good + 0, bad + 0 }' "$1"
  )
  passed=$((passed + good))
  failed=$((failed + bad))
}

failure_summary() {
  grep -aE '^(error|test .*FAILED)' "$1" | sort -u | head -n 40 | sed 's/^/  | /'
  echo "  ..."
  tail -n 40 "$1" | sed 's/^/  | /'
  echo "  log: $1"
}

main() {
  local stage stages=("$@")
  [ $# -gt 0 ] || stages=("${WHOLE[@]}")
  if [ "${1:-}" = soak ]; then
    if [[ $# != 2 || ! $2 =~ ^[1-9][0-9]*$ ]]; then
      echo "say for how many minutes: soak 20" >&2
      exit 2
    fi
    export MILLSTREAM_SOAK_MINUTES=$2
    # Building and checking take their time, too.
    export MILLSTREAM_STAGE_SECONDS=$((60 * $2 + 2400))
    stages=(soak)
  elif [[ ${1:-} = fuzz && ${2:-} =~ ^[1-9][0-9]*$ && $# = 2 ]]; then
    export MILLSTREAM_FUZZ_SECONDS=$2
    # There are fewer than twenty of them.
    export MILLSTREAM_STAGE_SECONDS=$((20 * $2 + 2400))
    stages=(fuzz)
  fi
  for stage in "${stages[@]}"; do
    if [[ " ${STAGES[*]} " != *" $stage "* ]]; then
      echo "no stage is called $stage; there are: ${STAGES[*]}" >&2
      exit 2
    fi
  done
  mkdir -p "$CACHE/logs"
  trap interrupted INT TERM HUP
  for stage in "${stages[@]}"; do run_stage "$stage"; done
  if [ "${stages[*]}" = soak ]; then grep -a '^soak' "$CACHE/logs/soak.log"; fi
  if [ "${stages[*]}" = fuzz ]; then grep -a '^fuzz:' "$CACHE/logs/fuzz.log"; fi
  echo "$passed passed, $failed failed"
  [ "$failed" = 0 ]
}

cd "$ROOT" || exit 1
if [ "${1:-}" = --inside ]; then
  use_ccache
  "stage_$2"
  exit "$status"
fi
main "$@"
