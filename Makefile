# Every target works from a fresh clone. `make demo` and `make test` are the two to know.
VENV    := .venv
PYTHON  ?= python3
BACKSTAY := $(VENV)/bin/backstay
COMPILE := $(VENV)/bin/pip-compile --quiet --strip-extras --allow-unsafe --generate-hashes \
  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host

.PHONY: help install develop demo test lint bench acceptance lock clean

help:
	@echo "make install     Backstay in .venv, with what running needs: for production"
	@echo "make develop     the same with the lab and what tests need, linked to this checkout"
	@echo "make demo        a real OpenStack on this machine: checked, broken, diagnosed, healed (as root)"
	@echo "make test        all tests without the lab, then the quicker acceptance tests on the lab"
	@echo "make acceptance  the same, with every acceptance test on the lab"
	@echo "make lint        ruff, mypy and deptry"
	@echo "make bench       measures the figures in the README"
	@echo "make lock        pins all dependencies, with hashes: requirements.txt to run, requirements-dev.txt to develop"

install: $(VENV)/.installed

$(VENV)/.installed: requirements.txt pyproject.toml $(shell find src/backstay -type f -not -name '*.pyc')
	[ -e $(VENV)/.developed ] || ./install.sh $(PYTHON) $(VENV)
	@touch $@

develop: $(VENV)/.developed

$(VENV)/.developed: requirements-dev.txt pyproject.toml packaging/backstay-lab/pyproject.toml
	./install.sh $(PYTHON) $(VENV) --develop
	@touch $@

lint: develop
	$(VENV)/bin/ruff check src tests bench
	$(VENV)/bin/ruff format --check src tests bench
	$(VENV)/bin/mypy
	$(VENV)/bin/deptry src/backstay
	$(VENV)/bin/deptry --config packaging/backstay-lab/pyproject.toml src/backstay_lab
	$(VENV)/bin/deptry --known-first-party backstay --known-first-party backstay_lab --known-first-party tests --known-first-party bench --ignore DEP002,DEP004 --exclude data tests bench

lock: develop
	$(VENV)/bin/python packaging/dependencies.py develop | $(COMPILE) --output-file requirements-dev.txt -
	$(VENV)/bin/python packaging/dependencies.py run | $(COMPILE) --constraint requirements-dev.txt --output-file requirements.txt -

test: develop
	./tests/run $(VENV)

acceptance: develop
	./tests/run $(VENV) --acceptance

demo: develop
	./demo.sh $(BACKSTAY)

bench: develop
	$(VENV)/bin/python -m bench.startup
	$(VENV)/bin/python -m bench.check
	$(VENV)/bin/python -m bench.reboot
	$(VENV)/bin/python -m bench.backup
	$(VENV)/bin/python -m bench.replace

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
