//! `assay` with libtorch: what `assay run` becomes where a step needs tensors.

use std::process::ExitCode;

fn main() -> ExitCode {
    rec_assay::use_tensors();
    rec_assay::cli::main().into()
}
