//! Parses the command line, runs the command, says how it ended.

use std::process::ExitCode;

fn main() -> ExitCode {
    rec_assay::cli::main().into()
}
