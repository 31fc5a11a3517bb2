//! `assay baseline record` and `assay check`.

use serde_json::Value;

use crate::support::Place;

fn experiment(name: &str, factors: u32, relevant: &str, systems: &str) -> String {
    format!(
        "experiment: {name}
data: {{set: sample, relevant: '{relevant}'}}
split: {{scheme: official, only: [f1, f2]}}
systems:
  popularity: {{model: popularity}}
  als: {{model: als, factors: {factors}, iterations: 20, regularization: 5, confidence: alpha-r, alpha: 2}}
{systems}evaluate: {{k: [5, 10], metrics: [ndcg, recall, gini]}}
"
    )
}

fn place() -> Place {
    let place = Place::new();
    place.write("e.yaml", experiment("e", 8, ">= 4", "  ease: {model: ease}\n"));
    place.fine(&["run", "e.yaml", "--quiet"]);
    place.fine(&["baseline", "record", "e.yaml", "--out", "recorded/e.json"]);
    place
}

fn check(place: &Place, file: &str, more: &[&str]) -> (i32, Value) {
    let args = [&["check", file, "--against", "recorded/e.json", "--json"], more].concat();
    let ended = place.assay(&args);
    (ended.code, serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("{}", ended.err)))
}

fn verdicts(found: &Value, system: &str) -> Vec<String> {
    let gates = found["gates"].as_array().unwrap().iter();
    let of = gates.filter(|gate| gate["system"] == system);
    of.map(|gate| gate["verdict"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_same_results_are_unchanged_with_any_number_of_threads() {
    let place = place();
    let (code, found) = check(&place, "e.yaml", &[]);
    assert_eq!((code, &found["passed"]), (0, &Value::from(true)));
    let gates = found["gates"].as_array().unwrap();
    // Three systems, two metrics (gini is no gate), two cutoffs.
    assert_eq!(gates.len(), 12);
    assert!(gates.iter().all(|gate| gate["verdict"] == "unchanged" && gate["same_values"] == true));
    let against = ["check", "e.yaml", "--against", "recorded/e.json"];
    let said = place.fine(&against);
    assert!(said.starts_with("12 gates in which every user has the recorded value: not"), "{said}");
    let all = place.fine(&[&against[..], &["--all"]].concat());
    assert_eq!(all.matches("same values").count(), 12, "{all}");
    place.fine(&["run", "e.yaml", "--quiet", "--force", "--threads", "1"]);
    assert_eq!(check(&place, "e.yaml", &[]).0, 0);
    // The file alone, elsewhere, with results made there.
    let other = Place::new();
    other.write("e.yaml", std::fs::read(place.path("e.yaml")).unwrap());
    other.write("recorded/e.json", std::fs::read(place.path("recorded/e.json")).unwrap());
    other.fine(&["run", "e.yaml", "--quiet"]);
    assert_eq!(check(&other, "e.yaml", &[]).0, 0);
}

#[test]
fn a_worse_model_fails_and_a_margin_lets_it_pass() {
    let place = place();
    place.write("worse.yaml", experiment("w", 1, ">= 4", "  ease: {model: ease}\n"));
    place.fine(&["run", "worse.yaml", "--quiet"]);
    let (code, found) = check(&place, "worse.yaml", &["--metric", "ndcg", "-k", "10"]);
    assert_eq!((code, verdicts(&found, "als")), (1, vec!["worse".to_owned()]), "{found}");
    assert_eq!(verdicts(&found, "ease"), ["unchanged"]);
    let gate = &found["gates"].as_array().unwrap().iter().find(|of| of["system"] == "als").unwrap();
    let (low, high) = (gate["low"].as_f64().unwrap(), gate["high"].as_f64().unwrap());
    assert!(low < high && high < 0.0, "{gate}");
    let wide = format!("{}", -low + 0.001);
    assert_eq!(
        check(&place, "worse.yaml", &["--metric", "ndcg", "-k", "10", "--margin", &wide]).0,
        0
    );
    // The other way round it is better.
    place.fine(&["baseline", "record", "worse.yaml", "--out", "recorded/e.json", "--overwrite"]);
    let (code, found) = check(&place, "e.yaml", &["--metric", "ndcg", "-k", "10"]);
    assert_eq!((code, verdicts(&found, "als")), (0, vec!["better".to_owned()]));
}

#[test]
fn what_is_missing_fails_and_what_does_not_compare_does_not_tell() {
    let place = place();
    place.write("less.yaml", experiment("l", 8, ">= 4", ""));
    place.fine(&["run", "less.yaml", "--quiet"]);
    let (code, found) = check(&place, "less.yaml", &[]);
    assert_eq!((code, verdicts(&found, "ease")), (1, vec!["missing".to_owned(); 4]));
    assert_eq!(verdicts(&found, "als"), ["unchanged"; 4]);
    place.write("rule.yaml", experiment("r", 8, ">= 3", "  ease: {model: ease}\n"));
    place.fine(&["run", "rule.yaml", "--quiet"]);
    let (code, found) = check(&place, "rule.yaml", &[]);
    assert_eq!((code, verdicts(&found, "als")), (3, vec!["not-comparable".to_owned(); 4]));
}

#[test]
fn ci_reads_what_came_of_it() {
    let place = place();
    place.write("worse.yaml", experiment("w", 1, ">= 4", "  ease: {model: ease}\n"));
    place.fine(&["run", "worse.yaml", "--quiet"]);
    let mut command = place.command(&[
        "check",
        "worse.yaml",
        "--against",
        "recorded/e.json",
        "--metric",
        "ndcg",
        "-k",
        "10",
        "--junit",
        "j.xml",
        "--github",
    ]);
    let output = command.env("GITHUB_STEP_SUMMARY", place.path("summary.md")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("::error file=worse.yaml,title=als ndcg@10 all (full%2C standard)::worse: "),
        "{said}"
    );
    assert!(said.contains("3 gates: 2 unchanged, 1 worse"), "{said}");
    let junit = std::fs::read_to_string(place.path("j.xml")).unwrap();
    assert!(
        junit.contains("<testsuite name=\"w\" tests=\"3\" failures=\"1\" errors=\"0\">"),
        "{junit}"
    );
    assert_eq!(junit.matches("<testcase ").count(), 3);
    let summary = std::fs::read_to_string(place.path("summary.md")).unwrap();
    assert!(
        summary.contains("### assay check: w") && summary.contains("| als | all | ndcg@10 |"),
        "{summary}"
    );
}

#[test]
fn files_and_gates_that_are_not_there_are_errors() {
    let place = place();
    for (args, said) in [
        (&["--metric", "mrr"][..], "the metric `mrr` was not recorded"),
        (&["--metric", "gini"], "it is no gate"),
        (&["--slice", "cold<10"], "the slice `cold<10` was not recorded"),
        (&["-k", "7"], "the cutoff 7 was not recorded"),
        (&["--margin", "-1"], "a margin is 0 or more"),
    ] {
        let ended =
            place.assay(&[&["check", "e.yaml", "--against", "recorded/e.json"], args].concat());
        assert_eq!(ended.code, 2, "{args:?}: {}", ended.out);
        assert!(ended.err.contains(said), "{args:?}: {}", ended.err);
    }
    let again = place.assay(&["baseline", "record", "e.yaml", "--out", "recorded/e.json"]);
    assert_eq!((again.code, again.err.contains("--overwrite")), (2, true), "{}", again.err);
    for text in ["{}", "experiment: e", "{\"version\": 1"] {
        place.write("recorded/other.json", text);
        let ended = place.assay(&["check", "e.yaml", "--against", "recorded/other.json"]);
        assert_eq!(ended.code, 2, "{}", ended.out);
        assert!(ended.err.contains("`assay baseline record` wrote"), "{}", ended.err);
    }
    // Values that were cut or are of other units are refused whole.
    let text = std::fs::read_to_string(place.path("recorded/e.json")).unwrap();
    let mut baseline: Value = serde_json::from_str(&text).unwrap();
    let values = baseline["systems"][1]["trials"][0]["values"].as_str().unwrap().to_owned();
    for broken in [values[..values.len() / 2].to_owned(), String::new(), "?".into()] {
        baseline["systems"][1]["trials"][0]["values"] = broken.into();
        place.write("recorded/broken.json", baseline.to_string());
        let ended = place.assay(&["check", "e.yaml", "--against", "recorded/broken.json"]);
        assert_eq!(ended.code, 2, "{}", ended.out);
        assert!(ended.err.contains("broken.json: als: "), "{}", ended.err);
    }
}

/// What was recorded is held against the same folds and seeds, whatever was run beside them.
#[test]
fn seeds_and_folds_that_were_not_recorded_are_left_out() {
    let place = place();
    let more = experiment("m", 8, ">= 4", "  ease: {model: ease}\n")
        .replace("[f1, f2]", "[f1, f2, f3]\nseeds: [1, 2]".trim_end())
        .replace("only: [f1, f2, f3]\nseeds: [1, 2]}", "only: [f1, f2, f3]}\nseeds: [1, 2]");
    place.write("more.yaml", more);
    place.fine(&["run", "more.yaml", "--quiet"]);
    // Another set of folds is another split.
    let (code, found) = check(&place, "more.yaml", &[]);
    assert_eq!((code, verdicts(&found, "als")), (3, vec!["not-comparable".to_owned(); 4]));
    let seeds = std::fs::read_to_string(place.path("more.yaml")).unwrap();
    place
        .write("seeds.yaml", seeds.replace(", f3]", "]").replace("experiment: m", "experiment: s"));
    place.fine(&["run", "seeds.yaml", "--quiet"]);
    let (code, found) = check(&place, "seeds.yaml", &[]);
    assert_eq!((code, verdicts(&found, "als")), (0, vec!["unchanged".to_owned(); 4]), "{found}");
    let gates = found["gates"].as_array().unwrap();
    assert!(gates.iter().all(|gate| gate["same_values"] == true), "{found}");
}

#[test]
fn the_self_test_says_what_holds_a_line_each() {
    let place = Place::new();
    let ended = place.assay(&["check", "--self-test"]);
    assert_eq!(ended.code, 0, "{}\n{}", ended.out, ended.err);
    let lines: Vec<&str> = ended.out.lines().collect();
    assert!(lines.len() == 5 && lines.iter().all(|line| line.starts_with("ok ")), "{}", ended.out);
    // Three systems, six metrics, two cutoffs, two slices.
    assert!(lines[0].contains("72 of 72 gates have the same values"), "{}", ended.out);
    assert!(lines[1].contains("12 of 12 gates are worse"), "{}", ended.out);
    assert!(lines[3].contains("0 of ") && lines[4].contains("0 of "), "{}", ended.out);
    // Nothing is left in the directory.
    assert!(!place.path(".assay").exists());
    for args in [&["check"][..], &["check", "--self-test", "e.yaml"], &["check", "e.yaml"]] {
        assert_eq!(place.assay(args).code, 2, "{args:?}");
    }
}
