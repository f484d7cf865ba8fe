#!/usr/bin/env bash
# Makes .venv with the locked packages and the project itself, and pulls models. Does nothing where nothing changed.
#   scripts/setup.sh local|dev [MODEL OR SET]...
# Needs Python 3.11 or 3.12 and nothing else: PYTHON names it if it is not found.
set -euo pipefail
cd "$(dirname "$0")/.."
profile=$1
shift
lock=requirements/$profile.txt
python=.venv/bin/python
say() { printf '\033[1m%s\033[0m\n' "setup: $*" >&2; }

find_python() {
  for candidate in ${PYTHON:-python3.11 python3.12 python3 python}; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  say "no Python 3.11 or 3.12 among: ${PYTHON:-python3.11 python3.12 python3 python}. Name one: make setup PYTHON=/path/to/python3.11"
  exit 1
}

# Debian's Python comes in pieces: without python3-venv there is no ensurepip, but a pip may be there to put one in.
make_venv() {
  local base=$1
  if "$base" -c 'import ensurepip, venv' 2>/dev/null; then
    "$base" -m venv .venv
  elif "$base" -m pip --version >/dev/null 2>&1; then
    "$base" -m venv --without-pip .venv
    "$base" -m pip install --require-hashes -r requirements/build.txt \
      --target "$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
  else
    say "$base has neither ensurepip nor pip, so it cannot make an environment. One of these helps:"
    say "  apt-get install python3.11-venv        (root; Debian and Ubuntu)"
    say "  uv venv --seed --python 3.11 .venv     (no root; then run this again)"
    say "  make setup PYTHON=/path/to/another/python3.11"
    exit 1
  fi
}

fingerprint() {
  cat "requirements/$1.txt" requirements/build.txt pyproject.toml scripts/setup.sh <(pwd) | "$python" -c \
    'import hashlib, sys; print(sys.version_info[:2], hashlib.sha256(sys.stdin.buffer.read()).hexdigest())'
}

if [ ! -x "$python" ] || ! "$python" -c 'import pip' 2>/dev/null; then
  rm -rf .venv
  base=$(find_python)
  say "making .venv with $("$base" --version)"
  make_venv "$base"
fi
stamp=.venv/.setup-$profile
is_done() { [ -f ".venv/.setup-$1" ] && [ "$(cat ".venv/.setup-$1")" = "$(fingerprint "$1")" ]; }
# What tests need includes what users need.
if ! is_done "$profile" && ! is_done dev; then
  say "installing the packages of $lock"
  rm -f .venv/.setup-*
  pip() { "$python" -m pip --disable-pip-version-check --no-input "$@"; }
  pip install --quiet --require-hashes -r requirements/build.txt
  pip install --require-hashes --no-build-isolation -r "$lock"
  pip install --quiet --no-deps --no-build-isolation -e .
  fingerprint "$profile" >"$stamp"
fi
.venv/bin/halfbeat models pull "$@"
