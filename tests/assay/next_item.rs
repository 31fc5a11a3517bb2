//! The task `next-item`: by hand on small sequences, and exact values on published files.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    networks::goes_on_when_killed,
    support::{Ended, Place, ended, not_run, say, weights},
};

/// The value of a metric of a system.
fn value(csv: &str, system: &str, metric: &str, k: &str) -> f64 {
    let rows = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let mut rows = rows.filter(|f| f[1] == system && f[2] != "mean" && f[4] == "full");
    let row = rows.find(|f| f[7] == metric && f[8] == k);
    row.unwrap_or_else(|| panic!("no {system} {metric}@{k}\n{csv}"))[9].parse().unwrap()
}

fn four(value: f64) -> String {
    format!("{value:.4}")
}

/// Four users; items are numbered by first appearance. User d has too few interactions for a test.
const SEQUENCES: &str = "a 1 2 3 4 5\nb 2 3 2 6\nc 1 2 1 2 3\nd 7 8\n";

fn small(place: &Place, more: &str) -> String {
    place.write("data/s.txt", SEQUENCES);
    place.write(
        "e.yaml",
        format!(
            "experiment: e\ntask: next-item\ndata: {{reader: sequences, folder: data, file: s.txt}}\nsplit: \
             {{scheme: leave-one-out}}\n{more}"
        ),
    );
    place.fine(&["run", "e.yaml", "--quiet"]);
    place.fine(&["results", "e.yaml"])
}

const RULE: &str = "systems:\n  rule: {model: id-plus-one}\n  chain: {model: markov, backoff: none}\n  \
                    popular: {model: popularity}\n";

#[test]
fn the_input_is_everything_before_the_last_item_and_seen_items_are_not_ranked() {
    let place = Place::new();
    let csv = small(&place, &format!("{RULE}evaluate: {{k: [1, 2]}}\n"));
    // The last of a is 4, then 5: hit at rank 1. After b's 2, 3 is seen, so 4, 5, 6: rank 3. After c's 2: 3.
    assert_eq!(value(&csv, "rule", "hit-rate", "1"), 2.0 / 3.0);
    assert_eq!(value(&csv, "rule", "hit-rate", "2"), 2.0 / 3.0);
    // Training parts are 1 2 3, 2 3, 1 2 1 and 7 8. After 2 comes 3 twice and 1 once; 3 is c's item, b's is 6.
    // After 4 nothing ever came: a has no list, and counts 0.
    assert_eq!(four(value(&csv, "chain", "ndcg", "1")), "0.3333");
    // 2 three times, 1 three times, 3 twice: of what c has not seen 3 is first.
    assert_eq!(four(value(&csv, "popular", "mrr", "1")), "0.3333");
    let spelled = small(&place, &format!("{RULE}evaluate: {{metrics: [HR@2, MRR@1]}}\n"));
    assert_eq!(value(&spelled, "rule", "hit-rate", "2"), 2.0 / 3.0);
    assert!(!spelled.contains("ndcg"), "{spelled}");
}

#[test]
fn exclude_is_a_part_of_the_fingerprint_and_seen_items_can_be_ranked() {
    let place = Place::new();
    let evaluate = |exclude: &str| format!("{RULE}evaluate: {{k: [3], exclude: {exclude}}}\n");
    let fingerprint = |place: &Place| {
        let rows: Value =
            serde_json::from_str(&place.fine(&["results", "e.yaml", "--json"])).unwrap();
        rows[0]["fingerprint"].as_str().unwrap().to_owned()
    };
    let mut prints = Vec::new();
    // Without exclusion 3, 4, 5 follow b's 2: item 6 is not among the first three.
    for (exclude, expected) in [("seen", "0.7778"), ("none", "0.6667")] {
        let csv = small(&place, &evaluate(exclude));
        assert_eq!(four(value(&csv, "rule", "mrr", "3")), expected, "{exclude}");
        prints.push(fingerprint(&place));
    }
    // Seen items have the score 0 and others a positive one, so the order of the others stays.
    let csv = small(&place, &evaluate("bsarec"));
    assert_eq!(four(value(&csv, "rule", "mrr", "3")), "0.7778");
    prints.push(fingerprint(&place));
    prints.sort();
    prints.dedup();
    assert_eq!(prints.len(), 3, "{prints:?}");
}

#[test]
fn exported_sequences_keep_their_order_and_repeats() {
    let place = Place::new();
    small(&place, RULE);
    place.fine(&["export", "e.yaml", "--format", "recbole", "--out", "rb"]);
    let text = std::fs::read_to_string(place.path("rb/last/data.train.inter")).unwrap();
    let of_c: Vec<&str> = text.lines().filter(|line| line.starts_with("c\t")).collect();
    let items: Vec<&str> = of_c.iter().map(|line| line.split('\t').nth(1).unwrap()).collect();
    assert_eq!(items, ["1", "2", "1"], "{text}");
}

#[test]
fn an_item_that_comes_again_is_a_miss_that_the_record_counts() {
    let place = Place::new();
    place.write("data/s.txt", "a 1 2 1 2 1\nb 1 2 1 2 3\n");
    place.write(
        "e.yaml",
        "experiment: e\ntask: next-item\ndata: {reader: sequences, folder: data, file: s.txt}\nsplit: {scheme: \
         leave-one-out}\nsystems: {popular: {model: popularity}}\n",
    );
    let ended = place.assay(&["run", "e.yaml"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    let said = "1 of 2 items to be predicted are items that the user had before";
    assert!(ended.out.contains(said) || ended.err.contains(said), "{}\n{}", ended.out, ended.err);
}

#[test]
fn sequences_are_filtered_before_they_are_split() {
    let place = Place::new();
    place.write("data/s.txt", SEQUENCES);
    let run = |filter: &str| {
        place.write(
            "e.yaml",
            format!(
                "experiment: e\ntask: next-item\ndata: {{reader: sequences, folder: data, file: s.txt, filter: \
                 {filter}}}\nsplit: {{scheme: leave-one-out}}\n{RULE}evaluate: {{k: [1]}}\n"
            ),
        );
        let plan = place.fine(&["plan", "e.yaml"]);
        place.fine(&["run", "e.yaml", "--quiet"]);
        (place.fine(&["results", "e.yaml"]), plan)
    };
    // Items 4 to 8 occur once. Left are a: 1 2 3, b: 2 3 2, c: 1 2 1 2 3; d is gone. b's 2 is seen, the others are hits.
    let (csv, plan) = run("{k_core: {item: 2}}");
    assert_eq!(value(&csv, "rule", "hit-rate", "1"), 2.0 / 3.0);
    assert!(plan.contains("users 4 → 3, items 8 → 3, interactions 16 → 11"), "{plan}");
    // a and c.
    let (csv, _) = run("{min_interactions: {user: 5}}");
    assert_eq!(value(&csv, "rule", "hit-rate", "1"), 1.0);
    // a: 3 4 5, b: 3 2 6, c: 1 2 3; d has two. Item 6 comes after 3, 4 and 5.
    let (csv, _) = run("{last: 3}");
    assert_eq!(value(&csv, "rule", "hit-rate", "1"), 2.0 / 3.0);
}

#[test]
fn what_cannot_be_computed_ends_before_work_starts() {
    let place = Place::new();
    place.write("data/s.txt", SEQUENCES);
    place.write("data/t.csv", "user,item\na,1\na,2\na,3\n");
    place.write("data/twice.txt", "a 1 2 3\nb 1\na 4\n");
    let sequences = "{reader: sequences, folder: data, file: s.txt}";
    let last = "{scheme: leave-one-out}";
    let systems = "{rule: {model: id-plus-one}}";
    for (data, split, systems, more, says) in [
        (sequences, "{scheme: leave-one-out, n: 2}", systems, "", "`n` has no effect"),
        (sequences, "{scheme: kfold, folds: 5}", systems, "", "unknown name `kfold`"),
        (sequences, last, "{als: {model: als}}", "", "unknown model `als` of the task `next-item`"),
        (sequences, last, "{r: {model: id-plus-one, ids: popular}}", "", "unknown numbering"),
        (sequences, last, systems, "evaluate: {protocols: [judged]}", "the protocol `judged`"),
        (sequences, last, systems, "evaluate: {exclude: all}", "unknown rule for `exclude`"),
        (sequences, last, "{v: {model: vsknn, neighbours: 0}}", "", "`neighbours`: is 0"),
        (sequences, last, systems, "profiles: {}", "unknown key `profiles`"),
        (sequences, "{scheme: temporal, test: 0.2}", systems, "", "cannot be compared"),
        (
            "{reader: table, folder: data, ratings: t.csv, columns: {user: user, item: item}}",
            last,
            systems,
            "",
            "neither times nor an order",
        ),
        ("{reader: sequences, folder: data, file: twice.txt}", last, systems, "", "a second line"),
        (
            "{reader: sequences, folder: data, file: s.txt, filter: {rating: \">= 4\"}}",
            last,
            systems,
            "",
            "have no ratings that are looked at",
        ),
        (
            "{reader: sequences, folder: data, file: s.txt, filter: {time: {from: 5}}}",
            last,
            systems,
            "",
            "only the order of a user's interactions is known",
        ),
        (
            "{reader: sequences, folder: data, file: s.txt, filter: {min_interactions: {user: 9}}}",
            last,
            systems,
            "",
            "leaves no interaction",
        ),
        (
            sequences,
            last,
            "{s: {model: sasrec, loss: softmax, pretraining: {negatives: front}}}",
            "",
            "`negatives` has no effect on this loss",
        ),
        (sequences, last, "{s: {model: sasrec, pretraining: {block: 4}}}", "", "`block` is 4"),
        (sequences, last, "{s: {model: bsarec, samples: prefixes}}", "", "unknown key `samples`"),
    ] {
        place.write(
            "e.yaml",
            format!(
                "experiment: e\ntask: next-item\ndata: {data}\nsplit: {split}\nsystems: {systems}\n{more}\n"
            ),
        );
        let Ended { code, err, .. } = place.assay(&["run", "e.yaml"]);
        assert!(err.contains(says), "{says}: {err}");
        // What only the data can tell fails its step.
        assert!(code == 2 || code == 4, "{says}: {code}\n{err}");
    }
}

#[test]
fn sampled_candidates_are_offered_and_marked() {
    let place = Place::new();
    let more =
        "systems: {chain: {model: markov}}\nevaluate: {k: [1], protocols: [full, sampled]}\n";
    small(&place, more);
    let table = place.fine(&["table", "e.yaml", "--protocol", "sampled"]);
    assert!(table.contains("sampled"), "{table}");
    assert!(table.to_lowercase().contains("inconsistent"), "{table}");
}

/// Sequences in which an item is followed by the next of twelve, from different starts.
fn rounds(place: &Place) {
    let line = |user: usize| {
        let items: Vec<String> =
            (0..4 + user / 12).map(|at| ((user + at) % 12 + 1).to_string()).collect();
        format!("u{user} {}\n", items.join(" "))
    };
    place.write("data/s.txt", (0..72).map(line).collect::<String>());
}

const NETWORKS: &str = "experiment: networks
task: next-item
data: {reader: sequences, folder: data, file: s.txt}
split: {scheme: leave-one-out}
systems:
  sasrec:
    model: sasrec
    factors: 16
    length: 6
    samples: sequences
    dropout: 0.1
    loss: {gbce: {negatives: 3}}
    training: {epochs: 40, batch: 16, learning_rate: 0.01, validate: {every: 4, metric: HR@1}, exclude: none, stop: {on: validation, patience: 5}}
  prefixes:
    model: sasrec
    factors: 16
    length: 6
    samples: prefixes
    positions: from-start
    loss: softmax
    dropout: 0.1
    training: {epochs: 10, batch: 16, learning_rate: 0.01}
    pretraining: {sequences: 100, block: 6, epochs: 2}
  gru4rec: {model: gru4rec, factors: 16, hidden: 16, length: 6, training: {epochs: 30, batch: 16, learning_rate: 0.01}}
  bert4rec: {model: bert4rec, factors: 16, length: 10, mask_last: 0.5, training: {epochs: 200, batch: 8, learning_rate: 0.003}}
  bsarec: {model: bsarec, factors: 16, length: 6, dropout: 0.1, training: {epochs: 20, batch: 32, learning_rate: 0.01}}
evaluate: {exclude: seen, k: [1]}
";

#[test]
fn networks_on_sequences_learn_the_same_whatever_the_thread_count() {
    let place = Place::new();
    rounds(&place);
    place.write("e.yaml", NETWORKS);
    place.fine(&["run", "e.yaml", "--threads", "1", "--workspace", "one"]);
    place.fine(&["run", "e.yaml", "--threads", "3", "--workspace", "three"]);
    assert_eq!(place.artefacts("one"), place.artefacts("three"));
    let csv = place.fine(&["results", "e.yaml", "--workspace", "one"]);
    for system in ["sasrec", "prefixes", "gru4rec", "bert4rec", "bsarec"] {
        let found = value(&csv, system, "hit-rate", "1");
        assert!(found > 0.9, "{system}: {found}");
    }
    let report = std::fs::read_to_string(place.path("reports/networks/index.html")).unwrap();
    assert!(
        report.contains("Training of networks by epoch: loss relative to that of the first epoch")
    );
}

/// AAE and SA say whether embeddings are in the order of numbers. A fit that changes nothing keeps what was learnt of
/// numbers, in the numbers of its items.
#[test]
fn one_pretraining_serves_all_numberings_and_puts_items_in_their_order() {
    let place = Place::new();
    let item = |user: usize, at: usize| (user * 37 + at * at * 11 + at * 5) % 120 + 1;
    let line = |user: usize| {
        let items: Vec<String> = (0..6).map(|at| item(user, at).to_string()).collect();
        format!("u{user} {}\n", items.join(" "))
    };
    place.write("data/s.txt", (0..120).map(line).collect::<String>());
    let settings = "factors: 16, heads: 1, length: 20, dropout: 0, attention_dropout: 0, training: {epochs: 1, batch: \
                    64, learning_rate: 0.003}";
    let system = |name: &str, model: &str, more: &str| {
        format!(
            "  {name}:\n    {{model: {model}, {more}{settings}, pretraining: {{ids: {{sweep: [as-distributed, \
             first-appearance, random]}}, transfer: {{sweep: [all, items]}}, sequences: 400, epochs: 12, batch: 32}}}}\n"
        )
    };
    place.write(
        "e.yaml",
        format!(
            "experiment: e\ntask: next-item\ndata: {{reader: sequences, folder: data, file: s.txt}}\nsplit: {{scheme: \
             leave-one-out}}\nsystems:\n{}{}evaluate: {{k: [5]}}\n",
            system("sasrec", "sasrec", "loss: softmax, "),
            system("bert4rec", "bert4rec", "mask_last: 0.2, "),
        ),
    );
    place.fine(&["run", "e.yaml", "--quiet"]);
    let steps = |kind: &str| -> Vec<Value> {
        let dirs = std::fs::read_dir(place.path(".assay/steps").join(kind)).unwrap();
        let read = |dir: std::fs::DirEntry| std::fs::read(dir.path().join("record.json")).unwrap();
        dirs.map(|dir| serde_json::from_slice(&read(dir.unwrap())).unwrap()).collect()
    };
    assert_eq!(steps("pretrain").len(), 2);
    let fits = steps("fit");
    assert_eq!(fits.len(), 12);
    for record in fits {
        let label = record["label"].as_str().unwrap().to_owned();
        let own = ["as-distributed", "first-appearance", "random"];
        let own = own.into_iter().find(|ids| label.contains(&format!("ids={ids}"))).unwrap();
        for order in record["stats"]["order"].as_array().unwrap() {
            // All items are equally popular here: their order is that of the ids.
            if order["numbering"] == "training-popularity" {
                continue;
            }
            let sa = order["sa"].as_f64().unwrap();
            match order["numbering"] == own {
                true => assert!(sa > 0.5, "{label}: {order}"),
                false => assert!(sa < 0.5, "{label}: {order}"),
            }
        }
    }
}

#[test]
fn a_killed_training_on_sequences_goes_on_from_its_checkpoint() {
    let place = Place::new();
    rounds(&place);
    place.write(
        "e.yaml",
        "experiment: e
task: next-item
data: {reader: sequences, folder: data, file: s.txt}
split: {scheme: leave-one-out}
systems:
  sasrec: {model: sasrec, factors: 32, length: 8, training: {epochs: 36, batch: 8, validate: {every: 7}}}
evaluate: {k: [1]}
",
    );
    goes_on_when_killed(&place, "sasrec--last--seed1");
}

/// The directory of real data, if it holds the file; says so either way.
fn real(test: &str, file: &str) -> Option<PathBuf> {
    let root = std::env::var_os("ASSAY_DATA").map(PathBuf::from);
    match root.filter(|root| root.join(file).exists()) {
        Some(root) => {
            say(&format!("runs: {test}"));
            Some(root)
        }
        None => {
            not_run(test, &format!("no {file} under ASSAY_DATA"));
            None
        }
    }
}

fn run(place: &Place, root: &Path, text: &str) -> String {
    place.write("e.yaml", text);
    let assay = |args: &[&str]| {
        let output = place.command(args).env("ASSAY_DATA", root).output().unwrap();
        let ended = ended(output, place.dir.path());
        assert_eq!(ended.code, 0, "{args:?}\n{}\n{}", ended.out, ended.err);
        ended.out
    };
    assay(&["run", "e.yaml", "--quiet"]);
    assay(&["results", "e.yaml"])
}

/// Worked out with plain Python from the files.
#[test]
fn the_id_plus_one_rule_finds_the_order_in_published_ids() {
    for (set, file, expected) in [
        ("s3rec-lastfm", "LastFM", &[("ndcg", "5", "0.0416"), ("hit-rate", "10", "0.0477")][..]),
        ("s3rec-beauty", "Beauty", &[("hit-rate", "10", "0.0310"), ("ndcg", "10", "0.0280")]),
        ("s3rec-toys", "Toys_and_Games", &[("hit-rate", "10", "0.0359"), ("ndcg", "5", "0.0307")]),
    ] {
        let Some(root) = real(&format!("id + 1 on {set}"), &format!("sequential/{file}.txt"))
        else {
            continue;
        };
        let place = Place::new();
        let csv = run(
            &place,
            &root,
            &format!(
                "experiment: e\ntask: next-item\ndata: {{set: {set}}}\nsplit: {{scheme: leave-one-out}}\nsystems:\n  \
                 rule: {{model: id-plus-one}}\n  first: {{model: id-plus-one, ids: first-appearance}}\n  popular: \
                 {{model: id-plus-one, ids: training-popularity}}\n"
            ),
        );
        for (metric, k, number) in expected {
            assert_eq!(four(value(&csv, "rule", metric, k)), *number, "{set} {metric}@{k}");
        }
        let of_first =
            [("s3rec-lastfm", "0.0119"), ("s3rec-beauty", "0.0132"), ("s3rec-toys", "0.0146")];
        let expected = of_first.iter().find(|of| of.0 == set).unwrap().1;
        assert_eq!(four(value(&csv, "first", "hit-rate", "10")), expected, "{set}");
        let of_popular =
            [("s3rec-lastfm", "0.0119"), ("s3rec-beauty", "0.0058"), ("s3rec-toys", "0.0057")];
        let expected = of_popular.iter().find(|of| of.0 == set).unwrap().1;
        assert_eq!(four(value(&csv, "popular", "hit-rate", "10")), expected, "{set}");
    }
}

/// LLMRank's lists of SASRec, BPR and popularity on MovieLens-1M. Worked out with plain Python from the files.
#[test]
fn rankings_of_others_are_scored_to_the_digit() {
    let (Some(root), Some(_)) = (
        real("LLMRank's rankings", "rankings-llmrank/ml-1m-full.sasrec"),
        real("LLMRank's rankings", "ml-1m-partial/ml-1m.seq.tsv"),
    ) else {
        return;
    };
    let place = Place::new();
    let system = |name: &str| {
        format!(
            "  {name}: {{model: external, rankings: rankings-llmrank/ml-1m-full.{name}, format: lists}}\n"
        )
    };
    let csv = run(
        &place,
        &root,
        &format!(
            "experiment: e\ntask: next-item\ndata: {{set: ml-1m-seq}}\nsplit: {{scheme: leave-one-out}}\nsystems:\n\
             {}{}{}",
            system("sasrec"),
            system("bpr"),
            system("pop")
        ),
    );
    for (name, hit_rate, ndcg) in
        [("sasrec", "0.2945", "0.1724"), ("bpr", "0.0285", "0.0126"), ("pop", "0.0137", "0.0059")]
    {
        assert_eq!(four(value(&csv, name, "hit-rate", "10")), hit_rate, "{name}");
        assert_eq!(four(value(&csv, name, "ndcg", "10")), ndcg, "{name}");
    }
}

/// Checks about ratings and their baselines are not about sequences.
#[test]
fn an_audit_of_sequences_checks_all_that_applies() {
    let place = Place::new();
    let lines: String = (1..=40)
        .map(|user| {
            let items = (0..6).map(|at| ((user * 7 + at * at * 3) % 23 + 1).to_string());
            format!("{user} {}\n", items.collect::<Vec<_>>().join(" "))
        })
        .collect();
    place.write("s.txt", lines);
    place.write(
        "e.yaml",
        "experiment: e\ntask: next-item\ndata: {reader: sequences, file: s.txt}\nsplit: {scheme: leave-one-out}\n\
         systems: {popularity: {model: popularity}, markov: {model: markov}}\nevaluate: {k: [5]}\n",
    );
    place.fine(&["run", "e.yaml", "--quiet"]);
    let report: Value = serde_json::from_str(&place.fine(&["audit", "e.yaml", "--json"])).unwrap();
    assert_eq!(report["tally"]["not_checked"], 0, "{report}");
    let outcome = |id: &str| {
        let checks = report["checks"].as_array().unwrap();
        checks.iter().find(|check| check["id"] == id).unwrap()["outcome"].clone()
    };
    assert_eq!(outcome("missing-baselines"), "not-applicable");
    assert_eq!(outcome("missing-results"), "passed");
}

const FROM_TEXTS: &str = "experiment: e
task: next-item
data: {reader: sequences, folder: data, file: s.txt}
split: {scheme: leave-one-out}
systems:
  sasrec: &plain {model: sasrec, factors: 16, length: 6, samples: sequences, training: {epochs: 2, batch: 16}}
  from texts:
    <<: *plain
    text: {items: {file: titles.csv, id: item, text: title}, shuffled: {sweep: [false, true]}}
evaluate: {k: [1]}
";

/// A table of titles, without item 12.
fn titles(place: &Place) {
    let subjects = ["a quiet film", "a loud war film", "a comedy of manners"];
    let row = |item: usize| format!("{item},Number {item} is {}\n", subjects[item % 3]);
    place.write(
        "titles.csv",
        (1..12).map(row).fold("item,title\n".to_owned(), |all, row| all + &row),
    );
}

#[test]
fn networks_start_from_texts_of_their_items() {
    if !weights("networks_start_from_texts_of_their_items") {
        return;
    }
    let place = Place::new();
    rounds(&place);
    titles(&place);
    place.write("e.yaml", FROM_TEXTS);
    let ended = place.assay(&["run", "e.yaml", "--quiet", "--threads", "1"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.err.contains("1 of 12 items have no text in the file"), "{}", ended.err);
    place.fine(&["run", "e.yaml", "--quiet", "--threads", "3", "--workspace", "three"]);
    let made = place.artefacts(".assay");
    assert_eq!(made, place.artefacts("three"));
    // One reading and one encoding serve both; three trainings differ.
    let of = |kind: &str| -> BTreeSet<&Vec<u8>> {
        let of_kind = made.iter().filter(|(name, _)| name.starts_with(kind));
        of_kind.filter(|(name, _)| !name.ends_with(".json")).map(|(_, bytes)| bytes).collect()
    };
    assert_eq!((of("profiles").len(), of("embeddings").len(), of("fit").len()), (1, 1, 3));
    // Another text makes another fit, and the network without texts is current.
    let plan = |place: &Place| -> Vec<String> {
        let plan: Value = serde_json::from_str(&place.fine(&["plan", "e.yaml", "--json"])).unwrap();
        let steps = plan["steps"].as_array().unwrap().iter();
        let open = steps.filter(|step| step["done"] == false);
        open.map(|step| format!("{} {}", step["kind"], step["step"])).collect()
    };
    assert_eq!(plan(&place), Vec::<String>::new());
    let text = std::fs::read_to_string(place.path("titles.csv")).unwrap();
    place.write("titles.csv", text.replace("quiet", "silent"));
    let open = plan(&place);
    assert!(
        open.iter().any(|step| step.contains("fit") && step.contains("from texts")),
        "{open:?}"
    );
    assert!(!open.iter().any(|step| step.contains("sasrec last")), "{open:?}");
}

#[test]
fn texts_that_a_network_cannot_start_from_are_errors_before_any_training() {
    let place = Place::new();
    rounds(&place);
    titles(&place);
    for (from, to, says) in [
        ("file: titles.csv", "file: none.csv", "no such file"),
        ("shuffled: {sweep: [false, true]}", "pretraining: {}", "pretraining"),
        ("shuffled: {sweep: [false, true]}", "encoder: {max_tokens: 1}", "`max_tokens` is 1"),
        ("shuffled: {sweep: [false, true]}", "profiles: mine", "profiles"),
    ] {
        place.write("e.yaml", FROM_TEXTS.replace(from, to));
        let ended = place.assay(&["run", "e.yaml", "--quiet"]);
        assert_eq!(ended.code, 2, "{to}: {}", ended.err);
        assert!(ended.err.contains(says), "{to}: {}", ended.err);
        assert!(!place.path(".assay/steps").exists(), "{to}");
    }
    let both = FROM_TEXTS.replace("    text:", "    pretraining: {epochs: 1}\n    text:");
    place.write("e.yaml", both);
    let ended = place.assay(&["run", "e.yaml", "--quiet"]);
    assert!(ended.code == 2 && ended.err.contains("so does `pretraining`"), "{}", ended.err);
}
