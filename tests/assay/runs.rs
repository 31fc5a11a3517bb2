//! Runs: which there were, what each was of, and what differs between two.

use std::fs;

use serde_json::Value;

use crate::support::Place;

const EXPERIMENT: &str = "experiment: mine
data:
  reader: table
  ratings: ratings.csv
  columns: {user: user, item: item, rating: rating}
  relevant: \">= 4\"
split: {scheme: kfold, folds: 2, seed: 1}
systems:
  popularity: {model: popularity}
  knn: {model: item-knn, neighbours: 3}
evaluate: {k: [2], metrics: [ndcg, recall]}
";

fn ratings(last: &str) -> String {
    let rows: String = (0..12)
        .flat_map(|user| {
            (0..5).map(move |item| (user, (user * 2 + item) % 7, 1 + (user + item) % 5))
        })
        .map(|(user, item, rating)| format!("{user},{item},{rating}\n"))
        .collect();
    format!("user,item,rating\n{rows}{last}")
}

fn place() -> Place {
    let place = Place::new();
    place.write("ratings.csv", ratings(""));
    place.write("e.yaml", EXPERIMENT);
    place
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Names of the runs of an experiment, the oldest first.
fn names(place: &Place, experiment: &str) -> Vec<String> {
    let runs = json(&place.fine(&["ls", experiment, "--json"]));
    runs.as_array().unwrap().iter().map(|run| run["run"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn runs_are_listed_shown_and_compared() {
    let place = place();
    assert!(place.fine(&["ls"]).contains("no experiment has been run"));
    place.fine(&["run", "e.yaml", "--quiet"]);
    place.fine(&["run", "e.yaml", "--quiet"]);
    let same = place.fine(&["diff", "e.yaml"]);
    assert!(same.contains("no difference in experiment, data, files and program"), "{same}");
    assert!(same.contains("all 4 means are equal"), "{same}");
    place.write("e.yaml", EXPERIMENT.replace("neighbours: 3", "neighbours: 1"));
    place.fine(&["run", "e.yaml", "--quiet"]);
    let runs = names(&place, "e.yaml");
    assert_eq!((runs.len(), &runs), (3, &names(&place, "mine")));
    let table = place.fine(&["ls"]);
    assert!(
        table.contains("mine") && table.contains("e.yaml") && table.contains(" UTC"),
        "{table}"
    );
    assert!(table.contains(&runs[2]) && !table.contains(&runs[1]), "{table}");
    assert_eq!(json(&place.fine(&["ls", "--json"]))[0]["runs"], 3);
    // A run by its name, or by the beginning of it.
    let shown = place.fine(&["show", &runs[0]]);
    assert!(shown.contains(&format!("run         {}\nstarted     2", runs[0])), "{shown}");
    assert!(shown.contains("neighbours: 3") && shown.contains("the data set"), "{shown}");
    assert!(place.fine(&["show", &runs[2]]).contains("neighbours: 1"));
    assert_eq!(json(&place.fine(&["show", "mine", "--json"]))["run"], runs[2].as_str());
    // What changed, and every mean that did.
    let diff = place.fine(&["diff", &runs[0], &runs[2]]);
    assert!(diff.contains("experiment\n  systems.knn.neighbours: 3 → 1\n"), "{diff}");
    assert!(!diff.contains("popularity full"), "{diff}");
    let of = json(&place.fine(&["diff", "e.yaml", "--json"]));
    assert_eq!(of["inputs"].as_object().unwrap().keys().collect::<Vec<_>>(), ["experiment"]);
    let rows = |place: &Place| json(&place.fine(&["results", "e.yaml", "--json"]));
    for mean in of["means"].as_array().unwrap() {
        let after = &mean["second"];
        assert_ne!(mean["first"]["value"], after["value"]);
        let rows = rows(&place);
        let row = rows.as_array().unwrap().iter().find(|row| {
            row["fold"] == "mean"
                && ["system", "metric"].iter().all(|field| row[*field] == after[*field])
        });
        assert_eq!(row.unwrap()["value"], after["value"]);
    }
    // Another file: said, with its digests, and no mean is comparable.
    place.write("ratings.csv", ratings("0,6,5\n"));
    place.fine(&["run", "e.yaml", "--quiet"]);
    let diff = place.fine(&["diff", "e.yaml"]);
    assert!(diff.contains("data and files\n  the data set "), "{diff}");
    assert!(
        !diff.contains("systems.knn") && diff.contains("not comparable: other fingerprint"),
        "{diff}"
    );
    let unknown = place.assay(&["diff", "mine", "1234-nobody"]);
    assert!(unknown.code == 2 && unknown.err.contains("no run or experiment"), "{}", unknown.err);
}

/// Neither the records nor the report of one are written over those of the other.
#[test]
fn two_files_with_one_name_are_told_apart() {
    let place = place();
    place.fine(&["run", "e.yaml", "--quiet"]);
    let report = fs::read(place.path("reports/mine/results.csv")).unwrap();
    let other = EXPERIMENT
        .replace("  knn: {model: item-knn, neighbours: 3}\n", "  random: {model: random}\n");
    place.write("sub/e.yaml", other.replace("ratings: r", "ratings: ../r"));
    let second = place.assay(&["run", "sub/e.yaml", "--quiet"]);
    assert_eq!(second.code, 0, "{}", second.err);
    assert!(second.err.contains("has an experiment of the name `mine`, too"), "{}", second.err);
    let list = json(&place.fine(&["ls", "--json"]));
    let slots: Vec<&str> =
        list.as_array().unwrap().iter().map(|of| of["experiment"].as_str().unwrap()).collect();
    assert!(slots.len() == 2 && slots[0] == "mine" && slots[1].starts_with("mine-"), "{slots:?}");
    assert_eq!(fs::read(place.path("reports/mine/results.csv")).unwrap(), report);
    assert!(place.path(&format!("reports/{}/index.html", slots[1])).is_file());
    for (file, slot, system) in [("e.yaml", slots[0], "knn"), ("sub/e.yaml", slots[1], "random")] {
        let by_file = place.fine(&["results", file, "--csv"]);
        assert!(by_file.contains(&format!(",{system},")), "{by_file}");
        assert_eq!(place.fine(&["results", slot, "--csv"]), by_file);
        assert_eq!(names(&place, file).len(), 1);
        assert!(place.fine(&["show", slot]).contains(file));
    }
    // Edited, each keeps its own; a copy is the same experiment.
    for file in ["e.yaml", "sub/e.yaml"] {
        let text = fs::read_to_string(place.path(file)).unwrap();
        place.write(file, text.replace("k: [2]", "k: [3]"));
        place.fine(&["run", file, "--quiet"]);
        assert_eq!(names(&place, file).len(), 2);
    }
    fs::copy(place.path("e.yaml"), place.path("copy.yaml")).unwrap();
    place.fine(&["run", "copy.yaml", "--quiet"]);
    assert_eq!(names(&place, "e.yaml").len(), 3);
    // What one needs is kept by its own name.
    place.fine(&["gc", "sub/e.yaml", "--yes"]);
    assert!(place.path(&format!(".assay/experiments/{}", slots[1])).exists());
    assert!(!place.path(".assay/experiments/mine").exists());
}
