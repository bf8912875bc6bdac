# `make help` lists the targets. Each of them sets up what it needs by itself.

export VENV ?= .venv
PYTHON_IN_VENV = $(VENV)/bin/python

# The demo's load.
CONNS ?= 200
SECS ?= 10
SIZE ?= 1024

# When one of these changes, the C module or the environment may be out of date.
BUILD_INPUTS = pyproject.toml setup.py tools/setup.sh \
	$(wildcard $(addprefix src/uringtrio/_ring/,build.py shim.h shim.c))

.PHONY: help demo test lint bench clean
.DEFAULT_GOAL = help

help:
	@echo 'make demo    start an echo server and drive it (CONNS=$(CONNS) SECS=$(SECS) SIZE=$(SIZE))'
	@echo 'make test    the default suite on io_uring and on epoll (ARGS="-k recv -x")'
	@echo 'make lint    ruff check, ruff format --check, mypy --strict'
	@echo 'make bench   benchmarks/echo.py and benchmarks/scheduler.py'
	@echo 'make clean   remove $(VENV) and everything that was built'
	@echo 'Environment: PYTHON, VENV, URINGTRIO_DRIVER (io_uring, epoll), URINGTRIO_NO_IO_URING=1'

# One stamp for each extra: a pattern of file names, so that a second run does nothing.
$(VENV)/.installed-%: $(BUILD_INPUTS)
	@tools/setup.sh $*
	@touch $@

demo: $(VENV)/.installed-demo
	@$(PYTHON_IN_VENV) examples/echo_load.py --connections $(CONNS) --seconds $(SECS) --size $(SIZE)

test: $(VENV)/.installed-test
	@tools/test.sh $(ARGS)

lint: $(VENV)/.installed-test
	$(PYTHON_IN_VENV) -m ruff check .
	$(PYTHON_IN_VENV) -m ruff format --check .
	$(PYTHON_IN_VENV) -m mypy --strict src

bench: $(VENV)/.installed-bench
	$(PYTHON_IN_VENV) benchmarks/echo.py $(ARGS)
	$(PYTHON_IN_VENV) benchmarks/scheduler.py $(ARGS)

clean:
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	rm -rf benchmarks/c/bin
	find src -name '*.so' -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
