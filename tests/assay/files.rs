//! Anybody's files: each kind is read right or refused with one clear error before work starts.
//!
//! Values are worked out by hand or with Python (ir-measures, pandas), never taken from the program.

use std::io::Write;

use polars::prelude::*;
use serde_json::Value;

use crate::support::Place;

/// 1/log2(3): the nDCG of one liked item at the second rank.
const SECOND: f64 = 0.630_929_753_571_457_4;

fn place(files: &[(&str, &[u8])]) -> Place {
    let place = Place::new();
    files.iter().for_each(|(name, bytes)| place.write(name, bytes));
    place
}

fn json(place: &Place, args: &[&str]) -> (Value, String) {
    let all = [&["score", "--json"], args].concat();
    let ended = place.assay(&all);
    assert_eq!(ended.code, 0, "{args:?}\n{}\n{}", ended.out, ended.err);
    (serde_json::from_str(&ended.out).unwrap(), ended.err)
}

fn value(json: &Value, metric: &str) -> f64 {
    let rows = json["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["metric"] == metric);
    row.unwrap_or_else(|| panic!("{metric}: {json}"))["value"].as_f64().unwrap()
}

fn assert_near(found: f64, expected: f64, what: &str) {
    assert!((found - expected).abs() < 5e-7, "{what}: {found}, not {expected}");
}

/// One error, exit 2, which names all of `said`.
fn refused(place: &Place, args: &[&str], said: &[&str]) {
    let ended = place.assay(&[&["score"], args].concat());
    assert_eq!(ended.code, 2, "{args:?}\n{}\n{}", ended.out, ended.err);
    assert_eq!(ended.err.matches("error:").count(), 1, "{args:?}: {}", ended.err);
    assert!(!ended.err.contains("panicked"), "{}", ended.err);
    for word in said {
        assert!(ended.err.contains(word), "{args:?}: no `{word}` in {}", ended.err);
    }
}

// TREC files.

const QRELS: &str = "11 0 1001 1\n11 0 1002 0\n12 0 1003 2\n";
const RUN: &str = "11 Q0 1002 1 3.0 t\n11 Q0 1001 2 2.0 t\n12 Q0 1003 1 3.5 t\n";
/// User 11 finds the liked item at rank 2, user 12 at rank 1.
const BOTH: f64 = (SECOND + 1.0) / 2.0;

#[test]
fn qrels_are_known_by_their_use() {
    let beir = "query-id\tcorpus-id\tscore\n11\t1001\t1\n11\t1002\t0\n12\t1003\t2\n";
    for (name, text) in [
        ("good.qrels", QRELS.to_owned()),
        ("dev.small.tsv", QRELS.replace(' ', "\t")),
        ("judgements", QRELS.to_owned()),
        ("q.csv", QRELS.replace(" 0 10", "  Q0  10")),
        ("iterations", QRELS.replace("11 0", "11 iter1").replace("12 0", "12 iter1")),
        ("numbered", QRELS.replace("11 0", "11 3").replace("12 0", "12 3")),
        ("crlf.txt", QRELS.replace('\n', "\r\n")),
        ("blank.lines", format!("\n{}\n\n", QRELS.replace('\n', "\n\n"))),
        ("test.tsv", beir.to_owned()),
        ("beir.csv", beir.replace('\t', ",")),
        ("beir.names", beir.replace("query-id", "_qid").replace("corpus-id", "docid")),
    ] {
        let place = place(&[(name, text.as_bytes()), ("a.run", RUN.as_bytes())]);
        let (json, _) = json(&place, &["--qrels", name, "a.run", "--metric", "ndcg,recall,mrr"]);
        assert_near(value(&json, "ndcg"), BOTH, name);
        assert_near(value(&json, "recall"), 1.0, name);
        assert_near(value(&json, "mrr"), 0.75, name);
    }
}

#[test]
fn runs_are_known_by_their_use_and_two_of_their_fields_are_ignored() {
    for (what, text) in [
        ("filler 0", RUN.replace(" Q0 ", " 0 ")),
        ("filler -", RUN.replace(" Q0 ", " - ")),
        ("filler by row", RUN.replacen(" Q0 ", " iter1 ", 1).replacen(" Q0 ", " iter2 ", 1)),
        ("filler q1", RUN.replace(" Q0 ", " q1 ")),
        ("no tag", RUN.replace(" t\n", "\n")),
        ("blanks in the tag", RUN.replace(" t\n", " my best system\n")),
        ("ranks as floats", RUN.replace(" 1 3", " 1.0 3").replace(" 2 2", " 2.0 2")),
        ("no ranks", RUN.replace(" 1 3", " NA 3").replace(" 2 2", " NA 2")),
        ("wrong ranks", RUN.replace(" 1 3.0", " 9 3.0").replace(" 2 2", " 1 2")),
        ("tabs", RUN.replace(' ', "\t")),
        ("blanks first", RUN.replace("11 Q0", "  11 Q0")),
    ] {
        let place = place(&[("g", QRELS.as_bytes()), ("r", text.as_bytes())]);
        let (found, _) = json(&place, &["--qrels", "g", "r", "--metric", "ndcg"]);
        assert_near(value(&found, "ndcg"), BOTH, what);
        // Told, it is a run whatever it is scored against.
        place.write("t.csv", "user,item,rating\n11,1001,1\n11,1002,0\n12,1003,2\n");
        let told = &["--test", "t.csv", "--relevant", "> 0", "--input-format", "trec", "r"];
        assert_near(value(&json(&place, told).0, "ndcg"), BOTH, what);
    }
}

#[test]
fn trec_files_that_are_none_are_refused() {
    let run = |text: &str| place(&[("g", QRELS.as_bytes()), ("r", text.as_bytes())]);
    let args = &["--qrels", "g", "--input-format", "trec", "r"][..];
    refused(&run("11 Q0 1002 1 3.0 t\n11 Q0 1001 2\n"), args, &["r:2", "user Q0 item rank score"]);
    refused(&run("11 Q0 1002 1 best t\n"), args, &["r:1", "a score"]);
    refused(&run("11 Q0 1002 1 3.0 t\n11 Q0 1001 2 2."), args, &["cut off"]);
    let qrels = |text: &str| place(&[("g", text.as_bytes()), ("r", RUN.as_bytes())]);
    let args = &["--qrels", "g", "r"][..];
    refused(&qrels("11 0 1001 1\n11 0 1002\n"), args, &["g:2", "user 0 item relevance"]);
    refused(&qrels("11 0 1001 1 x\n11 0 1002 0 y\n"), args, &["g:1", "too many fields"]);
    // Five fields and more without a header may be anything.
    let place =
        place(&[("t.csv", b"user,item\n11,1001\n"), ("r", RUN.replace("Q0", "x").as_bytes())]);
    refused(&place, &["--test", "t.csv", "r"], &["--input-format trec"]);
}

/// MovieLens-100K's own form: four numbers without a header, which are no qrels.
#[test]
fn a_table_of_user_item_rating_and_time_is_no_qrels() {
    let place = place(&[
        ("u.test", b"1\t10\t5\t881250949\n1\t11\t2\t881250950\n2\t12\t4\t881250951\n"),
        ("r.csv", b"user,item,score\n1,11,0.9\n1,10,0.8\n2,12,0.7\n"),
    ]);
    let (found, err) = json(&place, &["--test", "u.test", "--relevant", ">= 4", "r.csv"]);
    assert_near(value(&found, "ndcg"), BOTH, &err);
    // As qrels it has a second field that is no filler: that is said.
    let ended = place.assay(&["score", "--qrels", "u.test", "r.csv"]);
    assert!(ended.err.contains("second field differs") || ended.code == 2, "{}", ended.err);
}

// Columns that decide something.

const TEST: &str = "user,item,rating\n1,10,5\n1,11,1\n2,12,4\n2,10,1\n";

#[test]
fn the_only_column_that_may_be_the_score_is_taken_and_named() {
    for name in ["rating", "logit", "yhat", "probability", "weight", "Ŝcore"] {
        let run = format!("userId,movieId,{name}\n1,11,0.1\n1,10,0.9\n2,10,-3\n2,12,1e2\n");
        let place = place(&[("t.csv", TEST.as_bytes()), ("r.csv", run.as_bytes())]);
        let (found, err) = json(&place, &["--test", "t.csv", "--relevant", ">= 4", "r.csv"]);
        assert_near(value(&found, "ndcg"), 1.0, name);
        assert!(err.contains(&format!("`{name}`, the only other column of numbers")), "{err}");
        let told = format!("score={name}");
        let args = ["--test", "t.csv", "--relevant", ">= 4", "--columns", &told, "r.csv"];
        let (found, err) = json(&place, &args);
        assert_near(value(&found, "ndcg"), 1.0, name);
        assert!(!err.contains("the only other column"), "{err}");
    }
}

#[test]
fn columns_that_may_all_be_the_score_are_an_error() {
    let rows = "1,10,0.9,3\n1,11,0.8,2\n2,12,0.7,1\n";
    let args = ["--test", "t.csv", "--relevant", ">= 4", "r.csv"];
    for (header, said) in [
        ("user,item,logit,popularity", &["logit, popularity", "--columns score=logit"][..]),
        ("user,item,bm25,tfidf", &["bm25, tfidf", "--columns score=bm25"]),
    ] {
        let run = format!("{header}\n{rows}");
        refused(&place(&[("t.csv", TEST.as_bytes()), ("r.csv", run.as_bytes())]), &args, said);
    }
    // One column, in which lower is better or may be.
    for (run, said) in [
        ("user,item,nr\n1,10,1\n1,11,2\n2,12,1\n", "counts up"),
        ("user,item,l2_distance\n1,10,0.1\n1,11,0.2\n2,12,0.1\n", "from low to high"),
        ("user,item,my_rank\n1,10,1\n1,11,2\n2,12,1\n", "from low to high"),
    ] {
        let place = place(&[("t.csv", TEST.as_bytes()), ("r.csv", run.as_bytes())]);
        refused(&place, &args, &[said, "--columns rank="]);
    }
    // Times and row numbers are no scores: the rows are the order.
    let run = ",user,item,timestamp\n0,1,10,9\n1,1,11,8\n2,2,12,99\n";
    let place = place(&[("t.csv", TEST.as_bytes()), ("r.csv", run.as_bytes())]);
    let (found, err) = json(&place, &args);
    assert_near(value(&found, "ndcg"), 1.0, "rows");
    assert!(err.contains("the order of the rows counts"), "{err}");
}

#[test]
fn a_threshold_needs_ratings() {
    let run = "user,item,score\n1,10,0.9\n1,11,0.8\n1,12,0.7\n2,10,0.9\n2,12,0.8\n";
    let rows = "1,10,0\n1,11,8\n2,12,9\n2,10,3\n";
    let args = ["--test", "t.csv", "--relevant", ">= 6", "r.csv"];
    for name in ["Book-Rating", "weight", "play_count", "rating"] {
        let test = format!("User-ID,ISBN,{name}\n{rows}");
        let place = place(&[("t.csv", test.as_bytes()), ("r.csv", run.as_bytes())]);
        // Each user's one liked item is second.
        let (found, err) = json(&place, &args);
        assert_near(value(&found, "ndcg"), SECOND, name);
        assert_eq!(err.contains(&format!("`{name}`, the only")), name != "rating", "{err}");
        // Without a threshold they are ratings all the same, and no rule says which are liked.
        refused(&place, &["--test", "t.csv", "r.csv"], &["which of them are relevant"]);
    }
    for (test, said) in [
        ("user,item\n1,11\n2,12\n", &["`>= 6` needs ratings", "user, item"][..]),
        ("user,item,title\n1,11,A\n2,12,B\n", &["`>= 6` needs ratings", "user, item, title"]),
        ("user,item,timestamp\n1,11,99\n2,12,98\n", &["`>= 6` needs ratings"]),
        (
            "user,item,clicks,plays\n1,11,8,1\n2,12,9,1\n",
            &["several may be it: clicks, plays", "--columns rating=NAME"],
        ),
    ] {
        let place = place(&[("t.csv", test.as_bytes()), ("r.csv", run.as_bytes())]);
        refused(&place, &args, said);
        let any = ["--test", "t.csv", "--relevant", "any", "r.csv"];
        assert_near(value(&json(&place, &any).0, "ndcg"), SECOND, test);
    }
}

#[test]
fn experiments_need_ratings_for_a_threshold_too() {
    let experiment = |data: &str| {
        format!(
            "experiment: e\ndata: {data}\nsplit: {{scheme: kfold, folds: 2}}\nsystems: {{p: {{model: \
             popularity}}}}\n"
        )
    };
    let rows = "1\t10\t5\t1\n1\t11\t1\t2\n2\t10\t4\t3\n2\t12\t2\t4\n";
    let place = place(&[
        ("r.csv", b"user,item\n1,10\n1,11\n2,10\n2,12\n"),
        (
            "one.inter",
            format!("user_id:token\titem_id:token\tstars:float\ttimestamp:float\n{rows}")
                .as_bytes(),
        ),
        (
            "two.inter",
            format!("user_id:token\titem_id:token\tstars:float\tuseful:float\n{rows}").as_bytes(),
        ),
    ]);
    let plan = |data: &str| {
        place.write("e.yaml", experiment(data));
        place.assay(&["plan", "e.yaml"])
    };
    let ended = plan(
        "{reader: table, ratings: r.csv, columns: {user: user, item: item}, relevant: '>= 4'}",
    );
    assert_eq!(ended.code, 2, "{}", ended.err);
    assert!(ended.err.contains("`>= 4` needs ratings"), "{}", ended.err);
    let ended = plan("{reader: recbole, stem: two, relevant: '>= 4'}");
    assert_eq!(ended.code, 2, "{}", ended.err);
    assert!(ended.err.contains("rating: stars"), "{}", ended.err);
    let ended = plan("{reader: recbole, stem: two, rating: stars, relevant: '>= 4'}");
    assert_eq!(ended.code, 0, "{}", ended.err);
    let ended = plan("{reader: recbole, stem: one}");
    assert_eq!(ended.code, 2, "{}", ended.err);
    assert!(ended.err.contains("which of them are relevant"), "{}", ended.err);
    assert_eq!(plan("{reader: recbole, stem: one, rating: none}").code, 0);
}

// Scores and grades.

#[test]
fn scores_are_compared_in_64_bits() {
    for (what, rows) in [
        ("doubles", "1,10,0.90000000001\n1,20,0.90000000002\n2,10,1.0\n2,20,1.0000000000000002\n"),
        (
            "integers",
            "1,10,16777216\n1,20,16777217\n2,10,9007199254740991\n2,20,9007199254740992\n",
        ),
        ("large", "1,10,1e39\n1,20,2e39\n2,10,-2e300\n2,20,-1e300\n"),
        ("small", "1,10,1e-47\n1,20,1e-46\n2,10,0\n2,20,1e-300\n"),
    ] {
        let place = place(&[
            ("t.csv", b"user,item,rating\n1,20,5\n1,10,1\n2,20,5\n2,10,1\n"),
            ("r.csv", format!("user,item,score\n{rows}").as_bytes()),
        ]);
        let (found, err) = json(&place, &["--test", "t.csv", "--relevant", ">= 4", "r.csv"]);
        assert_near(value(&found, "ndcg"), 1.0, what);
        assert!(!err.contains("equal scores"), "{what}: {err}");
    }
}

#[test]
fn what_has_no_score_is_not_recommended() {
    for none in ["-inf", "-Infinity", "nan", "NaN", "", "NA", "None"] {
        let run =
            format!("user,item,score\n1,10,0.9\n1,20,{none}\n2,10,0.8\n2,20,{none}\n2,11,1\n");
        let place = place(&[
            ("t.csv", b"user,item,rating\n1,20,5\n2,20,5\n2,11,5\n"),
            ("r.csv", run.as_bytes()),
        ]);
        let args = ["--test", "t.csv", "--relevant", "any", "--metric", "recall", "r.csv"];
        let (found, err) = json(&place, &args);
        assert_near(value(&found, "recall"), 0.25, none);
        assert!(err.contains("2 rows have the score −∞ or none"), "{none}: {err}");
    }
    // A line that ends before its score is no line without a score.
    let place = place(&[
        ("t.csv", b"user,item\n1,20\n"),
        ("r.csv", b"user,item,score\n1,10,0.9\n1,20\n1,30,0.1\n"),
    ]);
    refused(&place, &["--test", "t.csv", "r.csv"], &["r.csv:3", "too few fields"]);
    place.write("r.csv", "user,item,score\n1,10,inf\n");
    refused(&place, &["--test", "t.csv", "r.csv"], &["r.csv:2", "a finite number"]);
}

/// Values of ir-measures 0.4 (nDCG, AP, P, R).
#[test]
fn against_qrels_the_convention_trec_has_grades_and_all_judged_users() {
    let graded =
        "q1 0 d1 3\nq1 0 d2 2\nq1 0 d3 3\nq1 0 d4 0\nq1 0 d5 1\nq1 0 d6 2\nq1 0 d7 3\nq1 0 d8 2\n";
    let run = "q1 Q0 d1 1 6 t\nq1 Q0 d2 2 5 t\nq1 Q0 d3 3 4 t\nq1 Q0 d4 4 3 t\nq1 Q0 d5 5 2 t\nq1 Q0 d6 6 1 t\n";
    let unlucky = format!("{graded}q2 0 d1 -2\nq2 0 d2 0\n");
    for (what, qrels, run, k, [ndcg, map, precision, recall]) in [
        ("one", graded, run, "6", [0.785_002, 0.661_905, 0.833_333, 0.714_286]),
        ("two", &unlucky, run, "6", [0.392_501, 0.330_952, 0.416_667, 0.357_143]),
        (
            "negative",
            "a 0 x -2\na 0 y 0\na 0 z 1\nb 0 x 4\n",
            "a Q0 x 1 3 t\na Q0 z 2 2 t\nb Q0 y 1 2 t\nb Q0 x 2 1 t\n",
            "2",
            [0.630_930, 0.5, 0.5, 1.0],
        ),
        (
            "a query without a list, one without a relevant document",
            "a 0 x 2\na 0 y 1\nb 0 x 3\nc 0 x 0\n",
            "a Q0 y 1 3 t\na Q0 x 2 2 t\n",
            "2",
            [0.286_573, 0.333_333, 0.333_333, 0.333_333],
        ),
        (
            "binary",
            "a 0 x 1\na 0 y 1\nb 0 x 0\nb 0 z 1\n",
            "a Q0 q 1 3 t\na Q0 x 2 2 t\nb Q0 z 1 2 t\nb Q0 x 2 1 t\n",
            "2",
            [0.693_426, 0.625, 0.5, 0.75],
        ),
    ] {
        let place = place(&[("g", qrels.as_bytes()), ("r", run.as_bytes())]);
        let metrics = ["--metric", "ndcg,map,precision,recall"];
        let args = [&["--qrels", "g", "--convention", "trec", "-k", k, "r"], &metrics[..]].concat();
        let (found, _) = json(&place, &args);
        for (metric, expected) in
            [("ndcg", ndcg), ("map", map), ("precision", precision), ("recall", recall)]
        {
            assert_near(value(&found, metric), expected, &format!("{what} {metric}"));
        }
    }
    // nDCG goes by the grades, whatever counts as relevant; precision goes by what is relevant. P(rel=2)@2.
    let place = place(&[
        ("g", b"a 0 x -2\na 0 y 0\na 0 z 1\nb 0 x 4\n"),
        ("r", b"a Q0 x 1 3 t\na Q0 z 2 2 t\nb Q0 y 1 2 t\nb Q0 x 2 1 t\n"),
    ]);
    let args = ["--qrels", "g", "--convention", "trec", "-k", "2", "--relevant", ">= 2", "r"];
    let (found, _) = json(&place, &args);
    assert_near(value(&found, "ndcg"), 0.630_930, "threshold");
    assert_near(value(&found, "precision"), 0.25, "threshold");
}

// Delimited text.

const OWN_TEST: &str = "user,item,rating\n11,1001,5\n12,1003,5\n";
const OWN_RUN: &str = "user,item,score\n11,1002,0.9\n11,1001,0.7\n12,1003,1\n";

fn own(name: &str, bytes: &[u8], more: &[&str]) -> f64 {
    let place = place(&[("t.csv", OWN_TEST.as_bytes()), (name, bytes)]);
    value(&json(&place, &[&["--test", "t.csv", name], more].concat()).0, "ndcg")
}

fn quoted(separator: &str) -> String {
    let line = |line: &str| {
        let fields: Vec<String> = line.split(',').map(|field| format!("\"{field}\"")).collect();
        fields.join(separator) + "\n"
    };
    OWN_RUN.lines().map(line).collect()
}

#[test]
fn quotes_are_read_with_every_separator() {
    for separator in [",", ";", "\t", "|", "::", " "] {
        assert_near(own("r.csv", quoted(separator).as_bytes(), &[]), BOTH, separator);
    }
    let place = place(&[
        ("t.csv", quoted(";").replace("score", "rating").as_bytes()),
        ("r.csv", OWN_RUN.as_bytes()),
    ]);
    let (found, _) = json(&place, &["--test", "t.csv", "--relevant", ">= 0.7", "r.csv"]);
    assert_near(value(&found, "ndcg"), 1.0, "judgements");
    // Separators and line ends within quotes are text.
    let odd =
        "user;item;score;note\n11;1002;0.9;\"a;b\nc\"\n11;1001;0.7;\"say \"\"x\"\"\"\n12;1003;1;\n";
    assert_near(own("r.csv", odd.as_bytes(), &[]), BOTH, "text within quotes");
}

#[test]
fn quotes_that_are_no_marks_are_refused_or_switched_off() {
    let odd = "user\titem\tscore\ttitle\n11\t1002\t0.9\t\"Heroes\n11\t1001\t0.7\tVillains\n12\t1003\t1\t\"Low\"er\n";
    let place = place(&[("t.csv", OWN_TEST.as_bytes()), ("r.tsv", odd.as_bytes())]);
    refused(&place, &["--test", "t.csv", "r.tsv"], &["r.tsv:", "--quotes none"]);
    assert_near(own("r.tsv", odd.as_bytes(), &["--quotes", "none"]), BOTH, "none");
    for (bad, said) in [
        ("user,item,score\n11,\"1002,0.9\n11,1001,0.7\n", "never closed"),
        ("user,item,score\n11, \"1002\",0.9\n", "begins with a blank"),
        ("user;item;score\n11;1002;0,9\n11;1001;0,7\n", "decimal point"),
    ] {
        let place = self::place(&[("t.csv", OWN_TEST.as_bytes()), ("r.csv", bad.as_bytes())]);
        refused(&place, &["--test", "t.csv", "r.csv"], &[said]);
    }
}

#[test]
fn blank_lines_marks_line_ends_and_encodings_change_nothing() {
    let utf16: Vec<u8> =
        format!("\u{feff}{OWN_RUN}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let unmarked: Vec<u8> = OWN_RUN.encode_utf16().flat_map(u16::to_be_bytes).collect();
    for (what, bytes) in [
        ("blank lines", format!("\n  \n{}\n\n", OWN_RUN.replace('\n', "\n\n")).into_bytes()),
        ("mark", format!("\u{feff}{OWN_RUN}").into_bytes()),
        ("CRLF", OWN_RUN.replace('\n', "\r\n").into_bytes()),
        ("CRLF and blank lines", OWN_RUN.replace('\n', "\r\n\r\n").into_bytes()),
        ("CR", OWN_RUN.replace('\n', "\r").into_bytes()),
        ("no end", OWN_RUN.trim_end().into()),
        ("UTF-16", utf16),
    ] {
        assert_near(own("r.csv", &bytes, &[]), BOTH, what);
    }
    assert_near(own("r.csv", &unmarked, &["--encoding", "utf-16"]), BOTH, "UTF-16, told");
    let latin = |bytes: &[u8]| [OWN_RUN.as_bytes(), b"13,caf\xe9,1\n", bytes].concat();
    assert_near(own("r.csv", &latin(b""), &["--encoding", "latin-1"]), BOTH, "latin-1");
    let windows = ["--encoding", "windows-1252"];
    assert_near(own("r.csv", &latin(b"13,\x80,1\n"), &windows), BOTH, "windows");
    let place = place(&[
        ("t.csv", OWN_TEST.as_bytes()),
        ("latin.csv", &latin(b"")),
        ("wide.csv", &unmarked),
    ]);
    refused(&place, &["--test", "t.csv", "latin.csv"], &["latin.csv:5", "--encoding latin-1"]);
    refused(&place, &["--test", "t.csv", "wide.csv"], &["--encoding utf-16"]);
    // A wrong row is named by its line in the file, blank lines and all.
    place.write("b.csv", "\nuser,item,score\n\n11,1001,0.7\n\n12,1003,good\n");
    refused(&place, &["--test", "t.csv", "b.csv"], &["b.csv:6", "`good`"]);
}

#[test]
fn compressed_files_are_read_by_their_first_bytes() {
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = |bytes: &[u8]| zstd::stream::encode_all(bytes, 1).unwrap();
    let two = [gzip(&OWN_RUN.as_bytes()[..30]), gzip(&OWN_RUN.as_bytes()[30..])].concat();
    for (name, bytes) in [
        ("r.csv.gz", gzip(OWN_RUN.as_bytes())),
        ("r.csv.zst", zstd(OWN_RUN.as_bytes())),
        ("r.csv", gzip(OWN_RUN.as_bytes())),
        ("r.tsv.gz", gzip(OWN_RUN.replace(',', "\t").as_bytes())),
        ("parts.gz", two),
        ("r.run.zst", zstd(b"11 Q0 1002 1 0.9 t\n11 Q0 1001 2 0.7 t\n12 Q0 1003 1 1 t\n")),
    ] {
        assert_near(own(name, &bytes, &[]), BOTH, name);
    }
    let whole = gzip(OWN_RUN.as_bytes());
    let place = place(&[
        ("t.csv", OWN_TEST.as_bytes()),
        ("cut.gz", &whole[..whole.len() - 6]),
        ("cut.zst", &zstd(OWN_RUN.as_bytes())[..20]),
        ("r.zip", b"PK\x03\x04 and so on"),
        ("r.bz2", b"BZh91AY&SY"),
    ]);
    for (name, said) in
        [("cut.gz", "cut off"), ("cut.zst", "cut off"), ("r.zip", "unzip"), ("r.bz2", "bunzip2")]
    {
        refused(&place, &["--test", "t.csv", name], &[name, said]);
    }
    // Readers of experiments too.
    place.write("d/r.tsv.gz", gzip(b"user\titem\n1\t10\n1\t11\n2\t10\n2\t12\n"));
    place.write(
        "e.yaml",
        "experiment: e\ndata: {reader: table, folder: d, ratings: r.tsv.gz, columns: {user: user, item: item}}\n\
         split: {scheme: kfold, folds: 2}\nsystems: {p: {model: popularity}}\n",
    );
    place.fine(&["run", "e.yaml", "--quiet"]);
}

#[test]
fn lists_in_one_cell_are_lists() {
    for (what, text) in [
        ("tab", "11\t1002 1001\n12\t1003\n"),
        ("lines", "11 1002 1001\n12 1003\n"),
        ("tabs", "11\t1002\t1001\n12\t1003\n"),
        ("brackets", "user,items\n11,\"[1002, 1001]\"\n12,\"[1003]\"\n"),
        ("texts in brackets", "user;item_ids\n11;['1002', '1001']\n12;['1003']\n"),
        ("numpy", "user;items\n11;[1002 1001]\n12;[1003]\n"),
        ("JSON", "user\titems\n11\t[\"1002\",\"1001\"]\n12\t[\"1003\"]\n"),
        ("floats in brackets", "user;items\n11;[1002.0, 1001.0]\n12;[1003.0]\n"),
        ("blanks", "user,items\n11,1002 1001\n12,1003\n"),
        ("commas", "user\titems\n11\t1002,1001\n12\t1003\n"),
        ("bars", "user,items\n11,1002|1001\n12,1003\n"),
        ("token_seq", "user_id:token\titem_id:token_seq\n11\t1002 1001\n12\t1003\n"),
        ("scores", "user;items;scores\n11;[1001, 1002];[0.7, 0.9]\n12;[1003];[1]\n"),
    ] {
        assert_near(own("r.csv", text.as_bytes(), &[]), BOTH, what);
    }
    let place = place(&[
        ("t.csv", b"user,item\n1,Toy Story\n2,a b c\n2,d\n"),
        ("r.csv", b"user,item\n1,Toy Story\n2,a b c\n"),
        ("l.csv", b"user,items\n2,d e\n"),
    ]);
    // An id with blanks is an id.
    let args = ["--test", "t.csv", "--metric", "recall", "r.csv"];
    assert_near(value(&json(&place, &args).0, "recall"), 0.75, "names with blanks");
    let args = ["--test", "t.csv", "--metric", "recall", "l.csv"];
    assert_near(value(&json(&place, &args).0, "recall"), 0.25, "lists of names");
    place.write("s.csv", "user;items;scores\n1;[1, 2];[0.5]\n");
    refused(&place, &["--test", "t.csv", "s.csv"], &["s.csv:2", "2 scores"]);
    place.write("m.txt", "1 5 7\n2 6 8\n");
    refused(&place, &["--test", "t.csv", "m.txt"], &["a list of items", "--input-format"]);
    place.write("test.tsv", "user\titems\n1\t5 6\n2\t7\n");
    refused(&place, &["--test", "test.tsv", "r.csv"], &["hold lists"]);
}

// Parquet.

fn parquet(columns: Vec<Column>) -> Vec<u8> {
    let mut frame = DataFrame::new(columns[0].len(), columns).unwrap();
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes).finish(&mut frame).unwrap();
    bytes
}

fn column<T, Phantom: ?Sized>(name: &str, values: T) -> Column
where
    Series: NamedFrom<T, Phantom>,
{
    Series::new(name.into(), values).into()
}

fn cast(column: Column, to: DataType) -> Column {
    column.cast(&to).unwrap()
}

#[test]
fn parquet_columns_of_every_type_that_holds_the_value_are_read() {
    let base = |extra: Option<Column>| {
        let mut columns = vec![
            column("user_id", &[11i64, 11, 12][..]),
            column("item_id", &[1002i64, 1001, 1003][..]),
            column("rank", &[1i64, 2, 1][..]),
        ];
        columns.extend(extra);
        columns
    };
    let numbers = || column("extra", &[1i64, 2, 3][..]);
    let unused = [
        DataType::Int8,
        DataType::UInt16,
        DataType::Float32,
        DataType::Boolean,
        DataType::Date,
        DataType::Time,
        DataType::Datetime(TimeUnit::Nanoseconds, None),
        DataType::Duration(TimeUnit::Milliseconds),
        DataType::Decimal(10, 2),
        DataType::List(Box::new(DataType::Int64)),
    ];
    for of in unused {
        let bytes = parquet(base(Some(cast(numbers(), of.clone()))));
        assert_near(own("r.parquet", &bytes, &[]), BOTH, &format!("unused {of}"));
    }
    // Identifiers of other types, scores of other types.
    for of in [
        DataType::Int16,
        DataType::UInt16,
        DataType::Int32,
        DataType::UInt64,
        DataType::Float32,
        DataType::Float64,
        DataType::Decimal(20, 0),
        DataType::Decimal(20, 3),
        DataType::String,
        DataType::Binary,
        DataType::from_categories(Categories::global()),
    ] {
        let mut columns = base(None);
        for ids in columns.iter_mut().take(2) {
            let texts = cast(ids.clone(), DataType::String);
            *ids = match &of {
                DataType::Binary | DataType::Categorical(..) => cast(texts, of.clone()),
                _ => cast(ids.clone(), of.clone()),
            };
        }
        assert_near(own("r.parquet", &parquet(columns), &[]), BOTH, &format!("ids {of}"));
    }
    for of in [
        DataType::Int8,
        DataType::UInt8,
        DataType::Float32,
        DataType::Decimal(12, 4),
        DataType::String,
    ] {
        let mut columns = base(None);
        columns[2] = cast(column("score", &[9i64, 7, 8][..]), of.clone());
        assert_near(own("r.parquet", &parquet(columns), &[]), BOTH, &format!("scores {of}"));
    }
}

#[test]
fn parquet_lists_and_missing_values() {
    let lists = |name: &str, of: Vec<Series>| Column::from(Series::new(name.into(), of));
    let items = vec![Series::new("".into(), &[1002i64, 1001]), Series::new("".into(), &[1003i64])];
    let bytes = parquet(vec![column("user", &[11i64, 12][..]), lists("items", items)]);
    assert_near(own("r.parquet", &bytes, &[]), BOTH, "numbers");
    let items = vec![Series::new("".into(), &["1002", "1001"]), Series::new("".into(), &["1003"])];
    let bytes = parquet(vec![column("user", &["11", "12"][..]), lists("items", items)]);
    assert_near(own("r.parquet", &bytes, &[]), BOTH, "texts");
    // A missing score is not recommended, a missing id is an error with its row.
    let bytes = parquet(vec![
        column("user", &[11i64, 11, 12][..]),
        column("item", &[1001i64, 1002, 1003][..]),
        column("score", &[None, Some(1.0), Some(2.0)][..]),
    ]);
    assert_near(own("r.parquet", &bytes, &[]), 0.5, "a missing score");
    let missing = parquet(vec![
        column("user", &[Some(11i64), None][..]),
        column("item", &[1001i64, 1002][..]),
    ]);
    let bytes = column("user", &["11", "12"][..]);
    let broken = Series::new("item".into(), &[&[0x31u8][..], &[0xff, 0xfe][..]]);
    let place = place(&[
        ("t.csv", OWN_TEST.as_bytes()),
        ("missing.parquet", &missing),
        ("bytes.parquet", &parquet(vec![bytes, broken.into()])),
        ("no.parquet", b"user,item\n"),
    ]);
    refused(&place, &["--test", "t.csv", "missing.parquet"], &["missing.parquet:2", "identifier"]);
    refused(&place, &["--test", "t.csv", "bytes.parquet"], &["bytes.parquet:2", "UTF-8"]);
    refused(&place, &["--test", "t.csv", "no.parquet"], &["no.parquet"]);
}

// Identifiers.

#[test]
fn one_rule_for_the_ids_of_all_files_of_a_split() {
    let rows =
        |users: [&str; 2]| format!("user,item,rating\n{},10,5\n{},10,4\n", users[0], users[1]);
    let test =
        |users: [&str; 2]| format!("user,item,rating\n{},11,5\n{},12,4\n", users[0], users[1]);
    let run = |users: [&str; 2]| {
        let [a, b] = users;
        format!("user,item,score\n{a},10,0.9\n{a},11,0.8\n{b},10,0.9\n{b},12,0.8\n")
    };
    let args = ["--train", "tr.csv", "--test", "t.csv", "--relevant", "any", "--seen", "drop"];
    let plain = ["1", "200000"];
    for users in [["1.0", "200000.0"], [" 1", "200000 "], ["1", "2e5"], ["1.00", "2e+05"]] {
        for [train, tested, ran] in
            [[users, plain, plain], [plain, users, plain], [plain, plain, users]]
        {
            let place = place(&[
                ("tr.csv", rows(train).as_bytes()),
                ("t.csv", test(tested).as_bytes()),
                ("r.csv", run(ran).as_bytes()),
            ]);
            let (found, err) = json(&place, &[&args[..], &["r.csv"]].concat());
            assert_near(value(&found, "ndcg"), 1.0, &format!("{train:?} {tested:?} {ran:?}"));
            assert!(!err.contains("not in the data"), "{err}");
        }
    }
    // Leading zeros are text: such files do not fit, and no table is made of them.
    let padded = ["01", "02"];
    let place = place(&[
        ("tr.csv", rows(padded).as_bytes()),
        ("t.csv", test(["1", "2"]).as_bytes()),
        ("r.csv", run(["1", "2"]).as_bytes()),
        ("u.csv", run(["u1", "u2"]).as_bytes()),
        ("p.csv", b"user,item,score\n01,10,1\n1,11,1\n"),
    ]);
    let both = [&args[..], &["r.csv"]].concat();
    refused(&place, &both, &["none of its 2 users is in the training file", "`1`", "`01`"]);
    refused(
        &place,
        &["--test", "t.csv", "--relevant", "any", "u.csv"],
        &["none of its users", "u1"],
    );
    // Where some fit, the difference is said.
    let args = ["--test", "t.csv", "--relevant", "any", "p.csv"];
    let (_, err) = json(&place, &args);
    assert!(err.contains("all whole numbers (e.g. `1`)") && err.contains("`01`"), "{err}");
    place.write("w.csv", "user,item,score\n1e17,11,1\n1,11,1\n");
    let args = ["--test", "t.csv", "--relevant", "any", "w.csv"];
    refused(&place, &args, &["w.csv:2", "lost some"]);
}

#[test]
fn folds_of_an_experiment_follow_the_same_rule() {
    let experiment = |train: &str| {
        format!(
            "experiment: {}\ndata: {{reader: table, folder: ., columns: {{user: user, item: item, rating: \
             rating}}, folds: {{a: {{train: {train}, test: test.csv}}}}, relevant: any}}\nsplit: {{scheme: \
             official}}\nsystems: {{pop: {{model: popularity}}}}\nevaluate: {{k: [2], metrics: [ndcg]}}\n",
            train.trim_end_matches(".csv")
        )
    };
    let place = place(&[
        ("int.csv", b"user,item,rating\n1,10,5\n2,10,4\n3,11,4\n3,12,4\n"),
        ("float.csv", b"user,item,rating\n1.0,10,5\n2.0,10,4\n3.0,11,4\n3.0,12,4\n"),
        ("blank.csv", b"user,item,rating\n 1,10,5\n 2,10 ,4\n3 ,11.0,4\n3,12,4\n"),
        ("text.csv", b"user,item,rating\nu1,10,5\nu2,10,4\nu3,11,4\nu3,12,4\n"),
        ("test.csv", b"user,item,rating\n1,11,5\n2,12,4\n"),
    ]);
    let ndcg = |train: &str| {
        place.write("e.yaml", experiment(train));
        place.fine(&["run", "e.yaml", "--quiet"]);
        let csv = place.fine(&["results", "e.yaml"]);
        let line = csv.lines().find(|line| line.contains(",pop,a,")).unwrap().to_owned();
        line.split(',').nth(9).unwrap().parse::<f64>().unwrap()
    };
    // Of the two items that are not seen, 11 and 12 with one rating each, 11 goes first.
    for train in ["int.csv", "float.csv", "blank.csv"] {
        assert_near(ndcg(train), (1.0 + SECOND) / 2.0, train);
    }
    place.write("e.yaml", experiment("text.csv"));
    let ended = place.assay(&["run", "e.yaml", "--quiet"]);
    assert_ne!(ended.code, 0);
    assert!(ended.err.contains("none of its users is in the training part"), "{}", ended.err);
}

// Times.

/// The rows that leave-one-out tests, for times of the users 1 and 2: `user item` each.
fn last(times: [[&str; 3]; 2], reader: &str) -> Result<Vec<String>, String> {
    let place = Place::new();
    let mut rows = String::new();
    for (user, times) in times.iter().enumerate() {
        for (at, time) in times.iter().enumerate() {
            // The last row of the file and the highest id are never the answer of `last`.
            rows += &format!("{}\t{}\t5\t{time}\n", user + 1, [30, 10, 20][at]);
        }
    }
    let header = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n";
    place.write("r.inter", format!("{header}{rows}"));
    place.write("r.tsv", format!("user\titem\trating\tts\n{rows}"));
    let data = match reader {
        "recbole" => "{reader: recbole, folder: ., stem: r, relevant: any}",
        _ => {
            "{reader: table, folder: ., ratings: r.tsv, columns: {user: user, item: item, rating: rating, \
             timestamp: ts}, relevant: any}"
        }
    };
    place.write(
        "e.yaml",
        format!(
            "experiment: e\ndata: {data}\nsplit: {{scheme: leave-one-out}}\nsystems: {{pop: {{model: \
             popularity}}}}\nevaluate: {{k: [1], metrics: [ndcg]}}\n"
        ),
    );
    let ended = place.assay(&["run", "e.yaml", "--quiet"]);
    if ended.code != 0 {
        assert!(!ended.err.contains("panicked"), "{}", ended.err);
        return Err(ended.err);
    }
    place.fine(&["export", "e.yaml", "--format", "elliot", "--out", "x"]);
    let test = std::fs::read_to_string(place.path("x/last/test.tsv")).unwrap();
    Ok(test.lines().map(|line| line.split('\t').take(2).collect::<Vec<_>>().join(" ")).collect())
}

#[test]
fn times_of_every_usual_form_are_in_order() {
    for times in [
        [["1000.1", "1000.9", "999"], ["0.75", "0.95", "0.10"]],
        [["0.123456789012", "0.123456789013", "0.1"], ["1e-9", "2e-9", "0"]],
        [
            ["1614834367250", "1614834367251", "1614834367000"],
            ["1614834367999", "1614834368000", "1"],
        ],
        [
            ["1614834367250001", "1614834367250002", "1614834367250000"],
            ["1614834367000000", "1614834367000001", "9"],
        ],
        [
            ["2021-03-04 05:06:07.1", "2021-03-04 05:06:07.9", "2021-03-04 05:06:07"],
            ["2021-03-04 05:06:07", "2021-10-04 05:06:07", "2020-12-31 23:59:59"],
        ],
        [
            ["2021-03-04T05:06:07Z", "2021-03-04T05:06:07-01:00", "2021-03-04T06:06:07+02:00"],
            ["2021-03-04T05:06:07Z", "2021-03-04T05:06:08Z", "2021-03-04T05:06:08+00:30"],
        ],
        [["2021-03-04", "2021-03-05", "2020-01-01"], ["2021-03-04", "2021-11-01", "2021-09-30"]],
    ] {
        for reader in ["table", "recbole"] {
            assert_eq!(last(times, reader), Ok(vec!["1 10".into(), "2 10".into()]), "{times:?}");
        }
    }
}

#[test]
fn times_that_cannot_be_read_are_an_error_with_their_line() {
    for (wrong, said) in [
        ("soon", "`soon`"),
        ("03/04/2021", "`03/04/2021`"),
        ("", "nothing"),
        ("NaN", "`NaN`"),
        ("2021-03-04", "a number, as in the first row"),
    ] {
        let err = last([["1", "2", wrong], ["1", "2", "3"]], "table").unwrap_err();
        assert!(err.contains("r.tsv:4") && err.contains(said), "{wrong}: {err}");
        let err = last([["1", "2", wrong], ["1", "2", "3"]], "recbole").unwrap_err();
        assert!(err.contains("r.inter:4"), "{wrong}: {err}");
    }
    let mixed = [["1614834367250", "1614834367", "1614834367251"], ["1", "2", "3"]];
    let err = last(mixed, "table").unwrap_err();
    assert!(err.contains("r.tsv:3") && err.contains("one unit"), "{err}");
}

#[test]
fn times_of_parquet_keep_their_fractions() {
    let micros = [1_000_100_000i64, 1_000_900_000, 999_000_000, 750_000, 950_000, 100_000];
    for (unit, per_micro) in [(TimeUnit::Microseconds, 1), (TimeUnit::Nanoseconds, 1000)] {
        let times: Vec<i64> = micros.iter().map(|time| time * per_micro).collect();
        let place = Place::new();
        place.write(
            "r.parquet",
            parquet(vec![
                column("user", &[1i64, 1, 1, 2, 2, 2][..]),
                column("item", &[30i64, 10, 20, 30, 10, 20][..]),
                cast(column("ts", times), DataType::Datetime(unit, None)),
            ]),
        );
        place.write(
            "e.yaml",
            "experiment: e\ndata: {reader: table, folder: ., ratings: r.parquet, columns: {user: user, item: item, \
             timestamp: ts}}\nsplit: {scheme: leave-one-out}\nsystems: {pop: {model: popularity}}\n",
        );
        place.fine(&["run", "e.yaml", "--quiet"]);
        place.fine(&["export", "e.yaml", "--format", "elliot", "--out", "x"]);
        let test = std::fs::read_to_string(place.path("x/last/test.tsv")).unwrap();
        assert_eq!(test, "1\t10\t1\t1000.9\n2\t10\t1\t0.95\n", "{unit:?}");
    }
}

// Catalogues.

#[test]
fn genres_of_every_form_are_several() {
    let items = |genres: [&str; 3]| {
        format!(
            "item_id:token\tmovie_title:token_seq\tclass:token_seq\n10\tToy Story\t{}\n11\tHeat\t{}\n12\tLow\t{}\n",
            genres[0], genres[1], genres[2]
        )
    };
    for genres in [
        ["Animation Comedy", "Action Crime", "Drama"],
        ["Animation|Comedy", "Action|Crime", "Drama"],
        ["Animation, Comedy", "Action, Crime", "Drama"],
        ["['Animation', 'Comedy']", "['Action', 'Crime']", "['Drama']"],
        ["[\"Animation\", \"Comedy\"]", "[\"Action\"]", "[]"],
    ] {
        let place = place(&[
            (
                "t.inter",
                b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t10\t5\t1\n1\t11\t4\t2\n2\t10\t5\t1\n2\t12\t3\t2\n3\t11\t4\t1\n3\t12\t5\t2\n",
            ),
            ("t.item", items(genres).as_bytes()),
        ]);
        place.write(
            "e.yaml",
            "experiment: genres\ndata: {reader: recbole, folder: ., stem: t, items: true, relevant: '>= 4'}\n\
             split: {scheme: leave-one-out}\nprofiles: {t: {from: template}}\nsystems: {c: {model: content, text: \
             {profiles: t}}}\nevaluate: {k: [1], metrics: [ndcg]}\n",
        );
        place.assay(&["run", "e.yaml", "--until", "profiles", "--quiet"]);
        let files = place.artefacts(".assay");
        let found = files.iter().filter(|(name, _)| name.ends_with("profiles.parquet")).any(
            |(_, bytes)| {
                let cursor = std::io::Cursor::new(bytes.clone());
                let frame = ParquetReader::new(cursor).finish().unwrap();
                let texts = frame.column("text").unwrap().str().unwrap().clone();
                let mut texts = texts.iter().flatten().map(str::to_owned);
                texts.any(|text| text.contains("- **Genre**: Animation, Comedy"))
            },
        );
        assert!(found, "{genres:?}");
    }
}

// The wrong fold.

#[test]
fn rankings_of_another_fold_are_said_to_be() {
    let place = Place::new();
    // Each user's list holds the items of the fold f1's test part, which other folds train on.
    let ratings =
        std::fs::read_to_string(crate::support::root().join("datasets/sample/ratings.csv"))
            .unwrap();
    let of_fold = |fold: &str| {
        let mut text = String::from("user,item\n");
        for line in ratings.lines().filter(|line| line.ends_with(&format!(",{fold}"))) {
            text += &(line.split(',').take(2).collect::<Vec<_>>().join(",") + "\n");
        }
        text
    };
    for fold in ["f1", "f3", "f5"] {
        place.write("r.csv", of_fold(fold));
        let ended = place.assay(&["score", "--data", "sample", "--fold", "f2", "r.csv"]);
        assert_eq!(ended.code, 0, "{}", ended.err);
        let said = format!(
            "0 % of the lists avoid training items: those of the fold f2; 100 % avoid those of the fold {fold}: \
             the rankings look like that fold's"
        );
        assert!(ended.err.contains(&said), "{}", ended.err);
        let right = place.assay(&["score", "--data", "sample", "--fold", fold, "r.csv"]);
        assert!(!right.err.contains("avoid training items"), "{}", right.err);
    }
    // In an experiment it is an error before anything is written, unless it is accepted.
    let experiment = |more: &str| {
        place.write("f1.csv", of_fold("f1"));
        place.write(
            "e.yaml",
            format!(
                "experiment: external\ndata: {{set: sample, relevant: \">= 4\"}}\nsplit: {{scheme: official, only: \
                 [f2]}}\nsystems: {{theirs: {{model: external, rankings: f1.csv{more}}}}}\n"
            ),
        );
    };
    let which = "rankings of another fold: 0 % of the lists avoid the training items of the fold f2, 100 % those of \
                 the fold f1";
    experiment("");
    for verb in ["plan", "run"] {
        let refused = place.assay(&[verb, "e.yaml"]);
        assert_eq!(refused.code, 2, "{}", refused.err);
        assert!(
            refused.err.contains(which) && refused.err.contains("accept_leak: true"),
            "{}",
            refused.err
        );
        assert!(!place.path(".assay").exists());
    }
    experiment(", accept_leak: true");
    let marked = place.assay(&["run", "e.yaml"]);
    assert_eq!(marked.code, 0, "{}", marked.err);
    assert!(
        marked.err.contains("warning: theirs f2: 0 % of the lists avoid training items: those of the fold f2; 100 % \
                             avoid those of the fold f1"),
        "{}",
        marked.err
    );
    // On their own fold they are fine.
    let own = std::fs::read_to_string(place.path("e.yaml")).unwrap();
    place.write("e.yaml", own.replace("[f2]", "[f1]").replace(", accept_leak: true", ""));
    let right = place.assay(&["run", "e.yaml"]);
    assert!(right.code == 0 && !right.err.contains("avoid"), "{}", right.err);
    let place = self::place(&[
        ("tr.csv", b"user,item\n1,a\n2,b\n"),
        ("t.csv", b"user,item\n1,c\n2,c\n"),
        ("r.csv", b"user,item\n1,a\n1,c\n2,b\n2,c\n"),
    ]);
    let ended = place.assay(&["score", "--train", "tr.csv", "--test", "t.csv", "r.csv"]);
    assert!(ended.err.contains("may be of another split or fold"), "{}", ended.err);
}

/// A quote that only a later row closes made the rows between a part of a text.
#[test]
fn rows_that_a_quoted_text_contains_are_not_lost_without_a_word() {
    for (separator, file) in [("\t", "r.tsv"), (",", "r.csv")] {
        let place = Place::new();
        let mut rows = ["user", "item", "rating", "comment"].join(separator) + "\n";
        for (user, item) in (0..30).flat_map(|user| (0..6).map(move |item| (user, item))) {
            let comment = match (user, item) {
                (3, 1) => "\"great",
                (9, 4) => "the best\"",
                _ => "fine",
            };
            let (user, item) = (format!("u{user}"), format!("i{}", (user + item) % 12));
            rows += &([&user, &item, "5", comment].join(separator) + "\n");
        }
        place.write(file, rows);
        let experiment = |more: &str| {
            format!(
                "experiment: e\ndata: {{reader: table, folder: ., ratings: {file}, {more}columns: {{user: user, item: item, \
                 rating: rating}}, relevant: '>= 4'}}\nsplit: {{scheme: kfold, folds: 2, seed: 1}}\nsystems: {{popularity: \
                 {{model: popularity}}}}\nevaluate: {{k: [5]}}\n"
            )
        };
        place.write("e.yaml", experiment(""));
        let refused = place.assay(&["run", "e.yaml"]);
        assert_eq!(refused.code, 2, "{}", refused.err);
        let says = format!("{file}:21: a quoted field contains other rows");
        assert!(
            refused.err.contains(&says) && refused.err.contains("quotes: none"),
            "{}",
            refused.err
        );
        assert!(!place.path(".assay").exists());
        place.write("e.yaml", experiment("quotes: none, "));
        place.fine(&["run", "e.yaml", "--quiet"]);
    }
}
