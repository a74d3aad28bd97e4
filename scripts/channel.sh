# The demo's live channel: sourced, never run. A test picture with sound in three renditions.
set -euo pipefail
sizes=(1280x720 640x360 320x180)
encoder=(ffmpeg -nostdin -hide_banner -v error -re
  -f lavfi -i testsrc2=s=1280x720:r=30 -f lavfi -i sine=r=48000
  -filter_complex '[0:v]split=3[a][b0][c0];[b0]scale=640:360[b];[c0]scale=320:180[c]'
  -map '[a]' -map '[b]' -map '[c]'
  -c:v libx264 -preset ultrafast -tune zerolatency -g 30 -keyint_min 30 -sc_threshold 0 -c:a aac)

# push_hls URL: MPEG-TS segments of one second, old ones deleted, three media playlists.
push_hls() {
  exec setsid "${encoder[@]}" -map 1:a -map 1:a -map 1:a -f hls -method PUT -hls_time 1 -hls_list_size 6 \
    -hls_flags delete_segments+independent_segments+program_date_time -http_persistent 1 \
    -var_stream_map 'v:0,a:0 v:1,a:1 v:2,a:2' -master_pl_name master.m3u8 \
    -hls_segment_filename "$1/%v/seg%05d.ts" "$1/%v/index.m3u8"
}

# push_dash URL: chunked CMAF segments of two seconds that can be read while they arrive.
push_dash() {
  exec setsid "${encoder[@]}" -map 1:a -f dash -method PUT -seg_duration 2 -frag_duration 0.2 \
    -frag_type duration -streaming 1 -ldash 1 -use_template 1 -use_timeline 0 -window_size 5 \
    -extra_window_size 2 -write_prft 1 -target_latency 1 -utc_timing_url "${1%/*}/time" \
    -http_persistent 1 -format_options movflags=cmaf \
    -adaptation_sets 'id=0,streams=v id=1,streams=a' "$1/live.mpd"
}

# live_line ORIGIN ADMIN: what the origin did so far, in one line of fixed width.
live_line() {
  local latest; latest=$(curl --silent "$1/hls/0/index.m3u8" | grep -v '^#' | tail --lines=1)
  curl --silent "$2/metrics" | awk -v latest="$latest" '
    /^headwater_requests_total/ { requests += $NF }
    /^headwater_(sent|received)_bytes_total/ { bytes += $NF }
    /^headwater_connections_open/ { readers += $NF }
    END { printf "requests %8d   bytes %12d   latest %-14s   connections %5d",
      requests, bytes, latest, readers }'
}

# pull URL STREAM SIZE: reads two seconds back as a player does; says what is wrong. Up to three
# tries: ffmpeg never recovers when it asks for a DASH segment before a busy encoder began it.
pull() {
  local said='' size='' try
  for try in 1 2 3; do
    said=$(timeout 15 ffmpeg -nostdin -v error -i "$1" -map "0:$2" -t 2 -f null - 2>&1) || continue
    size=$(timeout 15 ffprobe -v error -select_streams "$2" -show_entries stream=width,height \
      -of csv=p=0:s=x "$1" 2>&1 | sed -n 1p) || continue
    [ -z "$said" ] && [ "${size%x}" = "$3" ] && { echo "OK    $3  $1"; return; }
  done
  echo "FAIL  $3  $1  after $try tries: $size $said"
  return 1
}

# check_renditions ORIGIN: each rendition of both formats comes back whole.
check_renditions() {
  local failed=0 i
  for i in "${!sizes[@]}"; do
    pull "$1/hls/$i/index.m3u8" v:0 "${sizes[i]}" || failed=1
    pull "$1/dash/live.mpd" "v:$i" "${sizes[i]}" || failed=1
  done
  return "$failed"
}
