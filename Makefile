# The README names two commands, `make demo` and `make test`. Both first install what is missing.

SHELL := /bin/bash
CARGO ?= cargo
DEMO := demo

.PHONY: demo demo-before test test-long test-distro test-bare fuzz bench lint build install uninstall deps deps-test clean

# Shows what broke, since when, by which update, what was rebuilt and what recovered; the rebuild commands; and what to try next.
demo: demo-before build
	@deploy/demo.sh $(DEMO)

demo-before:
	@deploy/demo.sh --before

build: deps
	@$(CARGO) build

# Runs all tests, with at least one seed of each property.
test: deps-test
	$(CARGO) test --no-fail-fast

# Runs the same properties longer and with more seeds, optimised but with all checks. BENCHMARKS.md has the last result.
test-long: deps-test
	KOSCHEI_TEST_SCALE=long PROPTEST_CASES=2000 $(CARGO) test --profile long --no-fail-fast -- $(LONG)
	$(MAKE) test-bare

# Checks the install step and both commands in a bare Debian 12 root. Needs root; downloads from Debian, crates.io, PyPI and npm.
test-bare:
	@tests/bare/run.sh

# Compares the whole distribution and its generations in KOSCHEI_DISTRO_DIR with recorded answers of libsolv.
test-distro: deps-test
	KOSCHEI_TEST_SCALE=long $(CARGO) test --profile long --test it resolve::distro:: -- --nocapture

# Fuzzes the parsers of outside input, five minutes each. Needs a nightly toolchain and cargo-fuzz. No sanitizer: it is safe Rust.
fuzz: deps
	@for target in primary scan comps rich evr xmlrpc; do \
		$(CARGO) +nightly fuzz run --fuzz-dir tests/fuzz -s none $$target -- -max_total_time=300 -timeout=10 || exit 1; \
	done

bench: deps-test
	$(CARGO) bench --bench koschei -- $(BENCH)

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	$(CARGO) clippy --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" $(CARGO) doc --no-deps --document-private-items
# Checks dependencies, and advisories if their database is there (`cargo deny fetch db`). Uses no network.
	@if ! $(CARGO) deny --version >/dev/null 2>&1; then \
		echo "no cargo-deny here: dependencies not checked"; \
	elif [ -d "$${CARGO_HOME:-$$HOME/.cargo}/advisory-dbs" ]; then \
		$(CARGO) deny --offline check -D unmatched-skip advisories bans licenses sources; \
	else \
		$(CARGO) deny --offline check -D unmatched-skip bans licenses sources; \
	fi

# Installs what building needs, such as a C compiler, pkg-config and libsolv.
deps:
	@deploy/install-deps.sh build

# Also installs what the tests start: PostgreSQL, nats-server, RabbitMQ, Prometheus, Chromium, a Kerberos KDC, Node.js.
deps-test:
	@deploy/install-deps.sh build test

# Directories of `make install`. The unit names the program by its installed path.
PREFIX ?= /usr/local
DESTDIR ?=
# Path of a program to install instead of a new release build.
BINARY ?=
bindir = $(DESTDIR)$(PREFIX)/bin
unitdir = $(DESTDIR)$(PREFIX)/lib/systemd/system
sharedir = $(DESTDIR)$(PREFIX)/share/koschei
docdir = $(DESTDIR)$(PREFIX)/share/doc/koschei

install:
ifeq ($(BINARY),)
	@deploy/install-deps.sh build
	$(CARGO) build --release
endif
	install -d $(bindir) $(unitdir) $(sharedir)/schemas/examples $(sharedir)/grafana $(sharedir)/prometheus $(docdir)/docs/decisions
	install -m 755 $(if $(BINARY),$(BINARY),$(or $(CARGO_TARGET_DIR),target)/release/koschei) $(bindir)/koschei
	sed 's|^ExecStart=/usr/bin/koschei|ExecStart=$(PREFIX)/bin/koschei|' deploy/koschei.service >$(unitdir)/koschei.service
	chmod 644 $(unitdir)/koschei.service
	install -m 644 deploy/koschei.toml $(sharedir)/koschei.toml
	install -m 644 schemas/*.json $(sharedir)/schemas
	install -m 644 schemas/examples/* $(sharedir)/schemas/examples
	install -m 644 grafana/*.json $(sharedir)/grafana
	install -m 644 deploy/prometheus/*.yml $(sharedir)/prometheus
	install -m 644 README.md ARCHITECTURE.md BENCHMARKS.md CHANGELOG.md CONTRIBUTING.md LICENSE-APACHE LICENSE-MIT $(docdir)
	install -m 644 docs/decisions/*.md $(docdir)/docs/decisions
	@echo "Installed $(PREFIX)/bin/koschei; an example configuration is $(PREFIX)/share/koschei/koschei.toml"

# Removes the files that `make install` installed. Configuration, logs and caches stay.
uninstall:
	rm -f $(bindir)/koschei $(unitdir)/koschei.service
	rm -rf $(sharedir) $(docdir)

clean:
	$(CARGO) clean
	rm -rf $(DEMO)
