//! Messages: what is wrong, where, and what exists; each fact once.

use crate::support::Place;

const FILE: &str = "experiment: e
data: {set: sample, relevant: '>= 4'}
split: {scheme: official, only: [f1]}
systems: {popularity: {model: popularity}, random: {model: random}}
evaluate: {k: [5, 10], slices: [all, 'cold<20'], metrics: [ndcg, recall], protocols: [full, judged]}
";

fn place() -> Place {
    let place = Place::new();
    place.write("e.yaml", FILE);
    place
}

#[test]
fn unknown_data_sets_and_folds_are_named_with_file_and_line() {
    let place = place();
    place.write("set.yaml", FILE.replace("set: sample", "set: sampel"));
    place.write("fold.yaml", FILE.replace("only: [f1]", "only: [f9]"));
    place.write("one.yaml", FILE.replace("only: [f1]", "only: f9"));
    place.write(
        "none.yaml",
        FILE.replace("{scheme: official, only: [f1]}", "{scheme: kfold, folds: 3, only: []}"),
    );
    for command in ["run", "plan", "results"] {
        for (file, texts) in [
            (
                "set.yaml",
                &[
                    "unknown data set `sampel` (did you mean `sample`?)\n",
                    "--> set.yaml:2:13\n",
                    "= expected one of ",
                ][..],
            ),
            (
                "fold.yaml",
                &["there is no fold `f9`\n", "--> fold.yaml:3:33\n", "= expected one of f1, f2"],
            ),
            ("one.yaml", &["there is no fold `f9`\n", "--> one.yaml:3:33\n"]),
            ("none.yaml", &["--> none.yaml:3:"]),
        ] {
            let refused = place.assay(&[command, file]);
            assert_eq!(refused.code, 2, "{}", refused.out);
            for text in texts {
                assert_eq!(
                    refused.err.matches(text).count(),
                    1,
                    "{command} {file}: {text}: {}",
                    refused.err
                );
            }
        }
    }
    let set = place.assay(&["plan", "e.yaml", "--set", "split.only=[f7]"]);
    assert!(set.code == 2 && set.err.contains("--> --set:1:"), "{}", set.err);
}

#[test]
fn table_and_export_name_the_option_that_matches_nothing() {
    let place = place();
    place.fine(&["run", "e.yaml", "--quiet"]);
    for (args, says) in [
        (
            &["--systems", "popularty"][..],
            "--systems popularty: there is no such system\n  = expected one of popularity, random\n  = help: did you mean `popularity`?",
        ),
        (
            &["--metrics", "map"],
            "--metrics map: there is no such metric\n  = expected one of ndcg, recall",
        ),
        (
            &["--slice", "cold<10"],
            "--slice cold<10: there is no such slice\n  = expected one of all, cold<20",
        ),
        (
            &["--protocol", "sampled"],
            "--protocol sampled: there is no such protocol\n  = expected one of full, judged",
        ),
        (
            &["--convention", "trec"],
            "--convention trec: there is no such convention\n  = expected one of standard",
        ),
        (&["-k", "20"], "-k 20: there is no such cutoff\n  = expected one of 5, 10"),
        (&["--metric", "nDCG@20"], "-k 20: there is no such cutoff"),
        (&["--fold", "f2"], "--fold f2: there is no such fold\n  = expected one of f1, mean"),
    ] {
        for joint in [&[][..], &["--joint"]] {
            let refused = place.assay(&[&["table", "e.yaml"][..], args, joint].concat());
            assert!(
                refused.code == 2 && refused.err.contains(says),
                "{args:?}: {}{}",
                refused.out,
                refused.err
            );
        }
    }
    let shown = place.fine(&["table", "e.yaml", "--system", "random", "--metric", "Recall@5"]);
    assert!(
        shown.contains("k = 5") && shown.contains("random") && shown.contains("Recall@5"),
        "{shown}"
    );
    assert!(!shown.contains("popularity") && !shown.contains("nDCG"), "{shown}");
    let all = place.fine(&["table", "e.yaml", "--joint"]);
    let rows = all.lines().filter(|line| line.contains("   random  ")).count();
    assert_eq!(rows, 8, "2 protocols, slices and cutoffs: {all}");
    let export = ["export", "e.yaml", "--format", "trec", "--out", "x", "--fold", "f2"];
    let refused = place.assay(&export);
    assert!(
        refused.code == 2
            && refused.err.contains("--fold f2: there is no such fold\n  = expected one of f1"),
        "{}",
        refused.err
    );
}

#[test]
fn a_run_without_a_terminal_prints_a_line_for_each_trial_and_each_cause_once() {
    let place = place();
    place.write(
        "e.yaml",
        FILE.replace("only: [f1]", "only: [f1, f2]").replace(
            "random: {model: random}",
            "als: {model: als, factors: 4, training: {epochs: 1}}, big: {model: als, factors: 4000}",
        ),
    );
    // The factors of `big` do not fit the memory.
    let run = place.assay(&["run", "e.yaml", "--threads", "1", "--memory", "0.005"]);
    assert_eq!(run.code, 4, "{}", run.err);
    let mut lines: Vec<&str> = run.err.lines().filter(|line| line.starts_with('[')).collect();
    lines.sort_unstable();
    let numbers: Vec<&str> = lines.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(numbers, ["[1/6]", "[2/6]", "[3/6]", "[4/6]"], "{}", run.err);
    for name in ["popularity f1 seed 1", "als f2 seed 1", "als f1 seed 1"] {
        assert_eq!(lines.iter().filter(|line| line.ends_with(name)).count(), 1, "{}", run.err);
    }
    assert!(run.err.starts_with("e: 6 trials, 20 of 20 steps to run\n"), "{}", run.err);
    assert!(
        run.err.contains("2 of 6 trials failed:\n  big f1 seed 1, big f2 seed 1\n"),
        "{}",
        run.err
    );
    assert_eq!(run.err.matches("raise it with `--memory`").count(), 1, "{}", run.err);

    let one = place.assay(&["run", "e.yaml", "--only", "als", "--folds", "f1", "--force"]);
    assert!(
        one.err.contains("e: 1 trial, 4 of 4 steps to run\n[1/1] als f1 seed 1\n"),
        "{}",
        one.err
    );
    let results = place.assay(&["results", "e.yaml"]);
    assert!(
        results.err.contains("warning: 2 trials have no result and are in no mean: big f1 seed 1"),
        "{}",
        results.err
    );
}
