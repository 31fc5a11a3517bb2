//! `assay audit`: planted faults are found with the right numbers, and clean twins raise nothing.

mod evaluation;
mod files;
mod integrity;
mod leakage;

use serde_json::Value;

use crate::support::{Place, root};

/// The report of an audit.
pub fn audit(place: &Place, args: &[&str]) -> Value {
    let ended = place.assay(&[&["audit", "--json"], args].concat());
    serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("{}\n{}", ended.out, ended.err))
}

/// Findings of a check.
pub fn findings<'a>(report: &'a Value, id: &str) -> Vec<&'a Value> {
    let of = check(report, id);
    of["findings"].as_array().unwrap().iter().collect()
}

/// A check of a report.
pub fn check<'a>(report: &'a Value, id: &str) -> &'a Value {
    let checks = report["checks"].as_array().unwrap();
    checks.iter().find(|of| of["id"] == id).unwrap_or_else(|| panic!("no {id} in {report}"))
}

/// The only finding of a check.
pub fn only<'a>(report: &'a Value, id: &str) -> &'a Value {
    match &findings(report, id)[..] {
        [finding] => finding,
        several => panic!("{id}: {several:?}"),
    }
}

pub fn number(finding: &Value, name: &str) -> f64 {
    finding["evidence"][name].as_f64().unwrap_or_else(|| panic!("no {name} in {finding}"))
}

/// That a check was made and found nothing.
pub fn is_clean(report: &Value, id: &str) {
    assert_eq!(check(report, id)["outcome"], "passed", "{}", check(report, id));
}

pub fn close(value: f64, expected: f64) {
    assert!((value - expected).abs() < 1e-9, "{value}, not {expected}");
}

/// A row of the sample: user, item, rating, time, fold.
pub struct Row {
    pub user: usize,
    pub item: usize,
    pub rating: f64,
    pub time: i64,
    pub fold: String,
}

pub fn sample() -> Vec<Row> {
    let text = std::fs::read_to_string(root().join("datasets/sample/ratings.csv")).unwrap();
    let row = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        Row {
            user: fields[0].parse().unwrap(),
            item: fields[1].parse().unwrap(),
            rating: fields[2].parse().unwrap(),
            time: fields[3].parse().unwrap(),
            fold: fields[4].to_owned(),
        }
    };
    text.lines().skip(1).map(row).collect()
}

/// Numbers that look random, the same ones for a seed.
pub struct Draws(u64);

impl Draws {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03)
    }

    /// Below `n` (xorshift64*).
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n
    }

    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        for at in (1..values.len()).rev() {
            let other = self.below(at + 1);
            values.swap(at, other);
        }
    }
}

#[test]
fn the_documented_list_of_checks_is_current() {
    let place = Place::new();
    let list = place.fine(&["audit", "--list", "--markdown"]);
    let docs = std::fs::read_to_string(root().join("docs/AUDIT.md")).unwrap();
    let (_, documented) = docs.split_once("\n## Checks\n\n").unwrap();
    assert_eq!(documented, list, "make it again: assay audit --list --markdown");
}

/// Every check is in the table of docs/AUDIT.md, with a test that there is and that is about it, and with 20 clean twins or
/// more that raise nothing, which tools/audit_twins.py makes and counts.
#[test]
fn every_check_has_a_planted_fault_and_clean_twins() {
    let sources = [
        include_str!("audit.rs"),
        include_str!("audit/evaluation.rs"),
        include_str!("audit/integrity.rs"),
        include_str!("audit/leakage.rs"),
        include_str!("audit_ablation.rs"),
        include_str!("audit_baselines.rs"),
        include_str!("audit_language_models.rs"),
        include_str!("audit_statistics.rs"),
    ];
    let body = |name: &str| {
        let start = format!("\nfn {name}(");
        let of = |text: &&'static str| {
            let (_, rest) = text.split_once(start.as_str())?;
            Some(rest.split_once("\n}\n").map_or(rest, |(body, _)| body))
        };
        sources.iter().find_map(of).unwrap_or_else(|| panic!("there is no test {name}"))
    };
    let docs = std::fs::read_to_string(root().join("docs/AUDIT.md")).unwrap();
    let (_, table) = docs.split_once("\n## How the checks are tested\n").unwrap();
    let (table, _) = table.split_once("\n## Checks\n").unwrap();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    for row in &rows {
        let (id, planted) = (row[1].trim_matches('`'), row[2].trim_matches('`'));
        assert!(body(planted).contains(&format!("\"{id}\"")), "{planted} is not about {id}");
        let [twins, alarms] = [row[3], row[4]].map(|number| number.parse::<usize>().unwrap());
        assert!(twins >= 20 && alarms == 0, "{id}: {twins} twins, {alarms} false alarms");
    }
    let ids: Vec<&str> = rows.iter().map(|row| row[1].trim_matches('`')).collect();
    let list = Place::new().fine(&["audit", "--list", "--json"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    let known: Vec<&str> =
        list.as_array().unwrap().iter().map(|of| of["id"].as_str().unwrap()).collect();
    assert_eq!(ids, known);
}

/// 20 splits of the sample at random, 10 by time: no check of these families finds anything but what is so.
#[test]
fn clean_experiments_raise_nothing() {
    let place = Place::new();
    let systems = "systems:
  random: {model: random}
  item-knn: {model: item-knn}
  als: {model: als, factors: 8, iterations: 5}
evaluate: {k: [5, 10], slices: [all, \"cold<20\"], protocols: [full, judged-after-cut]}
";
    let seeds: Vec<String> = (1..=20).map(|seed| seed.to_string()).collect();
    place.write(
        "random.yaml",
        format!(
            "experiment: random
data: {{set: sample, relevant: \">= 4\"}}
split: {{scheme: holdout, test: 0.2, seed: {{sweep: [{}]}}}}
{systems}",
            seeds.join(", ")
        ),
    );
    place.write(
        "time.yaml",
        format!(
            "experiment: time
data: {{set: sample, relevant: any}}
split: {{scheme: temporal, test: {{sweep: [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45]}}}}
{systems}"
        ),
    );
    place.write(
        "last.yaml",
        format!("experiment: last\ndata: {{set: sample, relevant: any}}\nsplit: {{scheme: leave-one-out}}\n{systems}"),
    );
    let all = [
        "missing-results",
        "damaged-artifacts",
        "recomputed-metrics",
        "out-of-range",
        "not-monotone",
        "identical-rankings",
        "train-test-overlap",
        "duplicate-interactions",
        "lists-of-another-fold",
        "known-items",
        "short-lists",
        "order-by-setting",
        "sampled-metrics",
    ];
    for (file, more) in [
        ("random.yaml", &["users-without-history", "ties-decide", "id-popularity"][..]),
        ("time.yaml", &["future-training", "id-order-answers"]),
        ("last.yaml", &["future-training", "id-order-answers", "users-without-history"]),
    ] {
        place.fine(&["run", file, "--quiet"]);
        let report = audit(&place, &[file]);
        assert_eq!(report["tally"]["not_checked"], 0, "{report}");
        for id in all.iter().chain(more) {
            is_clean(&report, id);
        }
    }
}
