# Two commands: `make talk` (the chatbot, light base) and `make test` (everything, with the extras).
PYTHON ?= python3
BASE   := .venv
FULL   := .venv-test

.PHONY: talk test test-slow browser lint format bench clean

talk: $(BASE)/.ready
	@$(BASE)/bin/pellucid talk

test: $(FULL)/.ready browser lint
	$(FULL)/bin/python -m pytest -m "not slow"

test-slow: $(FULL)/.ready
	$(FULL)/bin/python -m pytest -m slow

# The pages are tested in a real browser: installed where it is missing and we may (as root, on
# Debian); elsewhere those tests are skipped.
browser:
	@command -v chromedriver >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
	&& echo "Installing Chromium, for the tests of the pages ..." && apt-get -qq update \
	&& DEBIAN_FRONTEND=noninteractive apt-get -qq install -y chromium chromium-driver >/dev/null; } \
	|| echo "No chromedriver here: the tests of the pages will be skipped."

lint: $(FULL)/.ready
	$(FULL)/bin/ruff check .
	$(FULL)/bin/ruff format --check .
	$(FULL)/bin/mypy

format: $(FULL)/.ready
	$(FULL)/bin/ruff check --fix .
	$(FULL)/bin/ruff format .

bench: $(FULL)/.ready
	$(FULL)/bin/python benchmarks/bench.py

$(BASE)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Pellucid needs Python 3.11 or newer; set PYTHON=...") if sys.version_info < (3, 11) else None'
	@echo "Creating $(BASE) with the light base (no PyTorch) ..."
	@$(PYTHON) -m venv $(BASE)
	@$(BASE)/bin/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(FULL)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Pellucid needs Python 3.11 or newer; set PYTHON=...") if sys.version_info < (3, 11) else None'
	@echo "Creating $(FULL) with the extras and the test tools ..."
	@$(PYTHON) -m venv $(FULL)
	@$(FULL)/bin/python -m pip install --quiet --disable-pip-version-check -e ".[torch,gguf,train,tensorboard,eval,test]"
	@touch $@

clean:
	rm -rf $(BASE) $(FULL)
