//! `assay show`

use super::{
    CliError, WorkspaceArg, print, print_json,
    runs::{date, find_run, state},
};
use crate::{
    base::{exit::Exit, yaml::nearest},
    core::{Record, RunRecord},
};

/// Show the record of a run, of an experiment's last run, or of a step
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assay show quickstart           the last run: experiment file, parameters, machine, versions
  assay show 1764508654123-4711   a run (`assay ls EXPERIMENT` lists them)
  assay show 3fa9c1               a step, by a prefix of its key
  assay show 'als u1'             steps, by a part of their label")]
pub struct Show {
    /// Name or file of an experiment, name of a run, prefix of a step's key, or part of a step's label
    what: String,
    #[command(flatten)]
    workspace: WorkspaceArg,
    /// Print the records as JSON
    #[arg(long)]
    json: bool,
}

impl Show {
    pub fn run(self) -> Result<Exit, CliError> {
        let workspace = self.workspace.open();
        if let Some(run) = find_run(&workspace, &self.what)? {
            match self.json {
                true => print_json(&run)?,
                false => print(&(run_text(&run) + "\n"))?,
            }
            return Ok(Exit::Pass);
        }
        let records = workspace.records();
        let found: Vec<&Record> = records
            .iter()
            .filter(|record| {
                (self.what.len() >= 4 && record.key.to_string().starts_with(&self.what))
                    || record.label.contains(&self.what)
            })
            .collect();
        if found.is_empty() {
            let near = nearest(&self.what, records.iter().map(|record| record.label.as_str()));
            let near = near.map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default();
            return Err(CliError::Usage(format!(
                "{} has no experiment or step `{}`{near}\n  = help: `assay ls` lists experiments, `assay plan \
                 FILE --json` the steps of one",
                workspace.root().display(),
                self.what
            )));
        }
        if self.json {
            print_json(&found)?;
        } else {
            for record in found {
                print(&record_text(record))?;
            }
        }
        Ok(Exit::Pass)
    }
}

fn run_text(run: &RunRecord) -> String {
    let machine = &run.machine;
    let libraries: Vec<String> =
        machine.libraries.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let revision = match (&machine.revision, machine.dirty) {
        (Some(revision), Some(true)) => format!("{revision} with uncommitted changes"),
        (Some(revision), _) => revision.clone(),
        (None, _) => "not in a repository".into(),
    };
    let set: String = run.overrides.iter().map(|set| format!("with        {set}\n")).collect();
    let mut text = format!(
        "experiment  {}\n{set}file        {}\nrun         {}\nstarted     {}\nstate       {}\nrevision    {revision}\nprogram     assay {} ({})\n\
         libraries   {}\nmachine     {}, {} cores, {}, {}\nthreads     {}\n\
         time        {:.1} s wall, {:.1} s processor\npeak memory {:.0} MiB\n\
         steps       {} run, {} reused\ndata        {}\n",
        run.slot(),
        run.file,
        run.run,
        date(run),
        state(run),
        machine.assay,
        machine.program,
        libraries.join(", "),
        machine.cpu,
        machine.cores,
        machine.os,
        machine.host,
        run.threads,
        run.wall_seconds,
        run.cpu_seconds,
        run.peak_memory_bytes as f64 / f64::from(1 << 20),
        run.steps_done,
        run.steps_reused,
        run.data.join(", "),
    );
    for file in &run.files {
        text.push_str(&format!("read        {} {}\n", file.digest.short(), file.what));
    }
    for failure in &run.failures {
        text.push_str(&format!(
            "failed      {} in {}: {}\n",
            failure.trial, failure.step, failure.cause
        ));
    }
    let resolved = serde_yaml::to_string(&run.resolved).unwrap_or_default();
    text + "\n" + &resolved
}

fn record_text(record: &Record) -> String {
    let mut text = format!(
        "{} {}\n  key      {}\n  wall     {:.2} s, CPU {:.2} s, {} threads\n  stats    {}\n  from     {}\n",
        record.kind,
        record.label,
        record.key,
        record.wall_seconds,
        record.cpu_seconds,
        record.threads,
        record.stats,
        record.key_inputs
    );
    for file in &record.files {
        text.push_str(&format!(
            "  file     {} {} bytes {}\n",
            file.name,
            file.bytes,
            file.blake3.short()
        ));
    }
    text
}
