//! What `assay audit` found, and the made-up ratings to count in by hand.

use std::{collections::BTreeMap, fs};

use serde_json::Value;

use crate::support::{Place, root};

/// By check, whether it applied, and its findings.
pub struct Audited(BTreeMap<String, (String, Vec<Value>)>);

impl Audited {
    /// Audits an experiment file; findings of any severity are allowed.
    pub fn of(place: &Place, file: &str) -> Self {
        let ended = place.assay(&["audit", file, "--json"]);
        assert!(ended.code <= 1, "{}\n{}", ended.out, ended.err);
        let found: Value = serde_json::from_str(&ended.out).unwrap();
        let checks = found["checks"].as_array().unwrap().iter();
        let of = |check: &Value| {
            let outcome = check["outcome"].as_str().unwrap().to_owned();
            let findings = check["findings"].as_array().unwrap().clone();
            (check["id"].as_str().unwrap().to_owned(), (outcome, findings))
        };
        Self(checks.map(of).collect())
    }

    pub fn findings(&self, id: &str) -> &[Value] {
        &self.0[id].1
    }

    /// The only finding of a check.
    pub fn one(&self, id: &str) -> &Value {
        let findings = self.findings(id);
        assert_eq!(findings.len(), 1, "{id}: {findings:#?}");
        &findings[0]
    }

    /// The finding of a check about a system.
    pub fn about(&self, id: &str, subject: &str) -> &Value {
        let mut found = self.findings(id).iter().filter(|of| of["subject"] == subject);
        found.next().unwrap_or_else(|| panic!("{id}, {subject}: {:#?}", self.findings(id)))
    }

    /// That checks were made and found nothing.
    pub fn passed(&self, ids: &[&str]) {
        for id in ids {
            let (outcome, findings) = &self.0[*id];
            assert_eq!(outcome, "passed", "{id}: {findings:#?}");
        }
    }
}

pub fn number(of: &Value) -> f64 {
    of.as_f64().unwrap_or_else(|| panic!("{of}"))
}

/// A rating of the made-up sample.
pub struct Rating {
    pub user: String,
    pub item: String,
    pub rating: f64,
    pub fold: String,
}

pub fn ratings() -> Vec<Rating> {
    let text = fs::read_to_string(root().join("datasets/sample/ratings.csv")).unwrap();
    let rating = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        Rating {
            user: cells[0].into(),
            item: cells[1].into(),
            rating: cells[2].parse().unwrap(),
            fold: cells[4].into(),
        }
    };
    text.lines().skip(1).map(rating).collect()
}
