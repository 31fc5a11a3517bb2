//! Attacks by files, manifests, prompts and workspaces from someone else, and by endpoints, as described in SECURITY.md.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    endpoint::{Endpoint, Reply},
    support::{Ended, Place, ended},
};

pub const SMALL: &str = "experiment: small
data: {set: sample, relevant: \">= 4\"}
split: {scheme: official, only: [f1]}
systems:
  popularity: {model: popularity}
evaluate: {k: [10]}
";

/// A few items, with profiles that an endpoint writes with `prompt.md`.
pub fn written(url: &str, judge: &str, prompt: &str) -> Place {
    let place = Place::new();
    place.write("data/items.csv", "item,title,genres\n1,One,Drama\n2,Two,Crime\n3,Three,Drama\n");
    place.write("data/ratings.csv", "user,item,rating\n1,1,5\n1,2,1\n1,3,4\n2,1,4\n2,3,2\n2,2,5\n");
    place.write("prompt.md", prompt);
    place.write(
        "e.yaml",
        format!(
            "experiment: written
data:
  folder: data
  reader: table
  ratings: ratings.csv
  columns: {{user: user, item: item, rating: rating}}
  items: {{file: items.csv, item: item, title: title, genres: genres}}
  relevant: \">= 4\"
split: {{scheme: kfold, folds: 2, seed: 1, by: rating}}
endpoints:
  writer: {{base_url: \"{url}\", model: test-1, retries: 0{judge}}}
profiles:
  written: {{items: {{from: llm, judge: writer, prompt: prompt.md}}, users: {{from: template}}}}
systems:
  content: {{model: content, text: {{profiles: written}}}}
evaluate: {{k: [2]}}
"
        ),
    );
    place
}

pub const PROMPT: &str = "[user]\nTitle: {{ title }}\n";
pub const ASK: [&str; 5] = ["run", "e.yaml", "--until", "profiles", "--quiet"];

pub fn with(place: &Place, args: &[&str], variables: &[(&str, &str)]) -> Ended {
    let mut command = place.command(args);
    command.env("XDG_CONFIG_HOME", place.path("config")).env("ASSAY_RETRY_SECONDS", "0.01");
    command.envs(variables.iter().copied());
    ended(command.output().unwrap(), place.dir.path())
}

/// All files below a directory; links are not followed.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

/// Whether a text contains control sequences of a terminal.
fn drives(text: &str) -> bool {
    text.chars().any(|c| {
        (c.is_control() && c != '\n' && c != '\t') || ('\u{202a}'..='\u{202e}').contains(&c)
    })
}

#[test]
fn a_prompt_can_access_only_its_values() {
    let endpoint = Endpoint::start(|_, _| Reply::Content("x".into()));
    let deep = format!("{{{{ {}title{} }}}}", "(".repeat(20_000), ")".repeat(20_000));
    for attack in [
        "{{ get_env(name=\"AWS_SECRET_ACCESS_KEY\") }}",
        "{{ title | default(value=get_env(name=\"AWS_SECRET_ACCESS_KEY\")) }}",
        "{% macro again() %}{{ self::again() }}{% endmacro again %}{{ self::again() }}",
        "{% for i in range(end=1000000000) %}{{ title }}{% endfor %}",
        "{% include \"/etc/passwd\" %}",
        "{% set a = title %}{{ a }}",
        "{{ title | replace(from=\"e\", to=\"eeeeeeeee\") }}",
        &deep,
    ] {
        let place = written(
            &endpoint.url(),
            "",
            &format!("A note.\n[user]\nTitle: {{{{ title }}}}\n{attack}\n"),
        );
        for args in [&["plan", "e.yaml"][..], &ASK] {
            let refused = with(&place, args, &[("AWS_SECRET_ACCESS_KEY", "very-secret-0123")]);
            assert_eq!(refused.code, 2, "{args:?} {attack:.80}\n{}", refused.err);
            assert!(refused.err.contains("prompt.md:4: "), "{}", refused.err);
            assert!(
                refused.err.len() < 2000 && !refused.err.contains("very-secret"),
                "{}",
                refused.err
            );
        }
        assert!(!place.path(".assay/steps/profiles").exists());
    }
    // A loop over the characters of a text is found when the prompt is filled in.
    let place = written(&endpoint.url(), "", "[user]\n{% for c in title %}{{ c }}{% endfor %}\n");
    let refused = with(&place, &ASK, &[]);
    assert!(refused.code == 2 && refused.err.contains("a text and not a list"), "{}", refused.err);
    assert_eq!(endpoint.seen.total(), 0, "no request was sent");
    let place = written(&endpoint.url(), "", PROMPT);
    fs::remove_file(place.path("prompt.md")).unwrap();
    symlink("/dev/zero", place.path("prompt.md")).unwrap();
    assert_eq!(with(&place, &["plan", "e.yaml"], &[]).code, 2, "a device is no prompt");
}

#[test]
fn keys_are_sent_only_where_the_user_allowed() {
    let endpoint = Endpoint::start(|_, _| Reply::Content("x".into()));
    let secret = [("AWS_SECRET_ACCESS_KEY", "very-secret-0123456789")];
    let place = written(&endpoint.url(), ", key_env: AWS_SECRET_ACCESS_KEY", PROMPT);
    let refused = with(&place, &ASK, &secret);
    assert_eq!(refused.code, 2, "{}", refused.err);
    let host = endpoint.url().replace("http://", "").replace("/v1", "");
    let leave = format!("AWS_SECRET_ACCESS_KEY@{host}");
    assert!(refused.err.contains(&format!("--allow-key {leave}")), "{}", refused.err);
    assert!(!place.path(".assay").exists(), "before work starts");
    let plan = with(&place, &["plan", "e.yaml"], &secret);
    assert!(plan.code == 0 && plan.out.contains("not allowed yet"), "{}\n{}", plan.out, plan.err);
    assert_eq!(endpoint.seen.total(), 0);
    // Another host than that of the experiment is refused.
    let wrong =
        with(&place, &[&ASK[..], &["--allow-key", "AWS_SECRET_ACCESS_KEY@x"]].concat(), &secret);
    assert!(wrong.code == 2 && wrong.err.contains(&leave), "{}", wrong.err);
    let allowed = with(&place, &[&ASK[..], &["--allow-key", &leave]].concat(), &secret);
    assert_eq!(allowed.code, 0, "{}", allowed.err);
    let says = format!("the value of AWS_SECRET_ACCESS_KEY is sent to host {host}");
    assert!(allowed.err.contains(&says), "{}", allowed.err);
    // Recorded for the user, not in the experiment or its workspace.
    assert!(place.path("config/assay/allowed-keys.json").is_file());
    let plan = with(&place, &["plan", "e.yaml"], &secret);
    assert!(plan.out.contains(&format!("{says}\n")), "{}", plan.out);

    // Plain http to another machine; the address is reserved.
    let place = written("http://192.0.2.1/v1", ", key_env: SOME_API_KEY", PROMPT);
    let refused = with(&place, &ASK, &[("SOME_API_KEY", "very-secret-0123456789")]);
    assert!(refused.code == 2 && refused.err.contains("plain http"), "{}", refused.err);
    assert!(refused.err.contains("--allow-key SOME_API_KEY@192.0.2.1"), "{}", refused.err);
    // A replay sends nothing and needs no permission.
    let replay = with(&place, &[&ASK[..], &["--responses", "replay"]].concat(), &[]);
    assert_eq!(replay.code, 5, "{}", replay.err);

    let place = written(&endpoint.url(), ", key_env: SOME_API_KEY", PROMPT);
    let asked = endpoint.seen.total();
    let torn = with(&place, &ASK, &[("SOME_API_KEY", "very-secret\n0123456789")]);
    assert!(torn.code == 2 && torn.err.contains("line break"), "{}", torn.err);
    assert!(!torn.err.contains("very-secret") && endpoint.seen.total() == asked, "{}", torn.err);
}

#[test]
fn a_key_that_an_endpoint_sends_back_is_not_stored() {
    let secret = "sk-Qq7Zx0Lw3Vb9Nn5Tt2Rr8";
    let pieces: Vec<&str> = (0..=secret.len() - 8).map(|at| &secret[at..at + 8]).collect();
    let escaped: String = secret.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
    let message = |content: &str| json!({"message": {"content": content}, "finish_reason": "stop"});
    let mut name = json!({"choices": [message("x")]});
    name["choices"][0][secret] = json!(1);
    let bodies = [
        (200, name.to_string()),
        (200, json!({"choices": [message(&format!("my key is {} or {}", &secret[..12], &secret[8..]))]}).to_string()),
        (200, format!("{{\"choices\": [{{\"message\": {{\"content\": \"{escaped}\", \"{escaped}\": 1}}}}]}}")),
        // Shortened for display in the middle of the key.
        (400, format!("{}{secret}", "x".repeat(185))),
        (400, json!({"error": {"message": format!("Bad key {secret}"), (secret): secret}}).to_string()),
        (401, format!("{{\"error\": \"{escaped}\"}}")),
        (503, format!("{}{secret}", "y".repeat(195))),
        (200, format!("{}{secret}", "z".repeat(70))),
    ];
    for (status, body) in bodies {
        let endpoint = Endpoint::start({
            let body = body.clone();
            move |_, _| Reply::Raw(status, body.clone())
        });
        let place = written(&endpoint.url(), ", key_env: SOME_API_KEY", PROMPT);
        let run =
            with(&place, &["run", "e.yaml", "--until", "profiles"], &[("SOME_API_KEY", secret)]);
        assert!(
            endpoint.seen.total() > 0 && endpoint.seen.keys.lock().unwrap()[0].ends_with(secret)
        );
        for piece in &pieces {
            assert!(!run.err.contains(piece) && !run.out.contains(piece), "{body}\n{}", run.err);
        }
        let kept = files(place.dir.path());
        assert!(
            kept.iter().any(|path| path.extension().is_some_and(|end| end == "jsonl")),
            "{kept:?}"
        );
        for path in kept {
            let bytes = fs::read(&path).unwrap();
            for piece in &pieces {
                let is_in = bytes.windows(8).any(|window| window == piece.as_bytes());
                assert!(!is_in, "{} holds {piece}: {body}", path.display());
            }
        }
    }
}

#[test]
fn names_of_folds_and_systems_give_distinct_paths_inside_the_workspace() {
    let place = Place::new();
    place.write("victim.qrels", "mine");
    let mut rows = String::from("user,item,rating,fold\n");
    for (at, fold) in ["../victim", "/abs", "a b", "a_b", "A_B"].iter().enumerate() {
        for user in 1..=4 {
            rows.push_str(&format!("{user},{},5,{fold}\n", 10 * user + at));
        }
    }
    place.write("data/ratings.csv", rows);
    place.write(
        "e.yaml",
        "experiment: names
data:
  folder: data
  reader: table
  ratings: ratings.csv
  columns: {user: user, item: item, rating: rating, fold: fold}
  relevant: any
split: {scheme: official}
systems:
  a/b: {model: popularity}
  a b: {model: random}
  a_b: {model: popularity}
  k: {model: item-knn, neighbours: {sweep: {../../x: 3, /x: 4}}}
evaluate: {k: [2]}
",
    );
    place.fine(&["run", "e.yaml", "--quiet"]);
    for (format, ending) in [("trec", "run"), ("elliot", "tsv"), ("recbole", "tsv")] {
        place.fine(&["export", "e.yaml", "--format", format, "--out", "out/of"]);
        let list: Value =
            serde_json::from_slice(&fs::read(place.path("out/of/export.json")).unwrap()).unwrap();
        let listed = list["files"].as_array().unwrap();
        let rankings = listed.iter().filter(|file| {
            let name = file["file"].as_str().unwrap();
            name.ends_with(&format!(".{ending}")) && !name.contains('/')
        });
        assert_eq!(rankings.count(), 5 * 5, "one for each trial: {list:#}");
        for file in listed {
            let path = place.path("out/of").join(file["file"].as_str().unwrap());
            let found = blake3::hash(&fs::read(&path).unwrap()).to_string();
            assert_eq!(file["blake3"], found, "{} is another's", path.display());
        }
        fs::remove_dir_all(place.path("out")).unwrap();
    }
    assert_eq!(fs::read_to_string(place.path("victim.qrels")).unwrap(), "mine");
    let known = ["data", "e.yaml", "victim.qrels", ".assay", "reports"];
    for entry in fs::read_dir(place.dir.path()).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        assert!(known.contains(&&name[..]), "{name} was written beside");
    }
    let logs = files(&place.path(".assay/runs")).into_iter();
    assert_eq!(logs.filter(|path| path.extension().is_some_and(|end| end == "log")).count(), 25);
}

#[test]
fn a_manifest_can_name_only_files_in_the_data_directory() {
    let manifest = |name: &str, folder: &str, file: &str| {
        format!(
            "name: \"{name}\"\ntitle: t\nlicence: l\nfolders: [\"{folder}\"]\narchive: {{url: \
             \"http://127.0.0.1:9/a.zip\"}}\nreader: {{name: table, ratings: \"{file}\", columns: {{user: u, item: \
             i}}}}\n"
        )
    };
    for (name, folder, file) in [
        ("../x", "x", "r.csv"),
        ("/x", "x", "r.csv"),
        ("x", "../../x", "r.csv"),
        ("x", "/tmp/x", "r.csv"),
        ("x", "x", "../r.csv"),
        ("x", "x", "/etc/cron.d/r"),
        ("x", ".", "r.csv"),
    ] {
        let place = Place::new();
        place.write("datasets/x.yaml", manifest(name, folder, file));
        let mut command = place.command(&["data", "fetch", name]);
        command.env("ASSAY_DATA", place.path("datasets"));
        let refused = ended(command.output().unwrap(), place.dir.path());
        assert_eq!(refused.code, 2, "{name} {folder} {file}");
        assert!(
            refused.err.contains("x.yaml") && !refused.err.contains("127.0.0.1"),
            "{}",
            refused.err
        );
    }
    // A link in a cloned repository instead of the folder or the download.
    let place = Place::new();
    place.write("datasets/x.yaml", manifest("x", "x", "r.csv"));
    place.write("home/.profile", "mine");
    symlink(place.path("home"), place.path("datasets/x")).unwrap();
    let fetch = || {
        let mut command = place.command(&["data", "fetch", "x"]);
        command.env("ASSAY_DATA", place.path("datasets"));
        ended(command.output().unwrap(), place.dir.path())
    };
    let refused = fetch();
    assert!(refused.code == 2 && refused.err.contains("symbolic link"), "{}", refused.err);
}

#[test]
fn the_name_in_a_batch_note_cannot_name_another_file() {
    let endpoint = Endpoint::start(|_, _| Reply::Content("x".into()));
    let place = written(&endpoint.url(), ", batch: true", PROMPT);
    place.write("victim.json", "{\"mine\": 1}");
    let note =
        json!({"name": "../../../victim", "base_url": endpoint.url(), "batch": null, "keys": []});
    place.write(".assay/answers/batches/note.json", note.to_string());
    let refused = with(&place, &ASK, &[]);
    assert!(
        refused.code == 4 && refused.err.contains("differs from the name of the file"),
        "{}",
        refused.err
    );
    assert_eq!(fs::read_to_string(place.path("victim.json")).unwrap(), "{\"mine\": 1}");
}

#[test]
fn links_in_a_workspace_are_not_followed() {
    let place = Place::new();
    place.write("small.yaml", SMALL);
    place.write("victim", "mine\n");
    let plan: Value = serde_json::from_str(&place.fine(&["plan", "small.yaml", "--json"])).unwrap();
    let keys: Vec<&str> =
        plan["steps"].as_array().unwrap().iter().map(|of| of["key"].as_str().unwrap()).collect();
    let mine = || assert_eq!(fs::read_to_string(place.path("victim")).unwrap(), "mine\n");
    fs::create_dir_all(place.path(".assay/locks")).unwrap();
    symlink(place.path("victim"), place.path(".assay/.gitignore")).unwrap();
    for key in &keys {
        symlink(place.path("victim"), place.path(&format!(".assay/locks/{key}.lock"))).unwrap();
    }
    let run = place.assay(&["run", "small.yaml"]);
    assert!(run.code == 4 && run.err.contains("symbolic link"), "{}", run.err);
    mine();
    for lock in ["users.lock", "index.lock", "claims", "journal/1.jsonl"] {
        fs::remove_dir_all(place.path(".assay")).unwrap();
        fs::create_dir_all(place.path(".assay/answers/journal")).unwrap();
        symlink(place.path("victim"), place.path(&format!(".assay/answers/{lock}"))).unwrap();
        for args in [&["stats"][..], &["verify"], &["export", "x.gz"], &["rebuild"], &["gc"]] {
            let refused = place.assay(&[&["cache"], args].concat());
            assert!(lock == "claims" || refused.code == 2, "{lock} {args:?}: {}", refused.err);
            mine();
        }
    }

    // A pipe, a device or a link instead of a file of a step is damage, and does not block.
    fs::remove_dir_all(place.path(".assay")).unwrap();
    let expected = place.fine(&["run", "small.yaml", "--quiet"]);
    let fit = plan["steps"].as_array().unwrap().iter().find(|of| of["kind"] == "evaluate").unwrap();
    let dir = place.path(&format!(".assay/steps/evaluate/{}", fit["key"].as_str().unwrap()));
    let file = files(&dir).into_iter().find(|path| !path.ends_with("record.json")).unwrap();
    for attack in ["pipe", "/dev/zero", "link"] {
        fs::rename(&file, place.path("real")).unwrap();
        match attack {
            "pipe" => assert!(Command::new("mkfifo").arg(&file).status().unwrap().success()),
            "link" => symlink(place.path("real"), &file).unwrap(),
            device => symlink(device, &file).unwrap(),
        }
        let again = place.assay(&["run", "small.yaml"]);
        assert!(
            again.code == 0 && again.err.contains("is damaged and is rebuilt"),
            "{attack}: {}",
            again.err
        );
        assert_eq!(place.fine(&["run", "small.yaml", "--quiet"]), expected, "{attack}");
    }

    // The target of a link is not removed.
    place.write("home/mine", "mine");
    symlink(place.path("home"), place.path(".assay/steps/other")).unwrap();
    place.fine(&["gc", "small.yaml", "--yes"]);
    assert!(place.path("home/mine").is_file());
}

/// The record of an experiment names steps by kind and key, and its own directory: parts of paths.
#[test]
fn a_record_from_a_stranger_names_no_other_path() {
    let place = Place::new();
    place.write("small.yaml", SMALL);
    place.fine(&["run", "small.yaml", "--quiet"]);
    let find = |of: &Path| files(of).into_iter().find(|path| path.ends_with("experiment.json"));
    let path = find(&place.path(".assay/experiments")).unwrap();
    let record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    place.fine(&["results", "small.yaml"]);
    for hostile in ["../../victim", "/etc", "a/b"] {
        for at in ["kind", "slot"] {
            let mut changed = record.clone();
            match at {
                "kind" => changed["steps"][0]["kind"] = hostile.into(),
                _ => changed["slot"] = hostile.into(),
            }
            fs::write(&path, changed.to_string()).unwrap();
            for command in ["results", "table", "report", "audit"] {
                let ended = place.assay(&[command, "small"]);
                let is_named = ended.err.contains("is no name of a step or an experiment");
                assert!(ended.code != 0 && is_named, "{at} {hostile} {command}: {}", ended.err);
            }
        }
    }
}

#[test]
fn files_that_are_no_experiments_are_not_printed() {
    let place = Place::new();
    let secret = "root:x:0:0:top-secret:/root:/bin/bash\n".repeat(2000);
    place.write("passwd", &secret);
    place.write("one-line", "secret ".repeat(100_000));
    place.write("list", format!("- {}\n", "secret ".repeat(1000)));
    place.write("broken", format!("{}: [1\n", "secret ".repeat(1000)));
    for file in ["passwd", "one-line", "list", "broken"] {
        for text in
            [format!("include: {file}\n{SMALL}"), format!("{SMALL}describe: {{use: {file}}}\n")]
        {
            place.write("e.yaml", text);
            let refused = place.assay(&["plan", "e.yaml"]);
            assert_eq!(refused.code, 2, "{}", refused.err);
            assert!(
                refused.err.len() < 1200,
                "{file}: {} bytes: {:.1500}",
                refused.err.len(),
                refused.err
            );
        }
    }
    place.write("e.yaml", SMALL.replace("popularity}", &format!("\"{}\"}}", "m".repeat(100_000))));
    let refused = place.assay(&["plan", "e.yaml"]);
    assert!(refused.code == 2 && refused.err.len() < 3000, "{} bytes", refused.err.len());
}

#[test]
fn files_that_assay_did_not_write_are_not_overwritten() {
    let place = Place::new();
    place.write("small.yaml", SMALL);
    place.write("site/index.html", "mine");
    let refused = place.assay(&["run", "small.yaml", "--out", "site"]);
    assert!(refused.code == 2 && refused.err.contains("--overwrite"), "{}", refused.err);
    assert!(!place.path(".assay").exists(), "before work starts");
    place.fine(&["run", "small.yaml", "--out", "own", "--quiet"]);
    place.fine(&["run", "small.yaml", "--out", "own", "--quiet"]);
    assert_eq!(place.assay(&["report", "small.yaml", "--out", "site"]).code, 2);
    assert_eq!(fs::read_to_string(place.path("site/index.html")).unwrap(), "mine");
    place.fine(&["report", "small.yaml", "--out", "site", "--overwrite"]);
    place.write("runs/popularity--f1--seed1.run", "mine");
    let refused = place.assay(&["export", "small.yaml", "--format", "trec", "--out", "runs"]);
    assert!(refused.code == 2 && refused.err.contains("--overwrite"), "{}", refused.err);
    assert_eq!(fs::read_to_string(place.path("runs/popularity--f1--seed1.run")).unwrap(), "mine");
    for _ in 0..2 {
        place.fine(&["export", "small.yaml", "--format", "trec", "--out", "new"]);
    }
    place.write("r.csv", "user,item,score\nu001,i001,1\n");
    place.write("page.html", "mine");
    let refused =
        place.assay(&["score", "--data", "sample", "--fold", "f1", "r.csv", "--html", "page.html"]);
    assert!(refused.code == 2 && refused.err.contains("--overwrite"), "{}", refused.err);

    let endpoint = Endpoint::start(|_, _| Reply::Content("x".into()));
    let place = written(&endpoint.url(), "", PROMPT);
    assert_eq!(with(&place, &ASK, &[]).code, 0);
    place.write("thesis.tex", "mine");
    let refused = place.assay(&["cache", "export", "thesis.tex"]);
    assert!(refused.code == 2 && refused.err.contains("--overwrite"), "{}", refused.err);
    assert_eq!(fs::read_to_string(place.path("thesis.tex")).unwrap(), "mine");
    for _ in 0..2 {
        place.fine(&["cache", "export", "c.jsonl.gz"]);
    }
    place.fine(&["cache", "export", "thesis.tex", "--overwrite"]);
}

const HOSTILE: &str = "\u{1b}]52;c;ZXZpbA==\u{7}\u{1b}[2J\u{9b}31m\u{202e}\u{0}";

#[test]
fn no_input_can_send_control_sequences_to_a_terminal() {
    let place = Place::new();
    let hostile = HOSTILE.replace('\0', "");
    // A downloaded file: its columns, its ids and its name.
    place.write("columns.csv", format!("us{hostile}er,item,sc{hostile}ore\n1,2,3\n"));
    place.write(
        "ids.csv",
        format!("user,item,score\nu{HOSTILE}1,i{HOSTILE}2,1\nu001,i{HOSTILE}3,x{HOSTILE}\n"),
    );
    place.write(&format!("n{hostile}.csv"), "user,item,score\nu001,i001,1\n");
    let named = format!("n{hostile}.csv");
    for file in ["columns.csv", "ids.csv", &named] {
        for more in [&[][..], &["--format", "markdown"], &["--json"], &["--seen", "drop"]] {
            let args = [&["score", "--data", "sample", "--fold", "f1", file], more].concat();
            let scored = place.assay(&args);
            assert!(!drives(&scored.err), "{args:?}: {:?}", scored.err);
            assert!(!drives(&scored.out), "{args:?}: {:?}", scored.out);
            if more == ["--json"] && scored.code == 0 {
                serde_json::from_str::<Value>(&scored.out).unwrap();
            }
        }
    }
    // Names in experiments must not contain such characters.
    for (from, to) in [
        ("popularity:", "\"pop\\e[2J\":"),
        ("experiment: small", "experiment: \"small\\a\""),
        ("evaluate", "describe: \"x\\u202ey\"\nevaluate"),
    ] {
        place.write("e.yaml", SMALL.replace(from, to));
        let refused = place.assay(&["plan", "e.yaml"]);
        assert!(refused.code == 2 && refused.err.contains("control character"), "{}", refused.err);
        assert!(!drives(&refused.err), "{:?}", refused.err);
    }
    // Messages of an endpoint, on the terminal, in logs and in records.
    let said = json!({"error": {"message": format!("no{HOSTILE}")}}).to_string();
    let endpoint = Endpoint::start(move |_, _| Reply::Raw(400, said.clone()));
    let place = written(&endpoint.url(), "", PROMPT);
    let run = with(&place, &["run", "e.yaml", "--until", "profiles"], &[]);
    assert!(run.code == 4 && run.err.contains("\\u{1b}]52"), "{}", run.err);
    assert!(!drives(&run.err), "{:?}", run.err);
    let logs = files(&place.path(".assay/runs"));
    let mut read = 0;
    for log in logs.iter().filter(|path| path.extension().is_some_and(|end| end == "log")) {
        assert!(!drives(&fs::read_to_string(log).unwrap()), "{}", log.display());
        read += 1;
    }
    assert!(read > 0);
    let events = with(&place, &["run", "e.yaml", "--until", "profiles", "--json"], &[]);
    assert!(!drives(&events.out), "{:?}", events.out);
}

#[test]
fn pages_contain_no_scripts_and_tables_no_markup() {
    let place = Place::new();
    place.write(
        "e.yaml",
        SMALL
            .replace("  popularity:", "  \"<img src=x>|[a](javascript:1)*\":")
            .replace("[10]", "[5, 10]"),
    );
    place.fine(&["run", "e.yaml", "--quiet"]);
    let page = fs::read_to_string(place.path("reports/small/index.html")).unwrap();
    assert!(page.contains("http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'"));
    assert!(!page.contains("<img src=x>"));
    // One script, whose hash the policy names, and data, which is no program.
    let scripts: Vec<&str> = page.split("<script").skip(1).collect();
    let [data, script] = &scripts[..] else { panic!("{} scripts", scripts.len()) };
    assert!(data.starts_with(" type=\"application/json\""), "{data}");
    let script = script.strip_prefix('>').unwrap().split("</script>").next().unwrap();
    let hash = BASE64_STANDARD.encode(Sha256::digest(script));
    assert!(
        page.contains(&format!("script-src 'sha256-{hash}';")),
        "another script than the policy's"
    );
    let markdown = place.fine(&["table", "e.yaml", "--format", "markdown"]);
    assert!(markdown.contains("| \\<img src=x\\>\\|\\[a\\](javascript:1)\\* |"), "{markdown}");
    for svg in files(&place.path("reports"))
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "svg"))
    {
        assert!(!fs::read_to_string(svg).unwrap().contains("<img"), "{}", svg.display());
    }
}

#[test]
fn spreadsheets_contain_no_formulas_and_other_formats_the_values() {
    let place = Place::new();
    place.write("e.yaml", SMALL.replace("  popularity:", "  \"=HYPERLINK(1)\":"));
    place.fine(&["run", "e.yaml", "--quiet"]);
    let plain = place.fine(&["results", "e.yaml", "--csv"]);
    assert!(plain.contains("small,=HYPERLINK(1),f1"), "{plain}");
    let quoted = place.fine(&["results", "e.yaml", "--csv", "--spreadsheet"]);
    assert_eq!(quoted, plain.replace("=HYPER", "'=HYPER"));
    let table = place.fine(&["table", "e.yaml", "--format", "csv", "--spreadsheet"]);
    assert!(table.contains("\"'=HYPERLINK(1)\""), "{table}");
}

/// A sealed index lists the files of the journal: missing or truncated responses are not silently paid for again.
#[test]
fn a_lost_file_of_the_journal_is_detected() {
    let endpoint = Endpoint::start(|_, _| Reply::Content("x".into()));
    let place = written(&endpoint.url(), "", PROMPT);
    assert_eq!(with(&place, &ASK, &[]).code, 0);
    let asked = endpoint.seen.total();
    let segment = files(&place.path(".assay/answers/journal")).remove(0);
    let whole = fs::read(&segment).unwrap();
    let end = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    for left in [None, Some(end), Some(end + 7)] {
        match left {
            None => fs::remove_file(&segment).unwrap(),
            Some(left) => fs::write(&segment, &whole[..left]).unwrap(),
        }
        let _ = fs::remove_dir_all(place.path(".assay/steps"));
        for _ in 0..2 {
            let refused = with(&place, &ASK, &[]);
            assert!(
                refused.code == 4 && refused.err.contains("missing or truncated"),
                "{left:?}: {}",
                refused.err
            );
        }
        assert_eq!(place.assay(&["cache", "verify"]).code, 1);
        assert_eq!(place.assay(&["cache", "gc"]).code, 2);
        // After the file is restored, there is no error.
        fs::write(&segment, &whole).unwrap();
        let again = with(&place, &ASK, &[]);
        assert_eq!(again.code, 0, "{left:?}: {}", again.err);
        assert_eq!(endpoint.seen.total(), asked, "{left:?}");
        place.fine(&["cache", "verify"]);
    }
    fs::remove_file(&segment).unwrap();
    let _ = fs::remove_dir_all(place.path(".assay/steps"));
    assert_eq!(with(&place, &ASK, &[]).code, 4);
    place.fine(&["cache", "rebuild"]);
    place.fine(&["cache", "verify"]);
    assert_eq!(with(&place, &ASK, &[]).code, 0, "after `rebuild` the run continues without it");
    assert_eq!(endpoint.seen.total(), 2 * asked);
}

/// A failed write of a message must not fail a run.
#[test]
fn a_closed_output_does_not_end_a_run() {
    let place = Place::new();
    place.write("small.yaml", SMALL);
    let mut child = place
        .command(&["run", "small.yaml"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Closed before anything is written.
    drop((child.stdout.take(), child.stderr.take()));
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(place.path("reports/small/index.html").is_file());
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let told = place.command(&["run", "small.yaml", "--force"]).stderr(full()).output().unwrap();
    assert_eq!(told.status.code(), Some(0));
    let lost = place.command(&["results", "small.yaml"]).stdout(full()).output().unwrap();
    assert_eq!(lost.status.code(), Some(74), "results that cannot be written are an error");
}
