//! Conventions against values of the libraries they are named after (tools/pin_conventions.py).

use std::{collections::BTreeMap, fs};

use rec_assay::{
    base::interrupt::Interrupt,
    data::{Interaction, Interactions, ItemIx, Relevance, UserIx},
    ranking::{Convention, Labels, Metric, Protocol, Rankings, ScoreSpec, Source, score},
};
use serde::Deserialize;

use crate::support::root;

#[derive(Deserialize)]
struct Golden {
    n_items: usize,
    cutoffs: Vec<usize>,
    users: Vec<User>,
    libraries: BTreeMap<String, Library>,
}

#[derive(Deserialize)]
struct User {
    test: BTreeMap<u32, f32>,
    list: Option<Vec<u32>>,
}

#[derive(Deserialize)]
struct Library {
    convention: Convention,
    users: String,
    values: BTreeMap<String, f64>,
}

#[test]
fn conventions_equal_the_libraries_they_are_named_after() {
    let text = fs::read_to_string(root().join("tests/golden/conventions.json")).unwrap();
    let golden: Golden = serde_json::from_str(&text).unwrap();
    let mut compared = 0;
    for (name, library) in &golden.libraries {
        let last = *golden.cutoffs.last().unwrap();
        let users: Vec<&User> = golden
            .users
            .iter()
            .filter(|user| {
                let length = user.list.as_ref().map_or(0, Vec::len);
                library.users == "all" || length >= last
            })
            .collect();
        let rows: Vec<Interaction> = users
            .iter()
            .enumerate()
            .flat_map(|(at, user)| {
                user.test.iter().map(move |(item, rating)| Interaction {
                    user: UserIx(at as u32),
                    item: ItemIx(*item),
                    rating: *rating,
                    timestamp: Default::default(),
                })
            })
            .collect();
        let test = Interactions::new(users.len(), golden.n_items, &rows);
        let none = Interactions::new(users.len(), golden.n_items, &[]);
        let list = |user: &&User| {
            user.list.as_ref().map(|list| list.iter().map(|item| (f32::NAN, *item)).collect())
        };
        let rankings = Rankings { lists: users.iter().map(list).collect(), ..Rankings::default() };
        let spec = ScoreSpec {
            protocols: vec![Protocol::Full],
            conventions: vec![library.convention],
            k: golden.cutoffs.clone(),
            metrics: vec![
                Metric::Precision,
                Metric::Recall,
                Metric::Ndcg,
                Metric::Map,
                Metric::Mrr,
                Metric::HitRate,
            ],
            ..ScoreSpec::default()
        };
        let relevant = Relevance::AtLeast(4.0);
        let labels = Labels { train: &none, seen: &none, test: &test, relevant, is_qrels: false };
        let source = Source::Lists(&rankings);
        let scores = score(&spec, &labels, &source, &Interrupt::default(), &|_, _| {}).unwrap();
        for mean in &scores.summary {
            let Some(theirs) = library.values.get(&format!("{}@{}", mean.metric, mean.k)) else {
                continue;
            };
            let ours = mean.value.unwrap();
            // LibRecommender sums in 32-bit floats.
            let close = if name == "libreco" { 1e-6 } else { 1e-12 };
            assert!(
                (ours - theirs).abs() < close,
                "{name} {}@{}: {ours}, the library says {theirs}",
                mean.metric,
                mean.k
            );
            compared += 1;
        }
    }
    assert_eq!(compared, golden.libraries.values().map(|of| of.values.len()).sum::<usize>());
    assert_eq!(compared, 128);
}
