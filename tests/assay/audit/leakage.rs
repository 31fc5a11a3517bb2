//! Whether a system could know what it is tested on.

use std::{collections::BTreeMap, fmt::Write, fs};

use serde_json::Value;

use super::{Draws, audit, check, close, findings, is_clean, number, only, sample};
use crate::support::{Place, root, weights};

const POPULARITY: &str = "systems: {popularity: {model: popularity}}\nevaluate: {k: [10]}\n";

/// Directories of finished steps of a kind.
fn dirs(place: &Place, kind: &str) -> Vec<std::path::PathBuf> {
    let steps = fs::read_dir(place.path(".assay/steps").join(kind)).unwrap();
    steps.flatten().map(|step| step.path()).collect()
}

/// The stored fold is what is checked: its test part, put in the place of its validation part, is in training.
#[test]
fn test_interactions_in_a_stored_training_part_are_counted() {
    let place = Place::new();
    place.write(
        "e.yaml",
        format!("experiment: e\ndata: {{set: sample, relevant: \">= 4\"}}\nsplit: {{scheme: official, only: [f2]}}\n{POPULARITY}"),
    );
    place.fine(&["run", "e.yaml", "--quiet"]);
    is_clean(&audit(&place, &["e.yaml"]), "train-test-overlap");
    let [split] = &dirs(&place, "split")[..] else { panic!() };
    fs::copy(split.join("test.parquet"), split.join("validation.parquet")).unwrap();
    let report = audit(&place, &["e.yaml"]);
    let n = sample().iter().filter(|row| row.fold == "f2").count() as f64;
    let finding = only(&report, "train-test-overlap");
    assert_eq!((number(finding, "overlap"), number(finding, "test")), (n, n));
    assert_eq!(finding["severity"], "error");
    assert_eq!(report["passed"], false);
}

/// Two folds of files: 3 of 9 tested pairs are in both test parts.
#[test]
fn test_interactions_in_two_folds_are_counted() {
    let files = |shared: bool| {
        let place = Place::new();
        let mut train = String::from("user,item\n");
        for user in 1..=6 {
            (1..=5).for_each(|item| writeln!(train, "{user},{item}").unwrap());
        }
        place.write("train.csv", train);
        let rows = |users: &[usize], item: usize| -> String {
            users.iter().map(|user| format!("{user},{item}\n")).collect()
        };
        place.write("a.csv", format!("user,item\n{}", rows(&[1, 2, 3, 4, 5, 6], 6)));
        let again = if shared { rows(&[4, 5, 6], 6) } else { String::new() };
        place.write("b.csv", format!("user,item\n{again}{}", rows(&[1, 2, 3], 7)));
        place.write(
            "e.yaml",
            format!(
                "experiment: e
data:
  reader: table
  folder: .
  columns: {{user: user, item: item}}
  folds: {{a: {{train: train.csv, test: a.csv}}, b: {{train: train.csv, test: b.csv}}}}
split: {{scheme: official}}
{POPULARITY}"
            ),
        );
        place.fine(&["run", "e.yaml", "--quiet"]);
        audit(&place, &["e.yaml"])
    };
    let report = files(true);
    let finding = only(&report, "test-in-two-folds");
    assert_eq!((number(finding, "repeated"), number(finding, "test")), (3.0, 9.0));
    is_clean(&files(false), "test-in-two-folds");
}

#[test]
fn interactions_that_files_contain_twice_are_said() {
    let experiment = |more: &str| {
        let place = Place::new();
        let mut rows = String::from("user,item\n");
        for user in 1..=20 {
            (1..=10).for_each(|item| writeln!(rows, "{user},{}", item + user % 5).unwrap());
        }
        place.write("r.csv", rows + more);
        place.write(
            "e.yaml",
            format!(
                "experiment: e
data: {{reader: table, folder: ., ratings: r.csv, columns: {{user: user, item: item}}, duplicates: keep-last}}
split: {{scheme: kfold, folds: 2}}
{POPULARITY}"
            ),
        );
        place.fine(&["run", "e.yaml", "--quiet"]);
        audit(&place, &["e.yaml"])
    };
    let report = experiment("1,3\n1,4\n2,5\n");
    let message = only(&report, "duplicate-interactions")["message"].as_str().unwrap();
    assert!(message.contains("3 duplicate interactions dropped"), "{message}");
    is_clean(&experiment(""), "duplicate-interactions");
}

/// Counted again from the file: users of f1 with a test interaction before their last one of the other folds.
#[test]
fn training_on_the_future_is_counted() {
    let place = Place::new();
    place.write(
        "e.yaml",
        format!("experiment: e\ndata: {{set: sample, relevant: \">= 4\"}}\nsplit: {{scheme: official, only: [f1]}}\n{POPULARITY}"),
    );
    place.fine(&["run", "e.yaml", "--quiet"]);
    let (mut last, mut tested) = (BTreeMap::new(), BTreeMap::<usize, Vec<i64>>::new());
    for row in sample() {
        match row.fold == "f1" {
            true => tested.entry(row.user).or_default().push(row.time),
            false => {
                let time: &mut i64 = last.entry(row.user).or_insert(0);
                *time = row.time.max(*time);
            }
        }
    }
    tested.retain(|user, _| last.contains_key(user));
    let early = |(user, times): (&usize, &Vec<i64>)| {
        times.iter().filter(|time| **time < last[user]).count()
    };
    let counts: Vec<usize> = tested.iter().map(early).collect();
    let report = audit(&place, &["e.yaml"]);
    let finding = only(&report, "future-training");
    assert_eq!(number(finding, "pairs"), tested.len() as f64);
    assert_eq!(
        number(finding, "pairs_with_early_test"),
        counts.iter().filter(|n| **n > 0).count() as f64
    );
    assert_eq!(number(finding, "early_test"), counts.iter().sum::<usize>() as f64);
    assert_eq!(number(finding, "test"), tested.values().map(Vec::len).sum::<usize>() as f64);
    assert_eq!(finding["severity"], "note");
}

/// 100 users with six items each, numbered as they come, of which every second user's last item is the first one of
/// the user fifty on instead. So the rule hits for 50 of 100, always at rank 1.
fn sequences(rename: impl Fn(usize) -> usize) -> String {
    let mut rows = String::from("user,item,time\n");
    for user in 0..100 {
        for at in 0..6 {
            let other = at == 5 && user % 2 == 1;
            let item = if other { (user + 50) % 100 * 6 } else { user * 6 + at };
            writeln!(rows, "{user},{},{}", rename(item), at + 1).unwrap();
        }
    }
    rows
}

fn of_sequences(rows: String) -> Value {
    let place = Place::new();
    place.write("r.csv", rows);
    place.write(
        "e.yaml",
        format!(
            "experiment: e
data: {{reader: table, folder: ., ratings: r.csv, columns: {{user: user, item: item, timestamp: time}}}}
split: {{scheme: leave-one-out}}
{POPULARITY}"
        ),
    );
    place.fine(&["run", "e.yaml", "--quiet"]);
    audit(&place, &["e.yaml", "--only", "id-order-answers"])
}

#[test]
fn ids_in_the_order_of_sequences_answer_and_shuffled_ones_do_not() {
    let report = of_sequences(sequences(|item| item + 1));
    let finding = only(&report, "id-order-answers");
    assert_eq!(number(finding, "users"), 100.0);
    close(number(finding, "hit_rate"), 0.5);
    close(number(finding, "ndcg"), 0.5);
    assert_eq!(finding["severity"], "warning");
    assert!(number(finding, "hit_rate_of_popularity") < 0.2, "{finding}");
    for seed in 1..=20 {
        let mut names: Vec<usize> = (1..=600).collect();
        Draws::new(seed).shuffle(&mut names);
        let report = of_sequences(sequences(|item| names[item]));
        is_clean(&report, "id-order-answers");
    }
}

#[test]
fn the_rule_of_next_ids_needs_a_split_by_time() {
    let place = Place::new();
    place.write(
        "e.yaml",
        format!("experiment: e\ndata: {{set: sample, relevant: any}}\nsplit: {{scheme: kfold, folds: 5, only: [f1]}}\n{POPULARITY}"),
    );
    place.fine(&["run", "e.yaml", "--quiet"]);
    assert_eq!(check(&audit(&place, &["e.yaml"]), "id-order-answers")["outcome"], "not-applicable");
}

/// Item 1 is in 39 users' training, item 2 in 38, and so on: the order of ids is that of popularity. All items have
/// one score; what is tested is each user's most popular unseen item, so the lower id first is always right.
#[test]
fn ties_by_ids_in_the_order_of_popularity_are_found() {
    let run = |reverse: bool, score: &dyn Fn(usize) -> f64| {
        let place = Place::new();
        let id = |item: usize| if reverse { 41 - item } else { item };
        let (mut train, mut test, mut list) = (
            String::from("user,item\n"),
            String::from("user,item\n"),
            String::from("user,item,score\n"),
        );
        for user in 1..=40usize {
            // User u has the items 1 to 40 − u in training, so that item i has 40 − i users.
            (1..=40 - user).for_each(|item| writeln!(train, "{user},{}", id(item)).unwrap());
            if user < 40 {
                writeln!(test, "{user},{}", id(41 - user)).unwrap();
            }
            for item in 41 - user..=40 {
                writeln!(list, "{user},{},{}", id(item), score(item)).unwrap();
            }
        }
        place.write("train.csv", train);
        place.write("test.csv", test);
        place.write("run.csv", list);
        audit(
            &place,
            &["--lists", "run.csv", "--train", "train.csv", "--test", "test.csv", "-k", "1"],
        )
    };
    let report = run(false, &|_| 1.0);
    let finding = only(&report, "id-popularity");
    close(number(finding, "spearman"), -1.0);
    close(number(finding, "ndcg"), 1.0);
    // User 1 has one candidate; all 38 others with a test item have a tie at rank 1.
    close(number(finding, "tied_share"), 38.0 / 39.0);
    assert_eq!(finding["severity"], "warning");
    assert!(number(finding, "ndcg_of_random_ties") < 0.5, "{finding}");
    assert_eq!(only(&report, "ties-decide")["severity"], "warning");
    // Scores without ties leave nothing to ids, whatever their order.
    for seed in 1..=20 {
        let mut scores: Vec<usize> = (0..=40).collect();
        Draws::new(seed).shuffle(&mut scores);
        let report = run(seed % 2 == 0, &|item| scores[item] as f64);
        is_clean(&report, "id-popularity");
        is_clean(&report, "ties-decide");
    }
}

fn profiles(users: &str, folds: &str) -> String {
    format!(
        "experiment: e
data: {{set: sample, relevant: \">= 4\", disliked: \"<= 2\"}}
split: {{scheme: official, only: [{folds}]}}
profiles:
  mine: {{items: {{from: template}}, users: {{{users}}}}}
systems: {{popularity: {{model: popularity}}, content: {{model: content, text: {{profiles: mine}}}}}}
evaluate: {{k: [10]}}
"
    )
}

/// Writes the texts, and fits what needs none: encoding is slow.
fn write_texts(place: &Place) {
    place.fine(&["run", "e.yaml", "--quiet", "--until", "profiles"]);
    place.fine(&["run", "e.yaml", "--quiet", "--only", "popularity"]);
}

/// Texts of users that name the titles of what they rated in some folds.
fn texts(folds: &[&str]) -> String {
    let items = fs::read_to_string(root().join("datasets/sample/items.csv")).unwrap();
    let titles: Vec<&str> = items.lines().map(|line| line.split(',').nth(1).unwrap()).collect();
    let mut of_users: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for row in sample().iter().filter(|row| folds.contains(&&*row.fold)) {
        of_users.entry(row.user).or_default().push(titles[row.item]);
    }
    let mut text = String::from("user,text\n");
    for (user, titles) in of_users {
        writeln!(text, "{user},\"Someone who watched {}.\"", titles.join(", ")).unwrap();
    }
    text
}

/// Users with a test part in f1, and the mean share of their test items whose titles are not those of training items,
/// too: several films have one title.
fn named() -> (usize, f64) {
    let items = fs::read_to_string(root().join("datasets/sample/items.csv")).unwrap();
    let titles: Vec<&str> = items.lines().map(|line| line.split(',').nth(1).unwrap()).collect();
    let (mut known, mut tested) =
        (BTreeMap::<usize, Vec<&str>>::new(), BTreeMap::<usize, Vec<&str>>::new());
    for row in sample() {
        let part = if row.fold == "f1" { &mut tested } else { &mut known };
        part.entry(row.user).or_default().push(titles[row.item]);
    }
    let share = |(user, tested): (&usize, &Vec<&str>)| {
        let known = known.get(user);
        let new = tested.iter().filter(|title| known.is_none_or(|known| !known.contains(title)));
        new.count() as f64 / tested.len() as f64
    };
    (tested.len(), tested.iter().map(share).sum::<f64>() / tested.len() as f64)
}

#[test]
fn profiles_that_name_test_items_are_found_whatever_they_declare() {
    if !weights("profiles_that_name_test_items_are_found_whatever_they_declare") {
        return;
    }
    let place = Place::new();
    let file = |from: &str| {
        format!("from: file, file: users.csv, id: user, text: text, built_from: {from}")
    };
    // Made from f1's test part, declared as made from no ratings: found by what the texts say.
    place.write("users.csv", texts(&["f1"]));
    place.write("e.yaml", profiles(&file("no-ratings"), "f1"));
    write_texts(&place);
    let report = audit(&place, &["e.yaml"]);
    let finding = only(&report, "profiles-name-test-items");
    let (users, share) = named();
    close(number(finding, "share_of_test_items"), share);
    assert!(share > 0.99 && number(finding, "share_of_other_items") < 0.02, "{finding}");
    assert_eq!(number(finding, "users"), users as f64);
    assert_eq!(finding["subject"], "content");
    // Made from the training part of f2, used on f1, and declared.
    place.write("users.csv", texts(&["f1", "f3", "f4", "f5"]));
    place.write("e.yaml", profiles(&(file("f2") + ", accept_leak: true"), "f1"));
    write_texts(&place);
    let report = audit(&place, &["e.yaml"]);
    let of = findings(&report, "profiles-name-test-items");
    assert_eq!(of.len(), 2, "{of:?}");
    assert_eq!(of[0]["evidence"]["built_from"], "f2");
    close(number(of[1], "share_of_test_items"), share);
}

/// Rule-based profiles of all folds, metadata of all folds, and files that name what users have in training.
#[test]
fn profiles_of_the_training_part_raise_nothing() {
    if !weights("profiles_of_the_training_part_raise_nothing") {
        return;
    }
    for from in ["template", "metadata"] {
        let place = Place::new();
        place.write("e.yaml", profiles(&format!("from: {from}"), "f1, f2, f3, f4, f5"));
        write_texts(&place);
        is_clean(&audit(&place, &["e.yaml"]), "profiles-name-test-items");
    }
    let all = ["f1", "f2", "f3", "f4", "f5"];
    for fold in all {
        let place = Place::new();
        place.write(
            "users.csv",
            texts(&all.into_iter().filter(|of| *of != fold).collect::<Vec<_>>()),
        );
        let file = format!("from: file, file: users.csv, id: user, text: text, built_from: {fold}");
        place.write("e.yaml", profiles(&file, fold));
        write_texts(&place);
        is_clean(&audit(&place, &["e.yaml"]), "profiles-name-test-items");
    }
}

/// Of 40 users with five training reviews each, every second one has the same text twice.
#[test]
fn reviews_that_a_user_has_at_several_items_are_counted() {
    let run = |copies: bool| {
        let place = Place::new();
        let mut rows = String::from("user,item,time,text\n");
        for user in 0..40 {
            for at in 0..6 {
                let (item, said) =
                    ((user + at) % 20, if copies && user % 2 == 0 { at / 2 } else { at });
                // The last one, at 5, is held out: 4 has its copy there, and 0 and 1, 2 and 3 are copies in training.
                writeln!(rows, "{user},{item},{at},text {said} of {user}").unwrap();
            }
        }
        place.write("r.csv", rows);
        place.write(
            "e.yaml",
            "experiment: e
data: {reader: table, folder: ., ratings: r.csv, columns: {user: user, item: item, timestamp: time},
  reviews: {file: r.csv, user: user, item: item, text: text}}
split: {scheme: leave-one-out}
systems: {popularity: {model: popularity}, net: {model: review-gnn}}
evaluate: {k: [10]}
",
        );
        place.fine(&["run", "e.yaml", "--quiet", "--until", "reviews"]);
        place.fine(&["run", "e.yaml", "--quiet", "--only", "popularity"]);
        audit(&place, &["e.yaml", "--only", "copied-reviews"])
    };
    let report = run(true);
    let found = findings(&report, "copied-reviews");
    let counts = |of: &Value| (number(of, "copies"), number(of, "reviews"));
    // Those of held-out interactions first.
    assert_eq!(
        found.iter().map(|of| counts(of)).collect::<Vec<_>>(),
        [(20.0, 40.0), (80.0, 200.0)]
    );
    assert!(found.iter().all(|of| of["severity"] == "warning"));
    is_clean(&run(false), "copied-reviews");
}
