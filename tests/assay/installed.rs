//! The program outside of its checkout: what comes with it, what stands in its way, and what it needs beside it.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::support::{Ended, Place, ended, root};

/// The libraries of this build.
fn libtorch() -> PathBuf {
    let given = std::env::var_os("LIBTORCH").map(PathBuf::from);
    given.unwrap_or_else(|| root().join(".libtorch")).join("lib")
}

/// A prefix with the programs, and with libtorch if `libraries`; nothing of this checkout is above or beside it.
fn installed(libraries: bool) -> Place {
    let place = Place::new();
    for (from, name) in [
        (env!("CARGO_BIN_EXE_assay"), "assay"),
        (env!("CARGO_BIN_EXE_assay-tensors"), "assay-tensors"),
    ] {
        place.copy_program(from.as_ref(), &format!("prefix/bin/{name}"));
    }
    if libraries {
        fs::create_dir_all(place.path("prefix/lib")).unwrap();
        symlink(libtorch(), place.path("prefix/lib/assay")).unwrap();
    }
    place
}

/// In an environment that says nothing.
fn assay(place: &Place, dir: &str, args: &[&str]) -> Ended {
    fs::create_dir_all(place.path(dir)).unwrap();
    let output = Command::new(place.path("prefix/bin/assay"))
        .args(args)
        .current_dir(place.path(dir))
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", place.path("home"))
        .output();
    ended(output.unwrap(), place.dir.path())
}

fn fine(place: &Place, dir: &str, args: &[&str]) -> String {
    let ended = assay(place, dir, args);
    assert_eq!(ended.code, 0, "{args:?}\n{}\n{}", ended.out, ended.err);
    ended.out
}

fn keys(plan: &str) -> Vec<(String, String)> {
    let plan: Value = serde_json::from_str(plan).unwrap();
    let text = |step: &Value, field: &str| step[field].as_str().unwrap().to_owned();
    let steps = plan["steps"].as_array().unwrap().iter();
    steps.map(|step| (text(step, "step"), text(step, "key"))).collect()
}

#[test]
fn an_installed_program_runs_the_experiment_that_it_writes() {
    let place = installed(true);
    let said = fine(&place, "study", &["init"]);
    assert!(
        said.contains("written: experiment.yaml") && said.contains("assay run experiment.yaml"),
        "{said}"
    );
    let again = assay(&place, "study", &["init"]);
    assert!(
        again.code == 2 && again.err.contains("experiment.yaml exists, and is not overwritten")
    );
    let said = fine(&place, ".", &["init", "new/deep"]);
    assert!(said.contains("assay run new/deep/experiment.yaml"), "{said}");
    // Less work than the file as it is.
    let file = place.path("study/experiment.yaml");
    let text = fs::read_to_string(&file).unwrap();
    let changed = text.replace("folds: 5", "folds: 2").replace("seeds: [1, 2]", "seeds: [1]");
    assert_ne!(text, changed);
    fs::write(&file, changed.replace("evaluate:", "  ease: {use: baselines/ease.yaml}\nevaluate:"))
        .unwrap();
    let table = fine(&place, "study", &["run", "experiment.yaml"]);
    assert!(table.contains("als[factors=32]") && table.contains("ease"), "{table}");
    let report = fs::read_to_string(place.path("study/reports/my-experiment/index.html")).unwrap();
    assert!(
        report.contains("built-in:baselines&#x2F;als.yaml"),
        "the report says which settings were used"
    );
}

#[test]
fn built_in_files_stand_in_for_those_of_the_checkout_and_change_no_key() {
    let place = installed(false);
    let quickstart = root().join("experiments/quickstart.yaml");
    fs::create_dir_all(place.path("away")).unwrap();
    fs::copy(&quickstart, place.path("away/quickstart.yaml")).unwrap();
    let away = keys(&fine(&place, "away", &["plan", "quickstart.yaml", "--json"]));
    let here = Place::new();
    let here = keys(&here.fine(&["plan", quickstart.to_str().unwrap(), "--json"]));
    assert!(!away.is_empty());
    assert_eq!(away, here);
    // The sample was written for the user, and is written again if it is damaged.
    let cached = place.path("home/.cache/assay/datasets/sample/ratings.csv");
    let sample = fs::read(root().join("datasets/sample/ratings.csv")).unwrap();
    assert!(fs::read(&cached).unwrap() == sample);
    fs::write(&cached, "user,item\n1,1\n").unwrap();
    assert_eq!(keys(&fine(&place, "away", &["plan", "quickstart.yaml", "--json"])), here);

    // Published tables come with the program, too.
    place.write("away/r.csv", "user,item,rank\n1,1,1\n");
    let table = ["--against", "baselines/published/ebrat2025-table1.yaml"];
    let other = assay(
        &place,
        "away",
        &[&["score", "--data", "sample", "--fold", "f1", "r.csv"][..], &table].concat(),
    );
    assert!(other.code == 3 && other.err.contains("not comparable"), "{}", other.err);

    // A file beside the experiment wins, and so does one in a directory above it, also for a file without a directory.
    let als = |key_of: &[(String, String)]| {
        let of =
            key_of.iter().filter(|(step, _)| step.starts_with("als")).map(|(_, key)| key.clone());
        of.collect::<Vec<_>>()
    };
    place.write("e.yaml", "experiment: e\ndata: {set: sample}\nsplit: {scheme: official}\nsystems: {als: {use: baselines/als.yaml}}\n");
    place.write("below/e.yaml", fs::read(place.path("e.yaml")).unwrap());
    let before = als(&keys(&fine(&place, ".", &["plan", "e.yaml", "--json"])));
    place.write("baselines/als.yaml", "model: als\nfactors: 3\n");
    let beside = als(&keys(&fine(&place, ".", &["plan", "e.yaml", "--json"])));
    let above = als(&keys(&fine(&place, "below", &["plan", "e.yaml", "--json"])));
    assert!(before != beside && beside == above && !above.is_empty());
    // So does a data set.
    place.write(
        "datasets/sample/ratings.csv",
        "user,item,rating,timestamp,fold\n1,1,5,1,f1\n1,2,5,1,f2\n",
    );
    place.write("datasets/sample/items.csv", "item,title,genres,overview\n1,a,b,c\n2,a,b,c\n");
    let mismatch = assay(&place, ".", &["run", "e.yaml"]);
    assert!(mismatch.code == 2 && mismatch.err.contains("hash mismatch"), "{}", mismatch.err);

    let gone = "experiment: e\ndata: {set: sample}\nsplit: {scheme: official}\nsystems: {als: {use: baselines/alz.yaml}}\n";
    place.write("away/gone.yaml", gone);
    let gone = assay(&place, "away", &["plan", "gone.yaml"]);
    assert!(
        gone.err.contains("there is no file `baselines/alz.yaml`")
            && gone.err.contains("als.yaml`?"),
        "{}",
        gone.err
    );
}

const TRAINS: &str = "experiment: trains
data: {set: sample}
split: {scheme: official, only: [f1]}
systems: {popularity: {model: popularity}, bprmf: {model: bprmf, dim: 16, training: {epochs: 1}}}
";

#[test]
fn without_libtorch_training_stops_at_once_and_says_what_to_install() {
    let place = installed(false);
    place.write("trains.yaml", TRAINS);
    let stopped = assay(&place, ".", &["run", "trains.yaml"]);
    assert_eq!(stopped.code, 2, "{}", stopped.err);
    assert!(stopped.err.contains("this needs the libraries of PyTorch 2.11.0"), "{}", stopped.err);
    assert!(
        stopped.err.contains("put libtorch 2.11.0 into DIR/prefix/lib/assay"),
        "{}",
        stopped.err
    );
    assert!(!place.path(".assay").exists(), "nothing was done");
    // In a Python environment pip installs them.
    place.write("prefix/pyvenv.cfg", "");
    let stopped = assay(&place, ".", &["run", "trains.yaml"]);
    assert!(
        stopped.err.contains("DIR/prefix/bin/python -m pip install torch==2.11.0"),
        "{}",
        stopped.err
    );
    // There they are found, whatever the version of Python.
    for version in ["3.10", "3.14"] {
        let site = place.path(&format!("prefix/lib/python{version}/site-packages/torch"));
        fs::create_dir_all(&site).unwrap();
        symlink(libtorch(), site.join("lib")).unwrap();
        fine(&place, ".", &["run", "trains.yaml", "--force", "all", "--quiet"]);
        fs::remove_dir_all(site).unwrap();
    }
}

/// What is handed on must not look for libraries in a directory of the machine that built it.
#[test]
fn programs_look_for_libraries_beside_themselves() {
    for program in [env!("CARGO_BIN_EXE_assay"), env!("CARGO_BIN_EXE_assay-tensors")] {
        let output = Command::new("objdump").args(["-p", program]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find(|line| line.contains("RUNPATH")).unwrap();
        let places: Vec<&str> = line.split_whitespace().nth(1).unwrap().split(':').collect();
        assert!(places.contains(&"$ORIGIN/../lib/assay"), "{places:?}");
        let given =
            std::env::var_os("LIBTORCH").filter(|dir| Path::new(dir) != root().join(".libtorch"));
        if given.is_none() && std::env::var_os("LIBTORCH_USE_PYTORCH").is_none() {
            assert!(places.iter().all(|place| place.starts_with("$ORIGIN/")), "{places:?}");
        }
    }
}

#[test]
fn the_newcomers_script_passes() {
    let place = installed(true);
    let output = Command::new("bash")
        .arg(root().join("tools/newcomer.sh"))
        .arg(place.path("prefix"))
        .env_remove("ASSAY_DATA")
        .output();
    let ended = ended(output.unwrap(), place.dir.path());
    assert_eq!(ended.code, 0, "{}\n{}", ended.out, ended.err);
    assert!(ended.out.starts_with("newcomer: random 0."), "{}", ended.out);
}
