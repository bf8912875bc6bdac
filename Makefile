# `make help` lists the targets. Each of them sets up what it needs by itself.

export VENV ?= .venv
PYTHON_IN_VENV = $(VENV)/bin/python

# The demo's load.
CONNS ?= 200
SECS ?= 10
SIZE ?= 1024
SHARDS ?= 0

# When one of these changes, the C module or the environment may be out of date.
BUILD_INPUTS = pyproject.toml setup.py tools/setup.sh \
	$(wildcard $(addprefix src/uringtrio/_ring/,build.py shim.h shim.c shared_queue.h shared_queue.c))

.PHONY: help demo test test-trio lint docs bench clean
.DEFAULT_GOAL = help

help:
	@echo 'make demo       start an echo server and drive it (CONNS=$(CONNS) SECS=$(SECS) SIZE=$(SIZE) SHARDS=$(SHARDS))'
	@echo 'make test       the default suite on each driver (ARGS="-k recv -x")'
	@echo 'make test-trio  Trio'\''s own tests on both (ARGS="-k test_sync.py --driver epoll")'
	@echo 'make lint       ruff check, ruff format --check, mypy --strict'
	@echo 'make docs       docs/ as HTML, in docs/_build; a warning is an error'
	@echo 'make bench      benchmarks/echo.py, network.py, scheduler.py and tls.py'
	@echo 'make clean      remove $(VENV) and everything that was built'
	@echo 'Environment: PYTHON, VENV, URINGTRIO_DRIVER (io_uring, epoll, kqueue), URINGTRIO_NO_IO_URING=1'

# One stamp for each extra: a pattern of file names, so that a second run does nothing.
$(VENV)/.installed-%: $(BUILD_INPUTS)
	@tools/setup.sh $*
	@touch $@

demo: $(VENV)/.installed-demo
	@$(PYTHON_IN_VENV) examples/echo_load.py --connections $(CONNS) --seconds $(SECS) \
		--size $(SIZE) --shards $(SHARDS)

test: $(VENV)/.installed-test
	@tools/test.sh $(ARGS)

test-trio: $(VENV)/.installed-test
	@PYTHONPATH=tests $(PYTHON_IN_VENV) -m trio_suite $(ARGS)

lint: $(VENV)/.installed-test
	$(PYTHON_IN_VENV) -m ruff check .
	$(PYTHON_IN_VENV) -m ruff format --check .
	$(PYTHON_IN_VENV) -m mypy --strict src

docs: $(VENV)/.installed-docs
	$(PYTHON_IN_VENV) -m sphinx -q -n -W --keep-going -E -b html docs docs/_build
	@echo 'docs/_build/index.html'

bench: $(VENV)/.installed-bench
	$(PYTHON_IN_VENV) benchmarks/echo.py $(ARGS)
	$(PYTHON_IN_VENV) benchmarks/network.py $(ARGS)
	$(PYTHON_IN_VENV) benchmarks/scheduler.py $(ARGS)
	$(PYTHON_IN_VENV) benchmarks/tls.py $(ARGS)

clean:
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	rm -rf benchmarks/c/bin docs/_build
	find src -name '*.so' -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
