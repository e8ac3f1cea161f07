# Everything a developer, a tester or a packager does. `make` alone lists the targets.
#
# PYTHON        the Python of $(VENV)                   (python3)
# PYTEST_ARGS   e.g. PYTEST_ARGS="-k rollback"
# STAGE_PYTHON, LIBDIR, DNF_PLUGINS, VENDOR, SETS, PYTHONS, WITHOUT_RPM: see tools/stage.sh, tools/rpm.sh, tools/release.sh
PYTHON ?= python3
VENV ?= .venv
# Commands that the lab and the package need, and those that only tests and bench do; tools/need.sh knows their packages.
TOOLS ?= dnf rpm rpmbuild rpmsign createrepo_c gpg openssl
TEST_TOOLS ?= rsync nginx chromium
EXTRA_TEST_TOOLS ?= faketime
# Three for each CPU: half of the time a test waits for a server, a time-out or a program.
TEST_PROCESSES ?= $(shell echo $$((3 * $$(nproc))))
RPM_FLAGS ?=
BENCH_FLAGS ?=
export STAGE_PYTHON LIBDIR DNF_PLUGINS VENDOR SETS PYTHONS

.PHONY: help venv tools lint test test-yum corpus-tools fuzz mutants demo bench scale stage rpm rpm-twice rpmlint release clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /make \1	/p' Makefile | expand -t 16

venv: $(VENV)/.up-to-date ## make .venv with the command and all that the tests need

# compat: a line in a .pth file; setuptools' own way costs every start of the command 20 ms.
$(VENV)/.up-to-date: setup.py requirements.txt requirements-dev.txt tools/venv.sh
	PIP_CONFIG_SETTINGS=editable_mode=compat tools/venv.sh $(PYTHON) $(VENV) -r requirements-dev.txt -e .
	@touch $@

tools: ## install the programs that the lab and the package need, or say which are missing
	@tools/need.sh $(TOOLS)

lint: venv ## ruff and mypy --strict (Python 3.9 or newer)
	@if [ -x $(VENV)/bin/mypy ]; then $(VENV)/bin/ruff check . && $(VENV)/bin/mypy; \
	else echo "lint: left out, $(PYTHON) is too old for ruff and mypy"; fi

test: lint ## lint, then every test; those without the lab also on Python 3.6 and on the newest Python here
	@tools/need.sh $(TOOLS) $(TEST_TOOLS)
	@tools/need.sh $(EXTRA_TEST_TOOLS) || echo "test: what needs $(EXTRA_TEST_TOOLS) is left out"
	$(VENV)/bin/python -m pytest -n $(TEST_PROCESSES) --dist worksteal $(PYTEST_ARGS)
	@$(if $(PYTEST_ARGS),,tools/pythons.sh build/pythons)

# YUM=PATH names a yum 3.4.3 that is not on PATH; on newer systems "yum" is dnf.
YUM ?= $(shell yum --version 2>/dev/null | grep -q '^3\.4\.' && command -v yum)
test-yum: tools venv ## the yum tests on a real yum 3.4.3, if there is one; YUM=PATH names it
	@if [ -x "$(YUM)" ]; then YUM="$(YUM)" $(VENV)/bin/python -m pytest tests/test_yum.py $(PYTEST_ARGS); \
	else echo "test-yum: left out, there is no yum 3.4.3 here (YUM=PATH names one); make test uses a stand-in"; fi

corpus-tools: venv ## programs of others that sign, for tests/test_signature_corpus.py, which leaves out what is missing
	$(VENV)/bin/pip install -q -r requirements-corpus.txt
	npm install --silent --no-audit --no-fund --prefix build/corpus openpgp

fuzz: venv ## the random inputs only, more of them and new ones each time: FUZZ_EXAMPLES=1000 of each kind
	HYPOTHESIS_PROFILE=fuzz $(VENV)/bin/python -m pytest -m "fuzz or hypothesis" $(PYTEST_ARGS)

mutants: venv ## change trust/ and state/ in one place at a time: do the tests notice? MUTANTS_ARGS: see tools/mutants.py
	$(VENV)/bin/python tools/mutants.py $(MUTANTS_ARGS)

demo: tools venv ## stock dnf beside dnf with the plugin, on mirrors with four faults
	$(VENV)/bin/python -m tests.lab.demo

bench: venv ## measure; writes bench/results.json. Some rows: BENCH_FLAGS="--only GLOB"
	@tools/need.sh $(TOOLS) $(TEST_TOOLS) curl
	$(VENV)/bin/python -m bench $(BENCH_FLAGS)

scale: venv ## simulate 100 000 hosts on 5, 20 and 80 mirrors; prints the table of docs/scale.md
	$(VENV)/bin/python -m bench.scale

stage: ## DESTDIR=DIR: lay out in DIR what the RPM installs
	@tools/stage.sh "$(DESTDIR)"

rpm: tools ## build the packages of HEAD into build/rpm
	@tools/rpm.sh $(RPM_FLAGS)

rpm-twice: tools ## prove that HEAD always makes the same packages: build them twice and compare
	@tools/rpm.sh $(RPM_FLAGS) | xargs sha256sum >build/rpm.first
	@tools/rpm.sh $(RPM_FLAGS) >/dev/null && sha256sum -c build/rpm.first

rpmlint: rpm ## what rpmlint reports about the packages, beyond what rpm/rpmlint.toml explains
	@tools/need.sh rpmlint
	rpmlint -c rpm/rpmlint.toml build/rpm/RPMS build/rpm/SRPMS

release: tools ## VERSION=x.y.z: set the version, commit, tag, and build the archives and packages into build/release
	@tools/release.sh "$(VERSION)"

clean: ## remove what the other targets made
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find yum_plugin tests bench -name __pycache__ -prune -exec rm -rf {} +
