//! `assay split`

use std::path::{Path, PathBuf};

use serde_json::json;

use super::{CliError, print};
use crate::{
    base::{
        exit::Exit, file_names::file_names, files::io_error, hash::Digest, output::OutputDir,
        terminal::tell,
    },
    data::{DataDirs, DataSource, Dataset, Fold, SplitSpec, TableFormat, fold_names, split_fold},
    ranking::OpenFold,
    tasks::{Experiment, SplitOf},
};

/// The file that lists what was written, and whether the test part was opened.
const LIST: &str = "split.json";

/// Write the folds of an experiment or a data set for your own programs
///
/// Writes for each fold a directory with the training part, the validation part if there is one, the users to rank
/// items for, and the catalogue; and `split.json`, which lists the files with their hashes. The test part is only
/// written with --with-test, which `split.json` records. The folds are those of `assay run`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assay split experiments/quickstart.yaml --out folds
  assay split ml-100k --format parquet
  assay split experiments/ml-100k-baselines.yaml --fold u1 --with-test")]
pub struct Split {
    /// The experiment file, or the name of a data set with official folds (`assay data list`)
    #[arg(value_name = "FILE|SET")]
    what: PathBuf,
    /// Directory of the files (default: folds/<name of the experiment or data set>)
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Format of the files
    #[arg(long, value_enum, default_value_t = TableFormat::Csv)]
    format: TableFormat,
    /// Only this fold (can be repeated)
    #[arg(long, value_name = "NAME")]
    fold: Vec<String>,
    /// Write the test part, too. A program that reads it can no longer be compared
    #[arg(long)]
    with_test: bool,
    /// Overwrite files that assay did not write
    #[arg(long)]
    overwrite: bool,
}

/// The split to write, and what it is of.
struct Of {
    name: String,
    splits: Vec<SplitOf>,
}

impl Split {
    pub fn run(self) -> Result<Exit, CliError> {
        let dirs = DataDirs::from_env();
        let Of { name, splits } = of(&self.what, &dirs)?;
        let dir = self.out.clone().unwrap_or_else(|| Path::new("folds").join(&name));
        let mut out = OutputDir::open(&dir, LIST, self.overwrite)?;
        let mut folds: Vec<(&SplitOf, String)> = Vec::new();
        for of in &splits {
            let names = fold_names(&of.split, &of.source, &dirs)?;
            folds.extend(names.into_iter().map(|fold| (of, fold)));
        }
        if let Some(unknown) =
            self.fold.iter().find(|name| !folds.iter().any(|(_, of)| of == *name))
        {
            let mut names: Vec<&str> = folds.iter().map(|(_, fold)| fold.as_str()).collect();
            names.dedup();
            return Err(CliError::Usage(format!(
                "--fold {unknown}: there is no such fold\n  = folds: {}",
                names.join(", ")
            )));
        }
        folds.retain(|(_, fold)| self.fold.is_empty() || self.fold.contains(fold));
        // The label tells folds of one name apart.
        let names: Vec<String> =
            folds.iter().map(|(of, fold)| format!("{fold}{}", of.label)).collect();
        let mut listed = Vec::new();
        let mut read: Option<(&DataSource, Dataset)> = None;
        for ((of, fold), name) in folds.iter().zip(file_names(&names)) {
            if read.as_ref().is_none_or(|(source, _)| *source != &of.source) {
                read = Some((&of.source, of.source.load(&dirs)?));
            }
            let Some((_, data)) = &read else { continue };
            let made = split_fold(data, &of.split, fold)?;
            made.notes.iter().for_each(|note| tell!("note: fold {fold}: {note}"));
            listed.push(self.write(&mut out, &name, fold, of, data, made)?);
        }
        let n = listed.len();
        let manifest = json!({
            "name": name,
            "with_test": self.with_test,
            "folds": listed,
        });
        out.write(LIST, (serde_json::to_string_pretty(&manifest)? + "\n").as_bytes())?;
        let folds = if n == 1 { "1 fold".to_owned() } else { format!("{n} folds") };
        print(&format!("{folds} in {}, listed in {}\n", dir.display(), dir.join(LIST).display()))?;
        if !self.with_test {
            print(
                "The test parts are not among the files. Rank items for all users of `users`, write one file of \
                 `user,item,score` for each fold, and evaluate it with `model: external`.\n",
            )?;
        }
        Ok(Exit::Pass)
    }

    /// Writes the files of one fold; returns its entry in the list.
    fn write(
        &self,
        out: &mut OutputDir,
        name: &str,
        fold: &str,
        of: &SplitOf,
        data: &Dataset,
        made: Fold,
    ) -> Result<serde_json::Value, CliError> {
        let format = self.format;
        let mut files = Vec::new();
        let mut write = |stem: &str, bytes: std::io::Result<Vec<u8>>| -> Result<(), CliError> {
            let file = format!("{name}/{}", format.file(stem));
            let bytes = bytes.map_err(io_error(Path::new(&file)))?;
            out.write(&file, &bytes)?;
            files.push(json!({"file": file, "blake3": Digest::of(&bytes)}));
            Ok(())
        };
        let (users, items) = (&data.users, &data.items);
        write("train", format.interactions(&made.train, users, items))?;
        if !made.validation.is_empty() {
            write("validation", format.interactions(&made.validation, users, items))?;
        }
        write("users", format.users(users))?;
        write("items", format.items(data))?;
        let digest = made.digest();
        let mut opened = None;
        if self.with_test {
            let (bytes, opening) = OpenFold::of(made)
                .hand_out("split", |test| format.interactions(test, users, items));
            write("test", bytes)?;
            opened = Some(opening);
        }
        Ok(json!({
            "fold": fold,
            "data": of.source.name(),
            "split": of.split.of_one_fold(),
            "split_hash": digest,
            "test_opened": opened,
            "files": files,
        }))
    }
}

/// The splits of an experiment file, or the official folds of a data set.
fn of(what: &Path, dirs: &DataDirs) -> Result<Of, CliError> {
    let set = what.to_str().filter(|name| !what.exists() && !name.contains(['/', '.']));
    let Some(set) = set else {
        let experiment = Experiment::read(what, dirs)?;
        experiment.warnings.iter().for_each(|text| tell!("warning: {text}"));
        let splits = experiment.task.splits();
        if splits.is_empty() {
            return Err(CliError::Usage(format!(
                "`assay split` does not write the splits of the task `{}`",
                experiment.task.def().name
            )));
        }
        return Ok(Of { name: experiment.name, splits });
    };
    let source = DataSource::set(set.to_owned());
    let split = SplitSpec::official();
    Ok(Of { name: set.to_owned(), splits: vec![SplitOf { label: String::new(), source, split }] })
}
