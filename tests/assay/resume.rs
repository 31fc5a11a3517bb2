//! Killed, interrupted and concurrent runs, and other numbers of threads, give the same bytes.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
};

use crate::support::{Place, ended};

const SLOW: &str = "experiment: slow
data: {set: sample, relevant: \">= 4\"}
split: {scheme: official, only: [f1, f2, f3]}
seeds: [1, 2]
systems:
  popularity: {model: popularity}
  item-knn: {model: item-knn}
  ease: {model: ease}
  cg: {model: als, factors: 40, iterations: 60}
  exact: {model: als, factors: 24, iterations: 60, solver: cholesky}
evaluate: {protocols: [full, judged, judged-after-cut, sampled], conventions: [standard, ebrat2025], k: [5, 10]}
";

/// One split per fold; fit, predict and evaluate for three systems once, and for two systems with two seeds.
const STEPS: usize = 3 + 3 * (3 + 2 * 2) * 3;

fn slow() -> Place {
    let place = Place::new();
    place.write("slow.yaml", SLOW);
    place
}

/// Starts a run and waits until `n` steps are finished.
fn started(place: &Place, n: usize) -> Child {
    let mut child = place
        .command(&["run", "slow.yaml", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let finished = out.lines().map_while(Result::ok).filter(|line| line.contains("step-finished"));
    assert_eq!(finished.take(n).count(), n, "the run ended before it could be stopped");
    child
}

#[test]
fn a_killed_run_continues_and_gives_the_same_bytes() {
    let whole = slow();
    whole.fine(&["run", "slow.yaml", "--threads", "2"]);
    let expected = whole.artefacts(".assay");
    let killed = slow();
    for n in [2, 7, 11] {
        let done_before = count(&killed);
        let mut child = started(&killed, n);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(count(&killed) >= done_before + n, "finished steps are kept");
    }
    let done = count(&killed);
    let last = killed.assay(&["run", "slow.yaml"]);
    assert_eq!(last.code, 0, "{}", last.err);
    let to_do = format!("{} of {STEPS} steps to run", STEPS - done);
    assert!(last.err.contains(&to_do), "finished steps are not rerun: {to_do}\n{}", last.err);
    assert!(killed.artefacts(".assay") == expected);
}

fn count(place: &Place) -> usize {
    let steps = place.path(".assay/steps");
    let kinds = std::fs::read_dir(steps).into_iter().flatten().flatten();
    kinds.map(|kind| std::fs::read_dir(kind.path()).unwrap().count()).sum()
}

#[test]
fn one_and_two_threads_give_the_same_bytes() {
    let place = slow();
    place.fine(&["run", "slow.yaml", "--workspace", "one", "--threads", "1"]);
    place.fine(&["run", "slow.yaml", "--workspace", "two", "--threads", "2"]);
    place.fine(&["run", "slow.yaml", "--workspace", "five", "--threads", "5"]);
    let one = place.artefacts("one");
    assert!(one.len() > STEPS);
    assert!(one == place.artefacts("two"));
    assert!(one == place.artefacts("five"));
}

#[test]
fn two_processes_share_one_workspace() {
    let place = slow();
    let start = || {
        place
            .command(&["run", "slow.yaml", "--json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let both = [start(), start()];
    let both = both.map(|child| ended(child.wait_with_output().unwrap(), place.dir.path()));
    let mut finished = 0;
    for run in &both {
        assert_eq!(run.code, 0, "{}", run.err);
        finished += run.out.matches("{\"event\":\"step-finished\"").count();
    }
    assert_eq!(finished, STEPS, "every step is run by exactly one process");
}

#[test]
fn each_of_several_processes_shows_the_whole_table() {
    // A very small experiment, so that processes meet at every step. `tools/stress_processes.py` does more.
    let place = Place::new();
    place.write(
        "small.yaml",
        "experiment: small
data: {set: sample, relevant: \">= 4\"}
split: {scheme: official, only: [f1, f2, f3]}
systems: {popularity: {model: popularity}, item-knn: {model: item-knn}}
evaluate: {protocols: [full], k: [10]}
",
    );
    let table = |out: &str| out.split("\nreport: ").next().unwrap().to_owned();
    let expected = table(&place.fine(&["run", "small.yaml", "--workspace", "alone"]));
    assert!(expected.contains("item-knn"), "{expected}");
    for round in 0..6 {
        let workspace = format!("shared-{round}");
        let running: Vec<Child> = (0..3)
            .map(|process| {
                std::thread::sleep(std::time::Duration::from_millis((round * process) % 7));
                place
                    .command(&["run", "small.yaml", "--workspace", &workspace, "--threads", "1"])
                    .args(["--out", &format!("report-{process}")])
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()
                    .unwrap()
            })
            .collect();
        for child in running {
            let run = ended(child.wait_with_output().unwrap(), place.dir.path());
            assert_eq!(run.code, 0, "{}", run.err);
            assert_eq!(table(&run.out), expected, "{}", run.err);
        }
    }
}

#[test]
#[cfg(unix)]
fn an_interrupted_run_says_how_to_continue() {
    let place = slow();
    let child = started(&place, 3);
    // SAFETY: the process is our child and not yet waited for.
    unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
    let run = ended(child.wait_with_output().unwrap(), place.dir.path());
    assert_eq!(run.code, 75, "{}", run.err);
    assert!(run.err.contains("run the same command again to continue"), "{}", run.err);
    place.fine(&["run", "slow.yaml"]);
}
