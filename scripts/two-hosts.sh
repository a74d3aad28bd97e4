# The two sides of scripts/two-hosts: sourced, never run.
set -euo pipefail
sizes=(4K 16K 64K 256K 1M 4M) seconds=${SECONDS_EACH:-3}

# serve: headwater on port 18080 and nginx on 18081, both on core 0, and what they cost in a file.
serve() {
  need nginx=nginx-light curl
  local folder size hw ngx token=two-hosts-0123456789abcdef
  cargo build --release --quiet --bin headwater && folder=$(mktemp -d)
  (umask 077 && echo "$token" >"$folder/token") && mkdir "$folder/www" && chmod 755 "$folder"
  cat >"$folder/nginx.conf" <<NGINX
pid $folder/pid; error_log stderr crit; daemon off; user root; events { worker_connections 4096; }
http { access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;
  server { listen 0.0.0.0:18081 reuseport backlog=4096; root $folder/www; } }
NGINX
  taskset --cpu-list 0 "$(target_folder)/release/headwater" serve --listen 0.0.0.0:18080 \
    --admin 127.0.0.1:18090 --shards 1 --memory 128MiB --publish-token-file "$folder/token" \
    2>"$folder/log" & hw=$!
  taskset --cpu-list 0 nginx -c "$folder/nginx.conf" & ngx=$!
  trap 'kill "$hw" "$ngx"; rm -rf "$folder"' EXIT
  wait_until 5 curl --silent --fail http://127.0.0.1:18090/readyz
  for size in "${sizes[@]}"; do
    head --bytes "$size" /dev/urandom >"$folder/www/$size"
    curl --silent --fail --header "Authorization: Bearer $token" --upload-file "$folder/www/$size" \
      "http://127.0.0.1:18080/$size"
  done
  say "serving; end with Ctrl-C"
  # CPU nanoseconds of both, and of headwater's zero-copy sends all and copied, for the other side.
  while sleep 0.2; do
    { for pid in "$hw" "$(pgrep -P "$ngx" | head --lines=1)"; do
        cat /proc/"$pid"/task/*/schedstat && echo
      done | awk 'NF == 0 { printf "%.0f ", sum; sum = 0 } { sum += $1 }'
      curl --silent http://127.0.0.1:18090/metrics | awk '/^headwater_sends_total.*zc/ { a += $NF }
        /^headwater_sends_zc_copied_total/ { c += $NF } END { print a + 0, c + 0 }'
    } >"$folder/www/next" && mv "$folder/www/next" "$folder/www/state"
  done
}

# load HOST: reads each size from each server in turn; prints the cost.
load() {
  need wrk curl
  printf '%6s %10s %12s %10s %12s %14s %8s\n' size server requests/s Gbit/s us/request \
    "CPU ns/KiB" copied
  for size in "${sizes[@]}"; do
    for server in headwater:18080:1 nginx:18081:2; do
      IFS=: read -r name port column <<<"$server"
      before=$(curl --silent "http://$1:18081/state")
      requests=$(wrk -t1 -c64 -d"${seconds}s" "http://$1:$port/$size" \
        | awk '/requests in/ { print $1 }')
      sleep 0.5
      after=$(curl --silent "http://$1:18081/state")
      echo "$before $after" | awk -v s="$size" -v n="$requests" -v t="$seconds" -v c="$column" \
        -v w="$name" '{
        kib = substr(s, 1, length(s) - 1) * (s ~ /M/ ? 1024 : 1); ns = $(c + 4) - $c; zc = $7 - $3
        copied = c == 1 && zc ? sprintf("%.0f %%", 100 * ($8 - $4) / zc) : "-"
        printf "%6s %10s %12.0f %10.2f %12.2f %14.1f %8s\n", s, w, n / t,
          n / t * kib * 8192 / 1e9, ns / n / 1e3, ns / n / kib, copied }'
    done
  done
}
