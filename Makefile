# Every target makes the virtual environment it needs; nothing has to be installed by hand.
VENV ?= .venv
PY := $(VENV)/bin/python
TIMED = @start=$$(date +%s); set -e;
DONE = echo "make $@: $$(( $$(date +%s) - start )) s"

.PHONY: quickstart test check real bench docs clean

quickstart: $(VENV)/.dev ## synthesise data, train tiny, predict, evaluate, report
	$(TIMED) $(PY) -m lmmrotate quickstart --folder quickstart; $(DONE)

test: $(VENV)/.dev ## every test that this machine can run, one file a core at a time
	$(TIMED) $(PY) -m pytest -q -n logical --dist loadfile; $(DONE)

check: $(VENV)/.dev ## format, lint, types, layers
	$(TIMED) $(PY) -m ruff format --check .; $(PY) -m ruff check .; $(PY) -m mypy; \
	$(PY) -m pytest -q tests/test_layers.py; $(DONE)

real: $(VENV)/.dev ## memorise real DOTA tiles from ../shared/real
	$(TIMED) $(PY) scripts/real.py --folder real; $(DONE)

bench: $(VENV)/.dev ## speed tables
	$(TIMED) for script in bench/*.py; do $(PY) $$script; done; $(DONE)

docs: $(VENV)/.docs ## the documentation as a site/
	$(TIMED) $(VENV)/bin/mkdocs build --strict; $(DONE)

clean: ## remove what the targets above wrote, but not the virtual environment
	rm -rf quickstart real site .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Compiled on all cores, where pip would take one. A few files are for newer versions of Python and fail: no harm.
$(VENV)/.dev: pyproject.toml constraints.txt
	@start=$$(date +%s); set -e; test -x $(PY) || python3 -m venv $(VENV); \
	$(PY) -m pip install -q --no-compile --disable-pip-version-check -c constraints.txt -e ".[dev]"; \
	$(PY) -m compileall -q -j 0 $(VENV)/lib >/dev/null || true; \
	touch $@; echo "installation: $$(( $$(date +%s) - start )) s"

$(VENV)/.docs: $(VENV)/.dev
	$(PY) -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[docs]"
	@touch $@
