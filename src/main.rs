//! Parses the command line, runs the command, says how it ended. Must not call what needs libtorch:
//! see src/base/programs.rs.

use std::process::ExitCode;

fn main() -> ExitCode {
    rec_assay::cli::main().into()
}
