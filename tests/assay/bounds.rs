//! Limits, damage and full disks: each gives one message that names the limit, the file or the directory.

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde_json::{Value, json};

use crate::{
    endpoint::{Endpoint, Reply},
    hostile::{ASK, PROMPT, SMALL, files, with, written},
    support::{Ended, Place, ended},
};

/// Runs with a limit of the shell (`-v 1000`), beyond which the program is killed or fails.
fn limited(place: &Place, limit: &str, args: &[&str]) -> Ended {
    let plain = place.command(args);
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("ulimit {limit}; exec \"$0\" \"$@\""));
    command.arg(plain.get_program()).args(plain.get_args()).current_dir(place.dir.path());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    ended(command.output().unwrap(), place.dir.path())
}

fn no_panic(ended: &Ended) {
    for word in ["panicked", "RUST_BACKTRACE", "internal error"] {
        assert!(!ended.err.contains(word), "{}", ended.err);
    }
}

#[test]
fn small_files_cannot_expand_beyond_limits() {
    let place = Place::new();
    let levels: Vec<String> = (0..1000).map(|at| at.to_string()).collect();
    let sweep = |name: &str| format!("{name}: {{sweep: [{}]}}", levels.join(", "));
    let three = SMALL.replace(
        "{model: popularity}",
        &format!(
            "{{model: item-knn, {}, {}, {}}}",
            sweep("neighbours"),
            sweep("shrink"),
            sweep("describe")
        ),
    );
    let folds =
        SMALL.replace("{scheme: official, only: [f1]}", "{scheme: kfold, folds: 1000000000}");
    let mut aliases = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for at in 1..10 {
        let below = format!("*a{}, ", at - 1).repeat(10);
        aliases.push_str(&format!("a{at}: &a{at} [{below}]\n"));
    }
    for (text, named) in [
        (three, "1000000000 trials, and at most 100000 are allowed"),
        (folds, "at most 100000 are allowed"),
        (format!("{SMALL}{aliases}"), "more than 1000000 values"),
    ] {
        place.write("e.yaml", text);
        for verb in ["plan", "run"] {
            // 8 GB of address space: an expanded file would not fit.
            let refused = limited(&place, "-v 8000000", &[verb, "e.yaml"]);
            assert!(refused.code == 2 && refused.err.contains(named), "{}", refused.err);
            assert!(refused.err.len() < 2000);
        }
    }
    // Each is under the limit, but their product is not.
    let some = SMALL.replace("{model: popularity}", "{model: random}");
    place.write("e.yaml", format!("{some}seeds: [1, 2, 3]\n"));
    let refused = place.assay(&["plan", "e.yaml", "--max-trials", "2"]);
    assert!(
        refused.code == 2 && refused.err.contains("has 3 trials, and at most 2"),
        "{}",
        refused.err
    );
    assert!(refused.err.contains("--max-trials N"), "{}", refused.err);
    place.fine(&["plan", "e.yaml", "--max-trials", "3"]);
    // Files that include others twice.
    for at in 0..14 {
        let below = format!("{{use: [f{0}.yaml, f{0}.yaml]}}", at + 1);
        place.write(&format!("f{at}.yaml"), format!("a: {below}\nb: {below}\n"));
    }
    place.write("f14.yaml", "c: 1\n");
    place.write("e.yaml", format!("{SMALL}describe: {{use: f0.yaml}}\n"));
    let refused = limited(&place, "-v 8000000", &["plan", "e.yaml"]);
    assert!(refused.code == 2 && refused.err.contains("more than 1000 times"), "{}", refused.err);
}

#[test]
fn errors_in_experiments_and_data_are_reported_before_work_starts() {
    let place = Place::new();
    for (from, to, named) in [
        ("k: [10]", "k: [5, 5]", "holds 5 twice"),
        ("  popularity:", "  \"\":", "a system has no printable name"),
        ("  popularity:", "  \" \":", "a system has no printable name"),
    ] {
        place.write("e.yaml", SMALL.replace(from, to));
        let refused = place.assay(&["run", "e.yaml"]);
        assert!(refused.code == 2 && refused.err.contains(named), "{}", refused.err);
        assert!(!place.path(".assay").exists());
    }
    let experiment = SMALL
        .replace(
            "{set: sample, relevant: \">= 4\"}",
            "{folder: data, reader: table, ratings: r.csv, columns: {user: user, item: item}}",
        )
        .replace("{scheme: official, only: [f1]}", "{scheme: kfold, folds: 3}");
    for (rows, named) in [
        ("user,user,item\n1,2,3\n4,5,6\n7,8,9\n", "two columns have one name"),
        ("user,item\n1,2\n3\n", "r.csv:3"),
        ("user,item\n1,2\n3,\n", "r.csv:3"),
        ("user,item\n1,2\n3,4\n", "3 folds of 2 ratings"),
    ] {
        place.write("data/r.csv", rows);
        place.write("e.yaml", &experiment);
        let refused = place.assay(&["run", "e.yaml"]);
        assert!(refused.code == 2 && refused.err.contains(named), "{rows}: {}", refused.err);
        no_panic(&refused);
    }
    // Names that polars gives to duplicate columns may occur in a file.
    place.write("data/r.csv", "user,item,item_duplicated_0\n1,2,3\n3,4,5\n5,6,7\n");
    place.fine(&["run", "e.yaml", "--quiet"]);
}

#[test]
fn a_damaged_parquet_file_gives_one_message() {
    let place = Place::new();
    place.write("small.yaml", SMALL);
    place.fine(&["run", "small.yaml", "--quiet"]);
    let whole = files(&place.path(".assay/steps/predict"));
    let path = whole.iter().find(|path| path.extension().is_some_and(|end| end == "parquet"));
    let whole = fs::read(path.unwrap()).unwrap();
    let footer = u32::from_le_bytes(whole[whole.len() - 8..][..4].try_into().unwrap()) as usize;
    for at in (whole.len() - 8 - footer..whole.len()).step_by(footer / 30) {
        let mut changed = whole.clone();
        changed[at] ^= 0x28;
        place.write("x.parquet", changed);
        let scored = place.assay(&["score", "--data", "sample", "--fold", "f1", "x.parquet"]);
        assert!(scored.code <= 2, "byte {at}: {} {}", scored.code, scored.err);
        assert!(!scored.err.contains("panicked") && !scored.err.contains(".rs:"), "{}", scored.err);
    }
}

#[test]
fn endless_replies_and_redirects_are_errors() {
    let limit = [("ASSAY_MAX_LINE_MB", "1")];
    let endpoint = Endpoint::start(|_, _| Reply::Endless);
    let place = written(&endpoint.url(), "", PROMPT);
    let run = with(&place, &ASK, &limit);
    assert_eq!(run.code, 4, "{}", run.err);
    assert!(
        run.err.contains("longer than 1 MB, the limit that ASSAY_MAX_LINE_MB sets"),
        "{}",
        run.err
    );
    for path in files(&place.path(".assay")) {
        assert!(fs::metadata(&path).unwrap().len() < 1 << 20, "{}", path.display());
    }

    let endpoint = Endpoint::start(|_, _| Reply::Redirect("http://elsewhere.test/v2".into()));
    let place = written(&endpoint.url(), ", key_env: SOME_API_KEY", PROMPT);
    let run = with(&place, &ASK, &[("SOME_API_KEY", "very-secret-0123456789")]);
    assert_eq!(run.code, 4, "{}", run.err);
    assert!(run.err.contains("redirects to http://elsewhere.test/v2"), "{}", run.err);
    assert!(run.err.contains("not followed"), "{}", run.err);
}

/// A workspace with recorded responses, and their cassette: the first line, and the others.
fn cassette() -> (Endpoint, Place, Value, Vec<String>) {
    let endpoint = Endpoint::start(|_, _| Reply::Content("A text.".into()));
    let place = written(&endpoint.url(), "", PROMPT);
    assert_eq!(with(&place, &ASK, &[]).code, 0);
    place.fine(&["cache", "export", "c.gz"]);
    let mut text = String::new();
    GzDecoder::new(File::open(place.path("c.gz")).unwrap()).read_to_string(&mut text).unwrap();
    let mut lines = text.lines().map(|line| format!("{line}\n"));
    let head = serde_json::from_str(&lines.next().unwrap()).unwrap();
    (endpoint, place, head, lines.collect())
}

fn packed(head: &Value, lines: &[String], behind: &[u8]) -> Vec<u8> {
    let mut head = head.clone();
    head["blake3"] = blake3::hash(lines.concat().as_bytes()).to_string().into();
    let mut out = GzEncoder::new(Vec::new(), Compression::default());
    out.write_all(format!("{head}\n{}", lines.concat()).as_bytes()).unwrap();
    [out.finish().unwrap(), behind.to_vec()].concat()
}

/// A line of a journal with another record and its checksum.
fn changed(line: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut line: Value = serde_json::from_str(line).unwrap();
    change(&mut line["record"]);
    let text = line["record"].to_string();
    let sum = &blake3::hash(text.as_bytes()).to_hex()[..16];
    format!("{{\"sum\":\"{sum}\",\"record\":{text}}}\n")
}

#[test]
fn a_cassette_is_imported_completely_or_not_at_all() {
    let (_endpoint, _place, head, lines) = cassette();
    assert!(lines.len() > 1);
    let with_second = |change: &dyn Fn(&mut Value)| {
        let mut lines = lines.clone();
        lines[1] = changed(&lines[1], change);
        lines
    };
    let other = |key: &str, value: Value| {
        let mut head = head.clone();
        head[key] = value;
        head
    };
    let mut twice = lines.clone();
    twice.push(lines[1].clone());
    let fine = packed(&head, &lines, b"");
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "a foreign request",
            packed(&head, &with_second(&|of| of["request"]["url"] = json!("x")), b""),
            "line 3",
        ),
        ("no record", packed(&head, &with_second(&|of| of["at"] = json!("x")), b""), "line 3"),
        (
            "a failure",
            packed(&head, &with_second(&|of| of["kind"] = json!("failure")), b""),
            "line 3",
        ),
        (
            "twice",
            packed(&other("answers", json!(lines.len() + 1)), &twice, b""),
            "second response",
        ),
        ("models", packed(&other("models", json!({"gpt-9": lines.len()})), &lines, b""), "models"),
        ("money", packed(&other("money", json!(1.5)), &lines, b""), "money"),
        ("tokens", packed(&other("input_tokens", json!(1)), &lines, b""), "tokens"),
        ("dates", packed(&other("first", json!(1)), &lines, b""), "dates"),
        ("count", packed(&other("answers", json!(1)), &lines, b""), "responses"),
        (
            "tokens of a record",
            packed(&head, &with_second(&|of| of["usage"]["input"] = json!(u64::MAX)), b""),
            "tokens",
        ),
        ("bytes behind", packed(&head, &lines, b"x"), "bytes after its end"),
        ("another stream behind", packed(&head, &lines, &fine), "bytes after its end"),
        (
            "a long line",
            packed(&head, &[lines.clone(), vec!["x".repeat(3 << 20)]].concat(), b""),
            "longer than 1 MB",
        ),
    ];
    let fresh = Place::new();
    for (what, bytes, named) in cases {
        fresh.write("x.gz", bytes);
        let mut command = fresh.command(&["cache", "import", "x.gz"]);
        command.env("ASSAY_MAX_LINE_MB", "1");
        let refused = ended(command.output().unwrap(), fresh.dir.path());
        assert_eq!(refused.code, 2, "{what}: {}", refused.err);
        assert!(refused.err.contains(named), "{what}: {}", refused.err);
        assert!(refused.err.contains("nothing was imported"), "{what}: {}", refused.err);
        let stats: Value =
            serde_json::from_str(&fresh.fine(&["cache", "stats", "--json"])).unwrap();
        assert_eq!(stats["counts"]["answers"], 0, "{what}");
    }
    // Sums saturate at the maximum of their type.
    let most = with_second(&|of| of["usage"]["input"] = json!(u64::MAX));
    fresh.write("x.gz", packed(&other("input_tokens", json!(u64::MAX)), &most, b""));
    fresh.fine(&["cache", "import", "x.gz"]);
    let stats: Value = serde_json::from_str(&fresh.fine(&["cache", "stats", "--json"])).unwrap();
    assert_eq!(stats["models"]["test-1"]["input_tokens"], u64::MAX);
    let fresh = Place::new();
    fresh.write("x.gz", fine);
    fresh.fine(&["cache", "import", "x.gz"]);
    fresh.fine(&["cache", "verify"]);
}

/// The user who runs the tests may have all permissions (root): this runs a command as an unprivileged user.
fn as_nobody(place: &Place, args: &[&str]) -> Ended {
    ended(nobody(place, args).output().unwrap(), place.dir.path())
}

fn nobody(place: &Place, args: &[&str]) -> Command {
    let plain = place.command(args);
    // SAFETY: no memory is shared.
    if unsafe { libc::geteuid() } != 0 {
        return plain;
    }
    // Other users may have no access to the directory of the program.
    let program = place.path("program");
    if !program.exists() {
        place.copy_program(plain.get_program().as_ref(), "program");
    }
    let mut command = Command::new(program);
    command.args(args).current_dir(place.dir.path()).uid(65534).gid(65534);
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

#[test]
fn a_lack_of_threads_is_one_message() {
    let endpoint = Endpoint::start(|_, _| Reply::Content("x".into()));
    let place = written(&endpoint.url(), "", PROMPT);
    set_mode(place.dir.path(), 0o777, 0o666);
    for threads in [1, 2, 3, 4, 6, 8, 10] {
        let mut command = nobody(&place, &["run", "e.yaml", "--answers", "replay", "--force"]);
        let most = libc::rlimit { rlim_cur: threads, rlim_max: threads };
        // SAFETY: only a system call.
        unsafe {
            command.pre_exec(move || match libc::setrlimit(libc::RLIMIT_NPROC, &most) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        let run = ended(command.output().unwrap(), place.dir.path());
        for word in ["panicked", "RUST_BACKTRACE", "report it"] {
            assert!(!run.err.contains(word), "{threads}: {}", run.err);
        }
        if threads == 1 {
            assert!(run.code == 70 && run.err.contains("ulimit -u"), "{}", run.err);
            let errors = run.err.lines().filter(|line| line.starts_with("error: ")).count();
            assert_eq!(errors, 1, "{}", run.err);
        }
    }
}

fn set_mode(dir: &Path, of_dirs: u32, of_files: u32) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => set_mode(&entry.path(), of_dirs, of_files),
            false => {
                fs::set_permissions(entry.path(), PermissionsExt::from_mode(of_files)).unwrap()
            }
        }
    }
    fs::set_permissions(dir, PermissionsExt::from_mode(of_dirs)).unwrap();
}

#[test]
fn recorded_responses_are_read_in_a_read_only_directory() {
    let (endpoint, place, ..) = cassette();
    let asked = endpoint.seen.total();
    fs::remove_dir_all(place.path(".assay/steps")).unwrap();
    set_mode(place.dir.path(), 0o777, 0o666);
    set_mode(&place.path(".assay/answers"), 0o555, 0o444);
    fs::create_dir(place.path("out")).unwrap();
    fs::set_permissions(place.path("out"), PermissionsExt::from_mode(0o777)).unwrap();
    for args in [&["stats"][..], &["verify"], &["export", "out/d.gz"]] {
        let ended = as_nobody(&place, &[&["cache"], args].concat());
        assert_eq!(ended.code, 0, "{args:?}: {}{}", ended.out, ended.err);
    }
    assert_eq!(fs::read(place.path("out/d.gz")).unwrap(), fs::read(place.path("c.gz")).unwrap());
    let replay = as_nobody(&place, &[&ASK[..], &["--answers", "replay"]].concat());
    assert_eq!(replay.code, 0, "{}", replay.err);
    // Responses that cannot be recorded are not requested.
    place.write("prompt.md", "[user]\nAnother: {{ title }}\n");
    let run = as_nobody(&place, &ASK);
    assert!(run.code != 0 && run.err.contains("no more requests are sent"), "{}", run.err);
    assert_eq!(endpoint.seen.total(), asked);
    // A missing file is an error here, too.
    set_mode(&place.path(".assay/answers"), 0o777, 0o666);
    let journal = files(&place.path(".assay/answers/journal"));
    journal.iter().for_each(|path| fs::remove_file(path).unwrap());
    set_mode(&place.path(".assay/answers"), 0o555, 0o444);
    let verify = as_nobody(&place, &["cache", "verify"]);
    assert!(
        verify.code == 1 && verify.out.contains("is missing or truncated"),
        "{}{}",
        verify.out,
        verify.err
    );
    set_mode(&place.path(".assay/answers"), 0o777, 0o666);
}

#[test]
fn cache_commands_work_beside_other_processes() {
    let (_endpoint, place, ..) = cassette();
    // A process in the middle of a line.
    let segment = place.path(".assay/answers/journal/99999999000000-00000001-0.jsonl");
    let mut writer = File::create(&segment).unwrap();
    writer.lock().unwrap();
    writer.write_all(b"{\"sum\":\"0123").unwrap();
    let verify = place.assay(&["cache", "verify"]);
    assert_eq!(verify.code, 0, "{}{}", verify.out, verify.err);
    drop(writer);
    fs::remove_file(&segment).unwrap();
    // `cache gc` has an exclusive lock while it removes files: other processes wait.
    let users = File::options().write(true).open(place.path(".assay/answers/users.lock")).unwrap();
    users.lock().unwrap();
    let held = place.path("held");
    let journal = place.path(".assay/answers/journal");
    fs::rename(&journal, &held).unwrap();
    fs::create_dir(&journal).unwrap();
    let mut command = place.command(&["cache", "stats", "--json"]);
    let child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    thread::sleep(Duration::from_millis(500));
    fs::remove_dir(&journal).unwrap();
    fs::rename(&held, &journal).unwrap();
    users.unlock().unwrap();
    let output = child.wait_with_output().unwrap();
    let stats: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(stats["counts"]["answers"].as_u64().unwrap() > 0, "{stats}");
    place.fine(&["cache", "verify"]);
}

#[test]
fn a_full_disk_is_an_error_with_its_directory_and_nothing_is_paid_for() {
    let place = Place::new();
    place.write("small.yaml", SMALL);
    // A limit on the size of files: SIGXFSZ, or an error if it is ignored.
    for blocks in ["2", "8"] {
        let full = limited(&place, &format!("-f {blocks}"), &["run", "small.yaml"]);
        assert_eq!(full.code, 74, "{blocks}: {}{}", full.out, full.err);
        assert!(full.err.contains("the disk of "), "{}", full.err);
        assert!(
            full.err.contains(".assay") && !full.err.contains("out of specification"),
            "{}",
            full.err
        );
        no_panic(&full);
    }
    place.fine(&["run", "small.yaml", "--quiet"]);
    // The report is outside of the workspace.
    let full = limited(&place, "-f 12", &["run", "small.yaml", "--out", "elsewhere"]);
    assert_eq!(full.code, 74, "{}", full.err);
    assert!(full.err.contains("the disk of elsewhere is full"), "{}", full.err);
    assert!(
        !files(&place.path("elsewhere"))
            .iter()
            .any(|path| { path.file_name().unwrap().to_string_lossy().contains("tmp") })
    );
    for judge in ["", ", batch: true"] {
        let endpoint = Endpoint::start(|_, _| Reply::Content("x".into()));
        let place = written(&endpoint.url(), judge, PROMPT);
        let full = limited(&place, "-f 1000", &ASK);
        assert!(full.code == 74 && full.err.contains("no more requests are sent"), "{}", full.err);
        assert_eq!(endpoint.seen.total() + endpoint.seen.paths.lock().unwrap().len(), 0, "{judge}");
    }
}

#[test]
fn damaged_results_are_reported_as_damaged() {
    let place = Place::new();
    place.write("small.yaml", SMALL);
    place.fine(&["run", "small.yaml", "--quiet"]);
    for path in files(&place.path(".assay/steps/evaluate")) {
        if !path.ends_with("record.json") {
            let mut bytes = fs::read(&path).unwrap();
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
        }
    }
    let table = place.assay(&["table", "small.yaml"]);
    assert_eq!(table.code, 3, "{}", table.err);
    assert!(table.err.contains("damaged") && !table.err.contains("no result"), "{}", table.err);
}
