#!/bin/sh
# In rustc's place (RUSTC_WRAPPER): the server and the parsers that only it uses tell libFuzzer what they run; all else is compiled as always.
# Each crate here has a profile of its own in fuzz/Cargo.toml, so that nobody else is given what was compiled so.
name=
before=
for argument; do
    [ "$before" = --crate-name ] && name=$argument
    before=$argument
done
case $name in
retro_server | retro_fuzz | html5gum | lopdf | multer)
    exec "$@" --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares
    ;;
*)
    exec "$@"
    ;;
esac
