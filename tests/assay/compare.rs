//! `assay compare`: paired differences of systems.

use polars::prelude::*;
use serde_json::Value;

use crate::support::Place;

const EXPERIMENT: &str = "experiment: e
data: {set: sample, relevant: '>= 4'}
split: {scheme: official, only: [f1, f2]}
seeds: [1, 2]
profiles: {template: {from: template}}
systems:
  popularity: {model: popularity}
  als: {model: als, factors: 8, iterations: 20, regularization: 5, confidence: alpha-r, alpha: 2}
  oracle: {model: rerank, of: als, judge: oracle, strategy: prompt, pool: 10, text: {profiles: template}}
evaluate: {k: [5, 10], metrics: [ndcg, gini], slices: [all, 'cold<10']}
";

fn place() -> Place {
    let place = Place::new();
    place.write("e.yaml", EXPERIMENT);
    place.fine(&["run", "e.yaml", "--quiet"]);
    place
}

fn json(place: &Place, args: &[&str]) -> Value {
    let args = [&["compare"], args, &["--json"]].concat();
    serde_json::from_str(&place.fine(&args)).unwrap()
}

/// nDCG@10 of each user by fold and seed, as the steps left it.
fn users_of(place: &Place, system: &str, fold: &str, seed: u32) -> Vec<(String, Option<f64>)> {
    for step in std::fs::read_dir(place.path(".assay/steps/evaluate")).unwrap().flatten() {
        let record = std::fs::read_to_string(step.path().join("record.json")).unwrap();
        let record: Value = serde_json::from_str(&record).unwrap();
        let label = record["label"].as_str().unwrap().trim_start_matches("evaluate ");
        // A system that no seed changes has none in its label.
        if label != format!("{system} {fold} seed {seed}") && label != format!("{system} {fold}") {
            continue;
        }
        let file = std::fs::File::open(step.path().join("users.parquet")).unwrap();
        let frame = ParquetReader::new(file).finish().unwrap();
        let column = |name: &str| frame.column(name).unwrap();
        let (users, values) = (column("user").str().unwrap(), column("ndcg").f64().unwrap());
        let rows = users.iter().zip(column("k").u32().unwrap().iter()).zip(values.iter());
        return rows
            .filter(|((_, k), _)| *k == Some(10))
            .map(|((user, _), value)| (user.unwrap().to_owned(), value))
            .collect();
    }
    panic!("no step {system} {fold} seed {seed}");
}

#[test]
fn a_difference_is_that_of_the_users_of_both_with_seeds_averaged_and_users_counted_once() {
    let place = place();
    let found =
        json(&place, &["e.yaml", "--reference", "popularity", "--system", "als", "-k", "10"]);
    assert_eq!(found["comparisons"], 1);
    let row = &found["rows"][0];
    // By hand: per fold the mean over users of (mean over seeds of als − popularity).
    let mut all = std::collections::BTreeSet::new();
    let (mut of_folds, mut pairs) = (Vec::new(), 0);
    for fold in ["f1", "f2"] {
        let popular = users_of(&place, "popularity", fold, 1);
        let seeds = [1, 2].map(|seed| users_of(&place, "als", fold, seed));
        let mut differences = Vec::new();
        for (at, (user, value)) in popular.iter().enumerate() {
            let Some(value) = value else { continue };
            let of_als: Vec<f64> = seeds.iter().filter_map(|seed| seed[at].1).collect();
            assert_eq!((of_als.len(), &seeds[0][at].0), (2, user));
            differences.push(of_als.iter().sum::<f64>() / 2.0 - value);
            all.insert(user.clone());
        }
        pairs += differences.len();
        of_folds.push(differences.iter().sum::<f64>() / differences.len() as f64);
    }
    let expected = of_folds.iter().sum::<f64>() / 2.0;
    let number = |name: &str| row[name].as_f64().unwrap();
    assert!((number("difference") - expected).abs() < 1e-12);
    assert_eq!((&row["users"], &row["pairs"]), (&Value::from(all.len()), &Value::from(pairs)));
    assert!(number("low") < expected && expected < number("high"));
    assert_eq!(row["by_fold"][1]["difference"].as_f64().unwrap(), of_folds[1]);
    let counts = ["better", "equal", "worse"].map(|name| row[name].as_u64().unwrap());
    assert_eq!(counts.iter().sum::<u64>() as usize, all.len());
    // The values are those of the table where both have the same users.
    let rows: Value = serde_json::from_str(&place.fine(&["results", "e.yaml", "--json"])).unwrap();
    let mut rows = rows.as_array().unwrap().iter();
    let of_table = rows.find(|row| {
        (&row["system"], &row["fold"], &row["seed"])
            == (&"als".into(), &"mean".into(), &"mean".into())
            && (&row["metric"], &row["k"], &row["slice"])
                == (&"ndcg".into(), &10.into(), &"all".into())
    });
    let of_table = of_table.unwrap()["value"].as_f64().unwrap();
    assert!((number("value") - of_table).abs() < 1e-12);
}

#[test]
fn the_reference_is_the_best_system_that_does_not_know_the_test_part() {
    let place = place();
    let said = place.fine(&["compare", "e.yaml"]);
    assert!(said.contains("Reference: als, the best by the first metric."), "{said}");
    assert!(said.contains("corrected by Holm for 2 comparisons"), "{said}");
    // All pairs: the differences of two systems to a third are that of both.
    let pairs = json(&place, &["e.yaml", "--pairs"]);
    assert_eq!(pairs["comparisons"], 3);
    let rows = pairs["rows"].as_array().unwrap();
    let of = |first: &str, second: &str| {
        let mut rows = rows.iter();
        let row = rows.find(|row| row["reference"] == first && row["system"] == second).unwrap();
        row["difference"].as_f64().unwrap()
    };
    let sum = of("popularity", "als") + of("als", "oracle");
    assert!((of("popularity", "oracle") - sum).abs() < 1e-12);
    assert!(place.fine(&["compare", "e.yaml", "--pairs"]).contains("als − popularity"));
    let all =
        json(&place, &["e.yaml", "--slice", "all", "--slice", "cold<10", "--correction", "none"]);
    assert_eq!(all["comparisons"], 4);
    let rows = all["rows"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["p"] == row["p_corrected"]));
}

#[test]
fn two_experiments_are_compared_by_the_names_of_systems_and_say_what_differs() {
    let place = place();
    place.write(
        "other.yaml",
        EXPERIMENT.replace("experiment: e", "experiment: o").replace("factors: 8", "factors: 4"),
    );
    place.fine(&["run", "other.yaml", "--quiet"]);
    let found = json(&place, &["e.yaml", "other.yaml"]);
    assert_eq!(found["inputs"], serde_json::json!(["systems.als.factors: 8 → 4"]));
    assert_eq!(found["differences_of_inputs"][0]["kind"], "parameters");
    let rows = found["rows"].as_array().unwrap();
    let of = |system: &str| rows.iter().find(|row| row["system"] == system).unwrap();
    assert_eq!(
        (of("popularity")["difference"].as_f64(), of("popularity")["p"].as_f64()),
        (Some(0.0), Some(1.0))
    );
    assert_ne!(of("als")["difference"].as_f64(), Some(0.0));
    // Another rule of relevance: another fingerprint.
    place.write(
        "rule.yaml",
        EXPERIMENT.replace("experiment: e", "experiment: r").replace(">= 4", ">= 3"),
    );
    place.fine(&["run", "rule.yaml", "--quiet"]);
    let refused = place.assay(&["compare", "e.yaml", "rule.yaml"]);
    assert_eq!(refused.code, 3, "{}", refused.err);
    assert!(refused.err.contains("the two experiments do not compare"), "{}", refused.err);
    let shown = place.fine(&["compare", "e.yaml", "rule.yaml", "--anyway"]);
    assert!(shown.contains("rules.relevant"), "{shown}");
}

#[test]
fn what_there_is_not_to_compare_is_an_error() {
    let place = place();
    for (args, said) in [
        (&["--metric", "mrr"][..], "no metric `mrr`"),
        (&["--slice", "cold<20"], "no slice `cold<20`"),
        (&["-k", "7"], "no k `7`"),
        (&["--reference", "ease"], "no result of a system `ease`"),
        (&["--fold", "f9"], "no fold `f9`"),
        (&["--metric", "ndgc"], "did you mean `ndcg`?"),
        (&["--system", "als", "--reference", "als"], "no other system"),
        (&["--metric", "gini", "--reference", "als"], "nothing to compare"),
        (&["--metric", "ndcg", "--metric", "gini"], "gini is no mean over users"),
    ] {
        let ended = place.assay(&[&["compare", "e.yaml"], args].concat());
        assert!([2, 3].contains(&ended.code), "{args:?}: {}", ended.out);
        assert!(ended.err.contains(said), "{args:?}: {}", ended.err);
    }
    let all = place.assay(&["compare", "e.yaml", "--all", "--reference", "popularity"]);
    assert!(all.err.contains("no means over users, and not compared: gini"), "{}", all.err);
    // A system that only one of two experiments has.
    let without =
        EXPERIMENT.replace("experiment: e", "experiment: o").replace("  oracle: ", "  other: ");
    place.write("other.yaml", without);
    place.fine(&["run", "other.yaml", "--quiet"]);
    let asked = place.assay(&["compare", "e.yaml", "other.yaml", "--system", "oracle"]);
    assert_eq!(asked.code, 2, "{}", asked.out);
    assert!(asked.err.contains("second experiment of a system `oracle`"), "{}", asked.err);
    let both = place.assay(&["compare", "e.yaml", "other.yaml"]);
    assert!(both.err.contains("not compared: oracle, other"), "{}", both.err);
}

#[test]
fn variants_of_one_experiment_with_other_rules_do_not_compare() {
    let place = Place::new();
    let swept = "relevant: {sweep: {low: '>= 3', high: '>= 5'}}";
    place.write("e.yaml", EXPERIMENT.replace("relevant: '>= 4'", swept));
    place.fine(&["run", "e.yaml", "--quiet"]);
    let args = ["compare", "e.yaml", "--reference", "popularity[relevant=low]", "--system"];
    let refused = place.assay(&[&args[..], &["als[relevant=high]"]].concat());
    assert_eq!(refused.code, 3, "{}", refused.out);
    assert!(refused.err.contains("have different fingerprints"), "{}", refused.err);
    place.fine(&[&args[..], &["als[relevant=low]"]].concat());
    place.fine(&[&args[..], &["als[relevant=high]", "--anyway"]].concat());
}

/// Two folds of five: the overlap of training parts goes by the sizes of the parts, not by the number of folds.
#[test]
fn folds_are_corrected_by_the_sizes_of_their_parts() {
    let place = place();
    let found = json(&place, &["e.yaml"]);
    let ratings = crate::support::root().join("datasets/sample/ratings.csv");
    let ratings = std::fs::read_to_string(ratings).unwrap();
    let rows: Vec<&str> = ratings.lines().skip(1).collect();
    let ratio = |fold: &str| {
        let test = rows.iter().filter(|row| row.split(',').any(|field| field == fold)).count();
        test as f64 / (rows.len() - test) as f64
    };
    let expected = (ratio("f1") + ratio("f2")) / 2.0;
    assert!((found["test_per_train"].as_f64().unwrap() - expected).abs() < 1e-12, "{expected}");
}

/// The name of the last run of an experiment.
fn last_run(place: &Place, experiment: &str) -> String {
    let runs: Value = serde_json::from_str(&place.fine(&["ls", experiment, "--json"])).unwrap();
    runs.as_array().unwrap().last().unwrap()["run"].as_str().unwrap().to_owned()
}

#[test]
fn runs_are_compared_by_what_they_left_and_not_by_what_their_file_says_now() {
    let place = place();
    let first = last_run(&place, "e.yaml");
    place.write("e.yaml", EXPERIMENT.replace("factors: 8", "factors: 4"));
    place.fine(&["run", "e.yaml", "--quiet", "--threads", "1"]);
    let second = last_run(&place, "e.yaml");
    assert_ne!(first, second);
    let found = json(&place, &[&first, &second]);
    let inputs = found["inputs"].as_array().unwrap();
    assert_eq!(inputs[0], "systems.als.factors: 8 → 4");
    let difference = |found: &Value| {
        let mut rows = found["rows"].as_array().unwrap().iter();
        rows.find(|row| row["system"] == "als").unwrap()["difference"].as_f64().unwrap()
    };
    // The same two settings as two experiments.
    place.write("old.yaml", EXPERIMENT.replace("experiment: e", "experiment: old"));
    let as_files = json(&place, &["old.yaml", "e.yaml"]);
    assert_eq!(difference(&found), difference(&as_files));
    assert_ne!(difference(&found), 0.0);
    // A prefix names a run; an experiment of the workspace is named as before.
    let short = &first[..first.len() - 1];
    assert_eq!(difference(&json(&place, &[short, "e"])), difference(&found));
    for (args, said) in [
        (&[&first[..], "--set", "seeds=[1]"][..], "--set needs an experiment file"),
        (&["9999999"], "9999999"),
    ] {
        let ended = place.assay(&[&["compare"], args].concat());
        assert_eq!(ended.code, 2, "{}", ended.out);
        assert!(ended.err.contains(said), "{}", ended.err);
    }
    // A run whose steps hold other values than it recorded, and one without a record of its steps.
    let means = place.path(&format!(".assay/runs/{first}/means.json"));
    let text = std::fs::read_to_string(&means).unwrap();
    let mut all: Value = serde_json::from_str(&text).unwrap();
    all[0]["value"] = Value::from(0.99);
    std::fs::write(&means, all.to_string()).unwrap();
    let ended = place.assay(&["compare", &first, &second]);
    assert_eq!(ended.code, 3, "{}", ended.out);
    assert!(ended.err.contains("are not those that it recorded"), "{}", ended.err);
    std::fs::remove_file(place.path(&format!(".assay/runs/{first}/experiment.json"))).unwrap();
    let ended = place.assay(&["compare", &first, &second]);
    assert_eq!(ended.code, 3, "{}", ended.out);
    assert!(ended.err.contains("has no list of its steps"), "{}", ended.err);
}

/// Lists of three users, whose nDCG is counted by hand.
#[test]
fn files_of_rankings_are_compared_over_the_users_of_their_test_part() {
    let place = Place::new();
    place.write("test.csv", "user,item\na,1\nb,2\nc,3\n");
    place.write("train.csv", "user,item\na,9\nb,9\nc,9\n");
    // At rank 1, 2 and not at all; at rank 2, 2 and 1.
    place.write("one.csv", "user,item,rank\na,1,1\na,5,2\nb,5,1\nb,2,2\nc,5,1\nc,6,2\n");
    place.write("two.csv", "user,item,rank\na,5,1\na,1,2\nb,5,1\nb,2,2\nc,3,1\nc,6,2\n");
    let split = ["--test-part", "test.csv", "--train", "train.csv"];
    let lists = ["--lists", "one.csv", "other=two.csv", "--reference", "one"];
    let found = json(&place, &[&lists[..], &split].concat());
    let row = &found["rows"][0];
    let at_two = 1.0 / 3f64.log2();
    let number = |name: &str| row[name].as_f64().unwrap();
    let values = [(1.0 + at_two) / 3.0, (1.0 + 2.0 * at_two) / 3.0];
    assert!((number("reference_value") - values[0]).abs() < 1e-12);
    assert!((number("value") - values[1]).abs() < 1e-12);
    assert!((number("difference") - at_two / 3.0).abs() < 1e-12);
    assert_eq!((&row["system"], &row["users"]), (&"other".into(), &3.into()));
    let counts = ["better", "equal", "worse"].map(|name| row[name].as_u64().unwrap());
    assert_eq!(counts, [1, 1, 1]);
    // Differences −(1 − 1/log₂3), 0 and 1: t = mean ÷ (sd ÷ √3) with two degrees of freedom, for which
    // p = 1 − t/√(2 + t²).
    let of = [at_two - 1.0, 0.0, 1.0];
    let mean = of.iter().sum::<f64>() / 3.0;
    let sd = (of.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 2.0).sqrt();
    let t = mean / (sd / 3f64.sqrt());
    assert!((number("p") - (1.0 - t / (2.0 + t * t).sqrt())).abs() < 1e-9, "{row}");
    // Without a reference, the best one; two metrics are two comparisons.
    let said = place.fine(&[&["compare"], &lists[..3], &split].concat());
    assert!(said.contains("Reference: other, the best by the first metric."), "{said}");
    let two = ["--metric", "ndcg", "--metric", "recall"];
    assert_eq!(json(&place, &[&lists[..], &split, &two].concat())["comparisons"], 2);
    for (args, said) in [
        (&["--lists", "one.csv"][..], "no other list"),
        (&["--lists", "one.csv", "two.csv"], "no split is given"),
        (&["--lists", "one.csv", "two.csv", "--reference", "three"], "no list of a system `three`"),
        (&["e.yaml", "--data", "sample"], "applies to files of rankings alone"),
        (
            &["--lists", "one.csv", "two.csv", "--test-part", "test.csv", "--fold", "f1"],
            "needs --data",
        ),
        (&["--lists", "one.csv", "two.csv", "--qrels", "test.csv", "--metric", "gini"], ""),
    ] {
        let ended = place.assay(&[&["compare"], args].concat());
        assert!([2, 3].contains(&ended.code), "{args:?}: {}", ended.out);
        assert!(ended.err.contains(said), "{args:?}: {}", ended.err);
    }
    // The same lists on a fold of a data set.
    place.write("a.csv", "user,item,rank\n1,5,1\n2,9,1\n");
    place.write("b.csv", "user,item,rank\n1,7,1\n2,9,1\n");
    let of_set = ["--lists", "a.csv", "b.csv", "--data", "sample", "--fold", "f1"];
    let found = json(&place, &of_set);
    assert_eq!((found["comparisons"].as_u64(), &found["rows"][0]["fold"]), (Some(1), &"f1".into()));
}

/// Three data sets made of parts of the sample: ranks by the means that `results` gives.
#[test]
fn systems_are_ranked_over_data_sets_and_folds_are_no_blocks() {
    let place = Place::new();
    let ratings = crate::support::root().join("datasets/sample/ratings.csv");
    let ratings = std::fs::read_to_string(ratings).unwrap();
    let (head, rows) = ratings.split_once('\n').unwrap();
    let names = ["x", "y", "z"];
    for (at, name) in names.iter().enumerate() {
        let own = rows.lines().filter(|row| {
            let user: usize = row.split(',').next().unwrap().parse().unwrap();
            user % 3 == at
        });
        let own: Vec<&str> = own.collect();
        place.write(&format!("{name}/r.csv"), format!("{head}\n{}\n", own.join("\n")));
        place.write(
            &format!("{name}.yaml"),
            format!(
                "experiment: {name}
data: {{reader: table, folder: {name}, ratings: r.csv, relevant: '>= 4', columns: {{user: user, item: item, rating: rating}}}}
split: {{scheme: kfold, folds: 2, seed: 1, by: rating}}
systems:
  random: {{model: random}}
  popularity: {{model: popularity}}
  als: {{model: als, factors: 8, iterations: 5, regularization: 5, confidence: alpha-r, alpha: 2}}
evaluate: {{k: [10], metrics: [ndcg, gini]}}
"
            ),
        );
        place.fine(&["run", &format!("{name}.yaml"), "--quiet"]);
    }
    let files = ["x.yaml", "y.yaml", "z.yaml", "--across"];
    let found = json(&place, &files);
    let test = &found["tests"][0];
    let systems: Vec<&str> =
        test["systems"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let mut sums = vec![0.0; systems.len()];
    for (at, name) in names.iter().enumerate() {
        let rows = place.fine(&["results", &format!("{name}.yaml"), "--json"]);
        let rows: Value = serde_json::from_str(&rows).unwrap();
        let value = |system: &str| {
            let mut rows = rows.as_array().unwrap().iter();
            let row = rows.find(|row| {
                row["system"] == system && row["fold"] == "mean" && row["metric"] == "ndcg"
            });
            row.unwrap()["value"].as_f64().unwrap()
        };
        let values: Vec<f64> = systems.iter().map(|name| value(name)).collect();
        for (system, own) in values.iter().enumerate() {
            assert_eq!(test["values"][at][system].as_f64(), Some(*own));
            sums[system] += 1.0 + values.iter().filter(|other| *other > own).count() as f64;
        }
    }
    // χ² = 12 / (N k (k + 1)) Σ R² − 3 N (k + 1), with N = k = 3 and 2 degrees of freedom: p = exp(−χ²/2).
    let chi: f64 = sums.iter().map(|sum| sum * sum).sum::<f64>() / 3.0 - 36.0;
    assert!((test["chi_square"].as_f64().unwrap() - chi).abs() < 1e-9);
    assert!((test["p"].as_f64().unwrap() - (-chi / 2.0).exp()).abs() < 1e-9);
    for (system, sum) in sums.iter().enumerate() {
        assert!((test["ranks"][system].as_f64().unwrap() - sum / 3.0).abs() < 1e-12);
    }
    // 2.3437 (Demšar 2006, table 5a) √(3 · 4 / 18).
    let cd = test["critical_difference"]["cd"].as_f64().unwrap();
    assert!((cd - 2.3437 * (12f64 / 18.0).sqrt()).abs() < 1e-3, "{cd}");
    let said = place.fine(&[&["compare"], &files[..]].concat());
    assert!(
        said.contains("3 systems over 3 data sets") && said.contains("Friedman: χ² ="),
        "{said}"
    );
    assert!(said.contains("Exact, by all orders of the ranks: p ="), "{said}");
    place.fine(&[&["compare"], &files[..], &["--figures", "cd"]].concat());
    let drawn = std::fs::read_to_string(place.path("cd/critical-difference-ndcg-10.svg")).unwrap();
    assert!(systems.iter().all(|name| drawn.contains(&format!("{name} ("))), "{drawn}");
    assert!(drawn.contains(&format!("critical difference {cd:.2}")), "{drawn}");
    assert!(place.path("cd/critical-difference-ndcg-10.png").exists());
    for (args, said) in [
        (&["x.yaml", "--across"][..], "folds of one data set are no blocks"),
        (&["x.yaml", "x.yaml", "--across"], "have the same data"),
        (&["x.yaml", "y.yaml", "--across", "--metric", "gini"], "no value of it is better"),
        (&["x.yaml", "y.yaml", "--across", "--system", "als"], "needs 3 systems"),
        (&["x.yaml", "y.yaml", "--across", "--fold", "1"], "means over folds"),
        (&["x.yaml", "y.yaml", "z.yaml"], "`--across` ranks systems"),
    ] {
        let ended = place.assay(&[&["compare"], args].concat());
        assert!([2, 3].contains(&ended.code), "{args:?}: {}", ended.out);
        assert!(ended.err.contains(said), "{args:?}: {}", ended.err);
    }
}
