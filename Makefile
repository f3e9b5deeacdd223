# The two commands of a newcomer are `make up` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/flotilla
BIN := .venv/bin
SCENARIOS := default scale ssh
# Molecule would name its folder after the checkout's, and two checkouts of one name would share it. Not sha256sum, which not every system has.
EPHEMERAL = $(CACHE)/molecule/$(shell python3 -c 'import hashlib, os; print(hashlib.sha256((os.getcwd() + "\n").encode()).hexdigest()[:8])')
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Where this is set, each of the hundreds of runs of Python compiles all that it imports.
unexport PYTHONDONTWRITEBYTECODE
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
ON_EVERY_CORE = --numprocesses auto --dist loadfile --no-loadscope-reorder
# Ansible asks for sudo's password only where sudo does.
BECOME = $(shell [ "$$(id -u)" = 0 ] || sudo --non-interactive true 2>/dev/null || echo --ask-become-pass)

.PHONY: help
help: ## Show what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The fleet of these commands is this machine. The playbooks themselves run on other systems too.
.PHONY: linux
linux:
	@tools/needs_linux.sh

.PHONY: controller
controller: .venv/deploy ## Make .venv with Ansible, to deploy to other machines

.PHONY: up
up: linux .venv/deploy ## Bring the fleet up on this machine
	ansible-playbook site.yml --inventory inventory/local $(BECOME)
	@tools/greet.sh

.PHONY: down
down: linux .venv/deploy ## Remove what `make up` made, images and the internal CA aside
	ansible-playbook playbooks/down.yml --inventory inventory/local $(BECOME)

.PHONY: clean
clean: linux .venv/deploy ## Remove the images, the internal CA, the caches and .venv too
	ansible-playbook playbooks/down.yml --inventory inventory/local $(BECOME) --extra-vars down_images=true
	rm -rf "$(CACHE)" .venv

.PHONY: test
test: linux test-fast test-long test-runs engine ## Run test-fast, test-long, test-runs and the Molecule scenarios default, scale and ssh
	for scenario in $(SCENARIOS); do \
	  MOLECULE_EPHEMERAL_DIRECTORY=$(EPHEMERAL)/$$scenario molecule test --scenario-name $$scenario; \
	done

.PHONY: test-fire
test-fire: .venv/test engine ## Release, break and repair a fleet under load
	MOLECULE_EPHEMERAL_DIRECTORY=$(EPHEMERAL)/fire molecule test --scenario-name fire

.PHONY: test-edge
test-edge: .venv/test engine ## Take a load balancer away under load
	MOLECULE_EPHEMERAL_DIRECTORY=$(EPHEMERAL)/edge molecule test --scenario-name edge

.PHONY: test-monitoring
test-monitoring: .venv/test engine ## Collect a fleet's metrics, and see what notices a fault
	MOLECULE_EPHEMERAL_DIRECTORY=$(EPHEMERAL)/monitoring molecule test --scenario-name monitoring

.PHONY: test-acme
test-acme: .venv/test engine ## Give clients a certificate by ACME under load, and take it back
	MOLECULE_EPHEMERAL_DIRECTORY=$(EPHEMERAL)/acme molecule test --scenario-name acme

.PHONY: test-repair
test-repair: .venv/test engine ## Change machines by hand under load, and have a run mend them
	MOLECULE_EPHEMERAL_DIRECTORY=$(EPHEMERAL)/repair molecule test --scenario-name repair

.PHONY: test-lost
test-lost: .venv/test engine ## Lose machines, and have a run, a backup or nothing at all mend the fleet
	MOLECULE_EPHEMERAL_DIRECTORY=$(EPHEMERAL)/lost molecule test --scenario-name lost

.PHONY: test-upgrade
test-upgrade: .venv/test engine ## Take over, under load, a fleet that an older commit deployed
	MOLECULE_EPHEMERAL_DIRECTORY=$(EPHEMERAL)/upgrade molecule test --scenario-name upgrade

# The scenarios' hosts are containers of this machine's engine.
.PHONY: engine
engine: linux .venv/deploy
	tools/debian_packages.sh mmdebstrap openssh-client
	ansible-playbook playbooks/inspect.yml playbooks/engine.yml --inventory inventory/local $(BECOME)

.PHONY: test-fast
test-fast: .venv/test ## Run the linters and the unit tests that are not long, in about a minute
	$(MAKE) --no-print-directory --jobs=2 --output-sync=line lint unit

.PHONY: test-long
test-long: linux .venv/test ## Run the unit tests that start whole programs, or prove whole models, in about two minutes
	tools/debian_packages.sh mmdebstrap
	pytest $(ON_EVERY_CORE) -m long

.PHONY: test-runs
test-runs: .venv/test ## Run ansible-lint, and playbooks on this machine alone, in about a minute and a half
	$(MAKE) --no-print-directory --jobs=2 --output-sync=line ansible-lint runs

.PHONY: runs
runs: .venv/test
	pytest tests/runs

.PHONY: ansible-lint
ansible-lint: .venv/test
	ansible-lint --offline

.PHONY: lint
lint: .venv/test
	ruff check .
	ruff format --check .
	yamllint --strict .
	tools/role_docs.py --check
	mypy

.PHONY: unit
unit: .venv/test
	pytest $(ON_EVERY_CORE) -m 'not long'

.PHONY: bench-serve
bench-serve: .venv/test ## Compare the endpoint with its peers, in CPU time per request
	tools/debian_packages.sh wrk
	PYTHONPATH=model_endpoint/src python bench/serving.py

.PHONY: bench-deploy
bench-deploy: .venv/test engine ## Time deployments beside those by a plain playbook, over 3 and 10 nodes
	python bench/deploy.py

.PHONY: bench-lb
bench-lb: .venv/test engine ## Compare the load balancer with a naive one and with HAProxy
	tools/debian_packages.sh wrk
	PYTHONPATH=tests:.collections python bench/lb.py

.PHONY: bench-kept
bench-kept: .venv/test ## Count the requests that clients lose on kept connections while Nginx is reloaded
	tools/debian_packages.sh mmdebstrap
	PYTHONPATH=tests:.collections python bench/kept.py

.PHONY: bench-drift
bench-drift: .venv/test ## Measure what drift costs, and simulate how well it is told from chance
	tools/debian_packages.sh wrk
	PYTHONPATH=model_endpoint/src:tests python bench/drift.py

.PHONY: bench-monitoring
bench-monitoring: .venv/test ## Simulate 300 monitored endpoints: the page's seconds, Prometheus' memory and disk
	tools/debian_packages.sh mmdebstrap
	PYTHONPATH=fleet_page/src:model_endpoint/src:tests:.collections python bench/monitoring.py

.PHONY: lock
lock: .venv/test ## Lock the requirements anew
	tools/lock.sh

# Each marker is newer than the lock it was made from.
.venv/deploy: requirements/deploy.txt
	tools/venv.sh $<
	@touch $@

.venv/test: requirements/test.txt
	tools/venv.sh $<
	@touch .venv/deploy $@
