# Two commands for a newcomer, each doing all the set-up that it needs:
#   make run    everything on this machine: proxies, a target, some traffic, the exporter, the balancer
#   make test   what must pass before a change lands
# To run it for good: make runtime, which leaves .venv/bin/proxywatch and no developers' tools.
# Beside them: install (with the tools), verify (the long checks), bench, bench-check, faults, soak, fuzz, format, reference,
# dashboards, chart, deb, lock.

BIN := .venv/bin
# After a measurement, whatever it found: the goals on docs/proof.md anew.
PROOF = status=$$?; $(BIN)/python proof/bench/proof.py; exit $$status
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: run runtime test install lint verify bench bench-check faults soak fuzz format reference dashboards chart deb lock clean

run:
	@[ .venv/installed -nt requirements-dev.lock ] || $(MAKE) --no-print-directory .venv/demo
	@scripts/need-packages demo
	@exec $(BIN)/proxywatch demo --balancer

test: lint
	@scripts/need-packages test
	$(BIN)/pytest -m "not slow" --numprocesses auto --dist loadfile $(PYTEST)

# Enough when the developers' tools are there already.
runtime:
	@[ .venv/installed -nt requirements-dev.lock ] || $(MAKE) --no-print-directory .venv/runtime

.venv/runtime: requirements.lock scripts/make-venv
	@scripts/make-venv runtime
	@touch $@

.venv/demo: requirements-balancer.lock scripts/make-venv
	@scripts/make-venv balancer
	@touch $@

install: .venv/installed

.venv/installed: requirements-dev.lock pyproject.toml scripts/make-venv
	@scripts/make-venv
	@touch $@

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

verify: test
	@scripts/need-packages verify
	$(BIN)/pytest -m slow $(PYTEST)

# All comparisons, with peers from Debian's packages; writes docs/benchmarks.md. Half an hour.
# BENCH="--only together,startup" measures these anew; BENCH="--quick --write /tmp/page.md" is a smoke test.
bench: install
	@scripts/need-packages bench
	$(BIN)/python proof/bench/run.py --write docs/benchmarks.md $(BENCH); $(PROOF)

# The figures that have budgets, judged; by hand, as a busy machine misses them.
bench-check: install
	@scripts/need-packages bench
	$(BIN)/python proof/bench/run.py --check --minutes 5 $(BENCH)

# Faults and a hundred sequences of them in a real pod; writes docs/faults.md. Needs root; a quarter of one.
# FAULTS="--only 28,41 --explain" tries these sequences again.
faults: install
	@scripts/need-packages bench
	PYTHONPATH=src:tests:proof:. $(BIN)/python -m faults --write docs/faults.md $(FAULTS); $(PROOF)

# A day in accelerated time, and MINUTES in real time in a pod (root); writes docs/soak.md.
MINUTES ?= 60
soak: install
	@scripts/need-packages bench
	PYTHONPATH=src:tests:proof:. $(BIN)/python -m soak --minutes $(MINUTES) --write docs/soak.md $(SOAK); $(PROOF)

# Every harness for SECONDS.
SECONDS ?= 60
fuzz: install
	$(BIN)/python proof/fuzz/run.py $(SECONDS)

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

reference: install
	$(BIN)/proxywatch describe metrics > docs/metrics.md
	$(BIN)/proxywatch describe config > docs/settings.md

dashboards: install
	$(BIN)/python -m dashboards.build

# The settings in values.schema.json, and the tables of the chart's README.
chart: install
	$(BIN)/python -m helm.build

# dist/proxywatch_VERSION_ARCHITECTURE.deb, for the release of Debian that this is.
deb:
	@scripts/make-deb

lock: install
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate --upgrade -o requirements-dev.lock
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate -c requirements-dev.lock -o requirements.lock
	$(BIN)/uv pip compile pyproject.toml --extra balancer --extra dns --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate -c requirements-dev.lock -o requirements-balancer.lock

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
