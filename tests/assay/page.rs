//! What a report consists of, and that its page is up to date.

use std::fs;

use crate::support::Place;

const EXPERIMENT: &str = "experiment: e
data: {set: sample, relevant: \">= 4\"}
split: {scheme: official, only: [f1]}
systems:
  popularity: {model: popularity}
  item-knn: {model: item-knn}
evaluate: {k: [5, 10], protocols: [full, judged], slices: [all, \"cold<20\"]}
";

fn files(place: &Place, dir: &str) -> Vec<String> {
    let listed = fs::read_to_string(place.path(dir).join(".assay-files")).unwrap();
    let mut names: Vec<String> =
        listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_report_is_a_handful_of_files_unless_all_are_asked_for() {
    let place = Place::new();
    place.write("e.yaml", EXPERIMENT);
    place.fine(&["run", "e.yaml", "--quiet"]);
    let written = files(&place, "reports/e");
    assert_eq!(
        written,
        [
            "figures/metric-against-k.pdf",
            "figures/metric-against-k.png",
            "figures/metric-against-k.svg",
            "files.md",
            "index.html",
            "results.csv",
            "results.json",
            "tables/main.csv",
            "tables/main.json",
            "tables/main.md",
            "tables/main.tex",
        ]
    );
    let page = fs::read_to_string(place.path("reports/e/index.html")).unwrap();
    for name in written.iter().filter(|name| *name != "index.html") {
        assert!(page.contains(&name.replace('/', "&#x2F;")) || page.contains(name), "{name}");
    }
    // Two protocols, two slices and two cutoffs, in three formats; and the default table in four.
    place.fine(&["report", "e.yaml", "--all"]);
    let all = files(&place, "reports/e");
    assert_eq!(all.iter().filter(|name| name.starts_with("tables/")).count(), 28);
    // What is not written again is not left without a word.
    let again = place.assay(&["report", "e.yaml"]);
    assert_eq!(again.code, 0, "{}", again.err);
    let left = all.len() - written.len();
    let said = format!("note: {left} files of an earlier report were not written again");
    assert!(again.err.contains(&said), "{}", again.err);
}

#[test]
fn the_page_opens_with_the_declared_reference() {
    let place = Place::new();
    let opens_with = |report: &str| {
        place.write("e.yaml", format!("{EXPERIMENT}{report}"));
        place.fine(&["run", "e.yaml", "--quiet"]);
        let html = fs::read_to_string(place.path("reports/e/index.html")).unwrap();
        let open: Vec<&str> = html
            .split("<details class=\"reference\"")
            .skip(1)
            .filter(|of| of.split('>').next().unwrap().ends_with(" open"))
            .map(|of| of.split("Reference: ").nth(1).unwrap().split(' ').next().unwrap())
            .collect();
        assert!(html.contains("Best by nDCG@10: item-knn"), "the summary is of the best");
        assert!(!html.contains("users.. "), "one full stop");
        open.join(" ")
    };
    assert_eq!(opens_with(""), "item-knn");
    assert_eq!(opens_with("report: {reference: popularity}\n"), "popularity");
}

/// The audit is kept, as it takes time; it must not outlive what it was made of.
#[test]
fn findings_of_the_audit_on_the_page_are_those_of_now() {
    let place = Place::new();
    place.write("e.yaml", EXPERIMENT);
    place.fine(&["run", "e.yaml", "--quiet"]);
    let page = || {
        place.assay(&["report", "e.yaml"]);
        let html = fs::read_to_string(place.path("reports/e/index.html")).unwrap();
        let (_, rest) = html.split_once("<section id=\"audit\">").unwrap();
        rest.split_once("</section>").unwrap().0.to_owned()
    };
    let first = page();
    assert!(first.contains("<code>single-fold</code>") && !first.contains("because of a test"));
    assert_eq!(page(), first);
    // The counts are those of `assay audit`.
    let audit = place.assay(&["audit", "e.yaml"]).out;
    let tally = audit.lines().last().unwrap().strip_prefix("e: ").unwrap();
    assert!(first.contains(tally), "{tally} in {first}");
    place.write(
        "e.yaml",
        format!("{EXPERIMENT}audit: {{allow: {{single-fold: because of a test}}}}\n"),
    );
    assert!(page().contains("Accepted because: because of a test"));
    // Damage is found, although nothing ran.
    let dir = place.path(".assay/steps/predict");
    for step in fs::read_dir(dir).unwrap() {
        for file in fs::read_dir(step.unwrap().path()).unwrap().flatten() {
            if !file.path().ends_with("record.json") {
                fs::write(file.path(), "x").unwrap();
            }
        }
    }
    let damaged = page();
    assert_ne!(damaged, first);
    assert!(damaged.contains("damaged-artifacts"), "{damaged}");
}
