//! `filter:` of the data: what remains, in which order, and where it is said. Expected numbers were computed in
//! Python with plain loops over the files (`collections.Counter`, again and again until nothing changes).

use std::path::Path;

use serde_json::Value;

use crate::support::{Place, not_run};

const EXPERIMENT: &str = "experiment: filtered
data: {set: sample, relevant: \">= 4\", filter: FILTER}
split: {scheme: kfold, folds: 2}
systems: {popularity: {model: popularity}}
";

fn experiment(filter: &str) -> String {
    EXPERIMENT.replace("FILTER", filter)
}

/// Users, items and interactions.
type Sizes = [u64; 3];

fn sizes(of: &Value) -> Sizes {
    ["users", "items", "interactions"].map(|what| of[what].as_u64().unwrap())
}

/// Statistics of the splits of a workspace.
fn splits(place: &Place) -> Vec<Value> {
    let splits: Value = serde_json::from_str(&place.fine(&["show", " f", "--json"])).unwrap();
    let of = splits.as_array().unwrap().iter().filter(|of| of["kind"] == "split");
    of.map(|of| of["stats"].clone()).collect()
}

#[test]
fn filters_are_applied_in_turn_and_their_effect_is_shown_everywhere() {
    let place = Place::new();
    place.write("e.yaml", experiment("[{rating: \">= 3\"}, {k_core: {user: 10, item: 15}}]"));
    let lines = "filter rating: \">= 3\": users 300 → 300, items 400 → 400, interactions 16156 → 14218\n\
                 filter k_core: {user: 10, item: 15}: users 300 → 290, items 400 → 389, interactions 14218 → 13997\n";
    let before = place.fine(&["plan", "e.yaml"]);
    assert!(before.contains(lines), "{before}");
    assert!(!place.path(".assay").exists(), "plan wrote something");
    let table = place.fine(&["run", "e.yaml"]);
    let note = lines.replace("filter ", "").trim_end().replace('\n', "; ");
    // The terminal breaks lines.
    let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        flat(&table).contains(&flat(&format!("Filtered before the split: {note}."))),
        "{table}"
    );
    for stats in splits(&place) {
        assert_eq!(stats["filters"].as_array().unwrap().len(), 2);
        assert_eq!(sizes(&stats["filters"][1]["after"]), [290, 389, 13997]);
        assert_eq!((&stats["users"], &stats["items"]), (&290.into(), &389.into()));
        let parts = ["train", "test"].map(|part| stats[part].as_u64().unwrap());
        assert_eq!(parts.iter().sum::<u64>(), 13997);
    }
    assert!(place.fine(&["plan", "e.yaml"]).contains(lines));
    let html = std::fs::read_to_string(place.path("reports/filtered/index.html")).unwrap();
    assert!(html.contains("interactions 14218 → 13997"), "the report does not say it");
}

/// The same filters under another order are other data, and so are other numbers.
#[test]
fn a_filter_is_part_of_keys_and_fingerprints() {
    let place = Place::new();
    let of = |name: &str, filter: &str| {
        place.write(name, experiment(filter));
        let plan: Value = serde_json::from_str(&place.fine(&["plan", name, "--json"])).unwrap();
        let step = plan["steps"].as_array().unwrap()[0].clone();
        assert_eq!(step["kind"], "split");
        place.fine(&["run", name, "--quiet"]);
        let rows: Value = serde_json::from_str(&place.fine(&["results", name, "--json"])).unwrap();
        (step["key"].clone(), rows[0]["fingerprint"].clone(), step["key_inputs"].clone())
    };
    let plain = {
        place.write("plain.yaml", EXPERIMENT.replace(", filter: FILTER", ""));
        let plan = place.fine(&["plan", "plain.yaml", "--json"]);
        let plan: Value = serde_json::from_str(&plan).unwrap();
        plan["steps"][0].clone()
    };
    assert!(plain["key_inputs"].get("filter").is_none(), "{plain}");
    let ten = of("ten.yaml", "{k_core: 10}");
    let listed = of("listed.yaml", "[{k_core: {user: 10, item: 10}}]");
    assert_eq!(ten, listed, "one filter written in two ways");
    let first = of("first.yaml", "[{last: 20}, {rating: \">= 4\"}]");
    let second = of("second.yaml", "[{rating: \">= 4\"}, {last: 20}]");
    let all = [&ten, &first, &second];
    for (at, one) in all.iter().enumerate() {
        assert_ne!(one.0, plain["key"]);
        for other in &all[at + 1..] {
            assert_ne!(one.0, other.0, "key");
            assert_ne!(one.1, other.1, "fingerprint");
        }
    }
    // `compare` says what differs instead of comparing.
    let refused = place.assay(&["compare", "first.yaml", "second.yaml"]);
    assert_eq!(refused.code, 3, "{}", refused.err);
    assert!(
        refused.err.contains("filter last: 20; rating: \">= 4\"")
            || refused.out.contains("last: 20"),
        "{}{}",
        refused.out,
        refused.err
    );
}

/// Parts of the publisher's folds are those of the whole fold, filtered.
#[test]
fn a_publishers_fold_is_filtered_as_a_whole() {
    let place = Place::new();
    let official = experiment("[{rating: \">= 3\"}, {k_core: {user: 10, item: 15}}]")
        .replace("{scheme: kfold, folds: 2}", "{scheme: official}");
    place.write("e.yaml", official);
    place.fine(&["run", "e.yaml", "--quiet"]);
    let mut tests: Vec<u64> =
        splits(&place).iter().map(|stats| stats["test"].as_u64().unwrap()).collect();
    tests.sort_unstable();
    assert_eq!(tests, TESTS);
}

const TESTS: [u64; 5] = [2737, 2789, 2818, 2820, 2833];

#[test]
fn filters_that_cannot_be_applied_end_before_anything_is_written() {
    for (filter, code_message) in [
        ("[{k_core: 500}]", "leaves no interaction of the data set `sample`"),
        ("[{time: {from: 2050-01-01}}]", "leaves no interaction"),
        ("[]", "`filter` is empty"),
        ("[{k_core: 5, rating: \">= 4\"}]", "several filters in one mapping"),
        ("{k_cor: 5}", "did you mean `k_core`?"),
        ("{k_core: {users: 5}}", "did you mean `user`?"),
        ("{k_core: 0}", "0 would remove nothing"),
        ("{k_core: -1}", "wrong type"),
        ("{rating: any}", "`any` would remove nothing"),
        ("{rating: 4}", "expected text"),
        ("{time: {}}", "neither `from` nor `before`"),
        ("{time: {from: 2021-01-02, before: 2021-01-02}}", "the period is empty"),
        ("{time: {from: yesterday}}", "a time: a number"),
        ("{time: {to: 2021-01-02}}", "unknown key `to`"),
        ("{last: 0}", "0 would leave nothing"),
    ] {
        for verb in ["run", "plan"] {
            let place = Place::new();
            place.write("e.yaml", experiment(filter));
            let ended = place.assay(&[verb, "e.yaml"]);
            assert_eq!(ended.code, 2, "{verb} {filter}: {}", ended.err);
            assert!(ended.err.contains(code_message), "{verb} {filter}: {}", ended.err);
            assert!(!place.path(".assay").exists(), "{verb} {filter} wrote something");
        }
    }
}

#[test]
fn filters_by_what_the_data_lack_are_errors() {
    let place = Place::new();
    place.write("ratings.csv", "user,item\n1,1\n1,2\n2,1\n2,3\n3,2\n3,3\n");
    let of = |filter: &str| {
        place.write(
            "e.yaml",
            format!(
                "experiment: own\ndata:\n  reader: table\n  ratings: ratings.csv\n  columns: {{user: user, item: \
                 item}}\n  filter: {filter}\nsplit: {{scheme: kfold, folds: 2}}\nsystems: {{popularity: {{model: \
                 popularity}}}}\n"
            ),
        );
        let ended = place.assay(&["plan", "e.yaml"]);
        assert_eq!(ended.code, 2, "{}", ended.out);
        ended.err
    };
    assert!(of("{last: 1}").contains("`last: 1` needs times, but the data set"));
    assert!(of("{rating: \">= 4\"}").contains("needs ratings, but the data set"));
}

/// Sizes of MovieLens-100K and Gowalla after filters, by Python.
#[test]
fn cores_of_real_data_are_those_of_plain_python() {
    let Some(root) = std::env::var_os("ASSAY_DATA") else {
        return not_run("filters of real data", "ASSAY_DATA is not set");
    };
    let last = |set: &str, filter: &str| {
        let place = Place::new();
        let split = if set == "gowalla" { "official" } else { "leave-one-out" };
        let relevant = if set == "gowalla" { "any" } else { ">= 4" };
        place.write(
            "e.yaml",
            format!(
                "experiment: x\ndata: {{set: {set}, relevant: \"{relevant}\", filter: {filter}}}\nsplit: {{scheme: \
                 {split}}}\nsystems: {{popularity: {{model: popularity}}}}\n"
            ),
        );
        let output = place.command(&["plan", "e.yaml"]).env("ASSAY_DATA", &root).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().rfind(|line| line.starts_with("filter ")).unwrap().to_owned();
        let number = |part: &str| part.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
        let parts: Vec<u64> = line.rsplitn(4, ", ").take(3).map(number).collect();
        [parts[2], parts[1], parts[0]]
    };
    if Path::new(&root).join("ml-100k/u.data").exists() {
        for (filter, expected) in [
            ("{k_core: 5}", [943, 1349, 99_287]),
            ("{k_core: 10}", [943, 1152, 97_953]),
            ("{k_core: {user: 50, item: 20}}", [557, 913, 82_857]),
            ("{k_core: {item: 20}}", [943, 939, 94_968]),
            ("{min_interactions: {user: 50, item: 20}}", [568, 939, 83_799]),
            ("{rating: \">= 4\"}", [942, 1447, 55_375]),
            ("[{rating: \">= 4\"}, {k_core: {user: 20, item: 10}}]", [683, 806, 49_669]),
            (
                "[{rating: \">= 4\"}, {k_core: {user: 20, item: 10}}, {time: {from: 1997-10-01, before: \
                 1998-03-01}}, {last: 30}, {min_interactions: {item: 3}}]",
                [530, 780, 14_769],
            ),
        ] {
            assert_eq!(last("ml-100k", filter), expected, "{filter}");
        }
    } else {
        not_run("filters of MovieLens-100K", "no ml-100k/u.data under ASSAY_DATA");
    }
    if Path::new(&root).join("gowalla/train.txt").exists() {
        for (k, expected) in [
            (10, [29_857, 40_979, 1_027_343]),
            (15, [13_149, 14_007, 535_610]),
            (20, [5_992, 5_638, 281_392]),
        ] {
            assert_eq!(last("gowalla", &format!("{{k_core: {k}}}")), expected, "{k}");
        }
    } else {
        not_run("filters of Gowalla", "no gowalla/train.txt under ASSAY_DATA");
    }
}
