#!/usr/bin/env bash
# Trains the echo suppressor in build/train: environment, speech, rooms, network. Keeps what is there. `make train-echo`
#   scripts/train_echo.sh [OPTION OF train.echo]...      as --hours 2 --minutes 60
# Needs Python 3.11 or 3.12, Debian or Ubuntu (apt-get, dpkg), ffmpeg and flite. PACKAGES names a folder with the
# packages of prompts where apt-get cannot bring them. Uses a GPU if PyTorch finds one.
set -euo pipefail
cd "$(dirname "$0")/.."
work=build/train
venv=$work/venv
python=$venv/bin/python
say() { printf '\033[1m%s\033[0m\n' "train-echo: $*" >&2; }
pip() { "$python" -m pip --disable-pip-version-check --no-input "$@"; }

find_python() {
  for candidate in ${PYTHON:-python3.11 python3.12 python3 python}; do
    if "$candidate" -c 'import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  say "no Python 3.11 or 3.12 that can make an environment among: ${PYTHON:-python3.11 python3.12 python3 python}."
  say "One of these helps: apt-get install python3.11-venv; or make train-echo PYTHON=/path/to/python3.11"
  exit 1
}

fingerprint() {
  cat requirements/{build,local}.txt requirements/train.in pyproject.toml <(pwd) | "$python" -c \
    'import hashlib, sys; print(sys.version_info[:2], hashlib.sha256(sys.stdin.buffer.read()).hexdigest())'
}

# Said before gigabytes are installed.
missing=()
for program in apt-get dpkg ffmpeg flite; do
  [ "$program" = apt-get ] && [ -n "${PACKAGES:-}" ] && continue
  [ -d "$work/speech" ] || command -v "$program" >/dev/null || missing+=("$program")
done
if [ ${#missing[@]} -gt 0 ]; then
  say "missing here: ${missing[*]}. apt-get install ffmpeg flite; PACKAGES=DIR does without apt-get."
  exit 1
fi

if [ ! -x "$python" ] || ! "$python" -c 'import pip' 2>/dev/null; then
  base=$(find_python)
  say "making $venv with $("$base" --version)"
  rm -rf "$venv"
  mkdir -p "$work"
  "$base" -m venv "$venv"
fi
stamp=$venv/.setup
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$(fingerprint)" ]; then
  say "installing the packages of requirements/local.txt and requirements/train.in"
  rm -f "$stamp"
  pip install --quiet --require-hashes -r requirements/build.txt
  pip install --require-hashes --no-build-isolation -r requirements/local.txt
  pip install -r requirements/train.in
  pip install --quiet --no-deps --no-build-isolation -e .
  fingerprint >"$stamp"
fi

say "gathering speech in $work/speech"
"$venv/bin/halfbeat" models pull piper-en-us-joe-medium
"$python" -m train.echo.gather --out "$work/speech" ${PACKAGES:+--packages "$PACKAGES"}

if [ ! -f "$work/rooms.npy" ]; then
  say "drawing rooms into $work/rooms.npy"
  "$python" -m train.echo.rooms --out "$work/rooms.npy"
fi

say "training; options: ${*:-none}"
rm -f "$work/echo/suppressor.onnx"
"$python" -m train.echo --speech "$work/speech" --rooms "$work/rooms.npy" --out "$work/echo" "$@"
if [ ! -s "$work/echo/suppressor.onnx" ]; then
  say "no network was written; see above"
  exit 1
fi
say "done: $work/echo/suppressor.onnx. halfbeat still has its own; to put this one in its place:"
say "  cp -f $work/echo/suppressor.onnx halfbeat/audio/suppressor.onnx && make bench-echo"
