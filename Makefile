# Two commands do everything on a fresh machine: `make reproduce` and `make test`. `make help` lists the others.

PYTHON ?= $(shell python3.11 -c '' 2>/dev/null && echo python3.11 || echo python3)
VENV ?= .venv
READY := $(VENV)/.ready
HOME_FOLDER := $(or $(FASHION_HOME),.)
SAMPLE := $(HOME_FOLDER)/data/sample/dataset.json
FASHIONLIB := $(VENV)/bin/fashionlib
# Two processes with a thread each: on two cores torch's own threads would only get into their way. If one crashes the
# other ends what it has; a new one in its place would wait for ever.
PYTEST := OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2 --dist loadfile -q --max-worker-restart 0
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help reproduce test lab-test coverage mutation bench soak publish lab book doctor lint setup clean git-filter

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "make %-10s %s\n", $$1, $$2 }'

reproduce: $(READY) $(SAMPLE)  ## from raw photos to Table I, figures and cut-outs on the sample, then compare
	$(FASHIONLIB) reproduce --data sample
	$(FASHIONLIB) publish sample --check

test: $(READY) $(SAMPLE)  ## the test suite
	$(PYTEST) --durations 10

lab-test: $(READY)  ## every notebook in JupyterLab in a real browser, pictures to build/lab/ (after reproduce)
	$(VENV)/bin/python -m pytest tests/lab/in_browser.py -v --durations 10 --maxfail 3

coverage: $(READY) $(SAMPLE)  ## the test suite, and that it runs at least 90 % of the library's lines
	$(PYTEST) --cov=fashionlib --cov-fail-under=90

# Merging is `rle.label_map`, and which instances get which label value and how they reach the disk.
MUTATED := $(foreach part,data.rle.* evaluate.metrics.* data.splits.* core.classes.* data.prepare.x__choose* \
    data.prepared.x_write* data.prepared.x_size_of* data.prepared.x__palette_image*,'fashionlib.$(part)')

# A venv of its own on top of the other: mutmut brings packages that nothing else here needs.
mutation: $(READY)  ## mutants of codec, metrics, split and merging, against their tests (up to half an hour)
	$(VENV)/bin/python -m venv build/mutation
	echo "import site; site.addsitedir('$(abspath $(VENV))/lib/python3.11/site-packages')" \
	    > build/mutation/lib/python3.11/site-packages/base.pth
	build/mutation/bin/pip install -q 'mutmut>=3.8,<4'
	OMP_NUM_THREADS=1 build/mutation/bin/python -m mutmut run --max-children 2 $(MUTATED)
	build/mutation/bin/python -m mutmut results | sed '/: not checked$$/d'

bench: $(READY)  ## speed and memory against the alternatives, into results/benchmarks.md (35 minutes)
	$(VENV)/bin/python -m tests.benchmarks

soak: $(READY)  ## kills, load and fuzzing at the sizes of a night, into results/soak.md (about two hours)
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m tests.soak

publish: $(READY)  ## copy the sample's tables, figures and executed notebooks from runs/ to results/ and figures/
	$(FASHIONLIB) publish sample

# A shell named by us is not a login shell, which would forget the PATH; in it `fashionlib` works, as in cells.
lab: $(READY) $(SAMPLE)  ## JupyterLab, with the notebooks open in it; ARGS="--no-browser --port 9999" are its own
	PATH="$(abspath $(VENV))/bin:$$PATH" $(VENV)/bin/python -m jupyterlab --notebook-dir . \
	    --FileContentsManager.preferred_dir=notebooks \
	    --ServerApp.terminado_settings="shell_command=$${SHELL:-sh}" $(AS_ROOT) $(ARGS)

book: $(VENV)/.book  ## README, notebooks, results and reference as HTML in build/book, offline
	rm -rf build/book
	$(VENV)/bin/python -m sphinx -qW --keep-going -c tools/book -d build/doctrees . build/book
	cp build/book/README.html build/book/index.html

$(VENV)/.book: $(READY)
	$(VENV)/bin/pip install -q --disable-pip-version-check -c constraints.txt -e '.[book]'
	touch $@

doctor:  ## versions, libraries, disk and GPU, and what to do about a bad one
	@"$$(test -x $(VENV)/bin/python && echo $(VENV)/bin/python || echo $(PYTHON))" -m fashionlib.doctor

lint: $(READY)  ## ruff over code and notebooks: rules and format
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m ruff format --check .

setup: $(READY)  ## the environment alone

clean:  ## forget the environment, the sample and its runs: all that make can make again
	rm -rf $(VENV) build .pytest_cache .ruff_cache .hypothesis .coverage
	rm -rf $(addprefix $(HOME_FOLDER)/,raw/sample data/sample runs/sample)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[test]'
	$(VENV)/bin/python -m ipykernel install --sys-prefix
	$(VENV)/bin/python -c 'import pymatting'  # compiles itself once, for most of a minute
	@$(MAKE) --no-print-directory git-filter
	touch $@

# What JupyterLab adds to a notebook that it saves is no change for git (.gitattributes): outputs, counts, times,
# the interpreter's version. A checkout without .venv, such as another worktree, takes notebooks as they are.
LAB_ADDS := $(addprefix metadata.language_info.,codemirror_mode file_extension mimetype nbconvert_exporter \
    pygments_lexer version)
STRIP := .venv/bin/nbstripout --keep-id \
    --extra-keys "$(LAB_ADDS) cell.metadata.editable cell.metadata.slideshow cell.metadata.trusted"

git-filter:  # quietly nothing outside a git checkout
	@! git ls-files --error-unmatch Makefile >/dev/null 2>&1 || \
	    git config filter.notebooks.clean 'if test -x .venv/bin/nbstripout; then $(STRIP); else cat; fi'

$(SAMPLE): $(wildcard fashionlib/assets/sample.zip) | $(READY)
	$(FASHIONLIB) sample
	touch $@
