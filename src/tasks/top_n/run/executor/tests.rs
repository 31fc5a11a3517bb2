//! What other processes may do to a run, done at chosen events: steps that appear, and locks that are
//! held for a while.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

use super::*;
use crate::{base::hash::Digest, ranking::scores::SUMMARY};

const EXPERIMENT: &str = "experiment: small
data: {set: sample, relevant: \">= 4\"}
split: {scheme: official, only: [f1, f2]}
systems:
  popularity: {model: popularity}
  knn: {model: item-knn}
evaluate: {protocols: [full], k: [10]}
";

struct Case {
    experiment: Experiment,
    plan: Plan,
    dirs: DataDirs,
    place: tempfile::TempDir,
    /// Where the whole experiment was run alone.
    whole: Workspace,
}

impl Case {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("small.yaml");
        fs::write(&file, EXPERIMENT).unwrap();
        let sets = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets");
        let dirs = DataDirs::new(vec![sets]);
        let experiment = Experiment::read(&file, &dirs).unwrap();
        let plan = Plan::new(&experiment, &dirs).unwrap();
        let whole = Workspace::create(&place.path().join("whole")).unwrap();
        let case = Self { experiment, plan, dirs, place, whole };
        case.run(&case.whole, &Interrupt::default(), &Nobody);
        case
    }

    fn new_workspace(&self, name: &str) -> Workspace {
        Workspace::create(&self.place.path().join(name)).unwrap()
    }

    fn run(&self, workspace: &Workspace, interrupt: &Interrupt, others: &dyn Reporter) -> Outcome {
        let options = Options {
            threads: 1,
            answers: AnswersSpec::default(),
            until: StepKind::Score,
            memory_bytes: 1 << 30,
        };
        let Self { experiment, plan, dirs, .. } = self;
        run(experiment, plan, dirs, workspace, &options, interrupt, others).unwrap()
    }

    /// The run must have done everything, and found every number that a run alone finds.
    fn expect_whole(&self, outcome: &Outcome, workspace: &Workspace, what: &str) {
        assert!(!outcome.undone && !outcome.interrupted, "{what}");
        assert_eq!(outcome.record.failures, [], "{what}");
        let scores = self.plan.steps.iter().filter(|step| step.kind == StepKind::Score);
        for step in scores {
            let summary = |of: &Workspace| {
                fs::read(of.step_dir(step.kind.name(), &step.key).join(SUMMARY)).unwrap()
            };
            assert!(summary(workspace) == summary(&self.whole), "{what}: other values");
        }
    }
}

struct Nobody;

impl Reporter for Nobody {
    fn report(&self, _: &Event) {}
}

/// Another process that acts at the n-th event of a run.
struct Other {
    at: usize,
    events: AtomicUsize,
    act: Box<dyn Fn() + Sync>,
}

impl Other {
    fn new(at: usize, act: impl Fn() + Sync + 'static) -> Self {
        Self { at, events: AtomicUsize::new(0), act: Box::new(act) }
    }
}

impl Reporter for Other {
    fn report(&self, _: &Event) {
        if self.events.fetch_add(1, Ordering::SeqCst) == self.at {
            (self.act)();
        }
    }
}

/// Puts a step that was done elsewhere into the workspace, under its lock; not where it is there or
/// somebody works on it.
fn put(step: &Step, from: &Workspace, to: &Workspace, hold: Duration) {
    let kind = step.kind.name();
    let Ok(Some(_lock)) = to.try_lock(&step.key) else { return };
    thread::sleep(hold);
    if to.exists(kind, &step.key) {
        return;
    }
    let staged = tempfile::tempdir_in(to.path(&["tmp"])).unwrap().keep();
    for file in fs::read_dir(from.step_dir(kind, &step.key)).unwrap().flatten() {
        fs::copy(file.path(), staged.join(file.file_name())).unwrap();
    }
    let target = to.step_dir(kind, &step.key);
    fs::create_dir_all(target.parent().unwrap()).unwrap();
    fs::rename(staged, target).unwrap();
}

/// Some of the steps of a plan, a different choice for each number.
fn chosen(plan: &Plan, choice: usize) -> Vec<Step> {
    let is_chosen = |at: usize, step: &Step| match choice {
        0 => step.kind == StepKind::Split,
        1 => matches!(step.kind, StepKind::Split | StepKind::Fit),
        2 => step.kind == StepKind::Score,
        3 => step.kind == StepKind::Fit,
        4 => true,
        // Halves of the plan, each another one.
        _ => Digest::of(format!("{choice} {at}")).as_u64().is_multiple_of(2),
    };
    let steps = plan.steps.iter().enumerate();
    steps.filter(|(at, step)| is_chosen(*at, step)).map(|(_, step)| step.clone()).collect()
}

#[test]
fn steps_that_other_processes_finish_at_any_time_are_adopted_and_what_needs_them_is_run() {
    let case = Case::new();
    for choice in 0..8 {
        for at in [0, 1, 3, 8] {
            let here = case.new_workspace(&format!("at-once-{choice}-{at}"));
            let (steps, from, to) = (chosen(&case.plan, choice), case.whole.clone(), here.clone());
            let other = Other::new(at, move || {
                steps.iter().for_each(|step| put(step, &from, &to, Duration::ZERO));
            });
            let outcome = case.run(&here, &Interrupt::default(), &other);
            case.expect_whole(&outcome, &here, &format!("choice {choice} at event {at}"));
        }
    }
}

#[test]
fn steps_that_other_processes_work_on_are_waited_for() {
    let case = Case::new();
    for choice in 0..6 {
        let here = case.new_workspace(&format!("slowly-{choice}"));
        let working: Arc<std::sync::Mutex<Vec<JoinHandle<()>>>> = Arc::default();
        let (steps, from, to) = (chosen(&case.plan, choice), case.whole.clone(), here.clone());
        let workers = working.clone();
        let other = Other::new(choice % 3, move || {
            let mut workers = workers.lock().unwrap();
            for step in &steps {
                let (step, from, to) = (step.clone(), from.clone(), to.clone());
                let hold = Duration::from_millis(20 + 7 * workers.len() as u64);
                workers.push(thread::spawn(move || put(&step, &from, &to, hold)));
            }
        });
        let outcome = case.run(&here, &Interrupt::default(), &other);
        for worker in working.lock().unwrap().drain(..) {
            worker.join().unwrap();
        }
        case.expect_whole(&outcome, &here, &format!("choice {choice}"));
    }
}

#[test]
fn a_process_that_gives_a_step_up_leaves_it_to_this_one() {
    let case = Case::new();
    let here = case.new_workspace("given-up");
    let lock = here.try_lock(&case.plan.steps[0].key).unwrap().unwrap();
    let lock = std::sync::Mutex::new(Some(lock));
    // The split of the first fold is locked from the start; its process dies when two scores are done.
    let other = Other::new(10, move || drop(lock.lock().unwrap().take()));
    let outcome = case.run(&here, &Interrupt::default(), &other);
    case.expect_whole(&outcome, &here, "given up");
}

#[test]
fn an_interrupt_while_only_other_processes_work_is_an_interrupt() {
    let case = Case::new();
    let here = case.new_workspace("interrupted");
    let scores = || case.plan.steps.iter().filter(|step| step.kind == StepKind::Score);
    let locks: Vec<_> = scores().map(|step| here.try_lock(&step.key).unwrap().unwrap()).collect();
    let others: Vec<_> = case.plan.steps.iter().filter(|s| s.kind != StepKind::Score).collect();
    others.iter().for_each(|step| put(step, &case.whole, &here, Duration::ZERO));
    let interrupt = Interrupt::default();
    let raised = interrupt.clone();
    // The fourth event: the last of the four scores is found to be another process's.
    let other = Other::new(4, move || raised.raise());
    let outcome = case.run(&here, &interrupt, &other);
    assert!(outcome.interrupted && !outcome.record.finished);
    drop(locks);
}

#[test]
fn a_step_that_is_left_undone_is_an_internal_error() {
    let case = Case::new();
    let here = case.new_workspace("undone");
    let interrupt = Interrupt::default();
    let shared = Shared::new(
        &case.experiment,
        &case.plan,
        &case.dirs,
        &here,
        &interrupt,
        AnswersSpec::default(),
    );
    let options = Options {
        threads: 1,
        answers: AnswersSpec::default(),
        until: StepKind::Score,
        memory_bytes: 0,
    };
    let mut states = states(&case.plan, &here, StepKind::Score, &Nobody);
    let mut coordinator = Coordinator {
        shared: &shared,
        options: &options,
        reporter: &Nobody,
        states: &mut states,
        machine: &machine(std::path::Path::new(".")),
        logs: case.place.path().join("logs"),
        free_threads: 1,
        used_memory: 0,
        finished: 0,
        to_do: 0,
        failed: BTreeSet::new(),
        failures: Vec::new(),
        unanswered: false,
    };
    assert!(coordinator.fail_undone());
    assert_eq!(coordinator.failures.len(), case.plan.trials.len());
    assert!(coordinator.failures[0].cause.starts_with("internal error"));
    assert!(!coordinator.fail_undone());
}
