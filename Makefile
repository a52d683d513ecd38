# The front door: `make demo` and `make test` on a fresh machine with Rust, a C compiler and make.
# `make lib` builds, `make install PREFIX=/usr/local` installs, `make help` lists the rest.

SHELL    := /bin/sh
CARGO    ?= cargo
CC       ?= cc
CFLAGS   ?= -O2 -g
PREFIX   ?= /usr/local
LIBDIR   ?= $(PREFIX)/lib
# INCDIR: the older name of INCLUDEDIR.
INCLUDEDIR ?= $(if $(INCDIR),$(INCDIR),$(PREFIX)/include)
BINDIR   ?= $(PREFIX)/bin
DATADIR  ?= $(PREFIX)/share
DESTDIR  ?=
# STRIP=1 installs without debug information; RELOCATABLE=0 writes absolute paths into lsm.pc.
STRIP    ?= 0
RELOCATABLE ?= 1
# What `make demo` loads: empty lets load_tree choose (/usr/share). KEEP=1 keeps its database, ALL=1 lifts its limit.
DIR      ?=
# Optional parts of the library: FEATURES=zstd.
FEATURES ?=

RUST_MIN := 1.88
TARGET   := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
RELEASE  := $(TARGET)/release
VERSION  := $(shell sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
EXAMPLES := $(patsubst examples-c/%.c,%,$(wildcard examples-c/*.c))
STRICT   := -std=c11 -Wall -Wextra -Wpedantic -Werror
# The `lsm` program, where the tree has it: a workspace of its own, so that the library never links it.
TOOL     := $(if $(wildcard tools/lsm/Cargo.toml),$(abspath $(TARGET))/tool/release/lsm)
INSTALL  := PREFIX='$(PREFIX)' LIBDIR='$(LIBDIR)' INCLUDEDIR='$(INCLUDEDIR)' BINDIR='$(BINDIR)' DATADIR='$(DATADIR)' \
            DESTDIR='$(DESTDIR)' RELEASE='$(abspath $(RELEASE))' VERSION='$(VERSION)' TOOL='$(TOOL)' STRIP='$(STRIP)' \
            RELOCATABLE='$(RELOCATABLE)' CC='$(CC)' packaging/install.sh

.PHONY: all lib tool demo test examples bench install uninstall deb clean help need-cargo need-cc
all: lib tool

help:
	@echo 'make [lib]              builds $(RELEASE)/liblsm.so and liblsm.a'
	@echo 'make demo [DIR=folder]  builds and loads a real folder tree, reads it back, reopens, compares'
	@echo 'make test               Rust tests and C programs; what is missing on this machine is named and skipped'
	@echo 'make examples           builds and runs the programs of examples-c/'
	@echo 'make bench [BENCH="--scale 0.1"]  compares with other engines, as docs/PERFORMANCE.md shows it; 25 minutes, after'
	@echo '                        the peers were built once (10 to 25 minutes)'
	@echo 'make install [PREFIX=/usr/local] [LIBDIR=] [INCLUDEDIR=] [BINDIR=] [DATADIR=] [DESTDIR=] [STRIP=1]; make uninstall'
	@echo 'make deb                Debian packages in $(TARGET)/deb'
	@echo 'make clean'

need-cargo:
	@command -v $(CARGO) >/dev/null 2>&1 || { echo 'liblsm needs Rust $(RUST_MIN) or newer: cargo is not installed (https://rustup.rs)'; exit 1; }
	@have=$$($(CARGO) --version | sed 's/^cargo \([0-9]*\.[0-9]*\).*/\1/'); \
	  printf '%s\n%s\n' $(RUST_MIN) "$$have" | sort -V -C || \
	  { echo "liblsm needs Rust $(RUST_MIN) or newer: this is cargo $$have (rustup update stable)"; exit 1; }

need-cc:
	@command -v $(firstword $(CC)) >/dev/null 2>&1 || { echo 'a C compiler is needed: $(firstword $(CC)) is not installed'; exit 1; }

lib: need-cargo need-cc
	$(CARGO) build --release --locked --package lsm $(if $(FEATURES),--features $(FEATURES))
	@CC='$(CC)' packaging/relink.sh $(RELEASE)

ifneq ($(TOOL),)
tool: lib
	$(CARGO) build --release --locked --manifest-path tools/lsm/Cargo.toml --target-dir $(TARGET)/tool
else
tool:
endif

# Each example is one file; built with all warnings as errors against the committed header.
$(TARGET)/examples-c/%: examples-c/%.c include/lsm.h | lib need-cc
	@mkdir -p $(@D)
	$(CC) $(STRICT) $(CFLAGS) -Iinclude $< -o $@ -L$(RELEASE) -llsm -lpthread -Wl,-rpath,$(abspath $(RELEASE)) $(LDFLAGS)

examples: $(addprefix $(TARGET)/examples-c/,$(EXAMPLES))
	@set -e; for name in $(filter-out load_tree,$(EXAMPLES)); do \
	  echo "== $$name"; rm -rf $(TARGET)/examples-c/$$name.db; \
	  $(TARGET)/examples-c/$$name $(TARGET)/examples-c/$$name.db; \
	  rm -rf $(TARGET)/examples-c/$$name.db; done

demo: $(TARGET)/examples-c/load_tree
	$(TARGET)/examples-c/load_tree $(DIR)

test: lib
	$(CARGO) test --locked --workspace --exclude xtask-header
	@if ! command -v $(firstword $(CC)) >/dev/null 2>&1; then echo 'skipped: $(firstword $(CC)) not found'; \
	elif [ ! -x ffi-tests/run.sh ]; then echo 'skipped: ffi-tests/run.sh not found'; \
	else CC='$(CC)' ffi-tests/run.sh; fi

# The published comparison; BENCH="..." passes options on (tools/lsm-bench: lsm-bench help). Peers that cannot be built
# are named and left out.
bench: lib
	@[ -e $(TARGET)/peers/librocksdb.so ] || tools/lsm-bench/build-peers.sh || true
	$(CARGO) build --release --locked --manifest-path tools/lsm-bench/Cargo.toml --target-dir $(TARGET)/bench
	$(TARGET)/bench/release/lsm-bench publish $(BENCH)
	$(CARGO) xtask results

# Where cargo is not found (root's PATH under sudo), what `make` built before is installed.
HAS_CARGO := $(shell command -v $(CARGO) 2>/dev/null)
install: $(if $(HAS_CARGO),lib tool,$(if $(wildcard $(RELEASE)/relinked/liblsm.so),,lib))
	@$(INSTALL) install

uninstall:
	@$(INSTALL) uninstall

deb: lib tool
	RELEASE='$(abspath $(RELEASE))' VERSION='$(VERSION)' TOOL='$(TOOL)' CC='$(CC)' packaging/deb/build.sh '$(TARGET)/deb'

clean:
	rm -rf $(TARGET)
