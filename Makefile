# The front door: `make demo` and `make test` on a fresh machine with Rust, a C compiler and make.
# `make lib` builds, `make install PREFIX=/usr/local` installs, `make help` lists the rest.

SHELL    := /bin/sh
CARGO    ?= cargo
CC       ?= cc
CFLAGS   ?= -O2 -g
PREFIX   ?= /usr/local
LIBDIR   ?= $(PREFIX)/lib
INCDIR   ?= $(PREFIX)/include
DESTDIR  ?=
# What `make demo` loads: empty lets load_tree choose (/usr/share). KEEP=1 keeps its database, ALL=1 lifts its limit.
DIR      ?=
# Optional parts of the library: FEATURES=zstd.
FEATURES ?=

RUST_MIN := 1.88
TARGET   := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
RELEASE  := $(TARGET)/release
VERSION  := $(shell sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
# The number of the binary interface, as in the library's SONAME; not the version.
ABI      := 1
EXAMPLES := $(patsubst examples-c/%.c,%,$(wildcard examples-c/*.c))
STRICT   := -std=c11 -Wall -Wextra -Wpedantic -Werror
# What a program that links liblsm.a needs besides: `rustc --print native-static-libs`.
PRIVATE  := -lgcc_s -lutil -lrt -lpthread -lm -ldl -lc

.PHONY: all lib demo test examples install uninstall clean help need-cargo need-cc
all: lib

help:
	@echo 'make [lib]              builds $(RELEASE)/liblsm.so and liblsm.a'
	@echo 'make demo [DIR=folder]  builds and loads a real folder tree, reads it back, reopens, compares'
	@echo 'make test               Rust tests and C programs; what is missing on this machine is named and skipped'
	@echo 'make examples           builds and runs the programs of examples-c/'
	@echo 'make install [PREFIX=/usr/local] [LIBDIR=] [INCDIR=] [DESTDIR=]; make uninstall'
	@echo 'make clean'

need-cargo:
	@command -v $(CARGO) >/dev/null 2>&1 || { echo 'liblsm needs Rust $(RUST_MIN) or newer: cargo is not installed (https://rustup.rs)'; exit 1; }
	@have=$$($(CARGO) --version | sed 's/^cargo \([0-9]*\.[0-9]*\).*/\1/'); \
	  printf '%s\n%s\n' $(RUST_MIN) "$$have" | sort -V -C || \
	  { echo "liblsm needs Rust $(RUST_MIN) or newer: this is cargo $$have (rustup update stable)"; exit 1; }

need-cc:
	@command -v $(firstword $(CC)) >/dev/null 2>&1 || { echo 'a C compiler is needed: $(firstword $(CC)) is not installed'; exit 1; }

lib: need-cargo
	$(CARGO) build --release --locked --package lsm $(if $(FEATURES),--features $(FEATURES))
	@ln -sf liblsm.so $(RELEASE)/liblsm.so.$(ABI)

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

install: lib
	install -d '$(DESTDIR)$(LIBDIR)/pkgconfig' '$(DESTDIR)$(INCDIR)'
	install -m 755 $(RELEASE)/liblsm.so '$(DESTDIR)$(LIBDIR)/liblsm.so.$(ABI)'
	ln -sf liblsm.so.$(ABI) '$(DESTDIR)$(LIBDIR)/liblsm.so'
	install -m 644 $(RELEASE)/liblsm.a '$(DESTDIR)$(LIBDIR)/liblsm.a'
	install -m 644 include/lsm.h '$(DESTDIR)$(INCDIR)/lsm.h'
	@printf '%s\n' 'prefix=$(PREFIX)' 'libdir=$(LIBDIR)' 'includedir=$(INCDIR)' '' \
	  'Name: liblsm' 'Description: Embedded ordered key-value store' 'Version: $(VERSION)' \
	  'Libs: -L$${libdir} -llsm' 'Libs.private: $(PRIVATE)' 'Cflags: -I$${includedir}' \
	  > '$(DESTDIR)$(LIBDIR)/pkgconfig/lsm.pc'
	@echo 'installed under $(DESTDIR)$(PREFIX); run ldconfig if that is a system folder'

uninstall:
	rm -f '$(DESTDIR)$(LIBDIR)/liblsm.so' '$(DESTDIR)$(LIBDIR)/liblsm.so.$(ABI)' '$(DESTDIR)$(LIBDIR)/liblsm.a'
	rm -f '$(DESTDIR)$(INCDIR)/lsm.h' '$(DESTDIR)$(LIBDIR)/pkgconfig/lsm.pc'

clean:
	rm -rf $(TARGET)
