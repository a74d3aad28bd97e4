# Players in headless Chromium and the origin that they play from: sourced, never run.
set -euo pipefail
children=()

# stop: ends what was started here, the last first.
stop() {
  local i
  for ((i = ${#children[@]} - 1; i >= 0; i--)); do
    kill -TERM "${children[i]}" 2>/dev/null || true
    wait "${children[i]}" 2>/dev/null || true
  done
}

# install_players: Chromium, Node.js, and what tests/players/package.json names; sets `players`.
install_players() {
  need ffmpeg curl chromium node=nodejs npm
  players=$(mkdir -p "$(target_folder)/players" && cd "$(target_folder)/players" && pwd)
  cmp --quiet tests/players/package.json "$players/package.json" && [ -d "$players/node_modules/hls-parser" ] \
    && return
  say "installing players and checkers from the npm registry"
  cp tests/players/package.json "$players/package.new"
  rm -rf "$players/node_modules" "$players/package-lock.json"
  mv "$players/package.new" "$players/package.json"
  npm install --prefix "$players" --no-audit --no-fund --silent \
    || npm install --prefix "$players" --no-audit --no-fund --silent \
    || { rm "$players/package.json"; return 1; }
}

# start_origin FOLDER: the origin with a configuration from standard input, its log in the folder;
# sets `origin` and `admin`. It ends with the script.
start_origin() {
  local port=${HEADWATER_PORT:-18480}
  mkdir -p "$1"
  cat >"$1/headwater.toml"
  cargo build --release --quiet
  origin=http://127.0.0.1:$port admin=http://127.0.0.1:$((port + 1))
  trap stop EXIT
  "$(target_folder)/release/headwater" serve --listen "127.0.0.1:$port" --memory 512MiB \
    --admin "127.0.0.1:$((port + 1))" --config "$1/headwater.toml" >"$1/origin.log" 2>&1 &
  children+=($!)
  wait_until 10 curl --silent --fail "$admin/readyz" || { cat "$1/origin.log"; return 1; }
}

# push_channel: one plain push of a stock ffmpeg to $origin/c: LL-DASH and HLS in two sizes.
push_channel() {
  ffmpeg -nostdin -v error -re -f lavfi -i testsrc2=s=640x360:r=25 -re -f lavfi -i sine=r=48000 \
    -map 0:v -map 0:v -map 1:a -c:v libx264 -preset ultrafast -tune zerolatency -g 25 \
    -keyint_min 25 -sc_threshold 0 -b:v 500k -s:v:1 320x180 -b:v:1 200k -c:a aac -f dash \
    -method PUT -seg_duration 1 -frag_duration 0.1 -frag_type duration -streaming 1 -ldash 1 \
    -use_template 1 -use_timeline 0 -window_size 8 -extra_window_size 4 -write_prft 1 \
    -target_latency 1 -utc_timing_url "$origin/time" -format_options movflags=cmaf \
    -http_persistent 1 -hls_playlist 1 -adaptation_sets 'id=0,streams=v id=1,streams=a' \
    "$origin/c/live.mpd" 2>"$1/encoder.log" &
  children+=($!)
  wait_until 20 curl --silent --fail "$origin/c/master.m3u8" || { cat "$1/encoder.log"; return 1; }
  sleep 4
}
