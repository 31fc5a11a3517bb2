//! What leaves a workspace for reviewers: one archive, from which everything can be read.

use std::{collections::BTreeMap, fs, io::Read, path::Path};

use serde_json::Value;
use zip::ZipArchive;

use crate::{
    endpoint::{Endpoint, Reply, question},
    support::{Ended, Place, weights},
};

const SMALL: &str = "experiment: small
describe: by alice, who keeps it in HOME/papers; write to alice@lab.example.org
include: common.yaml
systems:
  random: {model: random}
  popularity: {model: popularity}
  als: {model: als, factors: 8, iterations: 3, alpha: 2, regularization: 5}
evaluate: {k: [5, 10]}
";
const COMMON: &str = "data: {set: sample, relevant: \">= 4\"}
split: {scheme: official, only: [f1, f2]}
";

/// An experiment that was run by alice.
fn place() -> Place {
    let place = Place::new();
    let home = place.path("home/alice");
    fs::create_dir_all(&home).unwrap();
    place.write("exp/small.yaml", SMALL.replace("HOME", &home.display().to_string()));
    place.write("exp/common.yaml", COMMON);
    let ended = alice(&place, &["run", "exp/small.yaml", "--quiet"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    place
}

fn alice(place: &Place, args: &[&str]) -> Ended {
    let mut command = place.command(args);
    command.env("HOME", place.path("home/alice")).env("USER", "alice").env("LOGNAME", "alice");
    crate::support::ended(command.output().unwrap(), place.dir.path())
}

/// The files of an archive.
fn unpacked(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut zip = ZipArchive::new(fs::File::open(path).unwrap()).unwrap();
    let mut files = BTreeMap::new();
    for at in 0..zip.len() {
        let mut file = zip.by_index(at).unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        files.insert(file.name().to_owned(), bytes);
    }
    files
}

/// Unpacks an archive into a new directory.
fn reviewer(archive: &Path) -> Place {
    let place = Place::new();
    for (name, bytes) in unpacked(archive) {
        place.write(&name, bytes);
    }
    place
}

/// Without data: neither data sets nor the experiment file are where they were.
fn offline(place: &Place, args: &[&str]) -> Ended {
    let mut command = place.command(args);
    command.env("ASSAY_DATA", place.path("none"));
    crate::support::ended(command.output().unwrap(), place.dir.path())
}

#[test]
fn a_reviewer_reads_the_authors_numbers_from_the_bundle_alone() {
    let place = place();
    let ended = alice(&place, &["bundle", "exp/small.yaml", "--out", "small.zip"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.out.contains("values are those of the workspace"), "{}", ended.out);
    let results = place.fine(&["results", "exp/small.yaml", "--intervals"]);
    let there = reviewer(&place.path("small.zip"));
    let of = |args: &[&str], code: i32| {
        let ended = offline(&there, &[args, &["--workspace", "workspace"]].concat());
        assert_eq!(ended.code, code, "{args:?}\n{}\n{}", ended.out, ended.err);
        ended
    };
    assert_eq!(of(&["results", "small", "--intervals"], 0).out, results);
    let compared = place.fine(&["compare", "exp/small.yaml"]);
    assert_eq!(of(&["compare", "small"], 0).out, compared);
    of(&["report", "small", "--check", "report"], 0);
    of(&["report", "small", "--out", "again"], 0);
    assert_eq!(
        fs::read(there.path("again/results.csv")).unwrap(),
        fs::read(there.path("report/results.csv")).unwrap()
    );
    // Checks of folds are not passed: they are not made, and say why.
    let text = of(&["audit", "small", "--json", "--fail-on", "error"], 3).out;
    let audit: Value = serde_json::from_str(&text).unwrap();
    let state = |id: &str| {
        let checks = audit["checks"].as_array().unwrap();
        checks
            .iter()
            .find(|of| of["id"] == id)
            .unwrap_or_else(|| panic!("{id}: {text}"))
            .to_string()
    };
    for id in ["train-test-overlap", "test-in-two-folds", "recomputed-metrics", "ties-decide"] {
        assert!(state(id).contains("the bundle has no folds"), "{id}: {}", state(id));
    }
    for id in ["missing-results", "single-seed", "out-of-range"] {
        assert!(!state(id).contains("the bundle has no folds"), "{id}: {}", state(id));
    }
    // What is written in its README can be typed.
    let readme = fs::read_to_string(there.path("README.md")).unwrap();
    let commands: Vec<&str> = readme.lines().filter(|line| line.starts_with("assay ")).collect();
    assert!(commands.len() >= 5, "{readme}");
    for line in commands {
        let line = line.split(" #").next().unwrap();
        let args: Vec<&str> = line.split_whitespace().skip(1).collect();
        let code = offline(&there, &args).code;
        assert_eq!(code, if args[0] == "audit" { 3 } else { 0 }, "{line}");
    }
}

#[test]
fn a_bundle_has_no_interactions_unless_they_are_asked_for() {
    let place = place();
    for (options, has_data) in [(&[][..], false), (&["--with-data"][..], true)] {
        let args = [&["bundle", "exp/small.yaml", "--out", "b.zip"], options].concat();
        let ended = alice(&place, &args);
        assert_eq!(ended.code, 0, "{}", ended.err);
        let files = unpacked(&place.path("b.zip"));
        for name in ["train.parquet", "test.parquet", "model.safetensors"] {
            assert_eq!(files.keys().any(|file| file.ends_with(name)), has_data, "{name}");
        }
        let has = |part: &str| files.keys().any(|file| file.contains(part));
        for part in [
            "README.md",
            "ro-crate-metadata.json",
            "experiment/small.yaml",
            "experiment/common.yaml",
            "report/index.html",
            "report/tables/",
            "report/figures/",
            "steps/predict/",
            "steps/evaluate/",
            "steps/split/",
        ] {
            assert!(has(part), "{part}");
        }
        let there = reviewer(&place.path("b.zip"));
        let audit = offline(&there, &["audit", "small", "--workspace", "workspace", "--all"]);
        assert_eq!(audit.out.contains("the bundle has no folds"), !has_data, "{}", audit.out);
    }
}

#[test]
fn the_same_results_give_the_same_bytes() {
    let place = place();
    for out in ["a.zip", "b.zip"] {
        assert_eq!(alice(&place, &["bundle", "exp/small.yaml", "--out", out]).code, 0);
    }
    assert!(fs::read(place.path("a.zip")).unwrap() == fs::read(place.path("b.zip")).unwrap());
    let files = unpacked(&place.path("a.zip"));
    let crate_: Value = serde_json::from_slice(&files["ro-crate-metadata.json"]).unwrap();
    let graph = crate_["@graph"].as_array().unwrap();
    for name in files.keys().filter(|name| *name != "ro-crate-metadata.json") {
        let of = graph.iter().find(|of| of["name"] == **name && of["@type"] == "File");
        let of = of.unwrap_or_else(|| panic!("{name} is not described"));
        assert_eq!(of["contentSize"], files[name].len().to_string(), "{name}");
    }
    // Another file of that name is kept.
    place.write("mine.zip", "mine");
    let ended = alice(&place, &["bundle", "exp/small.yaml", "--out", "mine.zip"]);
    assert_eq!(
        (ended.code, fs::read_to_string(place.path("mine.zip")).unwrap()),
        (2, "mine".into())
    );
}

#[test]
fn an_anonymous_bundle_names_nobody() {
    let place = place();
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned();
    let home = place.path("home/alice").display().to_string();
    let dir = place.dir.path().display().to_string();
    let names = |archive: &str| -> Vec<String> {
        let mut found = Vec::new();
        for (name, bytes) in unpacked(&place.path(archive)) {
            let text = String::from_utf8_lossy(&bytes);
            let is_word = |word: &str| {
                text.split(|c: char| !c.is_alphanumeric() && c != '-').any(|of| of == word)
            };
            // Names of machines are short, and compressed bytes hold everything.
            let is_text = std::str::from_utf8(&bytes).is_ok();
            if text.contains(&home)
                || text.contains(&dir)
                || text.contains("alice")
                || is_text && is_word(&host)
            {
                found.push(name);
            }
        }
        found
    };
    let ended = alice(&place, &["bundle", "exp/small.yaml", "--out", "named.zip"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(names("named.zip").len() > 10, "the search finds names where there are some");
    let ended = alice(&place, &["bundle", "exp/small.yaml", "--out", "blind.zip", "--anonymous"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!(names("blind.zip"), Vec::<String>::new());
    for what in
        ["names of machines in records", "e-mail addresses", "absolute paths", "a user name"]
    {
        assert!(ended.err.contains(&format!("removed: {what}")), "{what}: {}", ended.err);
    }
    let there = reviewer(&place.path("blind.zip"));
    let results = place.fine(&["results", "exp/small.yaml"]);
    let read = offline(&there, &["results", "small", "--workspace", "workspace"]);
    assert_eq!((read.code, read.out), (0, results), "{}", read.err);
    let by_file =
        offline(&there, &["results", "experiment/small.yaml", "--workspace", "workspace"]);
    assert_eq!(by_file.code, 0, "{}", by_file.err);
}

#[test]
fn what_cannot_be_made_anonymous_is_refused() {
    let place = Place::new();
    place.write(
        "e.yaml",
        format!("experiment: e\n{COMMON}systems:\n  alice: {{model: popularity}}\nevaluate: {{k: [5]}}\n"),
    );
    assert_eq!(alice(&place, &["run", "e.yaml", "--quiet"]).code, 0);
    let args = ["bundle", "e.yaml", "--out", "e.zip", "--anonymous"];
    let ended = alice(&place, &args);
    assert_ne!(ended.code, 0, "{}", ended.out);
    assert!(!place.path("e.zip").exists());
    let ended = alice(&place, &[&args[..], &["--no-name", "alice"]].concat());
    assert_eq!(ended.code, 0, "{}", ended.err);
}

#[test]
fn a_bundle_needs_results_and_says_so() {
    let place = Place::new();
    place.write("e.yaml", format!("experiment: e\n{COMMON}systems:\n  p: {{model: popularity}}\n"));
    let ended = place.assay(&["bundle", "e.yaml", "--out", "e.zip"]);
    assert_eq!(ended.code, 3, "{}", ended.err);
    assert!(ended.err.contains("no result of this experiment"), "{}", ended.err);
    let ended = place.assay(&["bundle", "e.yaml", "--out", "e.tar.gz"]);
    assert_eq!(ended.code, 2, "{}", ended.err);
    assert!(ended.err.contains("ends in .zip"), "{}", ended.err);
}

/// A bundle of a stranger that leads elsewhere through links.
#[test]
fn links_in_an_unpacked_bundle_are_not_followed() {
    let place = place();
    assert_eq!(alice(&place, &["bundle", "exp/small.yaml", "--out", "b.zip"]).code, 0);
    let there = reviewer(&place.path("b.zip"));
    let steps = there.path("workspace/steps/evaluate");
    let step = fs::read_dir(steps).unwrap().flatten().next().unwrap().path();
    let outside = there.path("outside.json");
    fs::rename(step.join("summary.json"), &outside).unwrap();
    std::os::unix::fs::symlink(&outside, step.join("summary.json")).unwrap();
    let ended = offline(&there, &["results", "small", "--workspace", "workspace"]);
    assert_eq!(ended.code, 3, "{}", ended.err);
    assert!(ended.err.contains("damaged"), "{}", ended.err);
}

/// The responses go in as a cassette, which a reviewer imports for the checks of language models.
#[test]
fn responses_of_language_models_are_in_the_bundle() {
    if !weights("responses_of_language_models_are_in_the_bundle") {
        return;
    }
    let endpoint = Endpoint::start(|request, _| {
        let question = question(request);
        let ids = question.lines().filter_map(|line| line.strip_prefix('[')?.split_once("] "));
        let ids: Vec<&str> = ids.map(|(id, _)| id).collect();
        Reply::Content(serde_json::json!({"order": ids}).to_string())
    });
    let place = Place::encoded(&[]);
    place.write(
        "e.yaml",
        format!(
            "experiment: llm\ndata: {{set: sample, relevant: '>= 4', disliked: '<= 2'}}\nsplit: {{scheme: official, only: \
             [f1]}}\nendpoints: {{chat: {{base_url: '{}', model: test, concurrency: 8}}}}\nprofiles: {{template: {{from: \
             template}}}}\nsystems:\n  als: {{model: als, factors: 8, iterations: 5}}\n  re: {{model: rerank, of: als, \
             text: {{profiles: template}}, pool: 12, strategy: prompt, judge: chat}}\nevaluate: {{k: [5]}}\n",
            endpoint.url()
        ),
    );
    assert_eq!(alice(&place, &["run", "e.yaml", "--quiet"]).code, 0);
    let ended = alice(&place, &["bundle", "e.yaml", "--out", "e.zip", "--anonymous"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.err.contains("prompts may quote titles and ratings"), "{}", ended.err);
    let files = unpacked(&place.path("e.zip"));
    assert!(files.contains_key("responses.jsonl.gz"));
    let texts = |name: &&String| name.contains("steps/profiles") && name.ends_with(".json");
    let of_texts: Vec<&String> = files.keys().filter(texts).collect();
    let is_record =
        |name: &&String| name.ends_with("record.json") || name.ends_with("omitted.json");
    assert!(!of_texts.is_empty() && of_texts.iter().all(is_record), "{of_texts:?}");
    let there = reviewer(&place.path("e.zip"));
    let import = ["cache", "import", "responses.jsonl.gz", "--workspace", "workspace", "--json"];
    let import = offline(&there, &import);
    let imported: Value = serde_json::from_str(&import.out).unwrap();
    assert_eq!(imported["added"], endpoint.seen.total(), "{}", import.err);
    let audit = offline(&there, &["audit", "llm", "--workspace", "workspace", "--all"]);
    let of = |id: &str| audit.out.lines().find(|line| line.contains(id)).unwrap_or_default();
    assert!(!of("bad-responses").starts_with("not checked"), "{}", audit.out);
}
