# Two commands: `make talk` (the chatbot, light base) and `make test` (everything, with the extras).
PYTHON  ?= python3
PYTHONS ?= python3.11 python3.12 python3.13 python3.14
BASE    ?= .venv
FULL    ?= .venv-test
OLD     ?= .venv-test-numpy
# An environment is made anew for another Python, other requirements or other pins.
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
# Files of tests side by side, each by one process from its first test to its last; three, for two
# cores: browsers and servers are waited for a good part of the time.
TESTS   ?= -n 3 --dist loadfile --no-loadscope-reorder
# What makes the environments and checks the sources, side by side as well.
BESIDE  ?= -j 3
# Compiled modules are kept: a test starts hundreds of processes.
unexport PYTHONDONTWRITEBYTECODE
CHECK    = $(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Pellucid needs Python 3.11 or newer; set PYTHON=...")'

.PHONY: talk test test-all test-numpy test-slow browser lint lint-ruff lint-types lint-types-darwin \
  lint-types-win32 lint-js format bench constraints clean

talk: $(BASE)/.ready-$(VERSION) $(BASE)/.native-$(VERSION)
	@$(BASE)/bin/pellucid talk

# TORCH_INDEX=URL: where builds of PyTorch for the CPU are; TORCH=1: any build, TORCH=0: none.
test:
	@$(MAKE) --no-print-directory $(BESIDE) $(FULL)/.native-$(VERSION) browser lint lint-js
	$(FULL)/bin/python -m pytest $(TESTS) -m "not slow"

# With every Python of PYTHONS that is installed, and with the oldest numpy; then a table.
test-all:
	@$(PYTHON) .ci/every_python.py $(PYTHONS)

# With the oldest numpy that pyproject.toml allows (it has none for Python 3.13), without PyTorch.
test-numpy:
	@$(MAKE) --no-print-directory $(BESIDE) $(OLD)/.native-$(VERSION) browser
	$(OLD)/bin/python -m pytest $(TESTS) -m "not slow"

test-slow: $(FULL)/.ready-$(VERSION) $(FULL)/.native-$(VERSION)
	$(FULL)/bin/python -m pytest -m slow

# The pages are tested in a real browser: installed where it is missing and we may (as root, on
# Debian); elsewhere those tests are skipped.
browser:
	@command -v chromedriver >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
	&& echo "Installing Chromium, for the tests of the pages ..." && apt-get -qq update \
	&& DEBIAN_FRONTEND=noninteractive apt-get -qq install -y chromium chromium-driver >/dev/null; } \
	|| echo "No chromedriver here: the tests of the pages will be skipped."

# The types also as macOS and Windows have them: a call that only Linux has is an error there.
lint: lint-ruff lint-types lint-types-darwin lint-types-win32

lint-ruff: $(FULL)/.ready-$(VERSION)
	$(FULL)/bin/ruff check .
	$(FULL)/bin/ruff format --check .

lint-types: $(FULL)/.ready-$(VERSION)
	$(FULL)/bin/mypy

lint-types-darwin lint-types-win32: lint-types-%: $(FULL)/.ready-$(VERSION)
	$(FULL)/bin/mypy --platform $* --cache-dir .mypy_cache/$*

# Types (JSDoc), formatting and unit tests of the JavaScript, where npm is here and may install.
lint-js:
	@if ! command -v npm >/dev/null; then echo "No npm here: the JavaScript is not checked."; \
	elif [ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --silent >/dev/null 2>&1; \
	then npm run --silent lint && npm test --silent && echo "The JavaScript is in order."; \
	else echo "npm cannot install here: the JavaScript is not checked."; fi

format: $(FULL)/.ready-$(VERSION)
	$(FULL)/bin/ruff check --fix .
	$(FULL)/bin/ruff format .

bench: $(FULL)/.ready-$(VERSION)
	$(FULL)/bin/python benchmarks/bench.py

# The newest versions that pyproject.toml allows, for all of PYTHONS that are installed.
constraints:
	$(PYTHON) .ci/constraints.py $(PYTHONS)

$(BASE)/.ready-$(VERSION): pyproject.toml
	@$(CHECK)
	@echo "Creating $(BASE) with the light base (no PyTorch) ..."
	@PYTHONWARNINGS= $(PYTHON) -m venv --clear $(BASE)
	@PYTHONWARNINGS= $(BASE)/bin/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

# The compiled backend, where a C++ compiler is at hand; everything works without it.
%/.native-$(VERSION): %/.ready-$(VERSION) $(wildcard native/src/* native/*.py native/*.toml)
	@echo "Building the compiled backend (half a minute) ..."
	@PYTHONWARNINGS= $*/bin/python -m pip install --quiet --disable-pip-version-check \
	--force-reinstall --no-deps ./native >/dev/null 2>&1 && echo "Built: it computes from now on." \
	|| echo "It cannot be built here (is there a C++ compiler?): numpy computes."
	@touch $@

$(FULL)/.ready-$(VERSION): pyproject.toml constraints.txt
	@$(CHECK)
	@$(PYTHON) .ci/environment.py $(FULL)
	@touch $@

$(OLD)/.ready-$(VERSION): pyproject.toml constraints.txt constraints-numpy.txt
	@$(CHECK)
	@$(PYTHON) .ci/environment.py $(OLD) constraints-numpy.txt
	@touch $@

clean:
	rm -rf $(BASE) $(FULL) .venv-test-*
