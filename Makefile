# make demo    run it: PostgreSQL, registry, two sample tenants, a psql line for each
# make test    test it: everything, from a machine with only Rust, git and make
# make soak    the long versions: five minutes of pgbench, 2 GiB of COPY, a longer fuzz, 200 kills
# make soak-tenants  1,000 tenants on one PostgreSQL for ten minutes (10 GB of disk), noisy neighbours,
#              several processes
# make regress-lexer  the lexer against what the catalog shows, on that suite's every statement
# make regress the suites of PostgreSQL and five drivers, and tours of others, directly and through pgusher
#              (tests/regress/run -h; scripts/install drivers brings the languages)
# make fuzz    the lexer under libFuzzer for an hour (needs nightly Rust and cargo-fuzz)
# make bench   speed beside PgBouncer, bench/RESULTS.md (an hour; ARGS=--quick: ten minutes)
# make lint    format, clippy, what may come into the build
# make help    the rest

CARGO ?= cargo
# What is handed to `cargo test`: make test ARGS='--test rooms'; and to tests/regress/run
ARGS ?=
# How long `make fuzz` takes.
FUZZ_SECONDS ?= 3600

.PHONY: help demo test soak soak-tenants regress regress-lexer fuzz unit lint fmt deny reference install-demo install-test \
	bench bench-smoke clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile
	@echo 'make unit    the tests that need no PostgreSQL'
	@echo 'make bench-smoke  that the benchmark runs and gets right answers (a minute)'
	@echo 'make fmt     format the code'
	@echo 'make deny    what may come into the build (needs cargo-deny)'
	@echo 'make reference  write config/pgusher.toml anew from the code'

install-demo:
	@scripts/install demo

install-test:
	@scripts/install test

demo: install-demo
	$(CARGO) run --locked -- dev

test: install-test
	TMPDIR=$$(scripts/scratch) $(CARGO) test --locked $(ARGS)

soak: install-test
	PGUSHER_SOAK_SECONDS=300 PGUSHER_COPY_MIB=2048 PGUSHER_MESSAGE_MIB=1024 \
		PGUSHER_FUZZ_ROUNDS=20000 PGUSHER_KILLS=200 PGUSHER_OPENAPI_SECONDS=600 \
		$(CARGO) test --release --locked --test caps --test copy --test idle --test fuzz \
		--test kills --test openapi -- --nocapture

soak-tenants: install-test
	PGUSHER_TENANTS_FULL=1 PGUSHER_SOAK_SECONDS=60 $(CARGO) test --release \
		--locked --test tenants --test processes --test neighbours \
		-- --nocapture --test-threads=1
	PGUSHER_STEPS=10000000 $(CARGO) test --release --locked --lib pool::tests::history -- --nocapture

regress: install-test
	$(CARGO) build --locked
	tests/regress/run $(ARGS)

regress-lexer: install-test
	tests/regress/lexer

fuzz:
	cd fuzz && mkdir -p corpus/lexer && $(CARGO) +nightly fuzz run --sanitizer none lexer -- \
		-dict=lexer.dict -max_len=4096 -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1

bench:
	bench/run $(ARGS)

bench-smoke:
	$(CARGO) build --locked
	bench/run --smoke --pgusher "$${CARGO_TARGET_DIR:-target}/debug/pgusher" $(ARGS)

unit:
	$(CARGO) test --locked --lib --test rooms --test config_reference --test command_line

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	@if command -v cargo-deny >/dev/null; then $(MAKE) deny; \
	else echo 'lint: cargo-deny is not installed (cargo install cargo-deny --locked), skipped'; fi

deny:
	$(CARGO) deny check bans licenses sources

fmt:
	$(CARGO) fmt

reference:
	UPDATE=1 $(CARGO) test --locked --test config_reference

clean:
	$(CARGO) clean
	rm -rf .pgusher tests/node/node_modules
