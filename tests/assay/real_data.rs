//! On real data, where ASSAY_DATA holds it. Each test says whether it ran.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::Value;

use rec_assay::{
    base::{
        interrupt::Interrupt,
        yaml::{diagnostic::SourceFile, node::Node},
    },
    data::{
        DataDirs, DataSource, DatasetStats, Relevance, SplitSpec, TrainingPart, UserIx, split_fold,
    },
    tasks::top_n::models::{FitContext, ModelDef},
};

use crate::support::{Place, not_run, say};

/// The directory of real data, if it holds `needed`; says so either way.
fn data(test: &str, needed: &[&str]) -> Option<PathBuf> {
    let Some(root) = std::env::var_os("ASSAY_DATA").map(PathBuf::from) else {
        not_run(test, "ASSAY_DATA is not set");
        return None;
    };
    match needed.iter().find(|file| !root.join(file).exists()) {
        Some(missing) => {
            not_run(test, &format!("no {missing} under ASSAY_DATA"));
            None
        }
        None => {
            say(&format!("runs: {test}"));
            Some(root)
        }
    }
}

fn stats(root: &Path, set: &str) -> DatasetStats {
    let dirs = DataDirs::new(vec![root.to_owned()]);
    DatasetStats::of(&DataSource::set(set).load(&dirs).unwrap())
}

#[test]
fn data_sets_have_the_published_sizes() {
    if let Some(root) = data("sizes of MovieLens-100K", &["ml-100k/u.data"]) {
        let stats = stats(&root, "ml-100k");
        assert_eq!((stats.users, stats.items, stats.interactions), (943, 1682, 100_000));
        assert_eq!(stats.folds, ["u1", "u2", "u3", "u4", "u5"]);
        assert_eq!(stats.with_titles, 1682);
    }
    if let Some(root) = data("sizes of Gowalla", &["gowalla/train.txt"]) {
        let stats = stats(&root, "gowalla");
        assert_eq!((stats.users, stats.items, stats.interactions), (29_858, 40_981, 1_027_370));
    }
    if let Some(root) = data("sizes of MovieLens-1M in parts", &["ml-1m-partial/movies.dat"]) {
        let part = stats(&root, "ml-1m-first2999");
        assert_eq!((part.users, part.items, part.interactions), (2999, 3883, 487_650));
        let pairs = stats(&root, "ml-1m-seq");
        assert_eq!((pairs.users, pairs.items, pairs.interactions), (6040, 3706, 1_000_209));
    }
}

#[test]
fn movielens_100k_gives_the_reference_figures() {
    let Some(root) = data("reference figures on MovieLens-100K", &["ml-100k/u1.base"]) else {
        return;
    };
    let place = Place::new();
    let baselines = Path::new(env!("CARGO_MANIFEST_DIR")).join("baselines");
    place.write(
        "e.yaml",
        format!(
            "experiment: e\ndata: {{set: ml-100k, relevant: '>= 4'}}\nsplit: {{scheme: official, only: [u1]}}\n\
             systems:\n  popularity: {{model: popularity}}\n  als: {{use: {}}}\n",
            baselines.join("als.yaml").display()
        ),
    );
    let run = place.command(&["run", "e.yaml"]).env("ASSAY_DATA", &root).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let csv =
        place.command(&["results", "e.yaml"]).env("ASSAY_DATA", &root).output().unwrap().stdout;
    let csv = String::from_utf8(csv).unwrap();
    let value = |system: &str, metric: &str| -> (f64, String) {
        let row = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let mut row = row.filter(|f| f[1] == system && f[2] == "u1");
        let row = row.find(|f| f[7] == metric).unwrap();
        (row[9].parse().unwrap(), row[10].to_owned())
    };
    for (metric, expected) in
        [("precision", "0.2226"), ("recall", "0.1148"), ("ndcg", "0.2606"), ("map", "0.1493")]
    {
        let (value, n) = value("popularity", metric);
        assert_eq!((format!("{value:.4}").as_str(), n.as_str()), (expected, "456"), "{metric}");
    }
    let (ndcg, _) = value("als", "ndcg");
    assert!((ndcg - 0.462).abs() < 0.01, "ALS: {ndcg}");
}

/// Means, spread and interval of the popularity ranking, worked out from the files with numpy: 10,000
/// resamples of the users (0.1943–0.2151), where a draw within each fold gives 0.1976–0.2117. One user
/// of 943 likes nothing.
#[test]
fn intervals_over_five_folds_rest_on_users_drawn_once() {
    let Some(root) = data("intervals over folds of MovieLens-100K", &["ml-100k/u1.base"]) else {
        return;
    };
    let place = Place::new();
    place.write(
        "e.yaml",
        "experiment: e\ndata: {set: ml-100k, relevant: '>= 4'}\nsplit: {scheme: official}\nsystems:\n  \
         popularity: {model: popularity}\nevaluate: {k: [10], metrics: [ndcg, gini]}\n",
    );
    let assay = |args: &[&str]| {
        let output = place.command(args).env("ASSAY_DATA", &root).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assay(&["run", "e.yaml", "--quiet"]);
    let rows: Value =
        serde_json::from_str(&assay(&["results", "e.yaml", "--json", "--intervals"])).unwrap();
    let mean = |metric: &str| {
        let mut rows = rows.as_array().unwrap().iter();
        rows.find(|row| row["fold"] == "mean" && row["metric"] == metric).unwrap()
    };
    let ndcg = mean("ndcg");
    assert_eq!((&ndcg["n_users"], &ndcg["n_pairs"]), (&942.into(), &3717.into()));
    for (name, expected, tolerance) in [
        ("value", 0.204_552_78, 1e-8),
        ("sd_folds", 0.035_852_19, 1e-8),
        ("low", 0.194_267, 1e-3),
        ("high", 0.215_062, 1e-3),
    ] {
        let found = ndcg[name].as_f64().unwrap();
        assert!((found - expected).abs() < tolerance, "{name}: {found}");
    }
    assert!(ndcg["sd_seeds"].is_null(), "{ndcg}");
    // Every user has a list in every fold in which anything of hers is tested: whether she likes it or not.
    assert_eq!((&mean("gini")["n_users"], &mean("gini")["n_pairs"]), (&943.into(), &3831.into()));
    let table = assay(&["table", "e.yaml", "--intervals"]);
    assert!(table.contains("n = 942 users (3,717 user-fold pairs)."), "{table}");
}

/// LibRecommender 1.5.2's `split_by_ratio(u1.base, test_size=0.1)` leaves 72,012 rows of 1,324 items in training.
#[test]
fn the_released_baselines_learn_from_what_librecommender_leaves() {
    let Some(root) = data("LibRecommender's nine tenths", &["ml-100k/u1.base"]) else { return };
    let place = Place::new();
    place.write(
        "e.yaml",
        "experiment: e\ndata: {set: ml-100k, relevant: '>= 4'}\nsplit: {scheme: official, only: [u1]}\n\
         systems:\n  it: {model: popularity, positives: any, train_share: {share: 0.9, take: \
         first-of-each-user}}\nevaluate: {k: [10]}\n",
    );
    let assay = |args: &[&str]| {
        let output = place.command(args).env("ASSAY_DATA", &root).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let table = assay(&["run", "e.yaml"]);
    let note = "Trained on every rating as a positive, the first 90 % of each user's training ratings by item id";
    assert!(table.contains(note), "{table}");
    let records: Value = serde_json::from_str(&assay(&["show", "it u1", "--json"])).unwrap();
    let mut fits = records.as_array().unwrap().iter().filter(|record| record["kind"] == "fit");
    assert_eq!(fits.next().unwrap()["stats"]["positives"], 72_012);
}

/// Of three seeds the mean is .450 and .410; a single one is allowed to be a little lower.
#[test]
fn networks_reach_their_figures_on_movielens_100k() {
    let Some(root) = data("networks on MovieLens-100K", &["ml-100k/u1.base"]) else { return };
    let place = Place::new();
    let baselines = Path::new(env!("CARGO_MANIFEST_DIR")).join("baselines");
    let system = |name: &str| format!("  {name}: {{use: {}/{name}.yaml}}\n", baselines.display());
    place.write(
        "e.yaml",
        format!(
            "experiment: e\ndata: {{set: ml-100k, relevant: '>= 4', disliked: '<= 2'}}\nsplit: {{scheme: \
             official, only: [u1]}}\nsystems:\n{}{}",
            system("lightgcn"),
            system("bprmf")
        ),
    );
    let assay = |verb: &str| {
        let output = place.command(&[verb, "e.yaml"]).env("ASSAY_DATA", &root).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assay("run");
    let csv = assay("results");
    for (system, least) in [("lightgcn", 0.435), ("bprmf", 0.395)] {
        let start = format!("e,{system},u1,1,full,standard,all,ndcg,10,");
        let line = csv.lines().find_map(|line| line.strip_prefix(&start)).unwrap();
        let value: f64 = line.split(',').next().unwrap().parse().unwrap();
        assert!(value >= least, "{system}: {value}");
    }
}

/// The upper bound is computed here from the base's exported lists and the test file.
#[test]
fn rerankers_stay_between_chance_and_the_oracle_on_movielens_100k() {
    let Some(root) = data("rerankers on MovieLens-100K", &["ml-100k/u1.test"]) else { return };
    let place = Place::new();
    let als = Path::new(env!("CARGO_MANIFEST_DIR")).join("baselines/als.yaml");
    place.write(
        "e.yaml",
        format!(
            "experiment: e\ndata: {{set: ml-100k, relevant: '>= 4', disliked: '<= 2'}}\nsplit: {{scheme: \
             official, only: [u1]}}\nprofiles: {{p: {{from: template}}}}\nsystems:\n  als: {{use: {}}}\n  re: \
             {{model: rerank, of: als, text: {{profiles: p}}, strategy: {{sweep: [prompt, batch]}}, judge: \
             {{sweep: [popularity, shuffle, oracle]}}, explain: {{top: 2, users: sample=30}}}}\nevaluate: \
             {{k: [10], metrics: [ndcg]}}\n",
            als.display()
        ),
    );
    let assay = |args: &[&str]| {
        let output = place.command(args).env("ASSAY_DATA", &root).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assay(&["run", "e.yaml", "--quiet"]);
    let rows: Value = serde_json::from_str(&assay(&["results", "e.yaml", "--json"])).unwrap();
    let ndcg = |system: &str| -> f64 {
        let mut rows = rows.as_array().unwrap().iter();
        let row = rows.find(|row| row["system"] == system && row["fold"] == "u1").unwrap();
        row["value"].as_f64().unwrap()
    };
    let re = |strategy: &str, judge: &str| ndcg(&format!("re[strategy={strategy},judge={judge}]"));
    // Which test items each user likes, and which of them the base has among its first twenty.
    let mut liked: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in std::fs::read_to_string(root.join("ml-100k/u1.test")).unwrap().lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        if fields[2].parse::<f64>().unwrap() >= 4.0 {
            liked.entry(fields[0].into()).or_default().insert(fields[1].into());
        }
    }
    assay(&["export", "e.yaml", "--format", "trec", "--out", "out"]);
    let runs = std::fs::read_dir(place.path("out")).unwrap().flatten().map(|entry| entry.path());
    let is_base = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("als");
    let base = runs.into_iter().find(is_base).unwrap();
    let (mut places, mut hits) =
        (BTreeMap::<String, usize>::new(), BTreeMap::<String, usize>::new());
    for line in std::fs::read_to_string(base).unwrap().lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let place = places.entry(fields[0].into()).or_default();
        *place += 1;
        let likes = liked.get(fields[0]).is_some_and(|liked| liked.contains(fields[2]));
        if likes && *place <= 20 {
            *hits.entry(fields[0].into()).or_default() += 1;
        }
    }
    let gain =
        |n: usize| (1..=n.min(10)).map(|place| 1.0 / ((place + 1) as f64).log2()).sum::<f64>();
    let of_user = |user: &String, liked: &BTreeSet<String>| {
        gain(hits.get(user).copied().unwrap_or(0)) / gain(liked.len())
    };
    let bound: f64 = liked.iter().map(|(user, liked)| of_user(user, liked)).sum();
    let bound = bound / liked.len() as f64;
    assert!((re("prompt", "oracle") - bound).abs() < 1e-9, "{bound}");
    assert!((bound - 0.7154).abs() < 0.01 && (ndcg("als") - 0.4596).abs() < 0.01, "{bound}");
    for strategy in ["prompt", "batch"] {
        let (chance, popularity) = (re(strategy, "shuffle"), re(strategy, "popularity"));
        assert!(
            chance < popularity && popularity < ndcg("als"),
            "{strategy}: {chance} {popularity}"
        );
    }
    let explained: Value =
        serde_json::from_str(&assay(&["explanations", "e.yaml", "--json"])).unwrap();
    let explained = explained.as_array().unwrap();
    assert_eq!(explained.len(), 4 * 30 * 2);
    let grounded = explained
        .iter()
        .filter(|of| of["explanation"]["unfounded"] == serde_json::json!([]))
        .count();
    assert_eq!(grounded, explained.len());
}

/// Precision ÷ list length rewards unjudged items before those judged irrelevant. In the base's order behind
/// the relevant ones the mean was .860; computed here from the base's exported lists, it is 1.
#[test]
fn the_oracle_reaches_what_precision_by_list_length_rewards() {
    let Some(root) = data("the oracle on MovieLens-100K", &["ml-100k/u2.test"]) else { return };
    let place = Place::new();
    place.write(
        "e.yaml",
        "experiment: e\ndata: {set: ml-100k, relevant: '>= 4'}\nsplit: {scheme: official, only: [u2]}\n\
         profiles: {p: {from: template}}\nsystems:\n  ease: {model: ease, regularization: 250}\n  oracle: \
         {model: rerank, of: ease, text: {profiles: p}, strategy: prompt, judge: oracle}\nevaluate: \
         {protocols: [judged-after-cut], conventions: [ebrat2025], k: [10], metrics: [precision, map]}\n",
    );
    let assay = |args: &[&str]| {
        let output = place.command(args).env("ASSAY_DATA", &root).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let table = assay(&["run", "e.yaml"]);
    // What is no upper bound is not called one.
    assert!(table.contains("Under ebrat2025 the oracle is not an upper bound of map:"), "{table}");
    let rows: Value = serde_json::from_str(&assay(&["results", "e.yaml", "--json"])).unwrap();
    let row = rows.as_array().unwrap().iter().find(|row| {
        (row["system"] == "oracle" && row["fold"] == "u2") && row["metric"] == "precision"
    });
    let (found, n_found) =
        (row.unwrap()["value"].as_f64().unwrap(), row.unwrap()["n_users"].as_u64().unwrap());
    let mut ratings: BTreeMap<(String, String), f64> = BTreeMap::new();
    for line in std::fs::read_to_string(root.join("ml-100k/u2.test")).unwrap().lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        ratings.insert((fields[0].into(), fields[1].into()), fields[2].parse().unwrap());
    }
    assay(&["export", "e.yaml", "--format", "trec", "--out", "out"]);
    let runs = std::fs::read_dir(place.path("out")).unwrap().flatten().map(|entry| entry.path());
    let is_base = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("ease");
    let base = runs.into_iter().find(is_base).unwrap();
    // By user, how many of the first twenty are relevant, unjudged, irrelevant.
    let mut pools: BTreeMap<String, [usize; 3]> = BTreeMap::new();
    for line in std::fs::read_to_string(base).unwrap().lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let pool = pools.entry(fields[0].into()).or_default();
        if pool.iter().sum::<usize>() < 20 {
            pool[match ratings.get(&(fields[0].to_owned(), fields[2].to_owned())) {
                Some(rating) if *rating >= 4.0 => 0,
                None => 1,
                Some(_) => 2,
            }] += 1;
        }
    }
    let values = pools.values().filter_map(|[relevant, unjudged, _]| {
        let hits = *relevant.min(&10);
        let judged = hits + 10usize.saturating_sub(relevant + unjudged);
        (judged > 0).then(|| hits as f64 / judged as f64)
    });
    let values: Vec<f64> = values.collect();
    let expected = values.iter().sum::<f64>() / values.len() as f64;
    assert!(
        (found - expected).abs() < 1e-9 && n_found as usize == values.len(),
        "{found} {expected}"
    );
    assert!(found > 0.999, "{found}");
}

/// The experiment file that a user would run.
#[test]
fn the_published_table_follows_from_the_published_rankings() {
    let needed = ["ml-100k/u1.base", "ebrat2025/recommendations/als_result_100k.csv"];
    let Some(root) = data("Table 1 of Ebrat et al. 2025", &needed) else { return };
    let place = Place::new();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/ebrat2025-table1.yaml");
    let file = file.to_str().unwrap();
    let assay = |args: &[&str]| {
        let output = place.command(args).env("ASSAY_DATA", &root).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let out = assay(&["run", file, "--quiet"]);
    assert!(out.contains("36 of 36 checkable cells reproduced at 3 decimals"), "{out}");
    assert!(out.contains("the table is truncated, not rounded; 4 not checkable"), "{out}");
    assert!(out.contains("Prompt-level: the authors did not publish these rankings"), "{out}");
    let json: serde_json::Value =
        serde_json::from_str(&assay(&["published", file, "--json"])).unwrap();
    let table = &json[0];
    assert_eq!(table["slice_users"], 6);
    let mut cells = 0;
    for row in table["rows"].as_array().unwrap() {
        for cell in row["cells"].as_array().unwrap() {
            if cell["verdict"] != "reproduced" {
                assert_eq!(row["row"], "Prompt-level", "{cell}");
                continue;
            }
            cells += 1;
            let n = cell["n_users"].as_u64().unwrap();
            assert!((3..=6).contains(&n) && cell["interval"].is_array(), "{cell}");
            if cell["metric"] == "recall" {
                assert_eq!(n, 6);
            }
        }
    }
    assert_eq!(cells, 36);
    // Ours, scored the same way, beside the paper's best system: on all users it is ahead.
    let csv = assay(&["results", file]);
    let value = |system: &str, metric: &str| -> f64 {
        let start =
            format!("ebrat2025-table1,{system},u1,1,judged-after-cut,ebrat2025,all,{metric},10,");
        let line = csv.lines().find_map(|line| line.strip_prefix(&start)).unwrap();
        line.split(',').next().unwrap().parse().unwrap()
    };
    for metric in ["precision", "recall", "ndcg", "map"] {
        let (ours, theirs) = (value("als-tuned", metric), value("Unified structure", metric));
        assert!(ours > theirs, "{metric}: {ours} against {theirs}");
    }
}

#[test]
fn gowalla_gives_the_reference_figures() {
    let Some(root) = data("reference figures on Gowalla", &["gowalla/train.txt"]) else { return };
    let place = Place::new();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/gowalla-baselines.yaml");
    let file = file.to_str().unwrap();
    let assay = |verb: &str| {
        let output = place.command(&[verb, file]).env("ASSAY_DATA", &root).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assay("run");
    let csv = assay("results");
    let value = |system: &str, metric: &str| -> f64 {
        let start = format!("gowalla-baselines,{system},official,1,full,standard,all,{metric},20,");
        let line = csv.lines().find_map(|line| line.strip_prefix(&start)).unwrap();
        assert!(line.contains(",29858,"), "{line}");
        line.split(',').next().unwrap().parse().unwrap()
    };
    assert_eq!(format!("{:.4}", value("item-knn", "recall")), "0.1273");
    assert_eq!(format!("{:.4}", value("item-knn", "ndcg")), "0.0944");
    // `implicit` gives .149 and .128 at these settings.
    assert!(value("als", "recall") >= 0.1485, "{}", value("als", "recall"));
    assert!(value("als", "ndcg") >= 0.1275, "{}", value("als", "ndcg"));
}

/// The mean rows of an experiment, and everything that was printed on the way, on one line.
fn means_of(place: &Place, root: &Path, file: &str) -> (Vec<Value>, String) {
    let run = place.command(&["run", file]).env("ASSAY_DATA", root).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let said = [run.stdout, run.stderr].concat();
    let said = String::from_utf8_lossy(&said).split_whitespace().collect::<Vec<_>>().join(" ");
    let json =
        place.command(&["results", file, "--json"]).env("ASSAY_DATA", root).output().unwrap();
    let rows: Vec<Value> = serde_json::from_slice(&json.stdout).unwrap();
    (rows.into_iter().filter(|row| row["fold"] == "mean").collect(), said)
}

/// Worked out with numpy from `u.data`. One of the 98 users with a history likes nothing in it: they get the
/// popular items too, or nothing.
#[test]
fn users_without_history_decide_the_order_on_a_split_by_time() {
    let Some(root) = data("users without history on MovieLens-100K", &["ml-100k/u.data"]) else {
        return;
    };
    let place = Place::new();
    let means = |fallback: &str| {
        place.write(
            "e.yaml",
            format!(
                "experiment: e\ndata: {{set: ml-100k}}\nsplit: {{scheme: temporal, test: 0.2}}\nsystems:\n  \
                 popularity: {{model: popularity}}\n  ease: {{model: ease}}\nevaluate: {{metrics: [ndcg], k: [10], \
                 slices: [all, history, no-history], fallback: {fallback}}}\n"
            ),
        );
        let (rows, said) = means_of(&place, &root, "e.yaml");
        let shown = |row: &Value| {
            let value = row["value"].as_f64().unwrap();
            let (system, slice) = (row["system"].as_str().unwrap(), row["slice"].as_str().unwrap());
            format!("{system} {slice} {value:.4} of {}", row["n_users"])
        };
        (rows.iter().map(shown).collect::<Vec<_>>(), said)
    };
    let popularity = [
        "popularity all 0.2706 of 290",
        "popularity history 0.1533 of 98",
        "popularity no-history 0.3305 of 192",
    ];
    let (shown, said) = means("popularity");
    assert_eq!(shown[..3], popularity);
    let ease =
        ["ease all 0.2789 of 290", "ease history 0.1778 of 98", "ease no-history 0.3305 of 192"];
    assert_eq!(shown[3..], ease);
    let warning = "ease later: 193 of 290 users have no rating in the training part that the model learns from (192 \
                   without any rating, 1 with others alone): they get the most popular items (`fallback: popularity`)";
    assert!(said.contains(warning), "{said}");
    assert!(
        said.contains("192 of 290 users (66.2 %) have no rating in the training part"),
        "{said}"
    );
    let (shown, _) = means("none");
    assert_eq!(shown[..3], popularity);
    let ease =
        ["ease all 0.0584 of 290", "ease history 0.1729 of 98", "ease no-history 0.0000 of 192"];
    assert_eq!(shown[3..], ease);
}

/// Both rows of a sweep used to show the first level: .4088 of 650 users, and .7748. Right values are those
/// of plain experiments (`.1695` with items 1, 2, 3 for the five users who like nothing in training).
#[test]
fn levels_outside_systems_are_run_with_their_own_settings() {
    let Some(root) = data("sweeps on MovieLens-100K", &["ml-100k/u.data", "ml-100k/u2.base"])
    else {
        return;
    };
    let place = Place::new();
    let values = |text: String| {
        place.write("e.yaml", text);
        let (rows, _) = means_of(&place, &root, "e.yaml");
        let shown =
            |row: &Value| format!("{:.4} of {}", row["value"].as_f64().unwrap(), row["n_users"]);
        rows.iter().map(shown).collect::<Vec<_>>()
    };
    let relevant = |rule: &str| {
        values(format!(
            "experiment: e\ndata: {{set: ml-100k, relevant: {rule}}}\nsplit: {{scheme: official, only: [u2]}}\nsystems: \
             {{ease: {{model: ease}}}}\nevaluate: {{metrics: [precision], k: [10]}}\n"
        ))
    };
    assert_eq!(relevant("{sweep: ['>= 3', '>= 5']}"), ["0.4088 of 650", "0.1697 of 581"]);
    assert_eq!(relevant("'>= 5'"), ["0.1697 of 581"]);
    let negatives = |n: &str| {
        values(format!(
            "experiment: e\ndata: {{set: ml-100k, relevant: '>= 4'}}\nsplit: {{scheme: official, only: [u5]}}\nsystems: \
             {{ease: {{model: ease}}}}\nevaluate: {{protocols: [sampled], metrics: [recall], k: [10], sampled: {{seed: 1, \
             negatives: {n}}}}}\n"
        ))
    };
    assert_eq!(negatives("{sweep: [20, 1000]}"), ["0.7748 of 878", "0.3580 of 878"]);
    assert_eq!(negatives("1000"), ["0.3580 of 878"]);
}

/// Counts are those of a few lines of Python on `u1.base` and `u.data`.
#[test]
fn ties_are_counted_on_movielens_100k() {
    let Some(root) = data("ties on MovieLens-100K", &["ml-100k/u1.base", "ml-100k/u.data"]) else {
        return;
    };
    let place = Place::new();
    let means = |split: &str, ties: &str| {
        place.write(
            "e.yaml",
            format!(
                "experiment: e\ndata: {{set: ml-100k}}\nsplit: {{{split}}}\nsystems: {{pop: {{model: \
                 popularity}}}}\nevaluate: {{metrics: [precision], k: [20], ties: {ties}}}\n"
            ),
        );
        means_of(&place, &root, "e.yaml")
    };
    let (rows, said) = means("scheme: official, only: [u1]", "lower-id");
    assert_eq!((&rows[0]["tied_users"], &rows[0]["users"]), (&150.into(), &456.into()));
    let warning = "ties decide what is within the cutoff for 150 of 456 users (32.9 %)";
    assert!(said.contains(warning), "{said}");
    let (random, _) = means("scheme: official, only: [u1]", "random");
    assert_eq!(rows[0]["random_ties"], random[0]["value"]);
    let (_, said) = means("scheme: leave-one-out", "lower-id");
    assert!(said.contains("415 of 943 users (44.0 %) have several interactions at"), "{said}");
}

/// A model, its settings, and on the folds u1 and u2 nDCG@10 and the sum of the scores of all users and
/// items, each with a weight. All values are printed by tools/pin_baselines.py.
type Baseline = (&'static str, &'static str, [(f64, f64); 2]);

const BASELINES: &[Baseline] = &[
    (
        "item-knn",
        "{neighbours: 80, shrinkage: 10}",
        [(0.394_173_331, 445_028.553), (0.325_142_171, 431_773.702)],
    ),
    (
        "user-knn",
        "{neighbours: 60, shrinkage: 5}",
        [(0.429_858_694, 570_813.583), (0.383_736_955, 526_552.706)],
    ),
    (
        "p3alpha",
        "{neighbours: 150, alpha: 1.3}",
        [(0.390_112_755, 1153.889), (0.345_680_322, 1158.476)],
    ),
    (
        "rp3beta",
        "{neighbours: 150, alpha: 0.8, beta: 0.4}",
        [(0.428_971_388, 10_462.451), (0.371_920_045, 10_408.854)],
    ),
    ("pure-svd", "{factors: 40}", [(0.386_529_791, 22_102.276), (0.332_975_724, 22_039.123)]),
];

#[test]
fn baselines_have_the_values_of_plain_numpy() {
    let needed = ["ml-100k/u1.base", "ml-100k/u1.test", "ml-100k/u2.base", "ml-100k/u2.test"];
    let Some(root) = data("baselines on MovieLens-100K", &needed) else { return };
    let place = Place::new();
    let systems: String = (0..)
        .zip(BASELINES)
        .map(|(at, (model, settings, _))| {
            format!("  s{at}: {{model: {model}, {}\n", settings.trim_start_matches('{'))
        })
        .collect();
    place.write(
        "e.yaml",
        format!(
            "experiment: e\ndata: {{set: ml-100k, relevant: '>= 4'}}\nsplit: {{scheme: official, only: [u1, \
             u2]}}\nsystems:\n{systems}evaluate: {{k: [10], metrics: [ndcg]}}\n"
        ),
    );
    let assay = |args: &[&str]| {
        let output = place.command(args).env("ASSAY_DATA", &root).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    assay(&["run", "e.yaml", "--quiet"]);
    let rows: Vec<Value> =
        serde_json::from_slice(&assay(&["results", "e.yaml", "--json"])).unwrap();
    let dirs = DataDirs::new(vec![root.clone()]);
    let data = DataSource::set("ml-100k").load(&dirs).unwrap();
    for (at_fold, fold) in ["u1", "u2"].into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        split_fold(&data, &SplitSpec::official(), fold).unwrap().write(dir.path()).unwrap();
        let part = TrainingPart::read(dir.path()).unwrap();
        let training = part.training_data(Relevance::AtLeast(4.0), None);
        let id = |name: &str| name.parse::<usize>().unwrap();
        let users: Vec<UserIx> = (0..part.users.len() as u32).map(UserIx).collect();
        for (at, (model, settings, values)) in BASELINES.iter().enumerate() {
            let (ndcg, sum) = values[at_fold];
            let system = format!("s{at}");
            let row = rows.iter().find(|row| row["system"] == system && row["fold"] == fold);
            let found = row.unwrap()["value"].as_f64().unwrap();
            assert!((found - ndcg).abs() < 1e-6, "{model} {settings} {fold}: {found}");
            let file = SourceFile { path: "x.yaml".into(), text: (*settings).into() };
            let spec = ModelDef::find(model).unwrap();
            let spec = spec.read(&Node::parse(&Arc::new(file)).unwrap()).unwrap();
            let interrupt = Interrupt::default();
            let fitted = spec.fit(&training, &FitContext::silent(1, &interrupt)).unwrap();
            let mut scores = vec![f32::NAN; part.users.len() * part.items.len()];
            fitted.score(&users, &mut scores);
            let rows = part.users.names().iter().zip(scores.chunks(part.items.len()));
            let found: f64 = rows
                .flat_map(|(user, row)| {
                    part.items.names().iter().zip(row).map(move |(item, score)| {
                        let weight = (id(user) * 7919 + id(item) * 104_729) % 1000;
                        f64::from(*score) * weight as f64 / 1000.0
                    })
                })
                .sum();
            assert!((found / sum - 1.0).abs() < 1e-6, "{model} {settings} {fold}: {found}");
        }
    }
}
