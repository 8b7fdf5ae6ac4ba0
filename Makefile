# Thin on purpose: people and CI run the same commands.

TARGET  ?= target
PREFIX  ?= /usr/local
VENV    ?= .venv

CARGO_FLAGS := --locked --target-dir $(TARGET)
RELEASE     := $(abspath $(TARGET))/release
PYTHON      := $(VENV)/bin/python

export VENV TARGET
export H5ZSAE_PLUGIN_DIR := $(RELEASE)

.PHONY: help demo test build install uninstall headers setup bench paper cuda cuda-check

help:
	@echo "make demo      install what is missing, build, compress real and simulated frames, read them back"
	@echo "make test      install what is missing, the tested clients too; run every test"
	@echo "make build     $(TARGET)/release/libh5zsae.so (filter and C library) and $(TARGET)/release/sae"
	@echo "make install   copy them to PREFIX ($(PREFIX)), below DESTDIR if that is set; make uninstall removes them"
	@echo "make cuda      $(TARGET)/release/h5zsae/libh5zsae_cuda.so: networks on NVIDIA GPUs; docs/cuda.md"
	@echo "make headers   regenerate include/h5zsae.h"
	@echo "make setup     only install what the demo needs; scripts/setup.sh --tests, --bench: what these need"
	@echo "make bench     the tables in README.md, beside other codecs (half an hour)"
	@echo "make paper     the tables and pictures of docs/paper.md (an hour of one core)"

setup:
	scripts/setup.sh

# Two calls, not one: built together, Cargo would unify features and give the plugin those that only the CLI wants.
build:
	cargo build --release $(CARGO_FLAGS) -p h5zsae
	cargo build --release $(CARGO_FLAGS) -p h5z-sae-cli

demo: setup build
	$(PYTHON) scripts/demo.py

test:
	scripts/setup.sh --tests
	$(MAKE) build
	scripts/test.sh

# cbindgen is a development dependency of the plugin: the test that compares the header also writes it.
headers:
	H5Z_SAE_WRITE_HEADER=1 cargo test --quiet $(CARGO_FLAGS) --workspace --test header

cuda:
	scripts/cuda.sh

# Needs a GPU.
cuda-check: cuda
	cargo run --release $(CARGO_FLAGS) -p h5z-sae-cuda --example same_bits -- \
		$(RELEASE)/h5zsae/libh5zsae_cuda.so $(CUDA_CHECK_FLAGS)

bench: build
	scripts/setup.sh --bench
	$(PYTHON) benches/peers $(BENCH_FLAGS)

paper: build
	scripts/setup.sh --bench
	$(PYTHON) benches/paper --docs $(PAPER_FLAGS)

# Not made anew here: who installs as root need not have Rust.
$(RELEASE)/sae:
	$(MAKE) build

install: $(RELEASE)/sae
	RELEASE="$(RELEASE)" DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" LIBDIR="$(LIBDIR)" scripts/install.sh install

uninstall:
	DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" LIBDIR="$(LIBDIR)" scripts/install.sh uninstall
