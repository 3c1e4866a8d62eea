# Every command does its own set-up. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CLUSTER := $(BIN)/python -m tests.cluster_tools
LOCK := $(BIN)/uv pip compile pyproject.toml --generate-hashes --python-version 3.11 \
        --python-platform x86_64-manylinux_2_28 --only-binary :all: --no-emit-index-url
CODE := operator serving tests
export PYTHONUNBUFFERED := 1

.PHONY: help demo test verify static crds proto images cluster-up cluster-down cluster-check clean \
        bench-compare bench-detector bench-false-alarms bench-serving bench-recording bench-profile bench-overload bench-soak prove-availability prove-rollouts-traffic prove-flux prove-gateway conformance judge-status \
        bench-drift bench-operator sim-update lock faults faults-steady prove-rollouts coverage-core mutation-rollouts

help: ## list the commands
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml
	@echo "[mooring] Python environment in $(VENV) (once, about a minute)"
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Mooring needs Python 3.11 or newer as python3"; exit 1; }
	@python3 -m venv --help >/dev/null 2>&1 && python3 -c 'import ensurepip' 2>/dev/null \
	  || { apt-get update -qq && apt-get install -y -qq python3-venv; }
	@test -x $(BIN)/python || python3 -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -e '.[demo]' \
	  || $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -e '.[demo]'
	@touch $@

demo: $(STAMP) ## the whole loop on real flights, on a real Kubernetes; leaves the cluster up
	@$(BIN)/python -m tests.demo

# These start what they need themselves; all others share the cluster, and its programs are built there.
ALONE := tests/unit tests/contract tests/simulation tests/statistics tests/serving

test: static $(STAMP) ## every test, the ones against the real Kubernetes included
	@echo "[mooring] tests against Kubernetes"
	@$(BIN)/python -m pytest tests $(ALONE:%=--ignore=%) && failed=0 || failed=1; \
	  echo "[mooring] all others, as many at a time as there are cores, four at most"; \
	  $(BIN)/python -m pytest $(ALONE) -q -n logical --maxprocesses 4 --dist loadfile && exit $$failed

verify: static ## what must hold at each commit: format, lint, types, contracts, fast tests, CRDs
	@$(BIN)/python -m pytest tests/unit tests/contract tests/simulation -q

static: $(STAMP)
	@echo "[mooring] format, lint, import contracts, types, generated CRDs"
	@$(BIN)/ruff format --check --quiet $(CODE)
	@$(BIN)/ruff check --quiet $(CODE)
	@$(BIN)/lint-imports --no-cache | tail -4
	@$(BIN)/pyright
	@rm -rf build/crds && mkdir -p build/crds && $(BIN)/python -m mooring_operator.api.schema build/crds
	@diff -r build/crds crds || { echo "crds/ is stale: run make crds"; exit 1; }

proto: $(STAMP) ## compile the gRPC messages
	@cd serving && ../$(BIN)/python -m grpc_tools.protoc -I . --python_out=. --pyi_out=. \
	  mooring_serving/grpc/proto/*.proto

crds: $(STAMP) ## generate crds/ from the pydantic types
	@$(BIN)/python -m mooring_operator.api.schema crds

sim-update: $(STAMP) ## rewrite the golden transcripts; review the difference as behaviour
	@MOORING_UPDATE_GOLDENS=1 $(BIN)/python -m pytest tests/simulation -q

lock: $(STAMP) ## resolve the images' requirements again, with hashes
	@$(LOCK) --extra serving --extra training -o serving/requirements.lock >/dev/null
	@$(LOCK) --extra operator -o operator/requirements.lock >/dev/null

images: $(STAMP) ## build the operator's and the server's image into the embedded cluster
	@$(CLUSTER) images

cluster-up: $(STAMP) ## start the embedded Kubernetes (or MOORING_CLUSTER_PROVIDER=kind|existing)
	@$(CLUSTER) up

cluster-down: $(STAMP) ## stop it and leave nothing behind
	@$(CLUSTER) down

bench-detector: $(STAMP) ## what a window costs the drift detector
	@$(BIN)/python -m tests.bench.detector_speed $(ARGS)

bench-false-alarms: $(STAMP) ## the drift detector's run lengths and delays, 200 runs each (25 minutes)
	@$(BIN)/python -m tests.bench.false_alarms $(ARGS)

bench-compare: $(STAMP) ## false rollbacks and delays of the comparison and of usual rules (20 minutes)
	@$(BIN)/python -m tests.bench.comparison_errors $(ARGS)

bench-serving: $(STAMP) ## our server, rivals and bare loops side by side, on one pinned core
	@$(BIN)/python -m tests.bench.serving $(ARGS)

bench-recording: $(STAMP) ## what counting every prediction costs: with and without, alternated
	@$(BIN)/python -m tests.bench.recording $(ARGS)

bench-overload: $(STAMP) ## three times what the server sustains, for two minutes
	@$(BIN)/python -m tests.bench.overload $(ARGS)

bench-soak: $(STAMP) ## twelve minutes at full load: memory every ten seconds
	@$(BIN)/python -m tests.bench.soak $(ARGS)

bench-profile: $(STAMP) ## a reference profile of a million rows by 50 columns: seconds and memory
	@$(BIN)/python -m tests.bench.profile_building $(ARGS)

bench-drift: $(STAMP) ## our drift detector beside Evidently, NannyML, alibi-detect, river and PSI
	@$(BIN)/python -m tests.bench.drift $(ARGS)

bench-operator: $(STAMP) ## 100, 1,000, 5,000 ModelDeployments beside a minimal Go controller
	@$(BIN)/python -m tests.bench.operator_scale $(ARGS)

judge-status: $(STAMP) ## each status of the simulation before kstatus, Argo CD's Lua and Flux's CEL
	@MOORING_PROOF=full $(BIN)/python -m pytest tests/gitops -s

conformance: $(STAMP) ## foreign clients against our server: a matrix; exits with 1 on a miss
	@$(BIN)/python -m tests.conformance.matrix $(ARGS)

prove-availability: $(STAMP) ## 100,000 requests across restarts, kills and drains (15 minutes)
	@MOORING_PROOF=full $(BIN)/python -m pytest tests/cluster/test_availability_end_to_end.py -s

prove-rollouts-traffic: $(STAMP) ## 100,000 requests across promotions, flips, rollbacks, aborts and kills (25 minutes)
	@MOORING_PROOF=full $(BIN)/python -m pytest tests/cluster/test_traffic_end_to_end.py -s

prove-flux: $(STAMP) ## Flux' own controllers through a rollback, ten minutes at rest; builds them once
	@MOORING_PROOF=full $(BIN)/python -m pytest tests/cluster/test_flux_end_to_end.py -s

prove-gateway: $(STAMP) ## Traefik divides by our HTTPRoute, alone and through rollouts; builds it once
	@MOORING_PROOF=full $(BIN)/python -m pytest tests/gateway tests/cluster/test_gateway_end_to_end.py -s

coverage-core: $(STAMP) ## branches of the operator's core that no test reaches; fails under 100 % (4 minutes)
	@mkdir -p build && $(BIN)/python -m coverage run -m pytest tests/unit tests/simulation -q
	@$(BIN)/python -m coverage report

mutation-rollouts: $(STAMP) ## 300 mutants of the rollout rooms, drawn evenly; fails under 85 % killed (60 minutes)
	@$(BIN)/python -m tests.mutation $(ARGS)

prove-rollouts: $(STAMP) ## 50,000 drawn steps over one deployment, P1 to P9 after each (15 minutes)
	@$(BIN)/python -m tests.simulation.prove $(ARGS)

faults: $(STAMP) ## every fault plan against a real API server, a table, build/faults.json
	@$(BIN)/python -m tests.faults $(ARGS)

faults-steady: $(STAMP) ## ten minutes at rest: the operator writes nothing
	@$(BIN)/python -m tests.faults.steady $(ARGS)

clean: ## remove what was built here (the cache outside the checkout stays)
	@rm -rf build dist .pytest_cache .ruff_cache .hypothesis $(VENV)
