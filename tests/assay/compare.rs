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
    ] {
        let ended = place.assay(&[&["compare", "e.yaml"], args].concat());
        assert!([2, 3].contains(&ended.code), "{args:?}: {}", ended.out);
        assert!(ended.err.contains(said), "{args:?}: {}", ended.err);
    }
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
