# The two commands of the README are `make demo` and `make test`; both install what is missing first.

SHELL := /bin/bash
CARGO ?= cargo
DEMO := demo

.PHONY: demo test test-long test-distro fuzz bench lint build deps deps-test clean

# Ends with a table of packages, the rebuild commands, where the log lies, and what to try next.
demo: deps build
	@deploy/demo.sh $(DEMO)

build: deps
	@echo "Building (a few minutes the first time)"
	@$(CARGO) build --quiet

# Everything that must hold, with at least one seed of each property.
test: deps-test
	$(CARGO) test --no-fail-fast

# The same properties with more seeds and longer, optimised but with all checks; its last result stands in BENCHMARKS.md.
test-long: deps-test
	KOSCHEI_TEST_SCALE=long PROPTEST_CASES=2000 $(CARGO) test --profile long --no-fail-fast -- $(LONG)

# The whole distribution and its generations against recorded answers of libsolv, from KOSCHEI_DISTRO_DIR.
test-distro: deps-test
	KOSCHEI_TEST_SCALE=long $(CARGO) test --profile long --test it distro:: -- --nocapture

# What we parse from outside, five minutes for each kind; needs a nightly toolchain and cargo-fuzz. No sanitizer: it is safe Rust.
fuzz: deps
	@for target in primary comps rich evr xmlrpc; do \
		$(CARGO) +nightly fuzz run --fuzz-dir tests/fuzz -s none $$target -- -max_total_time=300 -timeout=10 || exit 1; \
	done

bench: deps-test
	$(CARGO) bench --bench koschei -- $(BENCH)

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings

# What building needs: a C compiler, pkg-config, libsolv.
deps:
	@deploy/install-deps.sh build

# What the tests start besides: PostgreSQL, nats-server, RabbitMQ, Prometheus, Chromium, a Kerberos KDC.
deps-test:
	@deploy/install-deps.sh build test

clean:
	$(CARGO) clean
	rm -rf $(DEMO)
