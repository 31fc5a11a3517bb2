//! Bad input: each with the message a user reads. Nothing here may panic.

use std::{fs, process::Command};

use crate::support::{Place, ended, root};

/// An experiment on files of one's own.
const OWN: &str = "experiment: own
data:
  reader: table
  ratings: ratings.csv
  columns: {user: user, item: item, rating: rating}
  relevant: any
split: {scheme: kfold, folds: 2}
systems:
  popularity: {model: popularity}
";

const RATINGS: &str = "user,item,rating\n1,1,5\n1,2,3\n2,1,4\n2,3,1\n3,2,5\n3,3,2\n";

/// The message and exit code of `assay run` on an experiment and a ratings file.
fn refused(experiment: &str, ratings: &str) -> String {
    let place = Place::new();
    place.write("e.yaml", experiment);
    place.write("ratings.csv", ratings);
    let ended = place.assay(&["run", "e.yaml", "--quiet", "--threads", "1"]);
    assert!(ended.code == 2 || ended.code == 4, "exit {}: {}", ended.code, ended.err);
    assert!(!ended.err.contains("panicked"), "{}", ended.err);
    assert!(
        ended.code != 2 || !place.path(".assay").exists(),
        "something was written: {}",
        ended.err
    );
    // What follows the first failed trial repeats the cause, with names of logs.
    let err = ended.err.split("\n\n").next().unwrap_or_default();
    format!("exit {}\n{}", ended.code, err.trim_end())
}

#[test]
fn the_good_experiment_is_good() {
    let place = Place::new();
    place.write("e.yaml", OWN);
    place.write("ratings.csv", RATINGS);
    place.fine(&["run", "e.yaml"]);
}

#[test]
fn a_file_of_a_directory_above_is_named_as_seen_from_here() {
    let place = Place::new();
    place.write("experiments/e.yaml", OWN.replace("{model: popularity}", "{use: shared/als.yaml}"));
    place.write("shared/als.yaml", "model: als\nfactor: 12\n");
    place.write("experiments/ratings.csv", RATINGS);
    let ended = place.assay(&["plan", "experiments/e.yaml"]);
    assert_eq!(ended.code, 2, "{}", ended.err);
    assert!(ended.err.contains("--> shared/als.yaml:2:1"), "{}", ended.err);
}

#[test]
fn a_misspelt_key() {
    insta::assert_snapshot!(refused(&OWN.replace("systems:", "sistems:"), RATINGS));
}

#[test]
fn a_misspelt_setting_of_a_model() {
    let wrong = OWN.replace("{model: popularity}", "{model: als, factor: 12}");
    insta::assert_snapshot!(refused(&wrong, RATINGS));
}

#[test]
fn a_search_of_rankings_from_files() {
    let search = "{model: external, rankings: x.csv, search: {over: {seen: [drop, keep]}}}";
    let err = refused(&OWN.replace("{model: popularity}", search), RATINGS);
    assert!(err.contains("a search cannot try rankings from files"), "{err}");
}

#[test]
fn a_misspelt_model() {
    insta::assert_snapshot!(refused(
        &OWN.replace("model: popularity", "model: popularty"),
        RATINGS
    ));
}

#[test]
fn a_wrong_type() {
    insta::assert_snapshot!(refused(&OWN.replace("folds: 2", "folds: many"), RATINGS));
}

#[test]
fn a_value_out_of_range() {
    let wrong = OWN.replace("{model: popularity}", "{model: als, factors: 0}");
    insta::assert_snapshot!(refused(&wrong, RATINGS));
}

#[test]
fn a_setting_that_would_do_nothing() {
    insta::assert_snapshot!(refused(&OWN.replace("folds: 2", "folds: 2, test: 0.1"), RATINGS));
}

#[test]
fn a_misspelt_protocol() {
    let wrong = format!("{OWN}evaluate: {{protocols: [ful]}}\n");
    insta::assert_snapshot!(refused(&wrong, RATINGS));
}

#[test]
fn a_misspelt_split_scheme() {
    insta::assert_snapshot!(refused(&OWN.replace("scheme: kfold", "scheme: k-fold"), RATINGS));
}

#[test]
fn an_unknown_data_set() {
    let wrong = "experiment: e\ndata: {set: ml-100}\nsplit: {scheme: official}\nsystems: {p: {model: popularity}}\n";
    insta::assert_snapshot!(refused(wrong, RATINGS));
}

#[test]
fn an_unknown_task() {
    insta::assert_snapshot!(refused(
        &OWN.replace("experiment: own", "experiment: own\ntask: top-m"),
        RATINGS
    ));
}

#[test]
fn a_swept_task() {
    let swept = OWN.replace("experiment: own", "experiment: own\ntask: {sweep: [top-n, top-n]}");
    assert!(refused(&swept, RATINGS).contains("task"));
}

#[test]
fn yaml_that_is_not_yaml() {
    insta::assert_snapshot!(refused(&OWN.replace("folds: 2}", "folds: 2"), RATINGS));
}

#[test]
fn a_missing_experiment_file() {
    let ended = Place::new().assay(&["run", "gone.yaml"]);
    assert_eq!(ended.code, 2);
    insta::assert_snapshot!(ended.err);
}

#[test]
fn a_missing_ratings_file() {
    insta::assert_snapshot!(refused(&OWN.replace("ratings.csv", "gone.csv"), RATINGS));
}

#[test]
fn a_truncated_line() {
    insta::assert_snapshot!(refused(OWN, &RATINGS.replace("2,3,1", "2,3")));
}

#[test]
fn a_line_too_long() {
    insta::assert_snapshot!(refused(OWN, &RATINGS.replace("2,3,1", "2,3,1,7")));
}

#[test]
fn a_rating_that_is_no_number() {
    insta::assert_snapshot!(refused(OWN, &RATINGS.replace("2,3,1", "2,3,good")));
}

#[test]
fn a_user_that_is_not_there() {
    insta::assert_snapshot!(refused(OWN, &RATINGS.replace("2,3,1", ",3,1")));
}

#[test]
fn an_item_that_the_catalogue_does_not_list() {
    let place = Place::new();
    place.write("e.yaml", OWN.replace("split:", "  items: {file: items.csv, item: item}\nsplit:"));
    place.write("ratings.csv", RATINGS);
    place.write("items.csv", "item,title\n1,One\n2,Two\n");
    let ended = place.assay(&["run", "e.yaml", "--quiet", "--threads", "1"]);
    assert_eq!(ended.code, 2);
    insta::assert_snapshot!(ended.err.split("\n\n").next().unwrap());
}

/// A user out of range in MovieLens's own format: u.user does not know user 9.
#[test]
fn a_user_out_of_range() {
    let place = Place::new();
    place.write("e.yaml", OWN.replace("reader: table\n  ratings: ratings.csv\n  columns: {user: user, item: item, rating: rating}", "reader: movielens100k\n  folder: ml").replace("kfold, folds: 2", "official"));
    let item = |id: u32| format!("{id}|T (1990)|01-Jan-1990||url|{}\n", ["0"; 19].join("|"));
    place.write("ml/u.item", item(1) + &item(2));
    place.write("ml/u.user", "1|20|M|x|1\n2|30|F|x|2\n");
    place.write("ml/u.data", "1\t1\t5\t10\n9\t2\t4\t10\n");
    for fold in 1..=5 {
        place.write(&format!("ml/u{fold}.base"), "1\t1\t5\t10\n");
        place.write(&format!("ml/u{fold}.test"), "2\t2\t5\t10\n");
    }
    let ended = place.assay(&["run", "e.yaml", "--quiet", "--threads", "1"]);
    assert_eq!(ended.code, 2);
    insta::assert_snapshot!(ended.err.split("\n\n").next().unwrap());
}

#[test]
fn a_duplicate_interaction() {
    insta::assert_snapshot!(refused(OWN, &RATINGS.replace("2,3,1", "1,2,1")));
}

#[test]
fn duplicates_can_be_resolved_by_rule() {
    let place = Place::new();
    place.write("e.yaml", OWN.replace("columns:", "duplicates: keep-highest\n  columns:"));
    place.write("ratings.csv", RATINGS.replace("2,3,1", "1,2,1"));
    place.fine(&["run", "e.yaml"]);
}

#[test]
fn an_empty_file() {
    insta::assert_snapshot!(refused(OWN, ""));
}

#[test]
fn a_file_with_a_header_and_no_rows() {
    insta::assert_snapshot!(refused(OWN, "user,item,rating\n"));
}

#[test]
fn a_binary_file() {
    let place = Place::new();
    place.write("e.yaml", OWN);
    place.write("ratings.csv", [0x89, 0x50, 0xff, 0x00, 0x0a, 0x1a]);
    let ended = place.assay(&["run", "e.yaml", "--quiet", "--threads", "1"]);
    assert_eq!(ended.code, 2);
    insta::assert_snapshot!(ended.err.split("\n\n").next().unwrap());
}

#[test]
fn a_missing_column() {
    insta::assert_snapshot!(refused(OWN, &RATINGS.replace("rating", "stars")));
}

#[test]
fn an_empty_fold() {
    insta::assert_snapshot!(refused(&OWN.replace("folds: 2", "folds: 50"), RATINGS));
}

#[test]
fn a_file_whose_hash_is_not_the_manifests() {
    let place = Place::new();
    let text = RATINGS.replace('\n', "\r\n");
    place.write("datasets/mine/ratings.csv", text);
    place.write(
        "datasets/mine.yaml",
        "name: mine\ntitle: Mine\nlicence: none\nfolders: [mine]\nreader: {name: table, ratings: \
         ratings.csv, columns: {user: user, item: item}}\nsha256: {ratings.csv: abc123}\n",
    );
    place.write("e.yaml", "experiment: e\ndata: {set: mine}\nsplit: {scheme: holdout, test: 0.5}\nsystems: {p: {model: popularity}}\n");
    let output = place
        .command(&["run", "e.yaml", "--quiet"])
        .env("ASSAY_DATA", place.path("datasets"))
        .output()
        .unwrap();
    let run = ended(output, place.dir.path());
    assert_eq!(run.code, 2);
    insta::assert_snapshot!(run.err.split("\n\n").next().unwrap());
    let output = place
        .command(&["data", "verify", "mine"])
        .env("ASSAY_DATA", place.path("datasets"))
        .output();
    assert_eq!(output.unwrap().status.code(), Some(1));
}

#[test]
fn a_workspace_that_cannot_be_written() {
    let place = Place::new();
    place.write("e.yaml", OWN);
    place.write("ratings.csv", RATINGS);
    place.write("file", "a file where a directory should be");
    let ended = place.assay(&["run", "e.yaml", "--workspace", "file/workspace"]);
    assert_eq!(ended.code, 2);
    insta::assert_snapshot!(ended.err);
}

/// A limit on the size of files stands in for a full disk: writes fail half-way.
#[test]
fn a_full_disk_fails_the_step_and_keeps_what_was_done() {
    let place = Place::new();
    place.write(
        "e.yaml",
        "experiment: e\ndata: {set: sample, relevant: '>= 4'}\nsplit: {scheme: official, only: [f1]}\nsystems:\n  \
         popularity: {model: popularity}\n  als: {model: als, factors: 256, iterations: 1}\n",
    );
    let binary = env!("CARGO_BIN_EXE_assay");
    // 400 blocks of 1 KiB: room for everything but the factors of ALS.
    let script = format!("trap '' XFSZ; ulimit -f 400; exec {} run e.yaml --quiet", binary);
    let output = Command::new("bash")
        .args(["-c", &script])
        .current_dir(place.dir.path())
        .env("ASSAY_DATA", root().join("datasets"))
        .output();
    let run = ended(output.unwrap(), place.dir.path());
    assert_eq!(run.code, 74, "{}", run.err);
    assert!(
        run.err.contains("model.safetensors") && run.err.contains("1 of 2 trials failed"),
        "{}",
        run.err
    );
    assert!(run.out.contains("popularity"), "{}", run.out);
    let again = place.assay(&["run", "e.yaml"]);
    assert_eq!(again.code, 0, "{}", again.err);
    assert!(again.err.contains("3 of 7 steps to run"), "{}", again.err);
}

#[test]
fn a_corrupt_artefact_is_found_and_rebuilt() {
    let place = Place::new();
    place.write("e.yaml", OWN);
    place.write("ratings.csv", RATINGS);
    place.fine(&["run", "e.yaml"]);
    let before = place.artefacts(".assay");
    let damaged = before.keys().find(|name| name.ends_with("summary.json")).unwrap();
    let path = place.path(".assay/steps").join(damaged);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(place.fine(&["plan", "e.yaml"]).contains("damaged"));
    assert_eq!(place.assay(&["results", "e.yaml"]).code, 3, "a damaged result is no result");
    let again = place.assay(&["run", "e.yaml"]);
    assert_eq!(again.code, 0, "{}", again.err);
    assert!(again.err.contains("is damaged and is rebuilt"), "{}", again.err);
    assert!(again.err.contains("1 of 8 steps to run"), "{}", again.err);
    assert_eq!(place.artefacts(".assay"), before);
}

#[test]
fn a_record_cut_off_is_found_too() {
    let place = Place::new();
    place.write("e.yaml", OWN);
    place.write("ratings.csv", RATINGS);
    place.fine(&["run", "e.yaml"]);
    let score =
        fs::read_dir(place.path(".assay/steps/evaluate")).unwrap().flatten().next().unwrap();
    fs::write(score.path().join("record.json"), "{\"kind\": \"sco").unwrap();
    let again = place.assay(&["run", "e.yaml"]);
    assert_eq!(again.code, 0, "{}", again.err);
    assert!(again.err.contains("is damaged and is rebuilt"), "{}", again.err);
}

/// An experiment with a chat model as a judge, under the given names of two keys.
fn with_chat(endpoints: &str, responses: &str) -> String {
    format!(
        "experiment: own
data: {{set: sample, relevant: \">= 4\"}}
split: {{scheme: official, only: [f1]}}
profiles: {{p: {{from: template}}}}
{endpoints}: {{gpt: {{model: m, base_url: \"http://127.0.0.1:9/v1\"}}}}
{responses}: {{mode: replay}}
systems:
  popularity: {{model: popularity}}
  re: {{model: rerank, of: popularity, text: {{profiles: p}}, strategy: prompt, judge: gpt}}
"
    )
}

#[test]
fn old_names_of_keys_and_options_work_with_a_warning() {
    let place = Place::new();
    place.write("old.yaml", with_chat("judges", "answers"));
    place.write("new.yaml", with_chat("endpoints", "responses"));
    let plan = |file: &str| place.assay(&["plan", file, "--json"]);
    let (old, new) = (plan("old.yaml"), plan("new.yaml"));
    assert_eq!((old.code, new.code), (0, 0), "{}{}", old.err, new.err);
    assert!(old.out.contains("rerank") && old.out == new.out, "keys differ");
    assert!(!new.err.contains("deprecated"), "{}", new.err);
    for (line, old_name, new_name) in [(5, "judges", "endpoints"), (6, "answers", "responses")] {
        let warning =
            format!("old.yaml:{line}: the key `{old_name}` is deprecated; use `{new_name}`");
        assert_eq!(old.err.matches(&warning).count(), 1, "{}", old.err);
    }
    // An included file may have the other name: both are one key.
    place.write("part.yaml", "endpoints: {gpt: {temperature: 0}}\n");
    place.write("e.yaml", format!("include: part.yaml\n{}", with_chat("judges", "responses")));
    let mixed = plan("e.yaml");
    assert!(mixed.code == 0 && mixed.out != new.out, "{}", mixed.err);

    let both = format!("{}judges: {{}}\n", with_chat("endpoints", "responses"));
    place.write("both.yaml", both);
    let refused = plan("both.yaml");
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("both `judges` and `endpoints` are given"), "{}", refused.err);

    place.write("own.yaml", OWN);
    place.write("ratings.csv", RATINGS);
    let ended = place.assay(&["run", "own.yaml", "--answers", "replay"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    let warning = "the option --answers is deprecated; use --responses";
    assert_eq!(ended.err.matches(warning).count(), 1, "{}", ended.err);
    let ended = place.assay(&["run", "own.yaml", "--responses", "replay"]);
    assert!(ended.code == 0 && !ended.err.contains("deprecated"), "{}", ended.err);
    let both = ["run", "own.yaml", "--answers", "replay", "--responses", "replay"];
    assert_eq!(place.assay(&both).code, 2);

    let schema = place.fine(&["schema"]);
    assert!(schema.contains("\"endpoints\"") && schema.contains("\"responses\""));
    assert!(!schema.contains("\"judges\"") && !schema.contains("\"answers\""));
}
