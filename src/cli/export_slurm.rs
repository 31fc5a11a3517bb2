//! `assay export slurm`

use std::path::PathBuf;

use super::{
    CliError, ExperimentArg, WorkspaceArg,
    cluster::{about, check_others_can_read, program},
    commands::Commands,
    experiment::{Part, Planned},
    preflight::Checked,
    print, slot_of, tell_slot,
};
use crate::{
    base::{
        exit::Exit,
        output::OutputDir,
        text::{counted, shell_word},
    },
    cluster::{ClusterPlan, Slurm, SlurmOptions},
    core::{FinishedSteps, Graph, Options, Record, StepId, ToDo, Workspace},
};

/// The file that is written in any case.
const SUBMIT: &str = "submit.sh";

/// Write scripts that run an experiment on a Slurm cluster
///
/// Where HyperQueue can be used, `assay run --on hq` is better: it follows the steps and starts each one as soon as its inputs
/// are finished. These scripts submit an array of jobs for each level of the graph of steps, and a job that writes the report.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assay export slurm experiment.yaml --out slurm --workspace /shared/assay
  bash slurm/submit.sh
  assay export slurm experiment.yaml --out slurm --time 02:00:00 --threads 4 \\
      --sbatch=--partition=compute --sbatch=--account=abc --setup 'module load GCC'")]
pub struct ExportSlurm {
    #[command(flatten)]
    workspace: WorkspaceArg,
    #[command(flatten)]
    experiment: ExperimentArg,
    #[command(flatten)]
    part: Part,
    /// Directory of the scripts, on a file system that all machines share
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Directory of the report (default: reports/<experiment>)
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// CPUs of each step
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,
    /// Time limit of a job
    #[arg(long, value_name = "TIME", default_value = "01:00:00")]
    time: String,
    /// Memory of a job, in GiB, where the need of its steps is not known before they run (always before the splits are done)
    #[arg(long, value_name = "GIB", default_value_t = 4)]
    memory: u32,
    /// Most jobs of an array; each runs several steps if there are more (Slurm's `MaxArraySize` is often 1001)
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..))]
    array: u16,
    /// Most jobs of an array that run at a time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    at_once: Option<u16>,
    /// An option of `sbatch` for every job (can be repeated)
    #[arg(long, value_name = "OPTION", allow_hyphen_values = true)]
    sbatch: Vec<String>,
    /// A shell command before the steps of a job, e.g. `module load GCC` (can be repeated)
    #[arg(long, value_name = "COMMAND")]
    setup: Vec<String>,
    #[command(flatten)]
    commands: Commands,
    /// Overwrite files in it that assay did not write
    #[arg(long)]
    overwrite: bool,
}

struct Finished<'a>(&'a Workspace, &'a Graph);

impl FinishedSteps for Finished<'_> {
    fn record(&self, step: StepId) -> Option<Record> {
        let node = &self.1[step];
        self.0.record(node.kind, &node.key).ok()
    }
}

impl ExportSlurm {
    pub fn run(self, workspace: &Workspace) -> Result<Exit, CliError> {
        for text in self.sbatch.iter().chain(&self.setup).chain([&self.time]) {
            if text.contains('\n') {
                return Err(CliError::Usage(format!("{text:?}: expected one line")));
            }
        }
        check_others_can_read(&self.experiment, "for Slurm", "jobs")?;
        let Planned { experiment, plan, mut record } = self.experiment.planned()?;
        let selected = self.part.select(&record)?;
        let slot = slot_of(&experiment, workspace);
        record.slot = slot.name.clone();
        let mut out = OutputDir::open(&self.out, SUBMIT, self.overwrite)?;
        let options = Options {
            threads: usize::from(self.threads),
            memory_bytes: u64::MAX,
            responses: experiment.task.responses(),
            ends: Part::ends(&selected, &plan),
            forced: Default::default(),
        };
        let to_do = ToDo::of(&plan.graph, workspace, &options);
        self.commands.check(&to_do.commands())?;
        Checked::new(&plan, to_do.preflight())?.tell(&plan);
        Workspace::create(workspace.root())?;
        tell_slot(&slot, &experiment.name);
        slot.claim(workspace)?;
        record.write(workspace)?;
        let about = about(&self.experiment, &slot.name, &options, None, &plan)?;
        let of = ClusterPlan::write(workspace, about, &plan, &options.forced)?;
        let steps = to_do.waiting();
        let absolute = |path: &PathBuf| -> Result<String, CliError> {
            let path = std::path::absolute(path)?;
            path.to_str()
                .map(str::to_owned)
                .ok_or_else(|| CliError::Usage(format!("the path {} is no UTF-8", path.display())))
        };
        let report = match &self.report {
            Some(dir) => dir.clone(),
            None => PathBuf::from("reports").join(&slot.name),
        };
        let settings = SlurmOptions {
            time: self.time.clone(),
            memory_mib: u64::from(self.memory) << 10,
            array: usize::from(self.array),
            at_once: self.at_once.map(usize::from),
            sbatch: self.sbatch.clone(),
            setup: self.setup.clone(),
        };
        let (assay, root) = (absolute(&program()?)?, absolute(&workspace.root().to_owned())?);
        let experiment = self.experiment.to_string();
        let scripts = Slurm::new(
            &of,
            &plan.graph,
            &steps,
            &Finished(workspace, &plan.graph),
            &settings,
            [&assay, &root, &experiment, &absolute(&report)?],
        );
        for (name, text) in &scripts.files {
            out.write(name, text.as_bytes())?;
        }
        print(&format!(
            "{} in {}\nnext: bash {}\n",
            counted(steps.len(), "step"),
            counted(scripts.arrays, "array"),
            shell_word(&self.out.join(SUBMIT).to_string_lossy())
        ))?;
        Ok(Exit::Pass)
    }
}
