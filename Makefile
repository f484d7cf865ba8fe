# Names things; the work is in scripts/. `make` prints the targets.
PYTHON ?=
export PYTHON
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo up test lint format types proto proto-check docs dashboards manifests imports pytest test-deploy bench-turns bench-echo train-echo lock clean

help: ## Print this
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Make .venv with the locked packages and pull the default models
	@scripts/setup.sh local default

setup-dev: ## The same with what tests and development need
	@scripts/setup.sh dev default test

demo: setup ## Set up, then hold a 311 call with real models and show where the time went
	@$(BIN)/halfbeat demo

up: setup ## Set up, then start everything on this machine; ^C drains
	@$(BIN)/halfbeat up

test: setup-dev lint types proto-check imports pytest ## Set up, then every check and test, as CI does

lint: ## Ruff: rules and format
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

format: ## Let ruff put the code in order
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

types: ## mypy, strict
	@$(BIN)/mypy

proto: ## Generate halfbeat/v1 from proto/
	@scripts/proto.sh

proto-check: ## Lint the proto files; is the generated code up to date?
	@$(BIN)/buf lint proto && scripts/proto.sh --check

docs: ## Write docs/settings.md and docs/metrics.md from the code
	@$(BIN)/python scripts/docs.py

dashboards: ## Write deploy/grafana/dashboards/*.json from the modules beside them
	@$(BIN)/python -m deploy.grafana.build

manifests: setup-dev ## Write what follows from the Helm chart anew: kustomize and the values' schema
	@scripts/deploy_tools.sh kubernetes && $(BIN)/python deploy/k8s/render.py

imports: ## Who may import whom
	@$(BIN)/lint-imports

pytest: ## The tests alone (ARGS="-k floor")
	@$(BIN)/python -m pytest $(ARGS)

test-deploy: setup-dev ## Containers, Kubernetes, alerts, dashboards; fetches the tools, starts a Docker engine (root)
	@HALFBEAT_TEST_DEPLOY=1 scripts/test_deploy.sh $(ARGS)

bench-turns: setup-dev ## Turn-taking, scripted and with real models: build/bench/turns.json (ARGS=...)
	@$(BIN)/python -m bench.turns $(ARGS)

bench-echo: setup-dev ## Echo cancellation beside WebRTC's: build/bench/echo.json (AUDIO_DIR=folder ARGS=...)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench-echo.txt
	@$(BIN)/python -c 'import pesq' 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --require-hashes --no-deps -r requirements/pesq.txt || echo "no C compiler for pesq: that score is left out"
	@$(BIN)/python -m bench.echo $(if $(AUDIO_DIR),--audio-dir $(AUDIO_DIR)) $(ARGS)

bench-%: setup ## A benchmark: bench-bus, bench-detector, ... (ARGS=...)
	@$(BIN)/python -m bench.$* $(ARGS)

train-echo: ## Train the echo suppressor anew, on a CPU or GPU: build/train/echo (ARGS="--hours 2 --minutes 60")
	@scripts/train_echo.sh $(ARGS)

lock: setup-dev ## Write requirements/*.txt anew from pyproject.toml (ARGS=--upgrade)
	@scripts/lock.sh $(ARGS)

clean: ## Remove what was built here; models stay in their cache
	rm -rf build dist .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache *.egg-info
