# SPDX-License-Identifier: MPL-2.0
# Root on Debian 12 or later. Each target installs the packages that it needs and that are not there yet.

VENV := .venv
PYTEST := $(VENV)/bin/pytest -q -p no:cacheprovider
LAB := tests/lab/lab
INSTALL := packaging/install-packages

# The agent runs on the distribution's Python and libraries, so that is what it is tested on.
RUNTIME := python3 python3-pystemd python3-pyinotify python3-sdnotify python3-prometheus-client \
	python3-bcrypt python3-yaml
BUILD := build-essential debhelper dh-python fakeroot git pybuild-plugin-pyproject python3-all python3-hatchling
RPM := dpkg-dev git python3-build python3-hatchling python3-installer python3-packaging rpm
HOSTS := debian-archive-keyring iproute2 mmdebstrap python3 systemd-container util-linux
TOOLS := fish groff lintian openssl procps prometheus rpmlint rsync shellcheck vim zsh
# What pip needs to build pystemd.
PIP := gcc libsystemd-dev pkg-config python3-dev python3-venv

SOURCES := $(shell git ls-files kea_agent units debian docs/usage packaging pyproject.toml README.md)

.PHONY: help hosts images test test-unit test-lab lint shape bench bench-check demo deb rpm release clean

help:
	@sed -n 's/^## //p' Makefile

## make demo       one command on a fresh Debian machine: a pair is booted and the story told with real output
demo: deb hosts
	tests/lab/demo

## make test       everything: linters, unit tests, booted hosts
test: images test-unit test-lab

# The unit tests compare the reader with the images' own Kea.
images: hosts
	$(LAB) images

## make test-unit  no hosts, a minute and a half
test-unit: $(VENV)/.done
	$(PYTEST) -n 2 tests/unit

test-lab: $(VENV)/.done deb images
	$(PYTEST) -n 4 --dist loadgroup --durations=40 --durations-min=10 tests/lab

## make lint       ruff, mypy and shellcheck alone
lint: $(VENV)/.done
	$(PYTEST) tests/unit/test_linters.py

## make shape      the tree in figures: modules, functions, names, imports
shape:
	python3 tests/shape.py

## make bench      figures side by side, one line each: name value unit baseline ratio
bench: deb hosts
	/usr/bin/python3 tests/bench/run.py
	/usr/bin/python3 tests/bench/metrics.py
	/usr/bin/python3 tests/bench/keactrl.py
	/usr/bin/python3 tests/bench/rehearsal.py
	/usr/bin/python3 tests/bench/rehearsal_load.py

## make bench-check  reader and rules beside the images' own Kea: time, and that they agree on 20,000 files; fuzzing; an hour
bench-check: $(VENV)/.done images
	$(VENV)/bin/python tests/bench/reader.py
	$(VENV)/bin/python tests/bench/oracle.py
	$(VENV)/bin/python tests/bench/rules.py
	$(VENV)/bin/python tests/bench/fuzz.py
	$(VENV)/bin/python tests/bench/hostile.py --count 10000

## make deb        dist/kea-agent_*_all.deb, by the distribution's own tools
deb: dist/.deb

dist/.deb: $(SOURCES)
	@$(INSTALL) $(BUILD)
	packaging/build-deb dist
	@touch $@

## make rpm        dist/kea-agent-*.noarch.rpm, by Debian's rpmbuild
rpm:
	@$(INSTALL) $(RUNTIME) $(RPM)
	packaging/build-rpm dist

## make release    everything that a release has, in dist/: sdist, wheel, .deb and its source, .rpm
release:
	@$(INSTALL) $(BUILD) $(RUNTIME) $(RPM)
	packaging/release dist

hosts:
	@$(INSTALL) $(HOSTS)

$(VENV)/.done: pyproject.toml Makefile
	@$(INSTALL) $(RUNTIME) $(BUILD) $(RPM) $(HOSTS) $(TOOLS) $(PIP)
	/usr/bin/python3 -m venv --clear --system-site-packages $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check \
		"hypothesis>=6.100,<7" "mypy>=2.4,<3" "pytest>=8.3,<9" "pytest-xdist>=3.6,<4" "ruff==0.17.5"
	@touch $@

## make clean      what the other targets made, the lab included
clean:
	$(LAB) down
	rm -rf $(VENV) dist build
