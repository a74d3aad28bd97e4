#!/usr/bin/env bash
# Shared by the scripts that prove the load generator against scripted servers: servers on core 0,
# the generator on core 1, a quiet machine. Sourced, never run.
set -euo pipefail
need jq
cargo build --release --quiet -p loadtest --bin loadtest --example scripted
loadtest=$(target_folder)/release/loadtest
folder=$(mktemp -d) servers=() failed=0
trap 'kill "${servers[@]}" 2>/dev/null || true; rm -rf "$folder"' EXIT

# serve NAME FLAGS...: starts a scripted server on core 0; its URL is then in $url.
serve() {
  local name=$1 && shift
  "$(target_folder)/release/examples/scripted" "$@" --cpu 0 >"$folder/$name" &
  servers+=($!)
  wait_until 5 test -s "$folder/$name"
  url=$(cat "$folder/$name")/
}

# check SENTENCE EXPRESSION SHOWN: EXPRESSION (in jq, on the report) must be true.
check() {
  local verdict=ok
  jq -e "$2" "$folder/r.json" >/dev/null || { verdict=FAILED; failed=$((failed + 1)); }
  printf '%-6s %s (%s)\n' "$verdict" "$1" "$(jq -c "$3" "$folder/r.json")"
}
run() {
  rm -f "$folder"/r.* # no report of an earlier run may stand for one that wrote none
  "$loadtest" "$@" --pin 1 --quiet --report "$folder/r.json" 2>"$folder/said" || true
}
