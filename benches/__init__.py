"""What `make bench` runs: this server and its peers, measured in turns on the same machine, and the report on it.

    python -m benches --retro target/release/retro
    python -m benches.report benches/results/NAME.json

Parts: `plan` says what is measured, `engine` runs the server's own `retro bench`, `peers` are the others, each in a process of
its own (`worker`), `groups` measures them in turns (`turns`) and keeps every single time, and `report` makes tables (`tables`),
pictures (`pictures`) and docs/performance.md of what was kept.
"""
