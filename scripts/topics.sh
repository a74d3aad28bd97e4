# What scripts/topics needs: nchan's configuration, and subscribers in a network namespace of their own, as
# behind another host's interface. To be sourced, in a namespace of network and mounts.
set -euo pipefail

# live_apart HOST: puts HOST on this end of a pair of virtual interfaces and keeps the other namespace in
# descriptor 9, which "${apart[@]}" enters. What the clients receive is received on their core (RPS), not in the server's time; cubic
# for both.
live_apart() {
  unshare --net sleep 5 &
  local other=$!
  wait_until 5 bash -c "! [ /proc/$other/ns/net -ef /proc/self/ns/net ]"
  exec 9</proc/$other/ns/net
  ip link add v0 type veth peer name v1 netns $other
  ip addr add "$1/24" dev v0
  ip link set v0 up
  ip route replace "${1%.*}.0/24" dev v0 congctl cubic
  "${apart[@]}" ip addr add "${1%.*}.2/24" dev v1
  "${apart[@]}" ip link set v1 up
  "${apart[@]}" ip route replace "${1%.*}.0/24" dev v1 congctl cubic
  # /sys shows the interfaces of the namespace in which it was mounted.
  mount -t sysfs sysfs /sys
  echo 1 >/sys/class/net/v0/queues/rx-0/rps_cpus
  "${apart[@]}" unshare --mount sh -c \
    'mount -t sysfs sysfs /sys && echo 2 >/sys/class/net/v1/queues/rx-0/rps_cpus'
}

# configure_nchan FOLDER HOST CONNECTIONS
configure_nchan() {
  cat >"$1/nginx.conf" <<CONF
load_module /usr/lib/nginx/modules/ngx_nchan_module.so;
user root; worker_processes 1; daemon off; pid $1/nginx.pid; error_log $1/error.log;
worker_rlimit_nofile $3;
events { worker_connections $3; }
http {
  access_log off; client_body_temp_path $1/body; keepalive_timeout 600s; keepalive_requests 100000;
  server {
    listen $2:18433;
    location /pub { nchan_publisher; nchan_channel_id \$arg_id; }
    location /sub { nchan_subscriber eventsource; nchan_channel_id \$arg_id; nchan_subscriber_first_message newest; }
  }
}
CONF
}
