//! `assay audit --lists`: what is asked for and refused, and files that were published.

use std::{env, fmt::Write, fs, path::PathBuf};

use serde_json::Value;

use super::{audit, check, close, number, only};
use crate::support::{Place, not_run};

fn small() -> Place {
    let place = Place::new();
    place.write("train.csv", "user,item\n1,1\n1,2\n2,1\n2,3\n3,4\n");
    place.write("test.csv", "user,item\n1,3\n2,2\n1,2\n");
    place.write("run.csv", "user,item,rank\n1,3,1\n1,4,2\n2,2,1\n2,4,2\n");
    place.write("other.csv", "user,item,rank\n1,3,1\n1,4,2\n2,2,1\n2,4,2\n");
    place
}

#[test]
fn options_of_files_and_of_experiments_are_not_mixed() {
    let place = small();
    let split = ["--train", "train.csv", "--test", "test.csv"];
    for (args, message) in [
        (&["--lists", "run.csv"][..], "no split is given"),
        (&["e.yaml", "--test", "test.csv"], "give them with --lists"),
        (&["e.yaml", "--train", "train.csv"], "give them with --lists"),
        (&["e.yaml", "--columns", "user=1"], "give them with --lists"),
        (&["e.yaml", "-k", "5"], "give them with --lists"),
        (&["e.yaml", "--lists", "run.csv"], "cannot be used with"),
        (&["--lists", "run.csv", "run.csv"], "have the same name `run`"),
        (&["--lists", "no.csv"], "no.csv"),
        (&["--lists", "run.csv", "-k", "0"], "a cutoff is 1 or more"),
        (&["--lists", "run.csv", "--only", "dirty-tree"], "needs an experiment"),
        (&["--lists", "run.csv", "--only", "nothing"], "no check or family `nothing`"),
        (&["--list", "--markdown", "--json"], "cannot be used with"),
    ] {
        let is_alone = message.starts_with("no split") || args[0] != "--lists";
        let args = [&["audit"][..], args, if is_alone { &[] } else { &split }].concat();
        let ended = place.assay(&args);
        assert_eq!(ended.code, 2, "{args:?}\n{}\n{}", ended.out, ended.err);
        assert!(ended.err.contains(message), "{args:?}: {}", ended.err);
    }
}

#[test]
fn files_are_checked_as_experiments_are() {
    let place = small();
    let args = ["--lists", "run.csv", "b=other.csv", "--train", "train.csv", "--test", "test.csv"];
    let report = audit(&place, &args);
    assert_eq!(report["lists"], serde_json::json!(["run", "b"]));
    assert_eq!((&report["fold"], &report["passed"]), (&"test".into(), &false.into()));
    // User 1 with item 2 is in both parts: 1 of 3.
    let finding = only(&report, "train-test-overlap");
    assert_eq!((number(finding, "overlap"), number(finding, "test")), (1.0, 3.0));
    assert_eq!(
        only(&report, "identical-rankings")["evidence"]["same_as"],
        serde_json::json!(["b"])
    );
    assert_eq!(check(&report, "future-training")["outcome"], "not-applicable");
    // Families choose those checks that can be made of files; findings decide the exit code, and go to SARIF.
    let more = ["--only", "integrity", "--fail-on", "warning", "--sarif", "a.sarif"];
    let ended = place.assay(&[&["audit"], &args[..], &more].concat());
    assert_eq!(ended.code, 1, "{}", ended.err);
    assert!(ended.out.contains("1 check: 0 errors, 1 warning, 0 notes"), "{}", ended.out);
    let sarif: Value =
        serde_json::from_str(&fs::read_to_string(place.path("a.sarif")).unwrap()).unwrap();
    assert_eq!(sarif["runs"][0]["results"][0]["ruleId"], "identical-rankings");
    let location = &sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!(location["artifactLocation"]["uri"], "run.csv");
}

/// Directory of real data, if it has a file.
fn data(test: &str, needed: &str) -> Option<PathBuf> {
    let root =
        env::var_os("ASSAY_DATA").map(PathBuf::from).filter(|root| root.join(needed).exists());
    if root.is_none() {
        not_run(test, &format!("no {needed} under ASSAY_DATA"));
    }
    root
}

fn audit_in(root: &std::path::Path, place: &Place, args: &[&str]) -> Value {
    let mut command = place.command(&[&["audit", "--json"], args].concat());
    let output = command.env("ASSAY_DATA", root).output().unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

/// The published lists are of u1: none of them has anything of its training part. On u2, 454 of 943 of the ALS lists
/// have.
#[test]
fn published_lists_fit_the_fold_they_were_made_for() {
    let file = "ebrat2025/recommendations/als_result_100k.csv";
    let Some(root) = data("published_lists_fit_the_fold_they_were_made_for", file) else { return };
    let (place, lists) = (Place::new(), root.join(file).display().to_string());
    let of = |fold: &str| {
        audit_in(&root, &place, &["--lists", &lists, "--data", "ml-100k", "--fold", fold])
    };
    let report = of("u1");
    assert_eq!(
        (&report["tally"]["errors"], &report["tally"]["warnings"]),
        (&0.into(), &0.into()),
        "{report}"
    );
    let report = of("u2");
    let finding = only(&report, "lists-of-another-fold");
    assert_eq!(finding["evidence"]["best_fold"], "u1");
    close(number(finding, "avoiding_its_training"), 1.0);
    close(number(finding, "avoiding_own_training"), 1.0 - 454.0 / 943.0);
    assert_eq!(number(only(&report, "known-items"), "lists_with_known_items"), 454.0);
}

/// Files that number items by first appearance, the tested item included. The values were computed in Python: HR@10 of
/// the next ids, .0477 (52 of 1,090 users), .0310 (693 of 22,363) and .0359.
#[test]
fn ids_of_published_sequences_answer() {
    let test = "ids_of_published_sequences_answer";
    for (name, rate, severity) in [
        ("LastFM", 0.0477, "warning"),
        ("Beauty", 0.0310, "warning"),
        ("Toys_and_Games", 0.0359, "warning"),
    ] {
        let file = format!("sequential/{name}.txt");
        let Some(root) = data(test, &file) else { return };
        let mut rows = String::from("user,item,time\n");
        for line in fs::read_to_string(root.join(&file)).unwrap().lines() {
            let mut words = line.split_whitespace();
            let user = words.next().unwrap();
            words
                .enumerate()
                .for_each(|(at, item)| writeln!(rows, "{user},{item},{}", at + 1).unwrap());
        }
        let place = Place::new();
        place.write("r.csv", rows);
        place.write(
            "e.yaml",
            "experiment: e
data: {reader: table, folder: ., ratings: r.csv, columns: {user: user, item: item, timestamp: time}}
split: {scheme: leave-one-out}
systems: {popularity: {model: popularity}}
evaluate: {k: [10]}
",
        );
        place.fine(&["run", "e.yaml", "--quiet"]);
        let report = audit(&place, &["e.yaml", "--only", "id-order-answers"]);
        let finding = only(&report, "id-order-answers");
        assert!((number(finding, "hit_rate") - rate).abs() < 5e-5, "{name} {finding}");
        assert_eq!(finding["severity"], severity, "{name}");
    }
}
