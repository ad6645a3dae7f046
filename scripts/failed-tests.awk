# The names of the tests that failed, one a line, from what `cargo test` prints: of each program the last list before its result.
/^failures:$/ { names = "" }
/^    [a-z0-9_:]+$/ { names = names $1 "\n" }
/^test result: FAILED/ { printf "%s", names; names = "" }
