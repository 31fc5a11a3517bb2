//! Parses the command line, runs the command, and returns its exit code. Must not call code that needs libtorch:
//! see src/base/programs.rs.

use std::process::ExitCode;

fn main() -> ExitCode {
    rec_assay::cli::main().into()
}
