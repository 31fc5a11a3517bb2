//! Reviews: those of training interactions, and no others, reach steps.

use std::{collections::BTreeMap, fmt::Write, fs};

use rec_assay::{data::TrainingPart, text::Profiles};
use serde_json::Value;

use crate::support::{Place, weights};

const USERS: usize = 20;

/// Six interactions a user in the order of time, in JSON lines. The last one is held out.
fn interactions() -> String {
    let mut lines = String::new();
    for user in 0..USERS {
        for at in 0..6 {
            let (item, rating) = ((user + 5 * at) % 12, 1 + (user + at) % 5);
            writeln!(
                lines,
                "{{\"u\": \"u{user}\", \"i\": {item}, \"r\": {rating}.0, \"t\": {at}, \"x\": [1]}}"
            )
            .unwrap();
        }
    }
    lines
}

/// A review of each interaction in a file of its own; `held_out` says what stands in those of the last ones.
fn reviews(held_out: &str) -> String {
    let mut rows = String::from("who,what,text\n");
    for user in 0..USERS {
        for at in 0..6 {
            let item = (user + 5 * at) % 12;
            match at {
                5 => writeln!(rows, "u{user},{item},{held_out}").unwrap(),
                _ => writeln!(rows, "u{user},{item},user {user} on item {item} at {at}").unwrap(),
            }
        }
    }
    rows
}

const DATA: &str = "data: {reader: table, folder: ., ratings: r.json, columns: {user: u, item: i, rating: r, timestamp: t},
  relevant: any, reviews: {file: reviews.csv, user: who, item: what, text: text}}
split: {scheme: leave-one-out}
";

fn place(systems: &str, held_out: &str) -> Place {
    let place = Place::new();
    place.write("r.json", interactions());
    place.write("reviews.csv", reviews(held_out));
    place.write("e.yaml", format!("experiment: e\n{DATA}{systems}\nevaluate: {{k: [5]}}\n"));
    place
}

fn steps(place: &Place) -> Vec<(String, String, String)> {
    let plan: Value = serde_json::from_str(&place.fine(&["plan", "e.yaml", "--json"])).unwrap();
    let text = |step: &Value, field: &str| step[field].as_str().unwrap().to_owned();
    let steps = plan["steps"].as_array().unwrap().iter();
    steps.map(|step| (text(step, "kind"), text(step, "step"), text(step, "key"))).collect()
}

/// The directory of a finished step.
fn dir(place: &Place, kind: &str, label: &str) -> std::path::PathBuf {
    let steps = steps(place);
    let found = steps.iter().find(|(of, name, _)| of == kind && name == label);
    let (.., key) = found.unwrap_or_else(|| panic!("no {kind} {label}: {steps:?}"));
    let dirs = fs::read_dir(place.path(".assay/steps").join(kind)).unwrap().flatten();
    let mut dirs = dirs.map(|dir| dir.path());
    dirs.find(|dir| key.starts_with(dir.file_name().unwrap().to_str().unwrap())).unwrap()
}

/// The bytes of what steps of a kind wrote, without their records, sorted.
fn bytes(place: &Place, kind: &str) -> Vec<Vec<u8>> {
    let artefacts: BTreeMap<String, Vec<u8>> = place.artefacts(".assay");
    let of = artefacts.into_iter().filter(|(name, _)| name.starts_with(kind));
    let mut all: Vec<Vec<u8>> = of.map(|(_, bytes)| bytes).collect();
    all.sort();
    assert!(!all.is_empty(), "no {kind}");
    all
}

const OTHERS: [&str; 3] = ["", "\"<b>user 0 on item 0 at 0</b>\"", "the answer is this item"];

#[test]
fn steps_have_the_reviews_of_training_interactions_and_held_out_ones_change_no_byte() {
    let systems =
        "profiles: {said: {items: {from: template, reviews: {most: 3}}, users: {from: mean}}}
systems: {net: {model: review-gnn}, p4r: {model: p4r, text: {profiles: said}}}";
    let of = |held_out: &str| {
        let place = place(systems, held_out);
        place.fine(&["run", "e.yaml", "--until", "profiles", "--quiet"]);
        place
    };
    let plain = of("HELDOUT");
    let texts =
        Profiles::read(&dir(&plain, "reviews", &format!("{} last", name(&plain)))).unwrap().texts;
    assert_eq!(texts.len(), USERS * 5);
    assert!(texts.iter().all(|text| text.as_deref().unwrap().starts_with("user ")));
    let profiles = bytes(&plain, "profiles");
    let contains =
        |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|of| of == text.as_bytes());
    assert!(profiles.iter().all(|file| !contains(file, "HELDOUT")));
    let of_item =
        Profiles::read(&dir(&plain, "profiles", &format!("said items {}", "last"))).unwrap();
    assert!(of_item.texts[0].as_deref().unwrap().contains("Users say: user "), "{of_item:?}");
    for held_out in OTHERS {
        let other = of(held_out);
        assert_eq!(bytes(&other, "reviews"), bytes(&plain, "reviews"), "{held_out}");
        assert_eq!(bytes(&other, "profiles"), profiles, "{held_out}");
    }
}

/// The name of the data set in labels of steps: its folder.
fn name(place: &Place) -> String {
    let steps = steps(place);
    let (_, label, _) = steps.iter().find(|(kind, ..)| kind == "split").unwrap();
    label.strip_suffix(" last").unwrap_or_else(|| panic!("{label}")).to_owned()
}

#[test]
fn results_do_not_depend_on_held_out_reviews() {
    if !weights("results_do_not_depend_on_held_out_reviews") {
        return;
    }
    let systems = "profiles: {said: {items: {from: template, reviews: {}}, users: {from: mean}}}
systems:
  net: {model: review-gnn, factors: 16, training: {epochs: 3, device: cpu}}
  p4r: {model: p4r, factors: 16, text: {profiles: said}, training: {epochs: 3, device: cpu}}";
    let of = |held_out: &str| {
        let place = place(systems, held_out);
        place.fine(&["run", "e.yaml", "--quiet"]);
        ["embeddings", "fit", "evaluate"].map(|kind| bytes(&place, kind))
    };
    assert_eq!(of("HELDOUT"), of("another text"));
}

/// What uses no text of a review depends on the file of reviews in nothing; what uses one does.
#[test]
fn keys_depend_on_reviews_only_where_they_are_used() {
    let systems = "systems:
  net: {model: review-gnn, reviews: {sweep: [text, stars, none]}, training: {device: cpu}}
  popularity: {model: popularity}";
    let (one, other) = (steps(&place(systems, "a")), steps(&place(systems, "b")));
    let strip = |label: &str| label.split_whitespace().last().unwrap_or_default().to_owned();
    assert_eq!(one.len(), other.len());
    let mut changed: Vec<String> = Vec::new();
    for (a, b) in one.iter().zip(&other) {
        assert_eq!((&a.0, strip(&a.1)), (&b.0, strip(&b.1)));
        if a.2 != b.2 {
            changed.push(a.0.clone());
        }
    }
    assert_eq!(changed, ["reviews", "embeddings", "fit", "predict", "evaluate"]);
    assert_eq!(one.iter().filter(|(kind, ..)| kind == "fit").count(), 4);
}

/// The tenth that a search measures on is cut off before its reviews are taken.
#[test]
fn a_search_has_no_review_of_the_part_it_measures_on() {
    let systems = "systems:
  net: {model: review-gnn, search: {over: {init: [0.1, 0.2]}}, training: {device: cpu}}";
    let place = place(systems, "HELDOUT");
    place.fine(&["run", "e.yaml", "--until", "reviews", "--quiet"]);
    let name = name(&place);
    let of = |label: &str| {
        let texts = Profiles::read(&dir(&place, "reviews", label)).unwrap().texts;
        texts.into_iter().flatten().collect::<Vec<String>>()
    };
    let (all, cut) = (of(&format!("{name} last")), of(&format!("{name} last search")));
    let part = TrainingPart::read(&dir(&place, "split", &format!("{name} last search"))).unwrap();
    assert!(cut.len() < all.len() && cut.len() == part.train.len());
    for row in part.validation.iter() {
        let (user, item) = (part.users.name(row.user.0), part.items.name(row.item.0));
        let about = format!("user {} on item {item} at", &user[1..]);
        assert!(!cut.iter().any(|text| text.starts_with(&about)), "{about}");
        assert!(all.iter().any(|text| text.starts_with(&about)), "{about}");
    }
}

#[test]
fn what_needs_reviews_that_are_not_there_is_an_error_before_anything_runs() {
    let no_reviews =
        DATA.replace(", reviews: {file: reviews.csv, user: who, item: what, text: text}", "");
    assert_ne!(no_reviews, DATA);
    let profiles = "profiles: {said: {items: {from: template, reviews: {}}, users: {from: mean}}}";
    let of = |data: &str, rest: &str, says: &str| {
        let place = place("systems: {popularity: {model: popularity}}", "x");
        place.write("e.yaml", format!("experiment: e\n{data}{rest}\nevaluate: {{k: [5]}}\n"));
        let ended = place.assay(&["plan", "e.yaml"]);
        assert_eq!(ended.code, 2, "{rest}: {}", ended.err);
        assert!(ended.err.contains(says), "{rest}: {}", ended.err);
    };
    of(&no_reviews, "systems: {net: {model: review-gnn}}", "has no reviews");
    let p4r = format!("{profiles}\nsystems: {{p4r: {{model: p4r, text: {{profiles: said}}}}}}");
    of(&no_reviews, &p4r, "has no reviews");
    of(
        DATA,
        "profiles: {said: {from: template, reviews: {}}}\nsystems: {p4r: {model: p4r, text: {profiles: said}}}",
        "about profiles of items",
    );
    of(DATA, "systems: {p4r: {model: p4r}}", "`text`: is missing");
    let missing = DATA.replace("file: reviews.csv", "file: none.csv");
    of(&missing, "systems: {net: {model: review-gnn}}", "none.csv");
}
