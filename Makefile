# Every target sets itself up: the environment in .venv is made on first use.
#
#   make PYTHON=/path/to/python   makes it with that interpreter instead of one found
#   make test ARGS="-k resume"    passes arguments on to demo, tests, parity and tables

BIN := .venv/bin
READY := .venv/.ready

.PHONY: help setup demo test test-all bench bench-gpu parity lint tables docs constraints clean

help: ## Print these targets
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | awk -F '|' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(READY) ## Make .venv with the pinned dependencies

demo: $(READY) ## Train LeNet-5 on 5,000 real MNIST digits, offline
	@$(BIN)/python -m experiments.mnist_lenet5 --dataset mnist_5k --epochs 30 $(ARGS)

PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

test: $(READY) ## Run the tests, but those marked slow
	@$(PYTEST) -m "not slow" $(ARGS)

test-all: $(READY) ## Run all tests (ARGS="-m slow": only what `make test` leaves out)
	@$(PYTEST) $(ARGS)

# With TORCH_PYTHON=PATH, an interpreter that has PyTorch, torchvision and timm, the
# reference values are made anew rather than taken from the committed file.
parity: $(READY) ## Compare every model with its reference, and write the table of it
	@if [ -n "$(TORCH_PYTHON)" ]; then \
	    PARITY_REFERENCES=.venv/references.json; export PARITY_REFERENCES; \
	    rm -f $$PARITY_REFERENCES; \
	    "$(TORCH_PYTHON)" tools/make_parity_references.py || exit 1; \
	fi; \
	PARITY=all $(BIN)/python -m pytest tests/pretrained/test_parity.py $(ARGS)

WITH_TORCH = $(if $(TORCH_PYTHON),--torch-python "$(TORCH_PYTHON)")

bench: $(READY) ## Speed on CPU against the recorded one (TORCH_PYTHON= for PyTorch's)
	@$(BIN)/python -m benchmarks.ops --rounds 3 --compare $(WITH_TORCH)
	@$(BIN)/python -m benchmarks.loops --rounds 3 --compare
	@if [ -n "$(TORCH_PYTHON)" ]; then \
	    $(BIN)/python -m benchmarks.speed --rounds 3 --compare $(WITH_TORCH); \
	fi

bench-gpu: $(READY) ## What one GPU is worth, in nine minutes (ARGS="--budget 300")
	@$(BIN)/python -m benchmarks.gpu $(WITH_TORCH) $(ARGS)

lint: $(READY) ## Check style, format, who imports whom, and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy

tables: $(READY) ## Write docs/results.md from experiments/results
	@$(BIN)/python -m jaxvision table $(ARGS)

# What builds it is installed when it is first asked for.
DOCS := .venv/.docs

docs: $(DOCS) ## Write the documentation as a site, into build/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet $(ARGS)
	@echo "open build/site/index.html"

$(DOCS): $(READY)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check \
	    --constraint constraints.txt --editable ".[docs]"
	@touch $@

constraints: ## Pin the newest dependencies again (needs uv)
	uv pip compile --universal --python-version 3.12 --all-extras --upgrade --quiet \
	    --no-annotate --custom-compile-command "make constraints" \
	    --output-file constraints.txt pyproject.toml

clean: ## Remove .venv and build products; never runs/ or data
	rm -rf .venv build dist *.egg-info
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find jaxvision experiments benchmarks tests -name __pycache__ -prune -exec rm -rf {} +

# Pages are tested in a browser where there is one, which takes 40 MB more.
#
# The stamp goes first and comes last: an interrupted setup leaves none, and the next
# one starts afresh.  It holds the PYTHON asked for, so that asking for another counts.
ifneq ($(PYTHON),)
ifneq ($(PYTHON),$(shell cat $(READY) 2>/dev/null))
.PHONY: $(READY)
AFRESH := yes
endif
endif

$(READY): pyproject.toml constraints.txt
	@if [ -z "$(AFRESH)" ] && [ -e $@ ]; then \
	    echo "Bringing .venv up to date"; \
	    rm $@; \
	else \
	    python=$$(PYTHON="$(PYTHON)" sh tools/find_python.sh) || exit 1; \
	    echo "Making .venv with $$python: this takes a minute or two"; \
	    rm -rf .venv && "$$python" -m venv .venv || exit 1; \
	fi
	@extras=dev; for browser in chromium chromium-browser google-chrome; do \
	    if command -v $$browser > /dev/null; then extras=dev,browser; fi; \
	done; \
	$(BIN)/python -m pip install -qq --disable-pip-version-check \
	    --constraint constraints.txt --editable ".[$$extras]"
	@echo "$(PYTHON)" > $@
