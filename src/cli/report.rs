//! `assay report`

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    CliError, ExperimentArg, WorkspaceArg, print, published::Anyway, results::warn_of_missing,
};
use crate::{
    analysis::{Request, collect},
    base::{
        exit::Exit,
        files::{read_json, read_own},
        output::OutputDir,
        terminal::tell,
        text::counted,
    },
    core::RunRecord,
    report::{INDEX, OutputFile, Rendered, also_for_tables, compare_files, paper_files, render},
};

/// Most files of a directory that `--check` looks at.
const MOST_FILES: usize = 10_000;
/// Deeper directories are not looked into.
const DEEPEST: usize = 8;

/// Write the HTML report from the results in the workspace, without running anything
#[derive(clap::Args)]
#[command(
    name = "report",
    after_help = "Examples:
  assay report experiments/quickstart.yaml --out site
  assay report paper.yaml --check paper/      are the tables and figures of the paper those of the results?

Exit codes of --check: 0 all are; 1 some differ; 2 there is none to compare; 3 results are missing"
)]
pub struct ReportArgs {
    #[command(flatten)]
    experiment: ExperimentArg,
    #[command(flatten)]
    workspace: WorkspaceArg,
    /// Directory of the report (default: reports/<experiment>)
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Overwrite files in it that assay did not write
    #[arg(long)]
    overwrite: bool,
    /// Write nothing: compare tables and figures in a directory, by their names, with those of the results
    #[arg(long, value_name = "DIR", conflicts_with_all = ["out", "overwrite"])]
    check: Option<PathBuf>,
    /// Also write a table and figures for each protocol, convention, slice and cutoff
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    anyway: Anyway,
}

impl ReportArgs {
    pub fn run(self) -> Result<Exit, CliError> {
        let workspace = self.workspace.open();
        let mut experiment = self.experiment.recorded(&workspace)?;
        self.anyway.check_all(&mut experiment)?;
        let mut request = Request::of_report(&experiment);
        also_for_tables(&mut request, &experiment);
        let collected = collect(&experiment, &workspace, &request)?;
        if collected.rows.is_empty() {
            return Err(CliError::NoResults(format!(
                "the workspace has no result of this experiment\n  = help: run `assay run {}` first",
                self.experiment
            )));
        }
        if let Some(dir) = &self.check {
            let produced = paper_files(&experiment, &workspace, &collected.rows)?;
            let exit = check(dir, &produced)?;
            let complete = warn_of_missing(&collected);
            return Ok(if exit == Exit::Pass { complete } else { exit });
        }
        let last: Option<RunRecord> =
            read_json(&workspace.path(&["experiments", experiment.slot(), "run.json"])).ok();
        let dir = self.out.unwrap_or_else(|| PathBuf::from("reports").join(experiment.slot()));
        let out = OutputDir::open(&dir, INDEX, self.overwrite)?;
        let rendered = render(&experiment, &workspace, &collected, last.as_ref(), self.all, out)?;
        tell_older(&rendered);
        print(&format!("report: {}\n", rendered.index.display()))?;
        Ok(warn_of_missing(&collected))
    }
}

/// Notes files of an earlier report, which are not up to date.
pub fn tell_older(rendered: &Rendered) {
    const SHOWN: usize = 3;
    let older = &rendered.older;
    if older.is_empty() {
        return;
    }
    let dir = rendered.index.parent().unwrap_or(&rendered.index);
    let shown = older.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    let more = older.len().saturating_sub(SHOWN);
    tell!(
        "note: {} of an earlier report {} not written again, and may hold older numbers: {shown}{} in {}",
        counted(older.len(), "file"),
        if older.len() == 1 { "was" } else { "were" },
        if more > 0 { format!(" and {more} more") } else { String::new() },
        dir.display()
    );
}

/// Whether the files of a directory are those of the results.
fn check(dir: &Path, produced: &[OutputFile]) -> Result<Exit, CliError> {
    let mut found: Vec<(String, Vec<u8>)> = Vec::new();
    let of_table_or_figure = |path: &Path| {
        let ending = path.extension().and_then(|of| of.to_str()).unwrap_or_default();
        ["tex", "md", "csv", "json", "svg", "png", "pdf"].contains(&ending)
    };
    for path in files_below(dir)? {
        let base = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_known = produced.iter().any(|of| of.name.rsplit('/').next() == Some(base));
        if is_known && of_table_or_figure(&path) {
            let shown =
                path.strip_prefix(dir).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            found.push((
                shown,
                read_own(&path)
                    .map_err(|error| CliError::Usage(format!("{}: {error}", path.display())))?,
            ));
        }
    }
    let (compared, differs) = compare_files(produced, &found);
    if compared.is_empty() {
        let names: Vec<&str> = produced.iter().map(|of| of.name.as_str()).collect();
        return Err(CliError::Usage(format!(
            "--check {}: it has none of the tables and figures of this experiment\n  = help: they are {}; `assay \
             report` writes them",
            dir.display(),
            names.join(", ")
        )));
    }
    for of in &differs {
        print(&format!("{}: {}\n", of.path, of.how))?;
    }
    let n = compared.len();
    match differs.len() {
        0 => print(&format!(
            "{} {} what the results give\n",
            counted(n, "file"),
            if n == 1 { "is" } else { "are" }
        ))?,
        wrong => tell!("{wrong} of {} differ from the results", counted(n, "file")),
    }
    Ok(if differs.is_empty() { Exit::Pass } else { Exit::GateFailed })
}

/// Files in a directory and those below it, in order. Links are not followed.
fn files_below(dir: &Path) -> Result<Vec<PathBuf>, CliError> {
    let mut files = Vec::new();
    let mut open = vec![(dir.to_owned(), 0)];
    while let Some((of, depth)) = open.pop() {
        let entries = fs::read_dir(&of)
            .map_err(|error| CliError::Usage(format!("--check {}: {error}", of.display())))?;
        for entry in entries.flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            match kind.is_dir() {
                true if depth < DEEPEST => open.push((entry.path(), depth + 1)),
                false if kind.is_file() => files.push(entry.path()),
                _ => {}
            }
        }
        if files.len() > MOST_FILES {
            return Err(CliError::Usage(format!(
                "--check {}: it has more than {MOST_FILES} files\n  = help: give the directory of the tables and figures",
                dir.display()
            )));
        }
    }
    files.sort();
    Ok(files)
}
