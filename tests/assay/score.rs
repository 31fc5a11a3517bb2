//! `assay score`: other people's rankings, odd and broken ones too, and the way there and back.

use serde_json::Value;

use crate::support::{Place, root};

/// Training: user 1 has seen a, user 2 b. Test: what they like.
const TRAIN: &str = "user,item,rating\n1,a,5\n2,b,4\n3,a,2\n";
const TEST: &str = "user,item,rating\n1,b,5\n1,c,4\n1,d,1\n2,a,5\n2,c,2\n3,c,4\n";

fn place(file: &str, text: impl AsRef<[u8]>) -> Place {
    let place = Place::new();
    place.write("train.csv", TRAIN);
    place.write("test.csv", TEST);
    place.write(file, text);
    place
}

fn scored(file: &str, text: impl AsRef<[u8]>, more: &[&str]) -> (Value, String) {
    let place = place(file, text);
    let mut args = vec![
        "score",
        "--train",
        "train.csv",
        "--test",
        "test.csv",
        "--relevant",
        ">= 4",
        "-k",
        "2",
    ];
    args.extend(["--json", file]);
    args.extend(more);
    let ended = place.assay(&args);
    assert_eq!(ended.code, 0, "{}\n{}", ended.out, ended.err);
    (serde_json::from_str(&ended.out).unwrap(), ended.err)
}

fn value(json: &Value, metric: &str) -> f64 {
    let rows = json["rows"].as_array().unwrap();
    rows.iter().find(|row| row["metric"] == metric).unwrap()["value"].as_f64().unwrap()
}

const GOOD: &str = "user_id,movie_id,rank\n1,b,1\n1,c,2\n2,d,1\n2,a,2\n3,b,1\n3,c,2\n";

#[test]
fn every_format_gives_the_same_figures() {
    let expected = (1.0 + 0.5 + 0.5) / 3.0;
    let tsv = "user\titem\tposition\n1\tb\t1\n1\tc\t2\n2\td\t1\n2\ta\t2\n3\tb\t1\n3\tc\t2\n";
    let trec =
        "1 Q0 b 1 9.5 x\n1 Q0 c 2 9 x\n2 Q0 d 1 3 x\n2\tQ0 a  2 2 x\n3 Q0 b 1 2 x\n3 Q0 c 2 1 x\n";
    let elliot = "1\tb\t0.9\n1\tc\t0.8\n2\td\t0.7\n2\ta\t0.6\n3\tb\t0.5\n3\tc\t0.4\n";
    let recbole = "user_id:token\titem_id:token_seq\n1\tb c\n2\td a\n3\tb c\n";
    let scores = "user,item,score\n1,c,0.8\n1,b,0.9\n2,d,0.7\n2,a,0.6\n3,b,0.5\n3,c,0.4\n";
    let quoted = "\"user\";\"item\";\"rank\"\n".replace('"', "")
        + "1;b;1\n1;c;2\n2;d;1\n2;a;2\n3;b;1\n3;c;2\n";
    let renamed = "who,what,when\n1,b,1\n1,c,2\n2,d,1\n2,a,2\n3,b,1\n3,c,2\n";
    for (file, text, more) in [
        ("r.csv", GOOD, &[][..]),
        ("r.tsv", tsv, &[]),
        ("r.run", trec, &[]),
        ("recs.tsv", elliot, &[]),
        ("r.inter", recbole, &[]),
        ("s.csv", scores, &[]),
        ("q.csv", &quoted, &[]),
        ("n.csv", renamed, &["--columns", "user=who,item=what,rank=when"]),
        ("p.csv", renamed, &["--columns", "user=1,item=2,rank=3"]),
    ] {
        let (json, err) = scored(file, text, more);
        assert!((value(&json, "precision") - expected).abs() < 1e-12, "{file}: {json}");
        assert_eq!(value(&json, "recall"), 1.0, "{file}");
        assert!(!err.contains("warning"), "{file}: {err}");
    }
}

#[test]
fn what_is_odd_is_counted_and_said() {
    for (what, text, more, expected) in [
        (
            "seen",
            "user,item,rank\n1,a,1\n1,b,2\n2,a,1\n2,c,2\n3,c,1\n3,d,2\n",
            &[][..],
            "1 recommended item is already in the user's training part, in 1 list: kept",
        ),
        (
            "seen, dropped",
            "user,item,rank\n1,a,1\n1,b,2\n1,c,3\n2,a,1\n2,c,2\n3,c,1\n3,d,2\n",
            &["--seen", "drop"][..],
            "1 recommended item is already in the user's training part, in 1 list: left out",
        ),
        (
            "unknown user",
            &format!("{GOOD}77,a,1\n78,a,1\n"),
            &[],
            "2 users are not in the data (e.g. 77, 78): their 2 rows are left out",
        ),
        (
            "unknown item",
            &GOOD.replace("2,d,1", "2,zz,1"),
            &[],
            "1 item is not in the data (e.g. zz): 1 row is kept, they take places and are no hits",
        ),
        (
            "item twice",
            &format!("{GOOD}1,b,3\n"),
            &[],
            "1 row repeats an item of the same list, in 1 list: the later ones are left out",
        ),
        ("rank twice", &GOOD.replace("1,c,2", "1,c,1"), &[], "1 list has two items at one rank"),
        (
            "short",
            "user,item,rank\n1,b,1\n2,a,1\n2,c,2\n3,c,1\n3,d,2\n",
            &[],
            "of 3 lists, 1 shorter than 2",
        ),
        (
            "no list",
            "user,item,rank\n1,b,1\n1,c,2\n2,a,1\n2,c,2\n",
            &[],
            "1 of 3 users with a relevant item have no list",
        ),
        (
            "rank 0",
            &GOOD.replace(",1\n", ",0\n").replace(",2\n", ",1\n"),
            &[],
            "ranks start at 0 or below in 3 lists",
        ),
        (
            "score against rank",
            "user,item,rank,score\n1,b,1,0.1\n1,c,2,0.9\n2,d,1,2\n2,a,2,1\n3,b,1,2\n3,c,2,1\n",
            &[],
            "scores and ranks disagree in 1 list: the ranks decide",
        ),
        (
            "equal scores",
            "user,item,score\n1,b,1\n1,c,1\n2,d,2\n2,a,1\n3,b,2\n3,c,1\n",
            &[],
            "1 list has equal scores",
        ),
    ] {
        let (json, err) = scored("r.csv", text, more);
        assert!(err.contains(expected), "{what}: {err}");
        assert_eq!(err.matches("warning: ").count(), 1, "{what}: {err}");
        let warnings = json["files"]["r"]["warnings"].as_array().unwrap();
        assert!(warnings[0].as_str().unwrap().contains(expected), "{what}");
        if what == "seen, dropped" {
            assert_eq!(value(&json, "recall"), 1.0, "what stood behind moved up");
        }
    }
}

#[test]
fn unknown_items_take_a_place_and_repeated_ones_do_not() {
    let (json, _) = scored("r.csv", GOOD.replace("1,b,1", "1,zz,1"), &[]);
    assert!((value(&json, "precision") - 0.5).abs() < 1e-12);
    let (json, _) = scored("r.csv", GOOD.replace("1,c,2", "1,b,2\n1,c,3"), &[]);
    assert!(
        (value(&json, "precision") - 2.0 / 3.0).abs() < 1e-12,
        "c moved up to the second place"
    );
}

#[test]
fn files_that_cannot_be_understood_are_one_clear_error() {
    let mut text = String::new();
    for (what, file, bytes) in [
        ("empty", "r.csv", &b""[..]),
        ("blank lines", "r.csv", b"\n\n  \n"),
        ("binary", "r.csv", &[0x7f, b'E', b'L', b'F', 0, 1, 2, 0xff]),
        ("not text", "r.csv", b"user,item\n1,\xff\xfe\n"),
        ("no user column", "r.csv", b"who,item,rank\n1,b,1\n"),
        ("no item column", "r.csv", b"user,what,rank\n1,b,1\n"),
        ("a rank that is none", "r.csv", b"user,item,rank\n1,b,1\n1,c,second\n"),
        ("a score that is none", "r.csv", b"user,item,score\n1,b,0.5\n1,c,good\n"),
        ("a user missing", "r.csv", b"user,item,rank\n1,b,1\n,c,2\n"),
        ("too many fields", "r.csv", b"user,item,rank\n1,b,1\n1,c,2,9\n"),
        ("header only", "r.csv", b"user,item,rank\n"),
        ("cut off", "r.csv", b"user,item,rank\n1,b,1\n1,c"),
        ("cut Parquet", "r.parquet", b"PAR1 and no more"),
        ("gone", "other.csv", b""),
    ] {
        let place = place(file, bytes);
        let ended = place.assay(
            &[
                "score",
                "--train",
                "train.csv",
                "--test",
                "test.csv",
                "--relevant",
                "any",
                "r.csv",
                "r.parquet",
            ]
            .into_iter()
            .filter(|name| {
                !name.starts_with("r.")
                    || *name == file
                    || (file == "other.csv" && *name == "r.csv")
            })
            .collect::<Vec<_>>(),
        );
        text.push_str(&format!("# {what}: exit {}\n{}\n", ended.code, ended.err));
        assert!(!ended.err.contains("panicked"), "{what}: {}", ended.err);
    }
    insta::assert_snapshot!(text);
}

#[test]
fn wrong_options_say_what_is_right() {
    let place = place("r.csv", GOOD);
    place.write("sub/r.csv", GOOD);
    let mut text = String::new();
    for args in [
        &["r.csv"][..],
        &["--data", "sample", "r.csv"],
        &["--data", "sample", "--fold", "f9", "r.csv"],
        &["--test", "test.csv", "--convention", "ebrat2025", "r.csv"],
        &["--test", "test.csv", "--convention", "standart", "r.csv"],
        &["--test", "test.csv", "--protocol", "sampled", "r.csv"],
        &["--test", "test.csv", "--columns", "user=nobody", "r.csv"],
        &["--test", "test.csv", "--columns", "who=user", "r.csv"],
        &["--test", "test.csv", "--order", "score", "r.csv"],
        &["--test", "test.csv", "-k", "1000000000000", "r.csv"],
        &["--test", "test.csv", "--compare", "r.csv"],
        &["--test", "test.csv", "r.csv", "sub/r.csv"],
    ] {
        let mut all = vec!["score", "--relevant", ">= 4"];
        all.extend(args);
        let ended = place.assay(&all);
        text.push_str(&format!("# {}: exit {}\n{}\n", args.join(" "), ended.code, ended.err));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn the_terminal_table_of_several_ways_of_scoring() {
    let place = place("a.csv", GOOD);
    place.write("b.csv", "user,item,rank\n1,d,1\n1,b,2\n3,c,1\n3,b,2\n");
    let args = [
        "score",
        "--train",
        "train.csv",
        "--test",
        "test.csv",
        "--relevant",
        ">= 4",
        "-k",
        "1,2",
        "--protocol",
        "judged-after-cut",
        "--convention",
        "standard,ebrat2025",
        "--slice",
        "all,cold<3",
        "--metric",
        "precision,ndcg,map",
        "a.csv",
        "second=b.csv",
    ];
    insta::assert_snapshot!(place.fine(&args));
    let mut with = args.to_vec();
    with.push("--compare");
    let out = place.fine(&with);
    assert!(
        out.contains("evaluation setting") && out.contains("judged-after-cut · ebrat2025"),
        "{out}"
    );
    with.pop();
    with.extend(["--html", "out.html", "--csv"]);
    let csv = place.fine(&with);
    assert!(csv.starts_with(
        "experiment,system,fold,seed,protocol,convention,slice,metric,k,value,n_users"
    ));
    let html = std::fs::read_to_string(place.path("out.html")).unwrap();
    assert!(
        html.contains("class=\"ci\">[") && html.contains("second"),
        "intervals are in the HTML"
    );
}

#[test]
fn rankings_come_back_from_every_format_as_they_went() {
    let place = Place::new();
    let file = root().join("experiments/quickstart.yaml");
    let file = file.to_str().unwrap();
    place.fine(&["run", file, "--quiet"]);
    let ours = place.fine(&["results", file]);
    let ours = |metric: &str| -> String {
        let start = format!("quickstart,als,f1,1,full,standard,all,{metric},10,");
        let line = ours.lines().find_map(|line| line.strip_prefix(&start)).unwrap();
        line.split(',').take(2).collect::<Vec<_>>().join(",")
    };
    for (format, split, run) in [
        ("trec", &["--qrels", "x/f1.qrels"][..], "x/als--f1--seed1.run"),
        (
            "recbole",
            &[
                "--train",
                "x/f1/sample.train.inter",
                "--test",
                "x/f1/sample.test.inter",
                "--relevant",
                ">= 4",
            ],
            "x/als--f1--seed1.tsv",
        ),
        (
            "elliot",
            &["--train", "x/f1/train.tsv", "--test", "x/f1/test.tsv", "--relevant", ">= 4"],
            "x/als--f1--seed1.tsv",
        ),
    ] {
        place.fine(&[
            "export", file, "--format", format, "--fold", "f1", "--system", "als", "--out", "x",
        ]);
        let mut args = vec!["score", "--csv", run];
        args.extend(split);
        let theirs = place.fine(&args);
        for metric in ["precision", "recall", "ndcg", "map", "mrr", "hit-rate"] {
            let line =
                theirs.lines().find(|line| line.contains(&format!(",{metric},10,"))).unwrap();
            let found = line.split(',').skip(9).take(2).collect::<Vec<_>>().join(",");
            assert_eq!(found, ours(metric), "{format} {metric}");
        }
    }
    let manifest = std::fs::read_to_string(place.path("x/export.json")).unwrap();
    assert!(manifest.contains("\"test_opened\"") && manifest.contains("\"export\""), "{manifest}");
    let none = place.assay(&["export", file, "--format", "trec", "--system", "alt", "--out", "y"]);
    assert_eq!(none.code, 2);
    assert!(
        none.err.contains("expected one of random, popularity, item-knn, ease, als"),
        "{}",
        none.err
    );
}

#[test]
fn other_peoples_files_stand_beside_our_models() {
    let place = Place::new();
    let quickstart = root().join("experiments/quickstart.yaml");
    let quickstart = quickstart.to_str().unwrap();
    place.fine(&["run", quickstart, "--quiet"]);
    place
        .fine(&["export", quickstart, "--format", "recbole", "--system", "ease", "--out", "lists"]);
    let base = root().join("baselines/ease.yaml");
    let experiment = "experiment: mixed
data: {set: sample, relevant: \">= 4\"}
split: {scheme: official, only: [f1, f2]}
systems:
  ease: {use: BASE}
  theirs: {model: external, rankings: \"lists/ease--{fold}--seed1.tsv\"}
  one fold: {model: external, rankings: {f1: lists/ease--f1--seed1.tsv}}
evaluate: {protocols: [full, judged-after-cut], conventions: [standard, ebrat2025]}
published:
  source: A paper, Table 2
  dataset: sample
  fold: f1
  protocol: full
  convention: standard
  slice: all
  k: 10
  digits: 2
  systems: {Theirs: theirs}
  rows:
    Theirs: {ndcg: NDCG}
    Gone: {not_checkable: no rankings, ndcg: 0.5}
"
    .replace("BASE", base.to_str().unwrap());
    let quick = place.fine(&["results", quickstart]);
    let value = |csv: &str, start: &str| -> f64 {
        let line = csv.lines().find_map(|line| line.strip_prefix(start)).unwrap();
        line.split(',').next().unwrap().parse().unwrap()
    };
    let first = value(&quick, "quickstart,ease,f1,1,full,standard,all,ndcg,10,");
    let second = value(&quick, "quickstart,ease,f2,1,full,standard,all,ndcg,10,");
    place.write("e.yaml", experiment.replace("NDCG", &format!("{first:.2}")));
    let out = place.fine(&["run", "e.yaml"]);
    assert!(
        out.contains("A paper, Table 2: 1 of 1 checkable cells reproduced at 2 decimals"),
        "{out}"
    );
    let csv = place.fine(&["results", "e.yaml"]);
    for fold in ["f1", "f2"] {
        let of = |system: &str| format!("mixed,{system},{fold},1,full,standard,all,ndcg,10,");
        assert_eq!(value(&csv, &of("theirs")), [first, second][usize::from(fold == "f2")]);
    }
    let table = place.fine(&["table", "e.yaml", "--intervals"]);
    assert!(table.contains("rows are not comparable: one fold (f1) only"), "{table}");
    assert!(table.contains(" interval of the mean"), "{table}");
    // A printed number that is off ends with 1.
    place.write("e.yaml", experiment.replace("NDCG", &format!("{:.2}", first + 0.05)));
    let off = place.assay(&["published", "e.yaml"]);
    assert_eq!(off.code, 1, "{}\n{}", off.out, off.err);
    assert!(off.out.contains('≠'), "{}", off.out);
    // A changed file is scored anew.
    let list = std::fs::read_to_string(place.path("lists/ease--f1--seed1.tsv")).unwrap();
    let fewer: Vec<&str> = list.lines().take(200).collect();
    place.write("lists/ease--f1--seed1.tsv", fewer.join("\n"));
    let plan = place.fine(&["plan", "e.yaml"]);
    assert!(plan.contains("the file of rankings changed"), "{plan}");
    let again = place.assay(&["run", "e.yaml"]);
    assert!(again.err.contains("warning: theirs f1, one fold f1: "), "{}", again.err);
    // One file for several folds, sampled candidates, a row that is not there.
    let mut text = String::new();
    for (from, to) in [
        ("{f1: lists/ease--f1--seed1.tsv}", "lists/ease--f1--seed1.tsv"),
        ("{f1: lists/ease--f1--seed1.tsv}", "{f1: lists/gone.tsv}"),
        ("{f1: lists/ease--f1--seed1.tsv}", "{f7: lists/ease--f1--seed1.tsv}"),
        ("[full, judged-after-cut]", "[sampled, judged-after-cut]"),
        ("{Theirs: theirs}", "{Thiers: theirs}"),
        ("ndcg: NDCG", "ndgc: 0.1"),
        ("digits: 2", "digitz: 2"),
        ("digits: 2", "digits: 70000"),
        ("  dataset: sample\n", ""),
        ("  fold: f1\n", ""),
        ("{f1: lists/ease--f1--seed1.tsv}", "7"),
    ] {
        place.write("e.yaml", experiment.replace(from, to).replace("NDCG", "0.1"));
        let ended = place.assay(&["run", "e.yaml"]);
        text.push_str(&format!("# {to}: exit {}\n{}\n", ended.code, ended.err));
    }
    insta::assert_snapshot!(text);
}

/// A printed table is held against what it is of, and against nothing else unless that is wanted.
#[test]
fn printed_tables_of_something_else_are_refused() {
    let place = Place::new();
    let experiment = "experiment: printed
data: {set: sample, relevant: \">= 4\"}
split: {scheme: official, only: [f1, f2]}
systems:
  popularity: {model: popularity}
evaluate: {protocols: [full], conventions: [standard], k: [5, 10], slices: [all]}
published:
  source: A paper, Table 2
  dataset: sample
  fold: f1
  protocol: full
  convention: standard
  slice: all
  k: 10
  digits: 2
  rows:
    popularity: {ndcg: 0.5}
";
    place.write("e.yaml", experiment.split("published:").next().unwrap());
    place.fine(&["run", "e.yaml", "--quiet"]);
    let mut text = String::new();
    for (from, to) in [
        ("dataset: sample", "dataset: gowalla"),
        ("fold: f1", "fold: f3"),
        ("fold: f1", "fold: mean"),
        ("  protocol: full", "  protocol: judged"),
        ("  convention: standard", "  convention: trec"),
        ("  slice: all", "  slice: cold<10"),
        ("  k: 10", "  k: 20"),
    ] {
        place.write("e.yaml", experiment.replace(from, to));
        let ended = place.assay(&["published", "e.yaml"]);
        assert_eq!((ended.code, ended.out.as_str()), (3, ""), "{to}: {}", ended.err);
        text.push_str(&format!("# {}\n{}\n", to.trim(), ended.err));
        for verb in ["run", "report"] {
            assert_eq!(place.assay(&[verb, "e.yaml"]).code, 3, "{verb}");
        }
    }
    insta::assert_snapshot!(text);
    // Told to, it compares, and says that it does not compare.
    place.write("e.yaml", experiment.replace("dataset: sample", "dataset: gowalla"));
    let told = place.assay(&["published", "e.yaml", "--anyway"]);
    assert_eq!(told.code, 1, "{}", told.err);
    let differs = "not comparable (data set: gowalla in the table, sample in the results)";
    assert!(told.out.contains(differs), "{}", told.out);
    place.assay(&["report", "e.yaml", "--anyway"]);
    let html = std::fs::read_to_string(place.path("reports/printed/index.html")).unwrap();
    assert!(html.contains(differs));
}

/// Rankings of one fold against a table of another: the printed numbers mean nothing there.
#[test]
fn scores_are_held_against_tables_of_their_data_and_fold() {
    let place = Place::new();
    place.write("r.csv", "user,item,rank\n1,1,1\n2,1,1\n");
    let table = "source: A paper, Table 2\ndataset: sample\nfold: f1\nprotocol: full\n\
                 convention: standard\nslice: all\nk: 10\ndigits: 2\nrows: {r: {ndcg: 0.5}}\n";
    place.write("table.yaml", table);
    place.write("other.yaml", table.replace("sample", "gowalla"));
    place.write("test.csv", "user,item,rating\n1,1,5\n2,1,5\n");
    let sample = ["--data", "sample", "--fold"];
    for (split, table, expected) in [
        (
            &[sample[0], sample[1], sample[2], "f2"][..],
            "table.yaml",
            "fold: f1 in the table, f2 in the results",
        ),
        (
            &[sample[0], sample[1], sample[2], "f1"],
            "other.yaml",
            "data set: gowalla in the table, sample in the results",
        ),
        (&["--test", "test.csv"], "table.yaml", "data set: sample in the table, not given"),
    ] {
        let mut args = vec!["score", "--against", table, "r.csv"];
        args.extend(split);
        let ended = place.assay(&args);
        assert_eq!((ended.code, ended.out.as_str()), (3, ""), "{}", ended.err);
        assert!(ended.err.contains(expected), "{}", ended.err);
        args.push("--anyway");
        let told = place.assay(&args);
        assert_eq!(told.code, 1, "{}", told.err);
        assert!(told.out.contains(&format!("not comparable ({expected}")), "{}", told.out);
    }
    let fine = place.assay(&[
        "score",
        "--against",
        "table.yaml",
        "r.csv",
        sample[0],
        sample[1],
        sample[2],
        "f1",
    ]);
    assert_eq!(fine.code, 1, "{}", fine.err);
    assert!(fine.out.contains('≠') && !fine.out.contains("not comparable"), "{}", fine.out);
}

/// RecBole's `full_sort_scores` masks items so.
#[test]
fn items_with_the_score_minus_infinity_are_not_recommended() {
    let place = Place::new();
    place.write("test.csv", "user,item\n1,20\n2,20\n3,20\n");
    place.write(
        "run.csv",
        "user,item,score\n1,10,0.9\n1,20,-inf\n2,20,-inf\n2,20,0.1\n2,10,0.8\n3,20,-inf\n",
    );
    let ended = place.assay(&[
        "score",
        "--test",
        "test.csv",
        "run.csv",
        "--metric",
        "recall,hit-rate",
        "--json",
    ]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    let said =
        "3 rows have the score −∞ or none, which stands for what is not recommended: left out";
    assert!(ended.err.contains(said), "{}", ended.err);
    let rows: Value = serde_json::from_str(&ended.out).unwrap();
    for row in rows["rows"].as_array().unwrap() {
        let value = row["value"].as_f64().unwrap();
        assert!((value - 1.0 / 3.0).abs() < 1e-12, "{row}");
    }
}
