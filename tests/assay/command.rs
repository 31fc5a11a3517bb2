//! Programs in any language as systems: what they are given, what is read of them, and how they end.
//!
//! Most are shell scripts and awk, which every machine has.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Stdio,
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::support::{Ended, Place, ended, root};

/// A user's row of values, one column for each item: four users, five items, two folds.
const RATINGS: &str = "user,item,rating,fold
u1,a,5,f1
u1,b,4,f2
u1,c,5,f2
u2,a,4,f2
u2,b,5,f1
u2,d,5,f2
u3,b,5,f2
u3,c,4,f2
u3,d,4,f1
u4,e,5,f1
";

const HEAD: &str = "experiment: mine
data:
  reader: table
  ratings: ratings.csv
  columns: {user: user, item: item, rating: rating, fold: fold}
  relevant: '>= 4'
split: {scheme: official, only: [f1]}
evaluate: {k: [2], metrics: [recall, ndcg]}
systems:
  popularity: {model: popularity}
";

/// Counts the training rows of each item, and ranks all items for all users by it.
const COUNT: &str = "BEGIN { FS = \",\" }
FNR == 1 { file++; next }
file == 1 { n[$2]++; next }
{ for (item in n) print $1 \",\" item \",\" n[item] > out }
";

fn place(systems: &str) -> Place {
    let place = Place::new();
    place.write("ratings.csv", RATINGS);
    place.write("e.yaml", format!("{HEAD}{systems}"));
    place.write("count.awk", COUNT);
    place
}

/// Values of a metric in the fold f1, by system.
fn means(csv: &str, metric: &str, k: &str) -> BTreeMap<String, f64> {
    let rows = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let of = rows.filter(|f| f[2] == "f1" && f[4] == "full" && f[7] == metric && f[8] == k);
    of.map(|f| (f[1].to_owned(), f[9].parse().unwrap())).collect()
}

/// Runs `assay` with permissions of its own.
fn assay(place: &Place, args: &[&str]) -> Ended {
    let mut command = place.command(args);
    command.env("XDG_CONFIG_HOME", place.path("config"));
    ended(command.output().unwrap(), place.dir.path())
}

fn run(place: &Place, args: &[&str]) -> Ended {
    assay(place, &[&["run", "e.yaml", "--allow-commands"], args].concat())
}

fn fine(place: &Place, args: &[&str]) -> String {
    let ended = assay(place, args);
    assert_eq!(ended.code, 0, "{args:?}\n{}\n{}", ended.out, ended.err);
    ended.out
}

const AWK: &str = "  mine: {model: command, run: 'awk -v out={out} -f count.awk {train} {users}', inputs: [count.awk]}\n";

#[test]
fn a_program_is_a_row_of_the_table_beside_our_models() {
    let place = place(AWK);
    let ended = run(&place, &[]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.err.contains(
        "runs the program `awk -v out={out} -f count.awk {train} {users}` with count.awk"
    ));
    let csv = fine(&place, &["results", "e.yaml", "--csv"]);
    // Of the training part (f2) the items have 1 (a), 2 (b, c), 1 (d) ratings; e has none, and the program does not
    // know it. Tested (f1): u1 a, u2 b, u3 d, u4 e. With seen items in the lists, u1 gets b c, u2 b c (hit at 1), u3
    // b c, u4 b c. So the recall is 1/4.
    assert_eq!(means(&csv, "recall", "2")["mine"], 0.25);
    // Ours leaves out what was seen: u1 a (hit), u2 b (hit at 1), u3 a d (hit at 2), u4 b c.
    assert_eq!(means(&csv, "recall", "2")["popularity"], 0.75);
    let again = run(&place, &[]);
    assert!(again.err.contains("0 of "), "finished steps are not rerun: {}", again.err);

    // What was seen is counted and told, and left out if the experiment says so.
    assert!(
        ended.err.contains("recommended items are already in the user's training part"),
        "{}",
        ended.err
    );
    place.write("e.yaml", format!("{HEAD}{}", AWK.replace("inputs:", "seen: drop, inputs:")));
    assert_eq!(run(&place, &[]).code, 0);
    let csv = fine(&place, &["results", "e.yaml", "--csv"]);
    assert_eq!(means(&csv, "recall", "2")["mine"], means(&csv, "recall", "2")["popularity"]);
}

#[test]
fn programs_run_only_with_permission_for_this_content() {
    let place = place(AWK);
    let plan = fine(&place, &["plan", "e.yaml"]);
    let line = "runs the program `awk -v out={out} -f count.awk {train} {users}` with count.awk: not allowed yet \
                (--allow-commands)";
    assert!(plan.contains(line), "{plan}");
    let refused = assay(&place, &["run", "e.yaml"]);
    assert_eq!(refused.code, 2, "{}", refused.err);
    assert!(refused.err.contains("which you have not allowed"), "{}", refused.err);
    let nothing = !place.path("reports").exists() && !place.path(".assay").exists();
    assert!(nothing, "nothing was done");
    assert_eq!(run(&place, &[]).code, 0);
    // It is kept for this content alone.
    assert!(!fine(&place, &["plan", "e.yaml"]).contains("not allowed yet"));
    fs::remove_dir_all(place.path(".assay")).unwrap();
    assert_eq!(assay(&place, &["run", "e.yaml"]).code, 0);
    place.write("count.awk", format!("{COUNT}# changed\n"));
    assert_eq!(assay(&place, &["run", "e.yaml"]).code, 2);
    // What is there needs no permission.
    place.write("count.awk", COUNT);
    place.write("e.yaml", format!("{HEAD}{AWK}").replace("k: [2]", "k: [1]"));
    let elsewhere =
        place.command(&["run", "e.yaml"]).env("XDG_CONFIG_HOME", place.path("none")).output();
    assert_eq!(ended(elsewhere.unwrap(), place.dir.path()).code, 0, "only `evaluate` runs");
}

/// Copies what it is given to a directory of the test.
fn spy(place: &Place) -> String {
    place.write(
        "spy.sh",
        format!(
            "cp -r \"$(dirname \"$1\")\" {}\nprintf 'user,item,score\\nu1,a,1\\n' > \"$1\"\n",
            place.path("seen").display()
        ),
    );
    "inputs: [spy.sh], run: 'sh spy.sh {out} {train} {users} {items} ".to_owned()
}

#[test]
fn nothing_of_the_test_part_reaches_a_program() {
    let place = place("");
    let spy = spy(&place);
    let system = format!(
        "  spy: {{model: command, {spy} {{params}} {{depth}} {{threads}} {{seed}}', params: {{a: [1, x]}}}}\n"
    );
    place.write("e.yaml", format!("{HEAD}{system}"));
    let ended = run(&place, &[]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    let given: BTreeSet<String> = fs::read_dir(place.path("seen"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let expected = ["items.csv", "params.json", "run", "train.csv", "users.csv"];
    assert_eq!(given, expected.map(str::to_owned).into());
    let read = |name: &str| fs::read_to_string(place.path("seen").join(name)).unwrap();
    // By user and item: the rows of fold f2.
    assert_eq!(
        read("train.csv"),
        "user,item,rating,timestamp\nu1,b,4.0,0\nu1,c,5.0,0\nu2,a,4.0,0\nu2,d,5.0,0\nu3,b,5.0,0\nu3,c,4.0,0\n"
    );
    // All users and items of the data, in the order of their ids, whoever is tested and on what.
    assert_eq!(read("users.csv"), "user\nu1\nu2\nu3\nu4\n");
    assert_eq!(read("items.csv"), "item\na\nb\nc\nd\ne\n");
    assert_eq!(read("params.json"), "{\n  \"a\": [\n    1,\n    \"x\"\n  ]\n}");
    let here: Vec<_> = fs::read_dir(place.path("seen/run")).unwrap().flatten().collect();
    assert!(here.len() == 1 && here[0].file_name() == "spy.sh", "its inputs alone");
    // Other test ratings of the same users and items, and it is given the same bytes.
    let before = (read("train.csv"), read("users.csv"), read("items.csv"));
    fs::remove_dir_all(place.path("seen")).unwrap();
    place.write(
        "ratings.csv",
        RATINGS.replace("u1,a,5,f1", "u1,e,1,f1").replace("u2,b,5,f1", "u2,e,2,f1\nu2,c,1,f1"),
    );
    assert_eq!(run(&place, &[]).code, 0);
    assert_eq!((read("train.csv"), read("users.csv"), read("items.csv")), before);
    assert!(
        !place.path(".assay/scratch").exists()
            || fs::read_dir(place.path(".assay/scratch")).unwrap().count() == 0
    );
}

#[test]
fn seeds_sweeps_and_depth_change_what_they_are_used_for() {
    let count = |place: &Place| -> usize {
        let plan: Value =
            serde_json::from_str(&fine(place, &["plan", "e.yaml", "--json"])).unwrap();
        let steps = plan["steps"].as_array().unwrap().iter();
        steps
            .filter(|of| of["kind"] == "predict" && of["step"].as_str().unwrap().starts_with('m'))
            .count()
    };
    for (system, expected) in [
        ("m: {model: command, run: 'sh m {out}'}", 1),
        ("m: {model: command, run: 'sh m {out} {seed}'}", 3),
        ("m: {model: command, run: 'sh m {out} {params}', params: {f: {sweep: [1, 2]}}}", 2),
        ("m: {model: command, run: 'sh m {out} {params} {seed}', params: {f: {sweep: [1, 2]}}}", 6),
    ] {
        let place = place(&format!("  {system}\nseeds: [1, 2, 3]\n"));
        assert_eq!(count(&place), expected, "{system}");
        let keys = |text: &str| {
            place.write("e.yaml", text);
            let plan: Value =
                serde_json::from_str(&fine(&place, &["plan", "e.yaml", "--json"])).unwrap();
            let steps = plan["steps"].as_array().unwrap().iter();
            let of = steps.filter(|of| {
                of["kind"] == "predict" && of["step"].as_str().unwrap().starts_with('m')
            });
            of.map(|of| of["key"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let text = format!("{HEAD}  {system}\n");
        let before = keys(&text);
        assert_eq!(keys(&text.replace("k: [2]", "k: [101]")), before, "depth is not used");
        let limits = text.replace("run:", "timeout: 1h, memory: 1GB, run:");
        assert_eq!(keys(&limits), before, "limits are no part of the key");
        assert_ne!(keys(&text.replace("'sh m", "'sh n")), before);
    }
    let place = place("  m: {model: command, run: 'sh m {out} {depth}'}\n");
    let key = |place: &Place| fine(place, &["plan", "e.yaml", "--json"]);
    let before = key(&place);
    place.write(
        "e.yaml",
        fs::read_to_string(place.path("e.yaml")).unwrap().replace("k: [2]", "k: [101]"),
    );
    assert_ne!(key(&place), before, "a longer list is another result");
}

#[test]
fn a_failure_is_told_with_the_end_of_the_output_and_the_others_go_on() {
    let place = place(
        "  bad: {model: command, run: 'sh bad.sh {out}', inputs: [bad.sh]}
  none: {model: command, run: 'true {out}'}
  nonsense: {model: command, run: 'cp bad.sh {out}', inputs: [bad.sh]}
  strangers: {model: command, run: 'sh strangers.sh {out}', inputs: [strangers.sh]}
",
    );
    place.write(
        "bad.sh",
        "for i in 1 2 3; do echo step $i; done\nprintf 'Error: \\033[31mno\\n' >&2\nexit 3\n",
    );
    place.write("strangers.sh", "printf 'user,item\\nx1,a\\nx2,b\\n' > $1\n");
    let ended = run(&place, &[]);
    assert_eq!(ended.code, 4, "{}", ended.err);
    assert!(ended.err.contains("4 of 5 trials failed"), "{}", ended.err);
    for said in [
        "the program `sh bad.sh {out}`: it ended with the exit code 3; the end of its output:",
        "step 3\n",
        "Error: \\u{1b}[31mno",
        "the program `true {out}`: it ended with success, but it did not write `{out}`",
        "the program `cp bad.sh {out}`: its rankings cannot be read: ",
        "the program `sh strangers.sh {out}`: its rankings cannot be read: ",
    ] {
        assert!(ended.err.contains(said), "no `{said}` in {}", ended.err);
    }
    assert!(!ended.err.contains('\u{1b}') && ended.out.contains("popularity"), "{}", ended.out);
    let runs = fs::read_dir(place.path(".assay/runs")).unwrap().flatten().next().unwrap();
    let log = fs::read_to_string(runs.path().join("logs/bad--f1--seed1.log")).unwrap();
    assert!(log.contains("step 1") && log.contains("\\u{1b}[31mno"), "{log}");
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_runs() {
    for (system, said) in [
        ("run: 'm {tain} {out}'", "unknown placeholder `{tain}`"),
        ("run: 'm {test} {out}'", "unknown placeholder `{test}`"),
        ("run: 'm x'", "`{out}` is missing"),
        ("run: 'no-such-program-anywhere {out}'", "there is no such program"),
        ("run: './count.awk {out}', inputs: [count.awk]", "it must be executable"),
        ("run: 'sh {out}', inputs: [gone.py]", "there is no such file"),
        ("run: 'sh {out}', inputs: [../x]", "not a path below the directory"),
        ("run: 'sh {out}', timeout: 5 minutes", "`5 minutes` is no time"),
        ("run: 'sh {out}', timeout: 5", "wrong type"),
        ("run: 'sh {out}', params: {a: 1}", "`params` has no effect"),
        ("run: 'sh {out}', train_share: {share: 0.5, seed: 1}", "is not trained by assay"),
        ("run: 'sh {out}', search: {over: {a: [1]}}", "a search of a program cannot try `a`"),
        ("run: 'sh {out}', runs: 2", "unknown"),
    ] {
        let place = place(&format!("  m: {{model: command, {system}}}\n"));
        let ended = run(&place, &[]);
        assert_eq!(ended.code, 2, "{system}: {}", ended.err);
        assert!(ended.err.contains(said), "{system}: no `{said}` in {}", ended.err);
        assert_eq!(ended.err.matches("error:").count(), 1, "{}", ended.err);
        assert!(!place.path(".assay/steps/predict").exists());
    }
    // Only a run finds that the fold has no validation part.
    let place = place("  m: {model: command, run: 'cp {validation} {out}'}\n");
    let ended = run(&place, &[]);
    assert_eq!(ended.code, 2, "{}", ended.err);
    assert!(ended.err.contains("the fold has no validation part"), "{}", ended.err);
    // With one it is given, and what is recommended of it counts as seen.
    let text = fs::read_to_string(place.path("e.yaml")).unwrap();
    place.write(
        "e.yaml",
        text.replace("scheme: official", "scheme: official, validation: {fraction: 0.3}"),
    );
    let ended = run(&place, &[]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(
        ended.err.contains("2 recommended items are already"),
        "two of six rows are validated: {}",
        ended.err
    );
}

#[test]
fn a_file_that_is_edited_between_planning_and_running_is_an_error() {
    let place = place("");
    // The first program changes the second one's file.
    let system = "  a: {model: command, run: 'sh a.sh {out}', inputs: [a.sh]}\n  b: {model: command, run: 'sh b.sh {out}', inputs: [b.sh]}\n";
    place.write("e.yaml", format!("{HEAD}{system}"));
    place.write(
        "a.sh",
        format!(
            "echo '# edited' >> {}\nprintf 'user,item\\nu1,a\\n' > $1\n",
            place.path("b.sh").display()
        ),
    );
    place.write("b.sh", "printf 'user,item\\nu1,a\\n' > $1\n");
    let ended = run(&place, &["--threads", "1"]);
    assert_eq!(ended.code, 4, "{}", ended.err);
    assert!(ended.err.contains("b.sh: it changed while the experiment ran"), "{}", ended.err);
}

#[test]
fn programs_of_ones_own_and_of_path_are_found() {
    let place = place(
        "  own: {model: command, run: './bin/own {out}', inputs: [bin]}
  environment: {model: command, run: '.venv/own {out}'}
  listed: {model: command, run: [cp, two words, '{out}'], inputs: [two words]}
",
    );
    let script =
        "#!/bin/sh\ntest -e ratings.csv && exit 1\nprintf 'user,item\\nu1,a\\nu2,b\\n' > \"$1\"\n";
    for name in ["bin/own", ".venv/own"] {
        place.write_program(name, script);
    }
    place.write("two words", "user,item\nu1,a\nu2,b\n");
    let ended = run(&place, &[]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    let csv = fine(&place, &["results", "e.yaml", "--csv"]);
    for system in ["own", "environment", "listed"] {
        // u1 and u2 have their hit first, u3 and u4 have no list.
        assert_eq!(means(&csv, "ndcg", "2")[system], 0.5);
    }
}

/// Whether a process is there and no zombie.
fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

fn waits_until(mut what: impl FnMut() -> bool) -> bool {
    (0..300).any(|_| {
        thread::sleep(Duration::from_millis(50));
        what()
    })
}

#[test]
fn a_program_ends_with_its_limit_and_with_assay() {
    let place = place(
        "  slow: {model: command, timeout: 1s, run: 'sh slow.sh {out}', inputs: [slow.sh]}\n",
    );
    let pids = place.path("pids");
    let script =
        format!("sleep 1000 &\necho $! $$ > {0}.new\nmv {0}.new {0}\nwait\n", pids.display());
    place.write("slow.sh", &script);
    let ids = || -> Vec<String> {
        let text = fs::read_to_string(&pids).unwrap();
        text.split_whitespace().map(str::to_owned).collect()
    };
    let ended = run(&place, &[]);
    assert_eq!(ended.code, 4, "{}", ended.err);
    assert!(ended.err.contains("it was ended after 1 s, its `timeout`"), "{}", ended.err);
    assert!(waits_until(|| ids().iter().all(|pid| !is_alive(pid))));

    // Killed without a warning, or interrupted, assay leaves nothing running.
    place.write(
        "e.yaml",
        fs::read_to_string(place.path("e.yaml")).unwrap().replace("timeout: 1s, ", ""),
    );
    for signal in [libc::SIGKILL, libc::SIGINT] {
        fs::remove_file(&pids).unwrap();
        let mut child = place
            .command(&["run", "e.yaml", "--allow-commands"])
            .env("XDG_CONFIG_HOME", place.path("config"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        assert!(waits_until(|| pids.exists()), "the program did not start");
        let running = ids();
        assert!(running.len() == 2 && running.iter().all(|pid| is_alive(pid)));
        // SAFETY: the process is our child and not yet waited for.
        unsafe { libc::kill(child.id() as i32, signal) };
        let status = child.wait().unwrap();
        assert!(signal == libc::SIGKILL || status.code() == Some(75), "{status}");
        assert!(waits_until(|| running.iter().all(|pid| !is_alive(pid))), "{signal}");
    }
    // The next run goes on: the program is run again, and what it left is gone.
    place.write("slow.sh", "ls \"$(dirname $1)\" > listed\nprintf 'user,item\\nu1,a\\n' > $1\n");
    let ended = run(&place, &[]);
    assert_eq!(ended.code, 0, "{}", ended.err);
}

#[test]
fn the_same_program_gives_the_same_bytes_again() {
    let place = place(AWK);
    let args = ["run", "e.yaml", "--allow-commands", "--workspace"];
    for (workspace, threads) in [("one", "1"), ("four", "4")] {
        fine(&place, &[&args[..], &[workspace, "--threads", threads]].concat());
    }
    assert!(place.artefacts("one") == place.artefacts("four"));
}

#[test]
fn splits_are_those_of_the_run_and_sealed() {
    let place = Place::new();
    let file = root().join("experiments/quickstart.yaml");
    let file = file.to_str().unwrap();
    let out = place.fine(&["split", file, "--out", "folds"]);
    assert!(out.contains("5 folds in folds, listed in folds/split.json"), "{out}");
    let list: Value =
        serde_json::from_str(&fs::read_to_string(place.path("folds/split.json")).unwrap()).unwrap();
    assert_eq!(list["folds"].as_array().unwrap().len(), 5);
    assert!(list["folds"][0]["test_opened"].is_null());
    // The rows of the file whose fold is another one, in the order of user and item.
    let rows = |keep: &dyn Fn(&str) -> bool| -> BTreeSet<String> {
        let text = fs::read_to_string(root().join("datasets/sample/ratings.csv")).unwrap();
        let rows = text.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
        let rows = rows.filter(|of| keep(of[4]));
        rows.map(|of| format!("{},{},{}.0,{}", of[0], of[1], of[2], of[3])).collect()
    };
    let read = |name: &str| -> Vec<String> {
        let text = fs::read_to_string(place.path(name)).unwrap();
        text.lines().map(str::to_owned).collect()
    };
    let train = read("folds/f1/train.csv");
    assert_eq!(train[0], "user,item,rating,timestamp");
    assert_eq!(train[1..].iter().cloned().collect::<BTreeSet<_>>(), rows(&|fold| fold != "f1"));
    assert_eq!(read("folds/f1/users.csv").len(), 301);
    assert!(read("folds/f1/items.csv")[0] == "item,title,genres,overview");
    for fold in ["f1", "f5"] {
        assert!(!place.path(&format!("folds/{fold}/test.csv")).exists());
    }
    // Asked for, the test part is written, and the list says so.
    place.fine(&["split", file, "--out", "open", "--fold", "f2", "--with-test"]);
    let test = read_set(&place, "open/f2/test.csv");
    assert_eq!(test, rows(&|fold| fold == "f2"));
    let list: Value =
        serde_json::from_str(&fs::read_to_string(place.path("open/split.json")).unwrap()).unwrap();
    assert_eq!(list["folds"][0]["test_opened"]["by"], "split");
    assert!(!place.path("open/f1").exists());
    // A data set by its name; nothing of others is overwritten.
    place.fine(&["split", "sample", "--format", "parquet"]);
    assert!(place.path("folds/sample/f1/train.parquet").is_file());
    place.write("mine/split.json", "mine");
    let refused = place.assay(&["split", "sample", "--out", "mine"]);
    assert!(refused.code == 2 && refused.err.contains("assay did not write it"), "{}", refused.err);
    for (args, said) in [
        (&["split", "sample", "--fold", "f9"][..], "there is no such fold"),
        (&["split", "nothing"], "unknown data set `nothing`"),
        (&["split", "nothing.yaml"], "cannot read nothing.yaml"),
    ] {
        let refused = place.assay(args);
        assert!(refused.code == 2 && refused.err.contains(said), "{}", refused.err);
    }
}

fn read_set(place: &Place, name: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(place.path(name)).unwrap();
    text.lines().skip(1).map(str::to_owned).collect()
}

/// The way of docs/BRING-YOUR-OWN-MODEL.md: what a command is given is what `split` writes, and what it writes is
/// scored as a file of rankings is.
#[test]
fn split_and_external_give_the_numbers_of_the_command() {
    let place =
        place(&format!("{AWK}  theirs: {{model: external, rankings: 'mine-{{fold}}.csv'}}\n"));
    fine(&place, &["split", "e.yaml", "--out", "folds"]);
    let program = place.path("count.awk");
    let status = std::process::Command::new("awk")
        .args(["-v", "out=mine-f1.csv", "-f"])
        .arg(program)
        .args(["folds/f1/train.csv", "folds/f1/users.csv"])
        .current_dir(place.dir.path())
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(run(&place, &[]).code, 0);
    let csv = fine(&place, &["results", "e.yaml", "--csv"]);
    for metric in ["recall", "ndcg"] {
        let found = means(&csv, metric, "2");
        assert_eq!(found["mine"], found["theirs"]);
    }
}

/// The program ranks one item first for everybody: which one is its setting. The search finds the item that is liked
/// most in the part it measures on, which is cut from the training part.
#[test]
fn a_search_tries_settings_on_a_part_of_the_training_part() {
    let place = place("");
    let rows: String = (1..=40)
        .map(|user| {
            let fold = if user <= 4 { "f1" } else { "f2" };
            // Of the training part, everybody likes z; of the test part, everybody likes y.
            format!(
                "u{user},z,5,f2\nu{user},y,{},{fold}\nu{user},w,1,f2\n",
                if user <= 4 { 5 } else { 1 }
            )
        })
        .collect();
    place.write("ratings.csv", format!("user,item,rating,fold\n{rows}"));
    let log = place.path("log");
    place.write(
        "one.sh",
        format!(
            "item=$(tr -d ' {{}}\"\\n' < $1 | cut -d: -f2)\necho $item $(wc -l < $2) $4 >> {}\n\
             echo user,item > $3\nfor user in $(seq 40); do echo u$user,$item >> $3; done\n",
            log.display()
        ),
    );
    let system = "  m:
    model: command
    run: 'sh one.sh {params} {train} {out} {seed}'
    inputs: [one.sh]
    params: {item: w}
    search: {over: {params.item: [y, w, z]}, metric: hit-rate, validation: 0.3, seed: 7}
";
    place.write("e.yaml", format!("{HEAD}{system}seeds: [1, 2]\n").replace("'>= 4'", "'>= 4'"));
    let ended = run(&place, &["--threads", "1"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    let log = fs::read_to_string(&log).unwrap();
    let runs: Vec<&str> = log.lines().collect();
    // 116 rows of training and a header; a part of them for the trials, all of them for the two seeds.
    assert_eq!(runs.len(), 5, "{log}");
    for (line, item) in runs.iter().zip(["y", "w", "z"]) {
        let [found, rows, seed] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        assert_eq!((found, seed), (item, "7"));
        assert!(rows.parse::<usize>().unwrap() < 90, "{line}");
    }
    assert_eq!(runs[3..], ["z 117 1", "z 117 2"]);
    // It is a search like that of a model to those who ask for trials, and to an audit.
    let listed = fine(&place, &["results", "e.yaml", "--trials", "--csv"]);
    assert_eq!(listed.lines().count(), 4, "{listed}");
    assert!(
        ["y", "w", "z"].iter().all(|item| listed.contains(&format!("params.item={item}"))),
        "{listed}"
    );
    let audit = assay(&place, &["audit", "e.yaml", "--json", "--only", "untuned-baselines"]);
    let audit: Value = serde_json::from_str(&audit.out).unwrap();
    assert_eq!(audit["checks"][0]["findings"].as_array().unwrap().len(), 0, "{audit}");
    let plan = fine(&place, &["plan", "e.yaml", "--json"]);
    let plan: Value = serde_json::from_str(&plan).unwrap();
    let search =
        plan["steps"].as_array().unwrap().iter().find(|step| step["kind"] == "search").unwrap();
    let key = search["key"].as_str().unwrap();
    let trials =
        fs::read_to_string(place.path(&format!(".assay/steps/search/{key}/search.json"))).unwrap();
    let trials: Value = serde_json::from_str(&trials).unwrap();
    let chosen: Vec<(&str, bool)> = trials
        .as_array()
        .unwrap()
        .iter()
        .map(|of| (of["settings"].as_str().unwrap(), of["chosen"].as_bool().unwrap()))
        .collect();
    assert_eq!(
        chosen,
        [("params.item=y", false), ("params.item=w", false), ("params.item=z", true)]
    );
    // A random part of a training part that is split by time knows what came later.
    let timed = "user,item,rating,when\n".to_owned()
        + &(0..90).map(|at| format!("u{},i{},5,{at}\n", at % 9, at / 9)).collect::<String>();
    place.write("ratings.csv", timed);
    let text = fs::read_to_string(place.path("e.yaml")).unwrap();
    let text = text
        .replace("rating: rating, fold: fold", "rating: rating, timestamp: when")
        .replace("{scheme: official, only: [f1]}", "{scheme: temporal, test: 0.2}")
        .replace("seed: 7", "by: random");
    place.write("e.yaml", text);
    let ended = run(&place, &[]);
    assert!(
        ended.code == 0 && ended.err.contains("settings are chosen on random ratings"),
        "{}",
        ended.err
    );
}

/// The examples without packages run on the sample, and give what the same models of assay give.
#[test]
fn the_examples_in_plain_python_run() {
    let place = Place::new();
    for name in ["own-models.yaml", "popularity.py", "item_knn.py"] {
        place.write(name, fs::read(root().join("examples").join(name)).unwrap());
    }
    let text = fs::read_to_string(place.path("own-models.yaml")).unwrap();
    let changed = text.replace("{scheme: official}", "{scheme: official, only: [f1]}");
    assert_ne!(text, changed);
    place.write("e.yaml", changed);
    let ended = run(&place, &[]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    let csv = fine(&place, &["results", "e.yaml"]);
    for metric in ["ndcg", "recall", "mrr"] {
        let found = means(&csv, metric, "10");
        assert_eq!(found["popularity"], found["popularity.py"]);
        // Sums of cosines are rounded otherwise, and items of nearly one score are ordered otherwise.
        for neighbours in [10, 100] {
            let of = |system: &str| found[&format!("{system}[neighbours={neighbours}]")];
            let (ours, theirs) = (of("item-knn"), of("item_knn.py"));
            assert!((ours - theirs).abs() < 0.005 && ours > 1.1 * found["popularity"], "{found:?}");
        }
    }
}
