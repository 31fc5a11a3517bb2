//! What a number goes by that the systems do not decide: which ratings are relevant, what users without
//! history get, which interaction is a user's last.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::Place;

const READER: &str = "reader: table, ratings: r.csv, columns: {user: user, item: item, rating: rating, timestamp: time}";

/// Values at k = 2 by system, slice and metric, of the only fold.
fn values(json: &str) -> BTreeMap<(String, String, String), f64> {
    let rows: Value = serde_json::from_str(json).unwrap();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    rows.as_array()
        .unwrap()
        .iter()
        .filter(|row| row["fold"] != "mean" && row["value"].is_number())
        .map(|row| {
            let key = (text(row, "system"), text(row, "slice"), text(row, "metric"));
            (key, row["value"].as_f64().unwrap())
        })
        .collect()
}

#[test]
fn run_and_score_go_by_one_rule_of_relevance() {
    let place = Place::new();
    let experiment = |data: &str| {
        format!(
            "experiment: e\ndata: {{{data}}}\nsplit: {{scheme: official, only: [f1]}}\nsystems:\n  pop: {{model: \
             popularity}}\nevaluate: {{metrics: [ndcg, recall]}}\n"
        )
    };
    place.write("told.yaml", experiment("set: sample, relevant: '>= 4'"));
    place.write("left.yaml", experiment("set: sample"));
    for file in ["told.yaml", "left.yaml"] {
        place.fine(&["run", file, "--quiet"]);
    }
    let of = |file: &str| values(&place.fine(&["results", file, "--json"]));
    assert_eq!(of("told.yaml"), of("left.yaml"));
    let notes =
        |file: &str| place.fine(&["table", file]).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(notes("told.yaml").contains("Relevant: rating >= 4 (the experiment's rule)."));
    assert!(notes("left.yaml").contains("Relevant: rating >= 4 (the data set's rule)."));
    place.fine(&["export", "left.yaml", "--format", "recbole", "--out", "x"]);
    let score =
        ["score", "--data", "sample", "--fold", "f1", "--metric", "ndcg", "x/pop--f1--seed1.tsv"];
    let json: Value =
        serde_json::from_str(&place.fine(&[&score[..], &["--json"]].concat())).unwrap();
    let ours = of("left.yaml")[&("pop".into(), "all".into(), "ndcg".into())];
    assert!((json["rows"][0]["value"].as_f64().unwrap() - ours).abs() < 1e-12);
    assert_eq!(json["relevant_from"], "manifest");
}

#[test]
fn ratings_of_which_nobody_says_what_they_mean_are_an_error() {
    let place = Place::new();
    place.write("r.csv", "user,item,rating,time\n1,1,5,1\n1,2,1,2\n2,1,3,3\n2,3,4,4\n");
    let experiment = |data: &str| {
        format!(
            "experiment: e\ndata: {{{data}}}\nsplit: {{scheme: leave-one-out}}\nsystems: {{pop: {{model: \
             popularity}}}}\n"
        )
    };
    place.write("e.yaml", experiment(READER));
    for verb in ["run", "plan", "results"] {
        let ended = place.assay(&[verb, "e.yaml"]);
        assert_eq!(ended.code, 2, "{}", ended.err);
        assert!(ended.err.contains("e.yaml:2"), "{}", ended.err);
        assert!(ended.err.contains("has ratings, but no rule says which of them are relevant"));
        assert!(ended.err.contains("`relevant: any`"), "{}", ended.err);
    }
    // Without ratings there is nothing to say; and whoever says `any` is believed.
    place.write("e.yaml", experiment(&READER.replace("rating: rating, ", "")));
    let out = place.fine(&["run", "e.yaml"]);
    assert!(out.contains("Relevant: any interaction (the data have no ratings)."), "{out}");
    place.write("e.yaml", experiment(&format!("{READER}, relevant: any")));
    let out = place.fine(&["run", "e.yaml"]);
    assert!(out.contains("Relevant: any interaction (the experiment's rule)."), "{out}");
    place.write("test.csv", "user,item,rating\n1,1,5\n1,2,1\n");
    place.write("run.csv", "user,item,rank\n1,1,1\n");
    let ended = place.assay(&["score", "--test", "test.csv", "run.csv"]);
    assert_eq!(ended.code, 2, "{}", ended.out);
    assert!(ended.err.contains("test.csv has ratings, but no rule says which"), "{}", ended.err);
    // Ratings that are all the same say nothing.
    place.write("test.csv", "user,item,rating\n1,1,5\n1,2,5\n");
    let out = place.fine(&["score", "--test", "test.csv", "run.csv"]);
    assert!(out.contains("(all ratings of the test part are equal)"), "{out}");
}

/// Items 1 to 4 are liked by 4, 3, 2 and 1 of the users 1 to 4, who like nobody else's. User 5 has only a rating
/// that is not liked, user 6 none at all, in training. All are tested on item 9, which is most popular of all.
#[test]
fn users_without_history_get_the_fallback_by_name() {
    let place = Place::new();
    let mut text = String::from("user,item,rating,time\n");
    for user in 1..=4 {
        // Low item ids are unpopular: they would be the first of ties.
        text += &format!("{user},{user},5,{user}\n{user},9,5,{user}\n{user},8,5,{user}\n");
    }
    text += "5,7,1,5\n";
    for (user, item) in [(1, 5), (5, 9), (6, 9), (6, 8)] {
        text += &format!("{user},{item},5,1000\n");
    }
    place.write("r.csv", text);
    let experiment = |evaluate: &str| {
        format!(
            "experiment: e\ndata: {{{READER}, relevant: '>= 4'}}\nsplit: {{scheme: temporal, from: 1000}}\nsystems:\n  \
             pop: {{model: popularity}}\n  ease: {{model: ease}}\n  any: {{model: ease, \
             positives: any}}\n  knn: {{model: item-knn}}\n  re: {{model: rerank, of: \
             ease, text: {{profiles: p}}, judge: popularity, strategy: prompt, pool: 3}}\nprofiles: {{p: {{from: \
             template}}}}\nevaluate: {{k: [2], metrics: [recall], slices: [all, history, no-history]{evaluate}, \
             conventions: [standard, lenskit]}}\n"
        )
    };
    place.write("e.yaml", experiment(""));
    let ended = place.assay(&["run", "e.yaml"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    for system in ["ease", "knn", "re"] {
        let value = |slice: &str| {
            let json = place.fine(&["results", "e.yaml", "--json"]);
            values(&json)[&(system.to_owned(), slice.to_owned(), "recall".to_owned())]
        };
        // Users 5 and 6 get 8 and 9, the most liked; user 1 has one of item 5, which nobody else has.
        assert_eq!(value("no-history"), 1.0, "{system}");
        assert_eq!(value("history"), 0.5, "{system}");
    }
    let json = place.fine(&["results", "e.yaml", "--json"]);
    let of_any =
        |slice: &str| values(&json)[&("any".into(), slice.to_owned(), "recall".to_owned())];
    // Where every rating is a positive, user 5 is known by item 7, which nobody else has: items of equal
    // scores by their ids, and 9 is not among the first.
    assert_eq!((of_any("history"), of_any("no-history")), (0.0, 1.0));
    let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        flat(&ended.out).contains(
            "1 of 3 users (33.3 %) have no rating in the training part (personalized models recommend the most \
             popular items); see the slices `history` and `no-history`."
        ),
        "{}",
        ended.out
    );
    assert!(
        flat(&ended.err).contains(
            "ease later, knn later, re later: 2 of 3 users have no rating in the training part that the model \
             learns from (1 without any rating, 1 with others alone): they get the most popular items (`fallback: \
             popularity`)"
        ),
        "{}",
        ended.err
    );
    place.write("e.yaml", experiment(", fallback: none"));
    let ended = place.assay(&["run", "e.yaml"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    let rows: Value = serde_json::from_str(&place.fine(&["results", "e.yaml", "--json"])).unwrap();
    for row in rows.as_array().unwrap() {
        if row["fold"] != "mean" && row["slice"] == "no-history" && row["system"] != "pop" {
            // No list: 0 where all users count, left out where a ranking is needed.
            match row["convention"].as_str() {
                Some("standard") => assert_eq!(row["value"], 0.0, "{row}"),
                _ => {
                    assert_eq!((&row["value"], &row["n_users"]), (&Value::Null, &0.into()), "{row}")
                }
            }
        }
    }
    assert!(ended.err.contains("they get no list (`fallback: none`)"), "{}", ended.err);
}

#[test]
fn the_last_of_several_interactions_at_one_time_is_declared_and_counted() {
    let place = Place::new();
    // User 1 has three items at the latest time; item 3 stands last in the file, 4 has the highest id.
    place.write(
        "r.csv",
        "user,item,time\n1,1,1\n1,4,2\n1,2,2\n1,3,2\n2,2,1\n2,3,2\n3,1,5\n3,2,4\n4,4,1\n",
    );
    let tested = |ties: &str| {
        place.write(
            "e.yaml",
            format!(
                "experiment: e\ndata: {{{}}}\nsplit: {{scheme: leave-one-out{ties}}}\nsystems: {{pop: {{model: \
                 popularity}}}}\nevaluate: {{k: [1]}}\n",
                READER.replace("rating: rating, ", "")
            ),
        );
        let ended = place.assay(&["run", "e.yaml"]);
        assert_eq!(ended.code, 0, "{}", ended.err);
        let flat = ended.out.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            flat.contains("1 of 3 users (33.3 %) have several interactions at their latest time")
        );
        assert!(ended.err.contains("warning: "), "{}", ended.err);
        place.fine(&["export", "e.yaml", "--format", "elliot", "--out", "x"]);
        let text = std::fs::read_to_string(place.path("x/last/test.tsv")).unwrap();
        let mut items = text.lines().map(|line| line.split('\t').collect::<Vec<_>>());
        items.find(|fields| fields[0] == "1").unwrap()[1].to_owned()
    };
    assert_eq!(tested(""), "3");
    assert_eq!(tested(", ties: last-row"), "3");
    assert_eq!(tested(", ties: higher-id"), "4");
    let draws: std::collections::BTreeSet<String> =
        (0..12).map(|seed| tested(&format!(", ties: random, seed: {seed}"))).collect();
    assert!(draws.len() > 1, "{draws:?}");
    place.write(
        "e.yaml",
        "experiment: e\ndata: {set: sample}\nsplit: {scheme: official, ties: random}\nsystems: {pop: {model: \
         popularity}}\n",
    );
    let ended = place.assay(&["run", "e.yaml"]);
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains("`ties` has no effect with the scheme `official`"), "{}", ended.err);
}
