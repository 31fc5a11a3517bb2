//! `assay init`

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    path::PathBuf,
};

use super::{CliError, print};
use crate::base::{exit::Exit, files::io_error};

const EXPERIMENT: &str = include_str!("templates/experiment.yaml");

/// Write a first experiment file, with comments
///
/// It runs as it is, on the sample data set that comes with assay. Nothing is overwritten.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assay init
  assay init my-study")]
pub struct Init {
    /// Directory of the file; it is created if it does not exist
    #[arg(default_value = ".")]
    dir: PathBuf,
}

impl Init {
    pub fn run(self) -> Result<Exit, CliError> {
        fs::create_dir_all(&self.dir).map_err(io_error(&self.dir))?;
        let path = self.dir.join("experiment.yaml");
        let mut file = match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Err(CliError::Usage(format!(
                    "{} exists, and is not overwritten\n  = help: name another directory: `assay init DIR`",
                    path.display()
                )));
            }
            Err(error) => return Err(io_error(&path)(error).into()),
        };
        file.write_all(EXPERIMENT.as_bytes()).map_err(io_error(&path))?;
        let shown = path.strip_prefix(".").unwrap_or(&path).display();
        print(&format!(
            "written: {shown}\n\nNext:\n  assay plan {shown}      show what would run\n  assay run {shown}       run it, print a \
             table and write a report\n  assay compare {shown}   test which differences are statistically significant\n"
        ))?;
        Ok(Exit::Pass)
    }
}
