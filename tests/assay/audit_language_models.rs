//! `assay audit`: responses of language models.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{
    audited::{Audited, number, ratings},
    endpoint::{Endpoint, Reply, question},
    support::{Place, root, weights},
};

/// Ids of the candidates in a prompt, in its order.
fn shown(question: &str) -> Vec<String> {
    let line = |line: &str| Some(line.strip_prefix('[')?.split_once("] ")?.0.to_owned());
    question.lines().filter_map(line).collect()
}

/// A reranker by an endpoint, over ALS on f1.
fn experiment(url: &str, endpoint: &str, users: &str, rerankers: &str) -> String {
    format!(
        "experiment: e
data: {{set: sample, relevant: '>= 4', disliked: '<= 2'}}
split: {{scheme: official, only: [f1]}}
endpoints: {{chat: {{base_url: '{url}', concurrency: 8, {endpoint}}}}}
profiles: {{p: {{items: {{from: file, file: sample/items.csv, id: item, text: genres}}, users: {users}}}}}
systems:
  als: {{model: als, factors: 8, iterations: 5}}
{rerankers}evaluate: {{k: [10], metrics: [ndcg]}}
"
    )
}

/// No text about users: nothing to encode.
const MEAN: &str = "{from: mean}";
const PINNED: &str = "model: good-2024-07-18, temperature: 0, price: {input: 1, output: 1}";

fn reranker(name: &str, more: &str) -> String {
    format!("  {name}: {{model: rerank, of: als, text: {{profiles: p}}, judge: chat, {more}}}\n")
}

/// By user, titles of their test items in f1 that no item of their training part has too, and whether a title is that
/// of one item alone.
fn test_titles() -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(root().join("datasets/sample/items.csv")).unwrap();
    let title = |line: &str| {
        let (item, rest) = line.split_once(',')?;
        Some((item.to_owned(), rest.split_once(',')?.0.to_owned()))
    };
    let titles: BTreeMap<String, String> = text.lines().skip(1).filter_map(title).collect();
    let all = ratings();
    let mut seen: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let of_train = all.iter().filter(|of| of.fold != "f1");
    for of in of_train {
        seen.entry(&of.user).or_default().insert(&titles[&of.item]);
    }
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for of in all.iter().filter(|of| of.fold == "f1") {
        let title = &titles[&of.item];
        if !seen.get(&of.user[..]).is_some_and(|seen| seen.contains(&title[..])) {
            found.entry(of.user.clone()).or_default().insert(title.clone());
        }
    }
    found
}

#[test]
fn what_a_bad_judge_does_is_counted_and_a_good_one_raises_nothing() {
    if !weights("what_a_bad_judge_does_is_counted_and_a_good_one_raises_nothing") {
        return;
    }
    let place = Place::new();
    // By id, which says nothing of the item: no correlation with the order shown.
    let good = Endpoint::start(|request, _| {
        let mut ids = shown(&question(request));
        ids.sort();
        Reply::Content(json!({"order": ids}).to_string())
    });
    // Twenty twins: other pools, and so other questions.
    let twins: String = (8..28)
        .map(|pool| {
            reranker(
                &format!("pool {pool}"),
                &format!("pool: {pool}, strategy: prompt, users: sample=15"),
            )
        })
        .collect();
    place.write("e.yaml", experiment(&good.url(), PINNED, MEAN, &twins));
    place.fine(&["run", "e.yaml", "--quiet"]);
    let audited = Audited::of(&place, "e.yaml");
    audited.passed(&[
        "ground-truth-in-prompt",
        "temperature-without-repeats",
        "floating-model-name",
        "bad-responses",
        "position-bias",
        "cost-not-recorded",
    ]);
    // Every fifth response is unusable. The others leave the last out, invent one, and keep the order.
    let bad = Endpoint::start(|request, _| {
        let mut ids = shown(&question(request));
        let at = ids.iter().flat_map(|id| id.bytes()).map(usize::from).sum::<usize>() % 5;
        if at == 0 {
            return Reply::Content("I like all of them.".into());
        }
        ids.pop();
        ids.push("zzzz".into());
        Reply::Content(json!({"order": ids}).to_string())
    });
    let judge = reranker("bad", "pool: 10, strategy: prompt");
    place.write("e.yaml", experiment(&bad.url(), "model: gpt-4o-mini", MEAN, &judge));
    place.fine(&["run", "e.yaml", "--quiet"]);
    let asked = bad.seen.asked.lock().unwrap();
    let bodies: Vec<Value> = asked.keys().map(|body| serde_json::from_str(body).unwrap()).collect();
    let n = bodies.len();
    assert_eq!(n, 300);
    let unusable = bodies
        .iter()
        .filter(|body| {
            shown(&question(body)).iter().flat_map(|id| id.bytes()).map(usize::from).sum::<usize>()
                % 5
                == 0
        })
        .count();
    let audited = Audited::of(&place, "e.yaml");
    let counts: BTreeMap<&str, (u64, u64, &Value, &str)> = audited
        .findings("bad-responses")
        .iter()
        .map(|of| {
            let evidence = &of["evidence"];
            let count = |name: &str| evidence[name].as_u64().unwrap();
            let kind = evidence["kind"].as_str().unwrap();
            (
                kind,
                (
                    count("count"),
                    count("of"),
                    &evidence["in_kept_responses"],
                    of["severity"].as_str().unwrap(),
                ),
            )
        })
        .collect();
    let (usable, bad_ones) = ((n - unusable) as u64, unusable as u64);
    let severity = |share: f64| if share > 0.2 { "error" } else { "warning" };
    let share = unusable as f64 / n as f64;
    assert_eq!(counts["unusable"], (bad_ones, n as u64, &json!(unusable), severity(share)));
    assert_eq!(counts["unknown"], (usable, 10 * usable, &json!(usable), "warning"));
    assert_eq!(counts["omitted"], (usable, 10 * usable, &json!(usable), "warning"));
    assert_eq!(counts["without_response"].0, bad_ones);
    assert_eq!(counts.len(), 4);
    let of = &audited.one("position-bias");
    assert_eq!((&of["severity"], number(&of["evidence"]["tau"])), (&json!("warning"), 1.0));
    assert_eq!(of["evidence"]["users"], json!(usable));
    let of = audited.one("floating-model-name");
    // On this machine it is a note.
    assert_eq!((&of["subject"], &of["severity"]), (&json!("gpt-4o-mini"), &json!("note")));
    let of = &audited.one("temperature-without-repeats")["evidence"];
    assert_eq!((&of["temperature"], &of["systems"]), (&Value::Null, &json!(["bad"])));
    assert_eq!(audited.one("cost-not-recorded")["evidence"]["unpriced"], json!(300));
    // It hands the base's order back: no difference at all.
    let mut base = audited.findings("gain-over-controls").iter();
    let of = base.find(|of| of["evidence"]["control"] == "base").unwrap();
    assert_eq!((number(&of["evidence"]["difference"]), number(&of["evidence"]["p"])), (0.0, 1.0));
    test_items_in_a_profile_are_found_and_counted(&place);
}

/// In a place where the items are encoded.
fn test_items_in_a_profile_are_found_and_counted(place: &Place) {
    let endpoint = Endpoint::start(|request, _| {
        Reply::Content(json!({"order": shown(&question(request))}).to_string())
    });
    let truth = test_titles();
    // Three test items of every second user.
    let mut profiles = String::from("user,text\n");
    let mut planted = 0;
    for (at, (user, titles)) in truth.iter().enumerate() {
        let told: Vec<&str> = match at % 2 {
            0 => titles.iter().take(3).map(String::as_str).collect(),
            _ => vec!["nothing in particular"],
        };
        planted += if at % 2 == 0 { told.len() } else { 0 };
        profiles.push_str(&format!("{user},\"Likes {}.\"\n", told.join("; ")));
    }
    place.write("users.csv", &profiles);
    let users = "{from: file, file: users.csv, id: user, text: text, built_from: f1}";
    let judge = reranker("chat", "pool: 10, strategy: prompt");
    place.write("e.yaml", experiment(&endpoint.url(), PINNED, users, &judge));
    place.fine(&["run", "e.yaml", "--quiet"]);
    let audited = Audited::of(place, "e.yaml");
    let of = audited.one("ground-truth-in-prompt");
    let evidence = &of["evidence"];
    assert_eq!((&of["severity"], &of["subject"]), (&json!("error"), &json!("chat")));
    // A title that two films have may be told once and found for both.
    let named = evidence["named"].as_u64().unwrap() as usize;
    assert!((planted..=planted + 12).contains(&named), "{named} {planted}");
    let tests = ratings().iter().filter(|of| of.fold == "f1").count();
    assert_eq!(evidence["test_items"], json!(tests));
    assert!(number(&evidence["controls_named"]) <= 12.0 && number(&evidence["p"]) < 1e-6);
    // Without the responses nothing can be said.
    std::fs::remove_dir_all(place.path(".assay/answers")).unwrap();
    let ended = place.assay(&["audit", "e.yaml", "--only", "ground-truth-in-prompt"]);
    assert_eq!(ended.code, 3, "{}", ended.out);
    assert!(ended.out.contains("does not keep the responses"), "{}", ended.out);
}

/// Needs no encoder: these judges read no text.
#[test]
fn items_in_no_batch_and_items_in_one_are_found() {
    let place = Place::new();
    let of = |name: &str, more: &str| {
        format!(
            "  {name}: {{model: rerank, of: knn, text: {{profiles: p}}, judge: popularity, {more}}}\n"
        )
    };
    let file = |rerankers: &str| {
        format!(
            "experiment: e\ndata: {{set: sample, relevant: '>= 4'}}\nsplit: {{scheme: official, only: [f1]}}\n\
             profiles: {{p: {{from: template}}}}\nsystems:\n  knn: {{model: item-knn}}\n{rerankers}\
             evaluate: {{k: [10], metrics: [ndcg]}}\n"
        )
    };
    let faults = of("thirty", "pool: 30, strategy: batch, variant: code")
        + &of("scores", "pool: 30, strategy: relevancy, variant: code");
    // Twenty pools that whole batches reach the end of, and as the paper any pool.
    let twins: String = (0..20)
        .map(|at| match at % 2 {
            0 => of(
                &format!("code {at}"),
                &format!("pool: {}, strategy: batch, variant: code", 5 + 3 * at),
            ),
            _ => of(&format!("paper {at}"), &format!("pool: {}, strategy: relevancy", 7 + at)),
        })
        .collect();
    place.write("e.yaml", file(&(faults + &twins)));
    place.fine(&["run", "e.yaml", "--quiet"]);
    let audited = Audited::of(&place, "e.yaml");
    let of_thirty = audited.one("items-in-no-batch");
    assert_eq!(
        (&of_thirty["subject"], &of_thirty["severity"]),
        (&json!("thirty"), &json!("warning"))
    );
    let evidence = &of_thirty["evidence"];
    assert_eq!(
        (&evidence["items"], &evidence["lists"], &evidence["ranks"]),
        (&json!(300), &json!(300), &json!([30]))
    );
    let once = audited.one("scored-once");
    assert_eq!((&once["subject"], &once["evidence"]["items"]), (&json!("scores"), &json!(30)));
    place.write("e.yaml", file(&twins));
    Audited::of(&place, "e.yaml").passed(&["items-in-no-batch", "scored-once"]);
}

/// Twenty pools of a random base, whose users are named in their profiles: an endpoint that knows what they like puts it
/// first, which no control does. One that hands the order back is not better than any control.
#[test]
fn twenty_judges_that_know_taste_gain_over_their_controls_and_one_that_does_not_is_found() {
    if !weights(
        "twenty_judges_that_know_taste_gain_over_their_controls_and_one_that_does_not_is_found",
    ) {
        return;
    }
    let items = std::fs::read_to_string(root().join("datasets/sample/items.csv")).unwrap();
    let title = |line: &str| {
        let mut fields = line.split(',');
        (fields.next().unwrap().to_owned(), fields.next().unwrap().to_owned())
    };
    let titles: BTreeMap<String, String> = items.lines().skip(1).map(title).collect();
    let mut liked: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut profiles = String::from("user,text\n");
    for of in ratings().iter().filter(|of| of.fold == "f1" && of.rating >= 4.0) {
        liked.entry(of.user.clone()).or_default().insert(titles[&of.item].clone());
    }
    let users: BTreeSet<String> = ratings().iter().map(|of| of.user.clone()).collect();
    users.iter().for_each(|user| profiles.push_str(&format!("{user},\"Visitor {user}x.\"\n")));
    let knows = Endpoint::start(move |request, _| {
        let text = question(request);
        let user = text.split("Visitor ").nth(1).and_then(|rest| rest.split('x').next());
        let likes = user.and_then(|user| liked.get(user));
        let of = |line: &str| {
            let (id, title) = line.strip_prefix('[')?.split_once("] ")?;
            Some((!likes.is_some_and(|likes| likes.contains(title)), id.to_owned()))
        };
        let mut all: Vec<(bool, String)> = text.lines().filter_map(of).collect();
        all.sort_by_key(|(is_other, _)| *is_other);
        let ids: Vec<String> = all.into_iter().map(|(_, id)| id).collect();
        Reply::Content(json!({"order": ids}).to_string())
    });
    let place = Place::new();
    place.write("users.csv", &profiles);
    let file = |url: &str, rerankers: &str| {
        let users = "{from: file, file: users.csv, id: user, text: text, built_from: f1}";
        experiment(url, PINNED, users, rerankers)
            .replace("als: {model: als, factors: 8, iterations: 5}", "als: {model: random}")
    };
    let pools = |pools: std::ops::Range<usize>| -> String {
        let of = |pool: usize| format!("pool: {pool}, strategy: prompt, users: sample=40");
        pools.map(|pool| reranker(&format!("pool {pool}"), &of(pool))).collect()
    };
    place.write("e.yaml", file(&knows.url(), &pools(100..120)));
    place.fine(&["run", "e.yaml", "--quiet"]);
    Audited::of(&place, "e.yaml").passed(&["gain-over-controls"]);
    let same = Endpoint::start(|request, _| {
        Reply::Content(json!({"order": shown(&question(request))}).to_string())
    });
    let place = Place::new();
    place.write("users.csv", &profiles);
    place.write("e.yaml", file(&same.url(), &pools(100..101)));
    place.fine(&["run", "e.yaml", "--quiet"]);
    let audited = Audited::of(&place, "e.yaml");
    let found = audited.findings("gain-over-controls");
    let of = |control: &str| {
        let mut of = found.iter().filter(|of| of["evidence"]["control"] == control);
        of.next().unwrap_or_else(|| panic!("no {control} in {found:?}"))
    };
    assert_eq!(found.len(), 3, "{found:#?}");
    for control in ["base", "random reranker", "embedding baseline"] {
        let of = of(control);
        assert_eq!((&of["subject"], &of["severity"]), (&json!("pool 100"), &json!("warning")));
        assert!(number(&of["evidence"]["p"]) >= 0.05, "{of}");
    }
    assert_eq!(number(&of("base")["evidence"]["difference"]), 0.0);
}
