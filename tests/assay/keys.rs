//! What must not change unseen: the key of every step of every experiment that comes with the program, and
//! the numbers of the quickstart. A key that changes makes results stale, and so costs everybody their
//! compute; it may change on purpose, in the commit that says so (`INSTA_UPDATE=always`).

use std::{fmt::Write, fs};

use rec_assay::base::hash::Digest;
use serde_json::Value;

use crate::support::{Place, not_run, root};

/// `kind label key`, a line for each step, in the order of the plan.
fn keys(plan: &Value) -> String {
    let text = |step: &Value, field: &str| step[field].as_str().unwrap().to_owned();
    let line = |step: &Value| {
        let key = text(step, "key");
        format!("{} {} {}\n", text(step, "kind"), text(step, "step"), &key[..16])
    };
    plan["steps"].as_array().unwrap().iter().map(line).collect()
}

#[test]
fn keys_of_all_experiments_are_pinned() {
    let place = Place::new();
    let mut names: Vec<String> = fs::read_dir(root().join("experiments"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".yaml").map(str::to_owned))
        .collect();
    names.sort();
    let mut pinned = 0;
    for name in names {
        let file = root().join(format!("experiments/{name}.yaml"));
        let mut command = place.command(&["plan", file.to_str().unwrap(), "--json"]);
        // The sample is the checkout's own; all other data are where they are looked for.
        if let Some(data) = std::env::var_os("ASSAY_DATA") {
            command.env("ASSAY_DATA", data);
        }
        let ended = command.current_dir(root()).output().unwrap();
        let err = String::from_utf8_lossy(&ended.stderr);
        if !ended.status.success() && err.contains("not found: no file") {
            let why = err.lines().next().unwrap_or_default();
            not_run(&format!("keys of {name}"), why);
            continue;
        }
        assert!(ended.status.success(), "{name}: {err}");
        let plan: Value = serde_json::from_slice(&ended.stdout).unwrap();
        insta::assert_snapshot!(format!("keys_of_{name}"), keys(&plan));
        pinned += 1;
    }
    assert!(pinned >= 1, "not even the quickstart could be planned");
}

/// Nine decimals: the last digits may be another processor's.
#[test]
fn numbers_of_the_quickstart_are_pinned() {
    let place = Place::new();
    let file = root().join("experiments/quickstart.yaml");
    let file = file.to_str().unwrap();
    place.fine(&["run", file, "--quiet"]);
    let rows: Value = serde_json::from_str(&place.fine(&["results", file, "--json"])).unwrap();
    let mut by_system: Vec<(String, String)> = Vec::new();
    for row in rows.as_array().unwrap() {
        let system = row["system"].as_str().unwrap();
        if by_system.last().is_none_or(|(last, _)| last != system) {
            by_system.push((system.to_owned(), String::new()));
        }
        let fields = ["fold", "seed", "protocol", "convention", "slice", "metric", "k", "n_users"];
        let (_, text) = by_system.last_mut().unwrap();
        for field in fields {
            write!(text, "{} ", row[field]).unwrap();
        }
        match row["value"].as_f64() {
            Some(value) => writeln!(text, "{value:.9}").unwrap(),
            None => writeln!(text, "none").unwrap(),
        }
    }
    let digests: Vec<String> = by_system
        .iter()
        .map(|(system, text)| {
            format!("{system}: {} numbers, {}", text.lines().count(), Digest::of(text).short())
        })
        .collect();
    insta::assert_snapshot!("numbers_of_the_quickstart", digests.join("\n"));
}
