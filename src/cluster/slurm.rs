//! Scripts for Slurm without HyperQueue: an array of jobs for each level of the graph.

use std::fmt::Write;

use super::{ClusterPlan, plan::needs};
use crate::core::{FinishedSteps, Graph, StepId};

/// Settings of the scripts.
#[derive(Clone, Debug)]
pub struct SlurmOptions {
    /// Time limit of a job, as Slurm writes it.
    pub time: String,
    /// Memory in MiB of steps whose need is not known before they run.
    pub memory_mib: u64,
    /// Most jobs of an array.
    pub array: usize,
    /// Most jobs of an array at a time.
    pub at_once: Option<usize>,
    /// Lines that go to every job, e.g. `--partition=p`.
    pub sbatch: Vec<String>,
    /// Shell commands before a step, e.g. `module load …`.
    pub setup: Vec<String>,
}

/// The files of an export: names and contents.
pub struct Slurm {
    pub files: Vec<(String, String)>,
    /// Number of arrays.
    pub arrays: usize,
}

/// The steps of one array: they need the same, and none of them needs another.
struct Array {
    name: String,
    level: usize,
    gpus: u32,
    llm: bool,
    memory_mib: u64,
    steps: Vec<StepId>,
}

/// Added to what a step needs for its data: the program, and libtorch.
const PROGRAM_MIB: u64 = 1024;

impl Slurm {
    /// Scripts that run `steps`; `assay` and `workspace` are absolute paths, `experiment` is the rest of the command line that
    /// names the experiment, quoted for a shell.
    pub fn new(
        plan: &ClusterPlan,
        graph: &Graph,
        steps: &[StepId],
        finished: &dyn FinishedSteps,
        options: &SlurmOptions,
        [assay, workspace, experiment, out]: [&str; 4],
    ) -> Self {
        let arrays = arrays(graph, steps, finished, options.memory_mib);
        let mut files = Vec::new();
        for array in &arrays {
            let keys: Vec<String> =
                array.steps.iter().map(|step| format!("{}\n", graph[*step].key)).collect();
            files.push((format!("{}.keys", array.name), keys.concat()));
        }
        let directory = plan.about.directory.to_string_lossy();
        let setup: String = options.setup.iter().map(|line| format!("{line}\n")).collect();
        let common: String =
            options.sbatch.iter().map(|line| format!("#SBATCH {line}\n")).collect();
        let threads = plan.about.threads;
        files.push((
            "step.sh".into(),
            format!(
                "#!/bin/bash
#SBATCH --job-name=assay
#SBATCH --ntasks=1
#SBATCH --cpus-per-task={threads}
#SBATCH --time={time}
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:TERM@60
{common}
# Runs the steps of a list of keys: job i of n runs lines i, i + n, i + 2 n, ... Arguments: the list, and n.
{setup}cd {directory} || exit 1
list=$1 n=$2 worst=0
mapfile -t keys < \"$list\" || exit 2
for ((at = SLURM_ARRAY_TASK_ID; at < ${{#keys[@]}}; at += n)); do
    # In the background, so that the signal before the time limit is passed on.
    {assay} step \"${{keys[at]}}\" --workspace {workspace} --plan {name} &
    step=$!
    trap 'kill -TERM $step' TERM
    wait $step
    code=$?
    # After the signal `wait` ends before the step does.
    while kill -0 $step 2>/dev/null; do wait $step; code=$?; done
    if [ $code -eq 75 ]; then
        # Interrupted: once more, at most 20 times. Steps that are done are skipped.
        [ \"${{SLURM_RESTART_COUNT:-0}}\" -lt 20 ] && scontrol requeue \"${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID\"
        exit 75
    fi
    # A failed step does not stop the others.
    [ $code -gt $worst ] && worst=$code
done
exit $worst
",
                time = options.time,
                directory = shell(&directory),
                assay = shell(assay),
                workspace = shell(workspace),
                name = shell(&plan.name),
            ),
        ));
        files.push((
            "gather.sh".into(),
            format!(
                "#!/bin/bash
#SBATCH --job-name=assay-gather
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1
#SBATCH --mem={memory}M
#SBATCH --time={time}
{common}
# Writes the report and prints the table. The exit code is the worse one of the two; 3: results are missing, the logs of
# the arrays tell why.
{setup}cd {directory} || exit 1
{assay} report {experiment} --workspace {workspace} --out {out}
worst=$?
{assay} table {experiment} --workspace {workspace}
code=$?
[ $code -gt $worst ] && worst=$code
exit $worst
",
                time = options.time,
                memory = options.memory_mib + PROGRAM_MIB,
                directory = shell(&directory),
                assay = shell(assay),
                workspace = shell(workspace),
                out = shell(out),
            ),
        ));
        let mut submit = String::from(
            "#!/bin/bash
# Submits everything; prints the number of the last job, whose output is the table. Can be run again: steps that are done
# end at once.
set -euo pipefail
cd \"$(dirname \"$0\")\"
mkdir -p logs
",
        );
        let mut before = 0;
        let mut last: Vec<String> = Vec::new();
        let mut level: Vec<String> = Vec::new();
        for (at, array) in arrays.iter().enumerate() {
            if array.level != before {
                (before, last) = (array.level, std::mem::take(&mut level));
            }
            let n = array.steps.len().min(options.array);
            // One step at a time sends requests, so that limits and budgets hold.
            let n = if array.llm { 1 } else { n };
            let most = options.at_once.map_or(String::new(), |most| format!("%{most}"));
            // A failed step does not stop those that do not need it; those that do say so.
            let after = dependency(&last);
            let gpus = match array.gpus {
                0 => String::new(),
                gpus => format!(" --gres=gpu:{gpus}"),
            };
            let _ = writeln!(
                submit,
                "# {} steps\njob{at}=$(sbatch --parsable{after}{gpus} --mem={}M --array=0-{}{most} \
                 --output=logs/{}-%a.txt step.sh \"$PWD/{}.keys\" {n})",
                array.steps.len(),
                array.memory_mib,
                n - 1,
                array.name,
                array.name,
            );
            level.push(format!("$job{at}"));
        }
        let _ = writeln!(
            submit,
            "sbatch --parsable{} --output=report.txt gather.sh",
            dependency(&level)
        );
        files.push(("submit.sh".into(), submit));
        Self { files, arrays: arrays.len() }
    }
}

fn dependency(after: &[String]) -> String {
    match after.is_empty() {
        true => String::new(),
        false => format!(" --dependency=afterany:{}", after.join(":")),
    }
}

/// The steps by level, and within a level by what they need.
fn arrays(
    graph: &Graph,
    steps: &[StepId],
    finished: &dyn FinishedSteps,
    unknown_mib: u64,
) -> Vec<Array> {
    let needs = needs(graph, steps);
    let mut levels = std::collections::HashMap::new();
    let mut arrays: Vec<Array> = Vec::new();
    for step in steps {
        let node = &graph[*step];
        let level = needs[step].iter().map(|input| levels[input] + 1).max().unwrap_or(0);
        levels.insert(*step, level);
        let (gpus, llm) = (node.gpus(), node.requests(1, 1).is_some());
        let memory = node.resources(finished).memory.div_ceil(1 << 20);
        let memory_mib = PROGRAM_MIB + if memory == 0 { unknown_mib } else { memory };
        let same = |of: &&mut Array| (of.level, of.gpus, of.llm) == (level, gpus, llm);
        match arrays.iter_mut().find(same) {
            Some(array) => {
                array.steps.push(*step);
                array.memory_mib = array.memory_mib.max(memory_mib);
            }
            None => {
                let of = match (gpus, llm) {
                    (0, false) => "",
                    (0, true) => "-llm",
                    _ => "-gpu",
                };
                let name = format!("level-{level}{of}");
                arrays.push(Array { name, level, gpus, llm, memory_mib, steps: vec![*step] });
            }
        }
    }
    arrays.sort_by_key(|of| of.level);
    arrays
}

/// A word of a shell.
fn shell(word: &str) -> String {
    shlex::try_quote(word).map_or_else(|_| String::from("''"), |quoted| quoted.into_owned())
}
