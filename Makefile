# squall: two commands for a newcomer, `make demo` and `make test`; the rest is for those who work on it.

CARGO ?= cargo
PYTHON ?= python3
VENV := .venv

.PHONY: help demo test chaos check check-cuda check-memory bench build clean

help:
	@echo "make demo          everything on a replayed stream, with a page at http://127.0.0.1:8080"
	@echo "make test          all tests"
	@echo "make check         formatting and lints, warnings denied"
	@echo "make check-cuda    the same lints with GPUs; fetches NVIDIA's compiler, needs no GPU"
	@echo "make check-memory  the tests of the kernels under AddressSanitizer"
	@echo "make build         the program, optimised, in target/release/squall"
	@echo "make chaos         processes killed and inserts that go wrong, RUNS=20 times from SEED=1 on, PARALLEL=2 at once; then the outbox"
	@echo "make bench         speed of scoring, of the way from a post to its alert, and of deliveries"

# The same profile as the tests, in which the dependencies are compiled with full optimisation: one build serves both.
demo: system
	$(CARGO) run --locked --quiet -- demo

test: system $(VENV)/ready
	SQUALL_TEST_PYTHON=$(abspath $(VENV)/bin/python) $(CARGO) test --locked

RUNS ?= 20
SEED ?= 1
PARALLEL ?= 2
chaos: system $(VENV)/ready
	SQUALL_TEST_PYTHON=$(abspath $(VENV)/bin/python) $(CARGO) test --locked --test chaos -- --runs $(RUNS) --seed $(SEED) --parallel $(PARALLEL)
	SQUALL_TEST_PYTHON=$(abspath $(VENV)/bin/python) $(CARGO) test --locked --test chaos -- --outbox 10000 --seed $(SEED)

check: system
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

check-cuda: system
	eval "$$(scripts/cuda-toolchain.sh target/cuda)" && \
	CARGO_TARGET_DIR=target/with-cuda $(CARGO) clippy --locked --all-targets --features cuda -- -D warnings

check-memory: system
	RUSTC_WORKSPACE_WRAPPER=$(abspath scripts/sanitized.sh) $(CARGO) test --locked --lib -- kernels:: model::

build: system
	$(CARGO) build --locked --release

bench: build
	scripts/bench.sh

# What the tests need of Python: a webhook receiver that checks signatures with a library nobody here wrote,
# ClickHouse's engine, and a reader of YAML.
$(VENV)/ready: tests/requirements.txt
	@$(PYTHON) -m venv $(VENV) || { echo "squall: $(PYTHON) cannot make a virtual environment: install python3-venv (Debian, Ubuntu: apt install python3-venv)"; exit 1; }
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	@touch $@

.PHONY: system
system:
	@scripts/check-system.sh

clean:
	$(CARGO) clean
	rm -rf $(VENV)
