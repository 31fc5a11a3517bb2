//! Steps in processes of their own, HyperQueue, and scripts for Slurm.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{Place, root, say};

const SMALL: &str = "experiment: small
data: {set: sample, relevant: \">= 4\"}
split: {scheme: official, only: [f1, f2]}
seeds: [1, 2]
systems:
  popularity: {model: popularity}
  als: {model: als, factors: 8, iterations: 2}
evaluate: {protocols: [full], conventions: [standard], k: [5]}
";
/// Two splits; per fold fit, predict and evaluate of popularity, and of als with two seeds.
const STEPS: usize = 2 + 2 * 3 * (1 + 2);

fn small() -> Place {
    let place = Place::new();
    place.write("small.yaml", SMALL);
    place
}

/// Exports scripts for Slurm, which writes the plan; returns its keys, level by level.
fn planned(place: &Place) -> Vec<Vec<String>> {
    place.fine(&["export", "slurm", "small.yaml", "--out", "slurm"]);
    let level = |at: usize| {
        let text = fs::read_to_string(place.path(&format!("slurm/level-{at}.keys"))).ok()?;
        Some(text.lines().map(str::to_owned).collect())
    };
    (0..).map_while(level).collect()
}

#[test]
fn steps_one_by_one_give_the_bytes_of_a_run() {
    let (whole, steps) = (small(), small());
    whole.fine(&["run", "small.yaml"]);
    let levels = planned(&steps);
    let sizes: Vec<usize> = levels.iter().map(Vec::len).collect();
    assert_eq!((sizes.len(), sizes.iter().sum()), (4, STEPS), "{sizes:?}");
    for key in levels.iter().flatten() {
        steps.fine(&["step", key]);
        // Done already.
        steps.fine(&["step", key]);
    }
    assert!(steps.artefacts(".assay") == whole.artefacts(".assay"));
    let run = steps.assay(&["run", "small.yaml"]);
    assert!(run.code == 0 && run.err.contains("0 of 20 steps to run"), "{}", run.err);
    let ran = ran(&steps);
    assert_eq!((ran["begun"], ran["done"]), (STEPS, STEPS));
}

/// How often steps have begun, and ended in which way.
fn ran(place: &Place) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for plan in fs::read_dir(place.path(".assay/experiments/small/plans")).unwrap().flatten() {
        for file in fs::read_dir(plan.path().join("ran")).unwrap().flatten() {
            for line in fs::read_to_string(file.path()).unwrap().lines() {
                let what = line.split(' ').nth(1).unwrap();
                *counts.entry(what.to_owned()).or_default() += 1;
            }
        }
    }
    counts
}

#[test]
fn a_step_whose_input_is_not_done_says_so_and_reports_it() {
    let place = small();
    let levels = planned(&place);
    let ended = place.assay(&["step", &levels[1][0]]);
    assert_eq!(ended.code, 4, "{}", ended.err);
    assert!(ended.err.contains("its input, split sample f"), "{}", ended.err);
    let name = format!("failed/{}", levels[1][0]);
    let plans = fs::read_dir(place.path(".assay/experiments/small/plans")).unwrap();
    let plan = plans.flatten().next().unwrap().path();
    let report: Value = serde_json::from_slice(&fs::read(plan.join(name)).unwrap()).unwrap();
    assert_eq!(report["exit"], 4);
}

#[test]
fn a_step_of_an_experiment_that_has_changed_or_of_no_plan_is_refused() {
    let place = small();
    let levels = planned(&place);
    place.write("small.yaml", SMALL.replace("factors: 8", "factors: 9"));
    // The splits are those of before.
    place.fine(&["step", &levels[0][0]]);
    let codes: Vec<i32> = levels[1].iter().map(|key| place.assay(&["step", key]).code).collect();
    assert!(
        codes.contains(&0) && codes.contains(&2),
        "popularity is the same, als is not: {codes:?}"
    );
    let key = "0".repeat(64);
    for arguments in [
        vec!["step", &key],
        vec!["step", "abc"],
        vec!["step", &levels[0][0], "--plan", "../x"],
        vec!["step", &levels[0][0], "--plan", "experiments/small/plans/none"],
    ] {
        let ended = place.assay(&arguments);
        assert_eq!(ended.code, 2, "{arguments:?}: {}", ended.err);
        assert!(ended.err.starts_with("error: "), "{}", ended.err);
    }
    let error = |arguments: &[&str]| place.assay(arguments).err;
    let found = error(&["step", &key]);
    let expected = "error: there is no step 000000000000 in any plan of the workspace DIR/.assay\n  = help: `assay run";
    assert!(found.starts_with(expected), "{found}");
    let found = error(&["step", &levels[0][0], "--plan", "experiments/small/plans/none"]);
    let expected = "error: --plan experiments/small/plans/none: the workspace DIR/.assay has no such plan\n  = help: ";
    assert!(found.starts_with(expected), "{found}");
    let plans = fs::read_dir(place.path(".assay/experiments/small/plans")).unwrap();
    let name = plans.flatten().next().unwrap().file_name().into_string().unwrap();
    let found = error(&["step", &key, "--plan", &format!("experiments/small/plans/{name}")]);
    let expected = format!(
        "error: there is no step 000000000000 in the plan DIR/.assay/experiments/small/plans/{name}\n"
    );
    assert!(found.starts_with(&expected), "{found}");
}

#[test]
fn data_that_has_changed_since_a_plan_is_noticed_by_the_step_that_reads_it() {
    let place = Place::new();
    let ratings = |n: u32| -> String {
        let line = |at: u32| format!("{},{},5\n", at % 20, at / 20);
        "user,item,rating\n".to_owned() + &(0..n).map(line).collect::<String>()
    };
    place.write("r.csv", ratings(300));
    let yaml = SMALL
        .replace(
            "{set: sample, ",
            "{reader: table, ratings: r.csv, columns: {user: user, item: item, rating: rating}, ",
        )
        .replace("{scheme: official, only: [f1, f2]}", "{scheme: kfold, folds: 2, seed: 1}");
    place.write("small.yaml", yaml);
    let exported = place.assay(&["export", "slurm", "small.yaml", "--out", "slurm"]);
    assert_eq!(exported.code, 0, "{}", exported.err);
    place.write("r.csv", ratings(301));
    let keys = fs::read_to_string(place.path("slurm/level-0.keys")).unwrap();
    let ended = place.assay(&["step", keys.lines().next().unwrap()]);
    assert!(ended.code != 0 && ended.err.contains("it changed while"), "{}", ended.err);
    assert!(!place.path(".assay/steps").read_dir().unwrap().any(|_| true), "nothing is stored");
}

#[test]
fn a_step_that_needs_no_ratings_does_not_read_them_to_plan_itself() {
    let place = Place::new();
    let line = |at: u32| format!("{},{},5,f{}\n", at % 20, at / 20, 1 + at % 2);
    place.write(
        "r.csv",
        "user,item,rating,fold\n".to_owned() + &(0..300).map(line).collect::<String>(),
    );
    place.write(
        "small.yaml",
        SMALL.replace(
            "{set: sample, ",
            "{reader: table, ratings: r.csv, columns: {user: user, item: item, rating: rating, fold: fold}, ",
        ),
    );
    let levels = planned(&place);
    levels[0].iter().for_each(|key| drop(place.fine(&["step", key])));
    // The folds are names in a column.
    place.write("r.csv", "");
    levels[1].iter().for_each(|key| drop(place.fine(&["step", key])));
}

#[test]
fn scripts_for_slurm() {
    let place = small();
    let arguments = [
        "export",
        "slurm",
        "small.yaml",
        "--out",
        "slurm",
        "--threads",
        "2",
        "--array",
        "3",
        "--time",
        "00:10:00",
        "--sbatch=--partition=p",
        "--setup",
        "module load GCC",
        "--at-once",
        "2",
    ];
    let out = place.fine(&arguments);
    assert_eq!(out, "20 steps in 4 arrays\nnext: bash slurm/submit.sh\n");
    let read = |name: &str| {
        let text = fs::read_to_string(place.path(&format!("slurm/{name}"))).unwrap();
        let plan = text.split("/plans/").nth(1).map(|rest| rest[..12].to_owned());
        let assay = env!("CARGO_BIN_EXE_assay");
        let text = text
            .replace(&place.dir.path().display().to_string(), "DIR")
            .replace(assay, "ASSAY")
            .replace(assay.trim_end_matches("/assay"), "BIN");
        plan.map_or(text.clone(), |plan| text.replace(&plan, "PLAN"))
    };
    let all =
        ["submit.sh", "step.sh", "gather.sh"].map(|name| format!("== {name}\n{}", read(name)));
    insta::assert_snapshot!("scripts_for_slurm", all.concat());
    for name in ["submit.sh", "step.sh", "gather.sh"] {
        let path = place.path(&format!("slurm/{name}"));
        assert!(Command::new("bash").arg("-n").arg(path).status().unwrap().success(), "{name}");
    }
    // Files of one's own are not overwritten.
    place.write("mine/submit.sh", "mine");
    let ended = place.assay(&["export", "slurm", "small.yaml", "--out", "mine"]);
    assert_eq!(ended.code, 2, "{}", ended.err);
}

/// HyperQueue's server and a worker, through the shim of its Python package.
struct Server {
    place: PathBuf,
    process: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn shim() -> Command {
    let python = std::env::var("ASSAY_HQ_PYTHON").unwrap_or_else(|_| "python3".into());
    let mut command = Command::new(python);
    command.arg(root().join("tools/hq_shim.py"));
    command
}

impl Server {
    /// Started in a directory; none if the Python package is missing, which is said, and a failure with `ASSAY_REQUIRE_HQ=1`.
    fn start(place: &Place, test: &str) -> Option<Self> {
        let has = shim().arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !has.is_ok_and(|status| status.success()) {
            assert!(
                std::env::var_os("ASSAY_REQUIRE_HQ").is_none_or(|of| of.is_empty() || of == "0"),
                "{test} must run here (ASSAY_REQUIRE_HQ), and `python3 -m pip install hyperqueue==0.27.0` is missing"
            );
            say(&format!(
                "not run: {test} (`python3 -m pip install hyperqueue==0.27.0` is missing)"
            ));
            return None;
        }
        let dir = place.path("hq");
        let mut command = shim();
        command.arg("--server-dir").arg(&dir).args(["server", "start"]).stdout(Stdio::null());
        command.env("ASSAY_DATA", root().join("datasets"));
        let process = command.spawn().unwrap();
        let server = Self { place: dir, process };
        let started = Instant::now();
        while !server.place.join("shim-ready").exists() {
            assert!(started.elapsed() < Duration::from_secs(30), "the server does not start");
            thread::sleep(Duration::from_millis(20));
        }
        let mut worker = shim();
        worker.arg("--server-dir").arg(&server.place).args(["worker", "start", "--cpus", "2"]);
        assert!(worker.status().unwrap().success());
        Some(server)
    }

    fn run(&self, place: &Place) -> Command {
        let on = format!("hq:{}", self.place.display());
        let mut command = place.command(&["run", "small.yaml", "--on", &on]);
        // `hq` is one command, the shim is two words.
        let python = std::env::var("ASSAY_HQ_PYTHON").unwrap_or_else(|_| "python3".into());
        let shim = root().join("tools/hq_shim.py");
        let text = format!("#!/bin/sh\nexec '{python}' '{}' \"$@\"\n", shim.display());
        let program = place.write_program("hq.sh", &text);
        command.env("ASSAY_HQ", program);
        command
    }
}

#[test]
fn workers_of_hyperqueue_give_the_bytes_of_a_run_and_a_killed_submitter_attaches() {
    let (whole, place) = (small(), small());
    let Some(server) = Server::start(&place, "workers_of_hyperqueue_give_the_bytes_of_a_run")
    else {
        return;
    };
    whole.fine(&["run", "small.yaml"]);
    let mut killed =
        server.run(&place).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    let is_submitted = || {
        let plans = fs::read_dir(place.path(".assay/experiments/small/plans"));
        plans.into_iter().flatten().flatten().any(|plan| plan.path().join("jobs.json").exists())
    };
    while !is_submitted() {
        assert!(started.elapsed() < Duration::from_secs(60), "nothing is submitted");
        thread::sleep(Duration::from_millis(5));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let again = crate::support::ended(server.run(&place).output().unwrap(), place.dir.path());
    assert_eq!(again.code, 0, "{}", again.err);
    assert!(again.out.contains("report: reports/small/index.html"), "{}", again.out);
    assert!(place.artefacts(".assay") == whole.artefacts(".assay"));
    assert_eq!(ran(&place)["begun"], STEPS, "no step is run twice");
}

#[test]
fn a_system_that_fails_on_a_worker_stops_no_other() {
    let place = small();
    let Some(server) = Server::start(&place, "a_system_that_fails_on_a_worker_stops_no_other")
    else {
        return;
    };
    let memory = "memory: 1";
    // A step that needs more memory than the limit fails on the worker.
    let run = server.run(&place).args(["--memory", "0.000001"]).output().unwrap();
    let ended = crate::support::ended(run, place.dir.path());
    assert!(ended.code == 4 || ended.code == 0, "{memory} {}\n{}", ended.out, ended.err);
    assert!(ended.err.contains("the memory limit is"), "{}", ended.err);
}

#[test]
fn a_queue_that_is_not_there_is_an_error_with_help() {
    let place = small();
    let mut command = place.command(&["run", "small.yaml", "--on", "hq"]);
    command.env("ASSAY_HQ", place.path("no-such-program"));
    let ended = crate::support::ended(command.output().unwrap(), place.dir.path());
    assert_eq!(ended.code, 2, "{}", ended.err);
    assert!(ended.err.contains("docs/CLUSTER.md"), "{}", ended.err);
    let wrong = place.assay(&["run", "small.yaml", "--on", "pbs"]);
    assert!(wrong.code == 2 && wrong.err.contains("expected `hq`"), "{}", wrong.err);
}

#[test]
fn names_of_files_are_no_commands_in_scripts_for_slurm() {
    let place = Place::new();
    let file = "my $(touch PWNED) `touch PWNED` ex'.yaml";
    place.write(file, SMALL);
    place.fine(&["export", "slurm", file, "--out", "slurm"]);
    // Without results both commands fail, and the script with them.
    let script = place.path("slurm/gather.sh");
    let mut command = Command::new("bash");
    command.arg(script).env("ASSAY_DATA", root().join("datasets"));
    let ended = crate::support::ended(command.output().unwrap(), place.dir.path());
    assert_eq!(ended.code, 3, "{}\n{}", ended.out, ended.err);
    assert!(!place.path("PWNED").exists());
}

/// Runs a script of `export slurm` with a program in place of `assay`, which gives exit codes by its first argument.
fn with_codes(place: &Place, script: &str, codes: &str, arguments: &[&str]) -> Option<i32> {
    let text = fs::read_to_string(place.path(&format!("slurm/{script}"))).unwrap();
    let made_up = format!("#!/bin/sh\ncase $1 in {codes} esac\n");
    let program = place.write_program("made-up", &made_up).display().to_string();
    place.write("script.sh", text.replace(env!("CARGO_BIN_EXE_assay"), &program));
    let mut command = Command::new("bash");
    command.arg(place.path("script.sh")).args(arguments).env("SLURM_ARRAY_TASK_ID", "0");
    command.output().unwrap().status.code()
}

#[test]
fn scripts_for_slurm_end_with_the_worst_exit_code() {
    let place = small();
    place.fine(&["export", "slurm", "small.yaml", "--out", "slurm"]);
    for (codes, expected) in [
        ("report) exit 0;; table) exit 0;;", 0),
        ("report) exit 74;; table) exit 0;;", 74),
        ("report) exit 0;; table) exit 3;;", 3),
        ("report) exit 3;; table) exit 4;;", 4),
    ] {
        assert_eq!(with_codes(&place, "gather.sh", codes, &[]), Some(expected), "{codes}");
    }
    let list = place.path("slurm/level-0.keys").display().to_string();
    assert_eq!(with_codes(&place, "step.sh", "step) exit 0;;", &[&list, "1"]), Some(0));
    assert_eq!(with_codes(&place, "step.sh", "step) exit 4;;", &[&list, "1"]), Some(4));
    let absent = place.path("absent.keys").display().to_string();
    assert_eq!(with_codes(&place, "step.sh", "step) exit 0;;", &[&absent, "1"]), Some(2));
}

#[test]
fn an_experiment_that_other_processes_cannot_read_is_refused() {
    let place = small();
    for arguments in [
        &["export", "slurm", "/dev/stdin", "--out", "slurm"][..],
        &["run", "/dev/stdin", "--on", "hq"],
    ] {
        let file = fs::File::open(place.path("small.yaml")).unwrap();
        for input in [Stdio::from(file), Stdio::null()] {
            let ended = place.command(arguments).stdin(input).output().unwrap();
            let ended = crate::support::ended(ended, place.dir.path());
            assert_eq!(ended.code, 2, "{}", ended.err);
            assert!(ended.err.contains("the experiment must be a file"), "{}", ended.err);
        }
    }
    assert!(!place.path("slurm").exists() && !place.path(".assay").exists());
}

/// `assay run --on hq` with a script in place of `hq`; `$file` is that of the job.
fn with_queue(place: &Place, on_submit: &str, arguments: &[&str]) -> crate::support::Ended {
    let text = format!(
        "#!/bin/sh\nfor file; do :; done\ncase \"$*\" in *submit-file*) {on_submit};; *) echo '[]';; esac\n"
    );
    let program = place.write_program("hq", &text);
    let mut command = place.command(&["run", "small.yaml", "--on", "hq"]);
    let ended = command.args(arguments).env("ASSAY_HQ", program).output().unwrap();
    crate::support::ended(ended, place.dir.path())
}

#[test]
fn a_job_that_is_not_accepted_is_the_only_error() {
    let place = small();
    let ended = with_queue(&place, "echo '{\"error\": \"no room\"}'; exit 1", &[]);
    assert_eq!(ended.code, 2, "{}", ended.err);
    assert!(ended.err.contains("error: HyperQueue: cannot submit"), "{}", ended.err);
    assert!(ended.err.contains("no room") && !ended.err.contains("internal"), "{}", ended.err);
    // HyperQueue cannot pass on such a path.
    let ended = with_queue(&place, "touch submitted", &["--workspace", "a%{b}"]);
    assert_eq!(ended.code, 2, "{}", ended.err);
    assert!(ended.err.contains("HyperQueue replaces"), "{}", ended.err);
    assert!(!ended.err.contains("internal"), "{}", ended.err);
    assert!(
        !place.path("submitted").exists()
            && !place.path("a%{b}/runs").read_dir().is_ok_and(|mut runs| runs.next().is_some())
    );
}

#[test]
fn a_run_by_workers_names_their_logs() {
    let place = small();
    let fail = "grep -o '[0-9a-f]\\{64\\}' \"$file\" | while read key; do echo '{\"exit\": 4, \"cause\": \"made up\", \
                \"host\": \"h\"}' > \"$(dirname \"$file\")/failed/$key\"; done; echo '{\"id\": 1}'";
    let ended = with_queue(&place, fail, &[]);
    assert_eq!(ended.code, 4, "{}", ended.err);
    let logs = ended.err.lines().find_map(|line| line.strip_prefix("logs: ")).unwrap();
    assert!(logs.contains("experiments/small/plans/") && logs.ends_with("/logs"), "{logs}");
    assert!(place.path(logs.trim_start_matches("DIR/")).is_dir(), "{logs}");
}
