//! Runs of a graph of small steps: actions of other processes at chosen events, and steps whose output changes.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

use serde::{Deserialize, Serialize};

use super::*;
use crate::{
    base::hash::Digest,
    core::{
        Currencies, Currency, Handle, KeyBuilder, Pinned, RunContext, Shared, Step, StepStats,
        Workspace,
    },
};

/// A number in a file.
enum Number {}

const FILE: &str = "number";

#[derive(Serialize, Deserialize)]
struct NoStats {}

impl StepStats for NoStats {
    const VERSION: u32 = 1;
}

/// The sum of its inputs and of a value that is not in its key, like responses of an endpoint.
struct Sum {
    name: &'static str,
    of: Vec<Handle<Number>>,
    plus: Arc<AtomicI64>,
    file: Option<Pinned>,
    during: Option<fn(&Path)>,
}

impl Step for Sum {
    type Output = Number;
    type Stats = NoStats;

    const KIND: &'static str = "sum";
    const REVISION: u32 = 1;

    fn label(&self) -> String {
        self.name.to_owned()
    }

    fn key_inputs(&self, key: &mut KeyBuilder) {
        key.value("name", self.name).steps("of", &self.of);
        if let Some(file) = &self.file {
            key.file("file", file);
        }
    }

    fn files(&self) -> Vec<&'static str> {
        vec![FILE]
    }

    fn run(&self, cx: &RunContext, dir: &Path) -> Result<NoStats, StepError> {
        let mut sum = self.plus.load(Ordering::SeqCst);
        for of in &self.of {
            let path = cx.dir(*of).join(FILE);
            let text = fs::read_to_string(&path)
                .map_err(|source| FileError::Io { path: path.clone(), source })?;
            sum += text.parse::<i64>().map_err(StepError::failed)?;
        }
        if let (Some(during), Some(file)) = (self.during, &self.file) {
            during(Path::new(&file.what));
        }
        let path = dir.join(FILE);
        fs::write(&path, sum.to_string()).map_err(|source| FileError::Io { path, source })?;
        Ok(NoStats {})
    }
}

fn header() -> RunHeader {
    RunHeader {
        experiment: "small".into(),
        overrides: Vec::new(),
        slot: "small".into(),
        file: "small.yaml".into(),
        sources: Vec::new(),
        resolved: serde_json::Value::Null,
        data: Vec::new(),
        directory: ".".into(),
    }
}

/// Two folds with two fits and scores each: `split → fit → score`, where the score reads both.
struct Case {
    graph: Graph,
    ends: Vec<StepId>,
    trials: Vec<TrialName>,
    /// The value that the fits add.
    plus: Arc<AtomicI64>,
    place: tempfile::TempDir,
    /// A workspace in which the whole graph was run without other processes.
    whole: Workspace,
}

impl Case {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let (mut graph, mut ends, mut trials) = (Graph::default(), Vec::new(), Vec::new());
        let plus = Arc::new(AtomicI64::new(10));
        let zero = Arc::new(AtomicI64::new(1));
        let step = |name, of, plus: &Arc<AtomicI64>| Sum {
            name,
            of,
            plus: plus.clone(),
            file: None,
            during: None,
        };
        for [split, fit, other, score, last] in [
            ["split a", "fit a 1", "fit a 2", "score a 1", "score a 2"],
            ["split b", "fit b 1", "fit b 2", "score b 1", "score b 2"],
        ] {
            let split = graph.add(step(split, vec![], &zero));
            for (fit, score) in [(fit, score), (other, last)] {
                let fit = graph.add(step(fit, vec![split], &plus));
                let end = graph.add(step(score, vec![split, fit], &zero));
                for step in [split, fit, end] {
                    graph.note_trial(step.id(), trials.len());
                }
                ends.push(end.id());
                trials.push(TrialName { name: score.into(), file_name: score.into() });
            }
        }
        let whole = Workspace::create(&place.path().join("whole")).unwrap();
        let case = Self { graph, ends, trials, plus, place, whole };
        case.run(&case.whole, &Interrupt::default(), &NoReporter);
        case
    }

    fn new_workspace(&self, name: &str) -> Workspace {
        Workspace::create(&self.place.path().join(name)).unwrap()
    }

    fn options(&self) -> Options {
        Options {
            threads: 1,
            responses: ResponsesSpec::default(),
            ends: self.ends.clone(),
            forced: HashSet::new(),
            memory_bytes: 1 << 30,
        }
    }

    fn run_with(
        &self,
        options: &Options,
        workspace: &Workspace,
        interrupt: &Interrupt,
        others: &dyn Reporter,
    ) -> Outcome {
        let to_do = ToDo::of(&self.graph, workspace, options);
        run(header(), to_do, &self.trials, interrupt, others).unwrap()
    }

    fn run(&self, workspace: &Workspace, interrupt: &Interrupt, others: &dyn Reporter) -> Outcome {
        self.run_with(&self.options(), workspace, interrupt, others)
    }

    fn number(&self, workspace: &Workspace, step: StepId) -> i64 {
        let node = &self.graph[step];
        let path = workspace.step_dir(node.kind, &node.key).join(FILE);
        fs::read_to_string(path).unwrap().parse().unwrap()
    }

    fn numbers(&self, workspace: &Workspace) -> Vec<i64> {
        self.ends.iter().map(|end| self.number(workspace, *end)).collect()
    }

    fn named(&self, part: &str) -> Vec<StepId> {
        let nodes = self.graph.nodes().iter().filter(|node| node.label.contains(part));
        nodes.map(|node| node.id).collect()
    }

    /// The run must have finished all steps, with the same numbers as a run without other processes.
    fn expect_whole(&self, outcome: &Outcome, workspace: &Workspace, what: &str) {
        assert!(!outcome.undone && !outcome.interrupted, "{what}");
        assert_eq!(outcome.record.failures, [], "{what}");
        assert_eq!(self.numbers(workspace), self.numbers(&self.whole), "{what}");
    }
}

struct NoReporter;

impl Reporter for NoReporter {
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

/// Copies a finished step from another workspace, under its lock, unless it exists or its lock is taken.
fn put(node: &Node, from: &Workspace, to: &Workspace, hold: Duration) {
    let Ok(Some(_lock)) = to.try_lock(&node.key) else { return };
    thread::sleep(hold);
    if to.exists(node.kind, &node.key) {
        return;
    }
    let staged = tempfile::tempdir_in(to.path(&["tmp"])).unwrap().keep();
    for file in fs::read_dir(from.step_dir(node.kind, &node.key)).unwrap().flatten() {
        fs::copy(file.path(), staged.join(file.file_name())).unwrap();
    }
    let target = to.step_dir(node.kind, &node.key);
    fs::create_dir_all(target.parent().unwrap()).unwrap();
    fs::rename(staged, target).unwrap();
}

/// A selection of steps for each number.
fn chosen(graph: &Graph, choice: usize) -> Vec<Node> {
    let is_chosen = |at: usize, node: &Node| match choice {
        0 => node.label.starts_with("split"),
        1 => !node.label.starts_with("score"),
        2 => node.label.starts_with("score"),
        3 => node.label.starts_with("fit"),
        4 => true,
        // Different halves of the graph.
        _ => Digest::of(format!("{choice} {at}")).as_u64().is_multiple_of(2),
    };
    let nodes = graph.nodes().iter().enumerate();
    nodes.filter(|(at, node)| is_chosen(*at, node)).map(|(_, node)| node.clone()).collect()
}

#[test]
fn steps_finished_by_other_processes_are_adopted_and_their_dependents_run() {
    let case = Case::new();
    for choice in 0..12 {
        for at in [0, 1, 3, 8] {
            let here = case.new_workspace(&format!("at-once-{choice}-{at}"));
            let (nodes, from, to) = (chosen(&case.graph, choice), case.whole.clone(), here.clone());
            let other = Other::new(at, move || {
                nodes.iter().for_each(|node| put(node, &from, &to, Duration::ZERO));
            });
            let outcome = case.run(&here, &Interrupt::default(), &other);
            case.expect_whole(&outcome, &here, &format!("choice {choice} at event {at}"));
        }
    }
}

#[test]
fn the_run_waits_for_steps_of_other_processes() {
    let case = Case::new();
    for choice in 0..6 {
        let here = case.new_workspace(&format!("slowly-{choice}"));
        let working: Arc<Mutex<Vec<JoinHandle<()>>>> = Arc::default();
        let (nodes, from, to) = (chosen(&case.graph, choice), case.whole.clone(), here.clone());
        let workers = working.clone();
        let other = Other::new(choice % 3, move || {
            let mut workers = workers.lock().unwrap();
            for node in &nodes {
                let (node, from, to) = (node.clone(), from.clone(), to.clone());
                let hold = Duration::from_millis(20 + 7 * workers.len() as u64);
                workers.push(thread::spawn(move || put(&node, &from, &to, hold)));
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
fn a_step_of_a_dead_process_is_run() {
    let case = Case::new();
    let here = case.new_workspace("given-up");
    let lock = here.try_lock(&case.graph.nodes()[0].key).unwrap().unwrap();
    let lock = Mutex::new(Some(lock));
    // The split of the first fold is locked from the start; its process dies in the middle.
    let other = Other::new(10, move || drop(lock.lock().unwrap().take()));
    let outcome = case.run(&here, &Interrupt::default(), &other);
    case.expect_whole(&outcome, &here, "given up");
}

#[test]
fn a_run_that_waits_for_other_processes_can_be_interrupted() {
    let case = Case::new();
    let here = case.new_workspace("interrupted");
    let locks: Vec<_> = case
        .ends
        .iter()
        .map(|end| here.try_lock(&case.graph[*end].key).unwrap().unwrap())
        .collect();
    let others = case.graph.nodes().iter().filter(|node| !case.ends.contains(&node.id));
    others.for_each(|node| put(node, &case.whole, &here, Duration::ZERO));
    let interrupt = Interrupt::default();
    let raised = interrupt.clone();
    // The fourth event: the last of the four ends is found to be locked.
    let other = Other::new(4, move || raised.raise());
    let outcome = case.run(&here, &interrupt, &other);
    assert!(outcome.interrupted && !outcome.record.finished);
    drop(locks);
}

#[test]
fn an_unfinished_step_is_an_internal_error() {
    let case = Case::new();
    let here = case.new_workspace("undone");
    let (interrupt, options) = (Interrupt::default(), case.options());
    let state =
        RunState::new(&case.graph, &here, &interrupt, ResponsesSpec::default(), Shared::default());
    let machine = machine(Path::new("."));
    let to_do = ToDo::of(&case.graph, &here, &options);
    let logs = case.place.path().join("logs");
    let mut coordinator =
        Coordinator::new(to_do, &state, &case.trials, &NoReporter, &machine, logs);
    assert!(coordinator.fail_undone());
    assert_eq!(coordinator.failures.len(), case.trials.len());
    assert!(coordinator.failures[0].cause.starts_with("internal error"));
    assert!(!coordinator.fail_undone());
}

/// A queue that accepts nothing.
struct Full;

impl Queue for Full {
    fn submit(&mut self, _: &[StepId]) -> Result<(), String> {
        Err("the queue is full".into())
    }

    fn state(&mut self) -> QueueState {
        QueueState::Forgotten
    }

    fn failures(&mut self) -> Vec<(StepId, FailedElsewhere)> {
        Vec::new()
    }

    fn spent(&self) -> Result<Option<crate::llm::Spent>, String> {
        Ok(None)
    }

    fn last_words(&self, _: StepId) -> Option<String> {
        None
    }
}

/// Counts steps that failed.
#[derive(Default)]
struct Failed(AtomicUsize);

impl Reporter for Failed {
    fn report(&self, event: &Event) {
        if matches!(event, Event::StepFailed { .. }) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[test]
fn steps_that_a_queue_does_not_take_have_not_failed() {
    let case = Case::new();
    let here = case.new_workspace("full");
    let (interrupt, options, failed) = (Interrupt::default(), case.options(), Failed::default());
    let to_do = ToDo::of(&case.graph, &here, &options);
    let ended = run_elsewhere(header(), to_do, &case.trials, &interrupt, &failed, &mut Full);
    assert_eq!(ended.err().as_deref(), Some("the queue is full"));
    assert_eq!(failed.0.load(Ordering::SeqCst), 0);
    let record = fs::read_to_string(here.path(&["experiments", "small", "run.json"])).unwrap();
    let record: RunRecord = serde_json::from_str(&record).unwrap();
    assert!(!record.finished && record.failures.is_empty());
}

#[test]
fn dependents_of_a_step_are_rerun_only_if_its_bytes_change() {
    let case = Case::new();
    let here = case.new_workspace("forced");
    case.run(&here, &Interrupt::default(), &NoReporter);
    let before = case.numbers(&here);
    let fit = case.named("fit a 1");
    let forced = Options { forced: fit.iter().copied().collect(), ..case.options() };

    // Equal bytes: no other step is run.
    let outcome = case.run_with(&forced, &here, &Interrupt::default(), &NoReporter);
    assert_eq!(outcome.record.steps_done, 1);
    assert_eq!(case.numbers(&here), before);

    // Other bytes: only the end that reads it is rerun.
    case.plus.store(100, Ordering::SeqCst);
    let outcome = case.run_with(&forced, &here, &Interrupt::default(), &NoReporter);
    assert_eq!(outcome.record.steps_done, 2);
    let after = case.numbers(&here);
    assert_eq!(after[0], before[0] + 90);
    assert_eq!(after[1..], before[1..]);
}

#[test]
fn dependents_of_a_step_rebuilt_by_another_run_are_outdated() {
    let case = Case::new();
    let here = case.new_workspace("outdated");
    case.run(&here, &Interrupt::default(), &NoReporter);
    // Only the fit is rerun, with other responses, as by `--until fit`.
    let fit = case.named("fit a 1")[0];
    let node = &case.graph[fit];
    fs::remove_dir_all(here.step_dir(node.kind, &node.key)).unwrap();
    let currencies = Currencies::new(&case.graph, &here);
    assert_eq!(currencies.of(case.ends[0]), Currency::Current, "a missing input changes nothing");
    case.plus.store(50, Ordering::SeqCst);
    let only = Options { ends: vec![fit], ..case.options() };
    case.run_with(&only, &here, &Interrupt::default(), &NoReporter);
    let currencies = Currencies::new(&case.graph, &here);
    assert!(matches!(currencies.of(case.ends[0]), Currency::Outdated(_)));
    assert_eq!(currencies.of(case.ends[1]), Currency::Current);
    // The next run reruns the end.
    let outcome = case.run(&here, &Interrupt::default(), &NoReporter);
    assert_eq!(outcome.record.steps_done, 1);
    assert_eq!(case.number(&here, case.ends[0]), 1 + 1 + (1 + 50));
}

/// `source → middle → last → end` and `source → side → last`: the steps in between are complete, missing or damaged when
/// the source is rebuilt with other content, alone or with its dependents. The end must be outdated until it is rerun, no
/// step may run twice, and the numbers must be those of the new source.
#[test]
fn changes_are_found_through_missing_and_damaged_steps() {
    let place = tempfile::tempdir().unwrap();
    let plus = Arc::new(AtomicI64::new(10));
    let zero = Arc::new(AtomicI64::new(1));
    let mut graph = Graph::default();
    let step = |name, of, plus: &Arc<AtomicI64>| Sum {
        name,
        of,
        plus: plus.clone(),
        file: None,
        during: None,
    };
    let source = graph.add(step("source", vec![], &plus));
    let middle = graph.add(step("middle", vec![source], &zero));
    let side = graph.add(step("side", vec![source], &zero));
    let last = graph.add(step("last", vec![middle, side], &zero));
    let end = graph.add(step("end", vec![last], &zero));
    for step in [source, middle, side, last, end] {
        graph.note_trial(step.id(), 0);
    }
    let between = [middle, side, last];
    let whole = Workspace::create(&place.path().join("whole")).unwrap();
    let ends = vec![end.id()];
    let trials = vec![TrialName { name: "t".into(), file_name: "t".into() }];
    let case = Case { graph, ends, trials, plus, place, whole };
    let right = |source: i64| 2 * (source + 1) + 2;
    let mut tried = 0;
    for states in 0..3usize.pow(3) {
        for alone in [false, true] {
            let what = format!("states {states}, alone {alone}");
            let here = case.new_workspace(&format!("{states}-{alone}"));
            case.plus.store(10, Ordering::SeqCst);
            case.run(&here, &Interrupt::default(), &NoReporter);
            assert_eq!(case.number(&here, end.id()), right(10), "{what}");
            for (at, step) in between.iter().enumerate() {
                let node = &case.graph[*step];
                let dir = here.step_dir(node.kind, &node.key);
                match states / 3usize.pow(at as u32) % 3 {
                    0 => {}
                    1 => fs::remove_dir_all(dir).unwrap(),
                    _ => fs::write(dir.join(FILE), "7").unwrap(),
                }
            }
            case.plus.store(20, Ordering::SeqCst);
            let ends = if alone { vec![source.id()] } else { case.ends.clone() };
            let forced = [source.id()].into_iter().collect();
            let options = Options { ends, forced, ..case.options() };
            let mut outcome = case.run_with(&options, &here, &Interrupt::default(), &NoReporter);
            if alone {
                let currencies = Currencies::new(&case.graph, &here);
                let found = currencies.of(end.id());
                assert!(matches!(found, Currency::Outdated(_)), "{what}: {found:?}");
                outcome = case.run(&here, &Interrupt::default(), &NoReporter);
            }
            assert!(!outcome.undone && outcome.record.failures.is_empty(), "{what}");
            let expected = if alone { 4 } else { 5 };
            assert_eq!(outcome.record.steps_done, expected, "{what}");
            assert_eq!(case.number(&here, end.id()), right(20), "{what}");
            let currencies = Currencies::new(&case.graph, &here);
            assert_eq!(currencies.of(end.id()), Currency::Current, "{what}");
            tried += 1;
        }
    }
    assert_eq!(tried, 54);
}

/// A step runs only when none of its direct and indirect inputs is still to be rerun.
#[test]
fn no_step_reads_an_input_that_is_about_to_change() {
    let case = Case::new();
    let here = case.new_workspace("partly");
    let splits = case.named("split");
    let fits = case.named("fit");
    let some = Options { ends: fits.clone(), ..case.options() };
    case.run_with(&some, &here, &Interrupt::default(), &NoReporter);
    let forced = Options { forced: splits.iter().copied().collect(), ..case.options() };
    let outcome = case.run_with(&forced, &here, &Interrupt::default(), &NoReporter);
    // The splits have the same content, so the fits are current: two splits and four ends are run.
    assert_eq!(outcome.record.steps_done, 6);
    case.expect_whole(&outcome, &here, "partly");
}

#[test]
fn a_file_that_changes_between_planning_and_running_is_an_error() {
    let case = Case::new();
    let path = case.place.path().join("prompt.md");
    let plan = |during: Option<fn(&Path)>, name: &'static str| {
        fs::write(&path, "as planned").unwrap();
        let mut graph = Graph::default();
        let file = Some(Pinned::file(path.clone()).unwrap());
        let plus = Arc::new(AtomicI64::new(0));
        let end = graph.add(Sum { name, of: vec![], plus, file, during });
        graph.note_trial(end.id(), 0);
        let trials = vec![TrialName { name: name.into(), file_name: name.into() }];
        let place = tempfile::tempdir_in(case.place.path()).unwrap();
        Case {
            graph,
            ends: vec![end.id()],
            trials,
            plus: case.plus.clone(),
            place,
            whole: case.whole.clone(),
        }
    };
    let edit = |path: &Path| fs::write(path, "edited").unwrap();
    let fails = |case: &Case, what: &str| {
        let here = case.new_workspace(what);
        let outcome = case.run(&here, &Interrupt::default(), &NoReporter);
        let failures = &outcome.record.failures;
        assert!(failures[0].cause.contains("changed while the experiment ran"), "{failures:?}");
        let node = &case.graph.nodes()[0];
        assert!(!here.exists(node.kind, &node.key), "{what}: a step under a wrong key");
    };
    let before = plan(None, "before");
    edit(&path);
    fails(&before, "edited before");
    fails(&plan(Some(|path| fs::write(path, "edited").unwrap()), "during"), "edited during");
}

/// Doubles its input, with a checkpoint after that. Fails then while `dies` is set, as if it were killed.
struct Training {
    of: Handle<Number>,
    dies: Arc<AtomicBool>,
    /// How often it began without a checkpoint.
    begun: Arc<AtomicI64>,
}

impl Step for Training {
    type Output = Number;
    type Stats = NoStats;

    const KIND: &'static str = "training";
    const REVISION: u32 = 1;

    fn label(&self) -> String {
        "training".into()
    }

    fn key_inputs(&self, key: &mut KeyBuilder) {
        key.step("of", self.of);
    }

    fn files(&self) -> Vec<&'static str> {
        vec![FILE]
    }

    fn run(&self, cx: &RunContext, dir: &Path) -> Result<NoStats, StepError> {
        let checkpoint = cx.scratch().join("checkpoint");
        if !checkpoint.exists() {
            self.begun.fetch_add(1, Ordering::SeqCst);
            let number = fs::read_to_string(cx.dir(self.of).join(FILE)).unwrap();
            fs::create_dir_all(cx.scratch()).unwrap();
            fs::write(&checkpoint, (2 * number.parse::<i64>().unwrap()).to_string()).unwrap();
        }
        if self.dies.load(Ordering::SeqCst) {
            return Err(StepError::Internal("killed".into()));
        }
        fs::copy(checkpoint, dir.join(FILE)).unwrap();
        Ok(NoStats {})
    }
}

/// New responses or a refresh give an input other content under the same key.
#[test]
fn a_checkpoint_is_continued_only_with_the_same_content_of_the_inputs() {
    let place = tempfile::tempdir().unwrap();
    let plus = Arc::new(AtomicI64::new(10));
    let (dies, begun) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicI64::new(0)));
    let mut graph = Graph::default();
    let source =
        graph.add(Sum { name: "source", of: vec![], plus: plus.clone(), file: None, during: None });
    let end = graph.add(Training { of: source, dies: dies.clone(), begun: begun.clone() });
    for step in [source.id(), end.id()] {
        graph.note_trial(step, 0);
    }
    let whole = Workspace::create(&place.path().join("whole")).unwrap();
    let trials = vec![TrialName { name: "t".into(), file_name: "t".into() }];
    let case = Case { graph, ends: vec![end.id()], trials, plus, place, whole };
    let run = |forced: &[StepId], dies_now: bool| {
        dies.store(dies_now, Ordering::SeqCst);
        let options = Options { forced: forced.iter().copied().collect(), ..case.options() };
        let outcome = case.run_with(&options, &case.whole, &Interrupt::default(), &NoReporter);
        assert_eq!(outcome.record.failures.is_empty(), !dies_now);
        begun.load(Ordering::SeqCst)
    };
    // Killed after the checkpoint, then continued from it.
    assert_eq!(run(&[], true), 1);
    assert_eq!(run(&[], false), 1, "the checkpoint is continued");
    assert_eq!(case.number(&case.whole, end.id()), 20);
    // Killed again. The source is then rebuilt with other content under the same key.
    assert_eq!(run(&[end.id()], true), 2);
    case.plus.store(30, Ordering::SeqCst);
    assert_eq!(run(&[source.id()], false), 3, "the checkpoint has other inputs");
    assert_eq!(case.number(&case.whole, end.id()), 60);
}
