//! The binary `retro`.

use std::process::ExitCode;

fn main() -> ExitCode {
    retro_server::cli::main()
}
