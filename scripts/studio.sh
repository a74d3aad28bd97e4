# What accompanies the demo's channel: sourced, never run. A player library, polls and remarks.
set -euo pipefail

# bring_player ORIGIN FOLDER: puts hls.js from npm on the origin, where the demo page loads it.
bring_player() {
  [ -f "$2/node_modules/hls.js/dist/hls.min.js" ] || {
    need node=nodejs npm
    mkdir -p "$2"
    npm install --prefix "$2" --no-audit --no-fund --silent --no-save 'hls.js@^1.7'
  }
  curl --silent --fail --upload-file "$2/node_modules/hls.js/dist/hls.min.js" \
    "$1/demo/hls.min.js?ttl_seconds=604800"
}

# tell TOPIC JSON: publishes for the picture that the encoder makes now.
tell() {
  curl --silent --fail --data-raw "$2" \
    "$1?program_date_time=$(date --utc +%Y-%m-%dT%H:%M:%S.%3NZ)" || true
}

# accompany TOPIC: a poll every half minute, and a remark every ten seconds.
accompany() {
  local number questions options i
  number=$(date +%s)
  questions=('Which colour wins the next round?' 'How is the picture?' 'Should the tone stop?')
  options=('"Blue","Green","Red"' '"Sharp","Smooth","Just right"' '"Never","At once"')
  for ((i = 0; ; i++)); do
    tell "$1" "{\"open\":{\"id\":\"$number-$i\",\"question\":\"${questions[i % 3]}\",\"options\":[${options[i % 3]}]}}"
    sleep 8; tell "$1" "{\"say\":\"Poll $((i + 1)) is open\"}"
    sleep 10; tell "$1" '{"say":"Ten seconds left"}'
    sleep 10; tell "$1" "{\"close\":{\"id\":\"$number-$i\"}}"
    sleep 4
  done
}

# show_page ORIGIN LOG: the demo page with its player and its studio, which joins `children`.
show_page() {
  bring_player "$1" "$(target_folder)/demo" >>"$2" 2>&1 || say "hls.js cannot be had: the page needs Safari"
  accompany "$1/topics/demo/show" >>"$2" 2>&1 &
  children+=($!)
  say "page      $1/topics/demo"
}
