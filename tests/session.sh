# shellcheck shell=bash
# What tests/run, tests/bench/run and examples/run have in common: they build the plugin, start
# clusters, and stop them whichever way they end. Source it with $session set to the caller's name.
#
# CARGO   the cargo to use        KEEP=1   leave the clusters running at the end
set -euo pipefail
# shellcheck disable=SC2034  # the callers use them
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cluster=$root/tests/cluster/cluster
cargo=${CARGO:-cargo}
# Crates are downloaded over a network that may break off.
export CARGO_NET_RETRY=${CARGO_NET_RETRY:-10}
clusters=()
jobs_started=()
: "${session:?}"

say() { printf '%s %2dm%02ds  %s\n' "$session" $((SECONDS / 60)) $((SECONDS % 60)) "$*"; }
fail() { say "FAILED: $*" >&2; exit 1; }

# The clusters' addresses and names are the machine's own, so one session at a time may use them.
lock_machine() {
  local folder=${CLUSTER_HOME:-$HOME/.cache/kubectl-migrate/cluster}
  mkdir -p "$folder"
  exec 7>"$folder/session.lock"
  flock -n 7 || { say "another session uses the clusters: waiting for its end, at most an hour"; flock -w 3600 7; } ||
    fail "another session has used the clusters for an hour"
}

# in_background WHAT COMMAND…: its output with WHAT before each line; in a process group of its own,
# so that it can be ended with all that it started.
in_background() {
  local what=$1; shift
  setsid bash -o pipefail -c '"${@:2}" 2>&1 | sed -u "s/^/  $1 | /"' - "$what" "$@" 7>&- &
  jobs_started+=($!)
}

# finish WHAT PID: waits for what in_background started, and says every 30 s that it still does.
finish() {
  local what=$1 pid=$2 next=$((SECONDS + 30))
  while kill -0 "$pid" 2>/dev/null; do
    if ((SECONDS >= next)); then say "still waiting for $what"; next=$((SECONDS + 30)); fi
    sleep 0.5
  done
  wait "$pid" || fail "$what failed: see above"
}

install_packages() { # install_packages PACKAGE…: those that are missing
  dpkg -s "$@" >/dev/null 2>&1 && return
  [ "$(id -u)" = 0 ] || fail "Debian's packages are missing ($*): run it as root"
  local policy=/usr/sbin/policy-rc.d made="" status=0
  # A server that comes with a package is the tests' to start: none begins as a service.
  [ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && made=1; }
  local patient=(-o DPkg::Lock::Timeout=1800 -o Acquire::Retries=5)
  { apt-get "${patient[@]}" update -q && DEBIAN_FRONTEND=noninteractive apt-get "${patient[@]}" install -y -q --no-install-recommends "$@"; } >/dev/null || status=$?
  [ -z "$made" ] || rm -f "$policy"
  [ "$status" = 0 ] || fail "Debian's packages could not be installed ($*)"
}

# build [CARGO-FLAG…]: builds the workspace's programs, and what else the flags name, at once: apart, what they
# share would be compiled for each one's set of features. `built PROGRAM` is a program's path then.
build() {
  programs=$("$cargo" build --locked --manifest-path "$root/Cargo.toml" --workspace --bins --message-format=json-render-diagnostics "$@" |
    jq -r 'select(.reason == "compiler-artifact" and .executable and (.profile.test | not)) | "\(.target.name) \(.executable)"')
}
built() {
  local path
  path=$(awk -v name="$1" '$1 == name { print $2 }' <<<"$programs")
  [ -x "$path" ] || fail "cargo built no $1"
  echo "$path"
}

start_clusters() { # start_clusters NAME…: KUBECONFIG_A and so on are exported, and kubectl is on PATH
  local one
  clusters=("$@")
  # For kubectl and servers that tests start: see tests/cluster/cluster.
  export GOGC=${GOGC:-400}
  "$cluster" up "$@" 7>&- >/dev/null
  for one; do export "KUBECONFIG_${one^^}=$("$cluster" kubeconfig "$one")"; done
}

end_session() {
  local status=$? one
  trap '' INT TERM
  for one in "${jobs_started[@]}"; do kill -TERM -- "-$one" 2>/dev/null || true; done
  if [ "$status" != 0 ] && [ "$status" != 130 ]; then
    for one in "${clusters[@]}"; do "$cluster" logs "$one" 12 >&2 || true; done
  fi
  if [ "${KEEP:-}" = 1 ]; then
    [ "${#clusters[@]}" = 0 ] || say "clusters ${clusters[*]} still run (KEEP=1); stop them with tests/cluster/cluster down"
  elif [ "${#clusters[@]}" != 0 ]; then
    "$cluster" down "${clusters[@]}"
  fi
  declare -F after_session >/dev/null && after_session "$status"
  exit "$status"
}
trap end_session EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
