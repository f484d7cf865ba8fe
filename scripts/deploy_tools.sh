#!/usr/bin/env bash
# Fetches the tools that the tests of the deployment need into build/tools, without installing anything:
#
#     scripts/deploy_tools.sh [NAME...]      all without a name
#
# Each function below is one tool; what it leaves in build/tools/bin is what tests look for.
set -euo pipefail
cd "$(dirname "$0")/.."
TOOLS=$PWD/build/tools
mkdir -p "$TOOLS/bin" "$TOOLS/debs"

# Unpacks packages of a Debian release into build/tools/debian: debian RELEASE PACKAGE...
# The mirror is the one this machine uses itself; its own package lists and packages stay as they are.
debian() {
  local release=$1 apt="$TOOLS/apt/$1" package
  shift
  local options=(-qq -o "Dir::Etc::SourceList=$apt/release.sources" -o Dir::Etc::SourceParts=- \
    -o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User="$(id -un)")
  for package in "$@"; do
    compgen -G "$TOOLS/debs/${package}_*.deb" >/dev/null && continue
    if [ ! -d "$apt/lists" ]; then
      mkdir -p "$apt/lists" "$apt/cache"
      printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' "$(debian_mirror)" "$release" \
        /usr/share/keyrings/debian-archive-keyring.gpg >"$apt/release.sources"
      apt-get "${options[@]}" update
    fi
    (cd "$TOOLS/debs" && apt-get "${options[@]}" download "$package")
    dpkg -x "$TOOLS/debs/${package}_"*.deb "$TOOLS/debian"
  done
}

debian_mirror() {
  local found
  found=$(grep -rhoE '\bhttps?://[^ ]+/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null | head -1)
  [ -n "$found" ] || { echo "no Debian mirror in /etc/apt/sources.list: is this Debian?" >&2; return 1; }
  echo "${found% }"
}

prometheus() { # prometheus, promtool, alertmanager, amtool: trixie's, because webhooks have `url_file` only since 0.26
  debian trixie prometheus promtool prometheus-alertmanager
  ln -sf ../debian/usr/bin/{prometheus,promtool,amtool} "$TOOLS/bin/"
  ln -sf ../debian/usr/bin/prometheus-alertmanager "$TOOLS/bin/alertmanager"
  # The one file that Debian's Alertmanager has to find where its package would have put it.
  local templates=/usr/share/prometheus/alertmanager
  [ -e "$templates/default.tmpl" ] || install -D -m 644 -t "$templates" "$TOOLS/debian$templates/"*.tmpl ||
    echo "alertmanager will not start without $templates: run this once as root" >&2
}

for name in "${@:-prometheus}"; do "$name"; done
