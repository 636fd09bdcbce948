# Every target works from a fresh clone. `make demo` and `make test` are the two to know.
VENV    := .venv
PYTHON  ?= python3
BACKSTAY := $(VENV)/bin/backstay

.PHONY: help install demo test lint bench acceptance lock clean

help:
	@echo "make demo        a real OpenStack on this machine, checked, broken, found, healed (as root)"
	@echo "make test        everything that needs no lab, then the quicker stories on the lab"
	@echo "make acceptance  the same with every story on the lab"
	@echo "make lint        ruff and mypy"
	@echo "make bench       the figures that the README quotes"

install: $(VENV)/.installed

$(VENV)/.installed: requirements.txt pyproject.toml
	./install.sh $(PYTHON) $(VENV)
	@touch $@

lint: install
	$(VENV)/bin/ruff check src tests bench
	$(VENV)/bin/ruff format --check src tests bench
	$(VENV)/bin/mypy

lock: install
	$(VENV)/bin/pip-compile --quiet --strip-extras --allow-unsafe --generate-hashes --extra lab --extra ipmi --extra mariadb --extra dev \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --output-file requirements.txt pyproject.toml

test: install
	./tests/run $(VENV)

acceptance: install
	./tests/run $(VENV) --acceptance

demo: install
	./demo.sh $(BACKSTAY)

bench: install
	$(VENV)/bin/python -m bench.startup
	$(VENV)/bin/python -m bench.check
	$(VENV)/bin/python -m bench.reboot
	$(VENV)/bin/python -m bench.backup
	$(VENV)/bin/python -m bench.replace

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
