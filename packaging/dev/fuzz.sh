# How ./dev runs the fuzz targets; sourced, not run.
# shellcheck shell=bash

# Seconds for each target in ./dev test: enough to replay the kept corpus and to look around.
FUZZ_SECONDS_IN_TEST=8
# What `cargo fuzz --sanitizer none` passes, too: the marks that libFuzzer steers by. A sanitizer
# would want a nightly compiler and finds nothing in code without `unsafe`.
FUZZ_FLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing"

fuzz_targets() {
  local file
  for file in fuzz/fuzz_targets/*.rs; do basename "$file" .rs; done
}

fuzz_build() {
  say "Building the fuzz targets"
  FUZZ_HOST=$(rustc -vV | sed -n 's/^host: //p')
  # Not --locked: the server may have new dependencies, which cargo adds to the lock of fuzz/.
  # A --target keeps the flags away from build scripts and macros, which have nobody to steer them.
  RUSTFLAGS=$FUZZ_FLAGS cargo build --release --manifest-path fuzz/Cargo.toml \
    --target "$FUZZ_HOST" --target-dir "$CARGO_TARGET_DIR/fuzz"
}

fuzz_program() { # fuzz_program TARGET
  printf '%s/fuzz/%s/release/%s\n' "$CARGO_TARGET_DIR" "$FUZZ_HOST" "$1"
}

fuzz_one() { # fuzz_one TARGET SECONDS
  local found=$CARGO_TARGET_DIR/fuzz/corpus/$1 faults=$CARGO_TARGET_DIR/fuzz/artifacts log
  mkdir -p "$found" "$faults"
  log=$faults/$1.log
  if "$(fuzz_program "$1")" -max_total_time="$2" -timeout=10 -rss_limit_mb=1024 -max_len=70000 \
    -artifact_prefix="$faults/$1-" "$found" "fuzz/corpus/$1" >"$log" 2>&1; then
    say "$1: $(grep -o 'Done .*' "$log" || echo done), $(grep -o 'cov: [0-9]*' "$log" | tail -1)"
  else
    tail -n 40 "$log" >&2
    die "the fuzz target $1 found a fault; its input lies in $faults"
  fi
}

fuzz_keep() { # fuzz_keep TARGET: of what was found, the little that reaches new code
  local found=$CARGO_TARGET_DIR/fuzz/corpus/$1 small=$CARGO_TARGET_DIR/fuzz/small/$1
  mkdir -p "$found"
  rm -rf -- "$small"
  mkdir -p "$small"
  # Only small inputs, and one for each new piece of code: the corpus lives in the repository.
  "$(fuzz_program "$1")" -set_cover_merge=1 -use_counters=0 -max_len=1024 \
    "$small" "fuzz/corpus/$1" "$found" >/dev/null 2>&1
  # Those with names were written by hand and stay.
  find "fuzz/corpus/$1" -type f -regextype egrep -regex '.*/[0-9a-f]{40}' -delete
  cp -r -- "$small/." "fuzz/corpus/$1/"
  say "$1: $(find "fuzz/corpus/$1" -type f | wc -l) inputs kept"
}
