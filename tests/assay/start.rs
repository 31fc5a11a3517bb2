//! The two programs: `assay` starts without libtorch, and becomes `assay-tensors` where tensors are needed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::support::{Ended, Place, ended, root};

const ASSAY: &str = env!("CARGO_BIN_EXE_assay");
const WITH_TENSORS: &str = env!("CARGO_BIN_EXE_assay-tensors");

const PLAIN: &str = "experiment: plain
data: {set: sample, relevant: \">= 4\"}
split: {scheme: official, only: [f1]}
systems:
  popularity: {model: popularity}
  als: {model: als, factors: 8, iterations: 2}
evaluate: {k: [10]}
";

/// The same with a network and a model that inverts a matrix.
fn with_tensors() -> String {
    PLAIN.replace("experiment: plain", "experiment: tensors").replace(
        "evaluate:",
        "  ease: {model: ease}\n  bprmf: {model: bprmf, dim: 16, training: {epochs: 2}}\nevaluate:",
    )
}

fn place() -> Place {
    let place = Place::new();
    place.write("plain.yaml", PLAIN);
    place.write("tensors.yaml", with_tensors());
    place
}

/// Runs a program; says how it ended, and whether the dynamic loader mapped libtorch into the process,
/// by the loader's own log of it.
fn watched(place: &Place, program: &Path, args: &[&str]) -> (Ended, bool) {
    let mut command = Command::new(program);
    command
        .args(args)
        .current_dir(place.dir.path())
        .env("ASSAY_DATA", root().join("datasets"))
        .env_remove("ASSAY_WORKSPACE")
        .env("LD_DEBUG", "files")
        .env("LD_DEBUG_OUTPUT", place.path("loader"));
    let child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let log = place.path(&format!("loader.{}", child.id()));
    let ended = ended(child.wait_with_output().unwrap(), place.dir.path());
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("libc.so.6"), "the log says nothing of libraries: {log}");
    (ended, log.contains("libtorch"))
}

/// Without libtorch, and successfully.
fn fine_without(place: &Place, program: &Path, args: &[&str]) -> String {
    let (ended, torch) = watched(place, program, args);
    assert_eq!(ended.code, 0, "{args:?}: {}", ended.err);
    assert!(!torch, "{args:?} loads libtorch");
    ended.out
}

fn runs(place: &Place) -> usize {
    fs::read_dir(place.path(".assay/runs")).map_or(0, Iterator::count)
}

fn scored_steps(place: &Place) -> [PathBuf; 2] {
    ["predict", "evaluate"].map(|kind| place.path(".assay/steps").join(kind))
}

#[test]
fn no_verb_loads_libtorch_where_no_step_needs_tensors() {
    let (place, assay) = (place(), Path::new(ASSAY));
    fine_without(&place, assay, &["run", "plain.yaml"]);
    let rankings = "user,item,rank\n1,2,1\n1,3,2\n";
    place.write("rankings.csv", rankings);
    for args in [
        &["--help"][..],
        &["--version"],
        &["run", "--help"],
        &["plan", "plain.yaml"],
        &["plan", "tensors.yaml"],
        &["results", "plain.yaml"],
        &["table", "plain.yaml"],
        &["report", "plain.yaml"],
        &["run", "plain.yaml"],
        &["export", "plain.yaml", "--format", "trec", "--out", "exported"],
        &["score", "--data", "sample", "--fold", "f1", "rankings.csv"],
        &["ls"],
        &["data", "list"],
        &["schema"],
    ] {
        fine_without(&place, assay, args);
    }
    let (ended, torch) = watched(&place, Path::new(WITH_TENSORS), &["--version"]);
    assert!(ended.code == 0 && torch, "what is said of `assay` would hold of any program");
}

#[test]
fn a_run_that_needs_tensors_goes_on_in_the_program_that_has_them() {
    let (place, assay) = (place(), Path::new(ASSAY));
    let (first, torch) = watched(&place, assay, &["run", "tensors.yaml"]);
    assert_eq!(first.code, 0, "{}", first.err);
    assert!(torch, "a network was trained without libtorch");
    assert_eq!(first.err.matches("steps to run").count(), 1, "{}", first.err);
    assert_eq!(runs(&place), 1);
    let made = place.artefacts(".assay");

    // Nothing is left to do, or nothing but scoring saved networks.
    let again = fine_without(&place, assay, &["run", "tensors.yaml"]);
    assert_eq!(first.out, again);
    for step in scored_steps(&place) {
        fs::remove_dir_all(step).unwrap();
    }
    assert_eq!(fine_without(&place, assay, &["run", "tensors.yaml"]), again);
    assert_eq!(place.artefacts(".assay"), made);

    // Records do not tell which of the two programs it was: they are of one build.
    let mut builds = Vec::new();
    for run in fs::read_dir(place.path(".assay/runs")).unwrap().flatten() {
        let record = fs::read(run.path().join("run.json")).unwrap();
        let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
        builds.push(record["machine"]["program"].as_str().unwrap().to_owned());
    }
    assert!(builds.len() == 3 && builds.iter().all(|build| *build == builds[0]), "{builds:?}");
    assert_eq!(builds[0].len(), 16);
}

#[test]
fn an_experiment_from_a_pipe_is_read_by_the_program_that_runs_it() {
    let place = place();
    let script = format!("cat tensors.yaml | '{ASSAY}' run /dev/stdin --quiet");
    let output = Command::new("bash")
        .args(["-c", &script])
        .current_dir(place.dir.path())
        .env("ASSAY_DATA", root().join("datasets"))
        .output();
    let ended = ended(output.unwrap(), place.dir.path());
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.out.contains("bprmf"), "{}", ended.out);
}

#[test]
fn without_the_other_program_a_run_that_needs_it_says_so_and_does_nothing() {
    let place = place();
    let alone = place.copy_program(ASSAY.as_ref(), "bin/assay");
    let (ended, torch) = watched(&place, &alone, &["run", "tensors.yaml"]);
    assert_eq!((ended.code, torch, runs(&place)), (2, false, 0), "{}", ended.err);
    assert_eq!(
        ended.err,
        "error: cannot run DIR/bin/assay-tensors: No such file or directory (os error 2)\n  = help: a second \
         program, `assay-tensors`, fits networks and encodes texts; build both with `cargo build \
         --release`, and keep them in one directory\n"
    );
    fine_without(&place, &alone, &["run", "plain.yaml"]);
}

#[test]
fn a_program_of_another_build_is_not_handed_over_to() {
    let place = place();
    let output = Command::new(WITH_TENSORS)
        .args(["run", "tensors.yaml"])
        .current_dir(place.dir.path())
        .env("ASSAY_DATA", root().join("datasets"))
        .env("ASSAY_HANDED_OVER_BY", "0123456789abcdef")
        .output();
    let ended = ended(output.unwrap(), place.dir.path());
    assert_eq!((ended.code, runs(&place)), (2, 0), "{}", ended.err);
    assert!(
        ended.err.contains("of build 0123456789abcdef, but the assay-tensors"),
        "{}",
        ended.err
    );
}
