//! Networks: training, checkpoints, search, and what is said when it cannot be done.

use std::{fs, process::Stdio, thread, time::Duration};

use serde_json::Value;

use crate::support::{Place, ended, means};

const NETWORKS: &str = "experiment: networks
data: {set: sample, relevant: \">= 4\", disliked: \"<= 2\"}
split: {scheme: official, only: [f1], validation: {fraction: 0.1}}
systems:
  popularity: {model: popularity}
  bprmf: {model: bprmf, dim: 32, training: {epochs: 40, learning_rate: 0.01, batch: 256}}
  lightgcn: {model: lightgcn, dim: 32, layers: 2, training: {epochs: 30, learning_rate: 0.01, batch: 256}}
  ngcf: {model: ngcf, dim: 32, layers: 1, training: {epochs: 12, learning_rate: 0.005, batch: 256}}
  lightgcn dropout:
    model: lightgcn
    dim: 32
    layers: 2
    dropout: 0.1
    training: {epochs: 30, learning_rate: 0.01, batch: 256, negatives: {exclude: nothing}}
  sgl: {model: sgl, factors: 32, layers: 2, contrast: 0.003, training: {epochs: 15, learning_rate: 0.01, batch: 256}}
  sgl-nd:
    model: sgl
    factors: 32
    layers: 2
    views: node-drop
    contrast: 0.003
    training: {epochs: 15, learning_rate: 0.01, batch: 256, negatives: {draw: hard, candidates: 2}}
  sgl-rw:
    model: sgl
    factors: 32
    layers: 2
    views: random-walk
    among: batch
    contrast: 0.003
    training: {epochs: 15, learning_rate: 0.01, batch: 256}
  simgcl: {model: simgcl, factors: 32, layers: 2, contrast: 0.003, training: {epochs: 15, learning_rate: 0.01, batch: 256}}
  xsimgcl: {model: xsimgcl, factors: 32, layers: 2, contrast: 0.003, training: {epochs: 15, learning_rate: 0.01, batch: 256}}
  ngcf cross-entropy:
    model: ngcf
    dim: 32
    layers: 1
    loss: cross-entropy
    train_share: {share: 0.9, seed: 1}
    training: {epochs: 12, learning_rate: 0.005, batch: 256}
  gat:
    model: gat
    features: 32
    hidden: 16
    heads: [2, 1]
    training:
      epochs: 60
      learning_rate: 0.01
      optimizer: adamw
      weight_decay: 0.01
      clip: 5
      schedule: {plateau: {factor: 0.5, patience: 2, lowest: 0.0001}}
      negatives: {exclude: liked-and-disliked, draw: hard, candidates: 3}
      validate: {every: 5}
      stop: {on: validation, patience: 4}
evaluate: {k: [10]}
";

#[test]
fn networks_learn_the_same_whatever_the_thread_count() {
    let place = Place::new();
    place.write("e.yaml", NETWORKS);
    place.fine(&["run", "e.yaml", "--threads", "1", "--workspace", "one"]);
    place.fine(&["run", "e.yaml", "--threads", "3", "--workspace", "three"]);
    assert_eq!(place.artefacts("one"), place.artefacts("three"));
    let csv = place.fine(&["results", "e.yaml", "--workspace", "one"]);
    let ndcg = means(&csv, "ndcg", "10");
    assert!(ndcg["bprmf"] > ndcg["popularity"], "{ndcg:?}");
    for system in [
        "lightgcn",
        "ngcf",
        "gat",
        "lightgcn dropout",
        "ngcf cross-entropy",
        "sgl",
        "sgl-nd",
        "sgl-rw",
        "simgcl",
        "xsimgcl",
    ] {
        assert!(ndcg[system] > 1.1 * ndcg["popularity"], "{ndcg:?}");
    }
    let artefacts = place.artefacts("one");
    let history = artefacts.iter().find_map(|(name, bytes)| {
        let text = name.ends_with("history.json").then(|| String::from_utf8_lossy(bytes))?;
        text.contains("\"validation\":0.").then(|| text.into_owned())
    });
    let history: Value = serde_json::from_str(&history.unwrap()).unwrap();
    let (first, last) = (&history[0], &history[history.as_array().unwrap().len() - 1]);
    assert!(last["bpr"].as_f64() < first["bpr"].as_f64());
    assert!(last["cosine"].as_f64() < first["cosine"].as_f64());
}

const LONG: &str = "experiment: long
data: {set: sample, relevant: \">= 4\"}
split: {scheme: official, only: [f1], validation: {fraction: 0.1}}
systems:
  lightgcn:
    model: lightgcn
    dim: 32
    training: {epochs: 36, learning_rate: 0.01, batch: 64, validate: {every: 7}}
evaluate: {k: [10]}
";

/// Killed at once, or asked to stop: what comes out in the end is the same.
#[test]
fn a_killed_training_goes_on_from_its_checkpoint() {
    let place = Place::new();
    place.write("e.yaml", LONG);
    goes_on_when_killed(&place, "lightgcn--f1--seed1");
}

/// The graphs of an epoch and the noise of a step are drawn again as they were.
#[test]
fn a_killed_contrastive_training_goes_on_from_its_checkpoint() {
    for model in ["sgl", "xsimgcl"] {
        let place = Place::new();
        let system = LONG.replace("dim: 32", "factors: 16\n    layers: 1");
        place.write(
            "e.yaml",
            system
                .replace("lightgcn", model)
                .replace("epochs: 36", "epochs: 24")
                .replace("batch: 64", "batch: 256"),
        );
        goes_on_when_killed(&place, &format!("{model}--f1--seed1"));
    }
}

/// Kills the run of `e.yaml`, which trains one network, again and again.
pub fn goes_on_when_killed(place: &Place, trial: &str) {
    place.fine(&["run", "e.yaml", "--workspace", "whole"]);
    for signal in ["-KILL", "-INT"] {
        let workspace = format!("cut{signal}");
        for round in 0..3 {
            let mut child = place
                .command(&["run", "e.yaml", "--workspace", &workspace])
                .env("ASSAY_CHECKPOINT_SECONDS", "0.02")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            // Until it has learnt something that it would have to learn again.
            let before = epochs_logged(place, &workspace, trial);
            while epochs_logged(place, &workspace, trial) < before + 4
                && child.try_wait().unwrap().is_none()
            {
                thread::sleep(Duration::from_millis(5));
            }
            let pid = child.id().to_string();
            let _ = std::process::Command::new("kill").args([signal, &pid]).status();
            child.wait().unwrap();
            let goes_on = logs(place, &workspace, trial)
                .iter()
                .filter(|l| l.contains("goes on after epoch"))
                .count();
            assert_eq!(
                goes_on, round,
                "{signal}: each run but the first goes on from a checkpoint"
            );
        }
        let last = place.assay(&["run", "e.yaml", "--workspace", &workspace]);
        assert_eq!(last.code, 0, "{}", last.err);
        assert_eq!(place.artefacts("whole"), place.artefacts(&workspace), "{signal}");
        let scratch = place.path(&workspace).join("scratch");
        assert!(!scratch.read_dir().is_ok_and(|mut dir| dir.next().is_some()));
    }
}

/// The training's log of every run in a workspace.
fn logs(place: &Place, workspace: &str, trial: &str) -> Vec<String> {
    let runs = fs::read_dir(place.path(workspace).join("runs")).into_iter().flatten().flatten();
    runs.filter_map(|run| fs::read_to_string(run.path().join(format!("logs/{trial}.log"))).ok())
        .collect()
}

fn epochs_logged(place: &Place, workspace: &str, trial: &str) -> usize {
    logs(place, workspace, trial).iter().map(|log| log.matches(": epoch ").count()).sum()
}

#[test]
fn a_search_tries_all_settings_and_trains_the_best() {
    let place = Place::new();
    let experiment = "experiment: search
data: {set: sample, relevant: \">= 4\"}
split: {scheme: official, only: [f1]}
seeds: [1, 2]
systems:
  als: {model: als, factors: 8, iterations: 5, search: {over: {regularization: [0.1, 5, 500], alpha: [1, 2]}}}
  bprmf:
    model: bprmf
    dim: 32
    training: {epochs: 30, batch: 256, validate: {every: 5}, stop: {on: validation, patience: 2}}
    search: {trials: 3, over: {training.learning_rate: {log: [0.001, 0.05]}}}
evaluate: {k: [10]}
";
    place.write("e.yaml", experiment);
    place.fine(&["run", "e.yaml"]);
    let searches: Vec<Value> = place
        .artefacts(".assay")
        .iter()
        .filter(|(name, _)| name.ends_with("search.json"))
        .map(|(_, bytes)| serde_json::from_slice(bytes).unwrap())
        .collect();
    // Searched once a model, then kept beside the fit of each seed.
    assert_eq!(fs::read_dir(place.path(".assay/steps/search")).unwrap().count(), 2);
    assert_eq!(searches.len(), 2 + 2 * 2);
    let distinct: std::collections::BTreeSet<String> =
        searches.iter().map(ToString::to_string).collect();
    assert_eq!(distinct.len(), 2);
    for trials in &searches {
        let trials = trials.as_array().unwrap();
        assert!([3, 6].contains(&trials.len()));
        let best = trials.iter().filter_map(|trial| trial["value"].as_f64()).fold(0.0, f64::max);
        let chosen: Vec<&Value> = trials.iter().filter(|trial| trial["chosen"] == true).collect();
        assert_eq!(chosen.len(), 1);
        assert_eq!(chosen[0]["value"].as_f64(), Some(best));
    }
    // A model that was searched for is loaded as it was fitted.
    let before = place.fine(&["results", "e.yaml"]);
    for kind in ["predict", "evaluate"] {
        fs::remove_dir_all(place.path(".assay/steps").join(kind)).unwrap();
    }
    place.fine(&["run", "e.yaml"]);
    assert_eq!(before, place.fine(&["results", "e.yaml"]));
}

/// One file of each fit step, by the system's name.
fn of_fits(place: &Place, workspace: &str, file: &str) -> Vec<(String, Vec<u8>)> {
    let steps = fs::read_dir(place.path(workspace).join("steps/fit")).unwrap().flatten();
    let mut found: Vec<(String, Vec<u8>)> = steps
        .map(|step| {
            let record = fs::read_to_string(step.path().join("record.json")).unwrap();
            let record: Value = serde_json::from_str(&record).unwrap();
            let name = record["label"].as_str().unwrap().to_owned();
            (name, fs::read(step.path().join(file)).unwrap_or_default())
        })
        .collect();
    found.sort();
    found
}

fn history(bytes: &[u8]) -> Vec<Value> {
    serde_json::from_slice(bytes).unwrap()
}

/// What is kept must be what a training of just so many epochs gives, to the byte.
#[test]
fn stopping_and_keeping_do_what_they_say() {
    let place = Place::new();
    let with = |name: &str, training: &str| {
        let system = format!(
            "  {name}: {{model: bprmf, dim: 16, training: {{epochs: 60, learning_rate: 0.05, batch: 256{training}}}}}\n"
        );
        system
    };
    let head = "experiment: keep\ndata: {set: sample, relevant: \">= 4\"}\nsplit: {scheme: official, only: \
                [f1], validation: {fraction: 0.1}}\nevaluate: {k: [10]}\nsystems:\n";
    let systems = [
        with("a-loss", ", stop: {on: training-loss, patience: 2}, keep: best"),
        with("b-both", ", validate: {every: 1}, stop: {on: training-loss, patience: 2}"),
        with("c-metric", ", validate: {every: 1}, stop: {on: validation, patience: 2}"),
        with("d-last", ", stop: {on: training-loss, patience: 2}"),
    ];
    place.write("e.yaml", format!("{head}{}", systems.concat()));
    place.fine(&["run", "e.yaml", "--workspace", "stopped"]);
    let histories = of_fits(&place, "stopped", "history.json");
    // Epochs without an improvement at the end, and the best epoch.
    let last = |values: &[f64]| {
        let best = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let at = values.iter().position(|value| *value == best).unwrap() + 1;
        (values.len() - at, at)
    };
    let mut kept = Vec::new();
    for (name, bytes) in &histories {
        let epochs = history(bytes);
        let losses: Vec<f64> = epochs.iter().map(|e| -e["loss"].as_f64().unwrap()).collect();
        let metric: Vec<f64> = epochs.iter().filter_map(|e| e["validation"].as_f64()).collect();
        assert!(losses.len() < 60, "{name}: {}", losses.len());
        kept.push(match &name[..1] {
            "a" => {
                assert_eq!(last(&losses).0, 2, "{name}");
                last(&losses).1
            }
            "b" => {
                assert_eq!((last(&losses).0, metric.len()), (2, losses.len()), "{name}");
                last(&metric).1
            }
            "c" => {
                assert_eq!(last(&metric).0, 2, "{name}");
                last(&metric).1
            }
            _ => losses.len(),
        });
    }
    assert!(kept[0] < kept[3] && kept[1] < history(&histories[1].1).len(), "{kept:?}");
    // The twins: so many epochs, nothing else.
    let twins: String = ["a-loss", "b-both", "c-metric", "d-last"]
        .iter()
        .zip(&kept)
        .map(|(name, epochs)| with(name, "").replace("epochs: 60", &format!("epochs: {epochs}")))
        .collect();
    place.write("e.yaml", format!("{head}{twins}"));
    place.fine(&["run", "e.yaml", "--workspace", "twins"]);
    let models = |workspace| {
        let mut models = of_fits(&place, workspace, "model.safetensors");
        models.retain(|(_, bytes)| !bytes.is_empty());
        models
    };
    let twin = models("twins");
    for (name, bytes) in models("stopped") {
        assert!(twin.iter().any(|(of, twin)| *of == name && *twin == bytes), "{name}: {kept:?}");
    }
}

/// A model that is fitted after a search has the learning rates of the trial that was chosen, however
/// long that trial was to last and whatever it measured.
#[test]
fn a_refit_follows_the_learning_rates_of_the_trial() {
    let place = Place::new();
    place.write(
        "e.yaml",
        "experiment: rates
data: {set: sample, relevant: \">= 4\"}
split: {scheme: official, only: [f1]}
seeds: [1, 2]
systems:
  cosine:
    model: bprmf
    dim: 16
    training:
      epochs: 40
      batch: 256
      schedule: {cosine: {lowest: 0.0001}}
      validate: {every: 1}
      stop: {on: validation, patience: 3}
    search: {over: {training.learning_rate: [0.05]}}
  plateau:
    model: bprmf
    dim: 16
    training:
      epochs: 40
      batch: 256
      schedule: {plateau: {factor: 0.5, patience: 1, lowest: 0.0001}}
      validate: {every: 1}
      stop: {on: validation, patience: 6}
    search: {over: {training.learning_rate: [0.05]}}
  loss:
    model: bprmf
    dim: 16
    training:
      epochs: 60
      batch: 256
      stop: {on: training-loss, patience: 2}
      keep: best
    search: {over: {training.learning_rate: [0.05]}}
evaluate: {k: [10]}
",
    );
    place.fine(&["run", "e.yaml"]);
    let histories = of_fits(&place, ".assay", "history.json");
    let searches = of_fits(&place, ".assay", "search.json");
    assert_eq!((histories.len(), searches.len()), (6, 6));
    for ((name, of_fit), (_, search)) in histories.iter().zip(&searches) {
        let trials: Value = serde_json::from_slice(search).unwrap();
        let epochs = trials[0]["epochs"].as_u64().unwrap() as usize;
        let rates: Vec<f64> =
            history(of_fit).iter().map(|epoch| epoch["learning_rate"].as_f64().unwrap()).collect();
        assert_eq!(rates.len(), epochs, "{name}");
        assert!((2..40).contains(&epochs), "{name}: {epochs}");
        let of_trial = trials[0].get("rates").map(|rates| {
            rates.as_array().unwrap().iter().map(|rate| rate.as_f64().unwrap()).collect::<Vec<_>>()
        });
        match name.split(' ').next().unwrap() {
            // The horizon is that of the trial: 40 epochs.
            "cosine" => {
                let expected: Vec<f64> = (0..epochs)
                    .map(|epoch| {
                        let done = std::f64::consts::PI * epoch as f64 / 40.0;
                        0.0001 + (0.05 - 0.0001) * 0.5 * (1.0 + done.cos())
                    })
                    .collect();
                let near = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-12;
                assert!(rates.iter().zip(&expected).all(near), "{rates:?}");
                assert_eq!(of_trial, Some(rates));
            }
            "plateau" => assert_eq!(of_trial, Some(rates)),
            // Constant: nothing to be written down.
            _ => assert_eq!((of_trial, &rates[..]), (None, &vec![0.05; epochs][..])),
        }
    }
}

/// A search follows the split: on a split by time it measures on the latest of the training part.
#[test]
fn a_search_of_a_split_by_time_cuts_by_time() {
    let place = Place::new();
    let experiment = |split: &str, search: &str| {
        format!(
            "experiment: time\ndata: {{set: sample, relevant: \">= 4\"}}\nsplit: {{{split}}}\nsystems:\n  als: \
             {{model: als, factors: 8, iterations: 2, search: {{over: {{alpha: [1, 2]}}{search}}}}}\n"
        )
    };
    let key_inputs = |split: &str, search: &str| -> Value {
        place.write("e.yaml", experiment(split, search));
        let plan: Value = serde_json::from_str(&place.fine(&["plan", "e.yaml", "--json"])).unwrap();
        let steps = plan["steps"].as_array().unwrap();
        let step = steps.iter().find(|step| step["kind"] == "search").unwrap();
        step["key_inputs"]["model"]["spec"].clone()
    };
    let cut = |split: &str, search: &str| key_inputs(split, search).get("cut").cloned();
    let (temporal, last) = ("scheme: temporal, test: 0.2", "scheme: leave-one-out");
    assert_eq!(cut(temporal, ""), Some("latest".into()));
    assert_eq!(cut(last, ""), Some("latest-of-each".into()));
    assert_eq!(cut(temporal, ", by: random"), None);
    assert_eq!(cut("scheme: holdout, test: 0.2", ""), None);
    assert_eq!(cut("scheme: holdout, test: 0.2", ", by: time"), Some("latest".into()));
    assert!(key_inputs(last, "").get("by").is_none());
    // What the search says and what is said of a random one.
    for (search, warned) in [("", false), (", by: random", true)] {
        place.write("e.yaml", experiment(temporal, search));
        let ended = place.assay(&["run", "e.yaml", "--quiet"]);
        assert_eq!(ended.code, 0, "{}", ended.err);
        let says = "settings are chosen on random ratings of a training part that is split by time";
        assert_eq!(ended.err.contains(says), warned, "{}", ended.err);
    }
}

#[test]
fn a_system_may_learn_from_its_own_positives_and_a_share() {
    let place = Place::new();
    place.write(
        "e.yaml",
        "experiment: e\ndata: {set: sample, relevant: \">= 4\"}\nsplit: {scheme: official, only: [f1]}\n\
         profiles: {p: {from: template}}\nsystems:\n  usual: {model: item-knn}\n  every: {model: item-knn, \
         positives: any}\n  part: {model: item-knn, positives: any, train_share: {share: 0.9, seed: 3}}\n  on \
         part: {model: rerank, of: part, strategy: prompt, judge: popularity, text: {profiles: p}}\nevaluate: \
         {k: [5]}\n",
    );
    let table = place.fine(&["run", "e.yaml"]);
    assert!(table.contains("Trained on every rating as a positive: every."), "{table}");
    let both =
        "Trained on every rating as a positive, 90 % of the training part (seed 3): part, on part.";
    assert!(table.contains(both), "{table}");
    let record = |kind: &str, system: &str| -> Value {
        let records: Value =
            serde_json::from_str(&place.fine(&["show", system, "--json"])).unwrap();
        let records = records.as_array().unwrap().iter();
        let mut of_kind = records.filter(|record| {
            record["kind"] == kind && record["label"].as_str().unwrap().starts_with(system)
        });
        of_kind.next().unwrap_or_else(|| panic!("{kind} {system}")).clone()
    };
    let split = record("split", "sample f1");
    let n = split["stats"]["train"].as_u64().unwrap();
    let positives = |system: &str| record("fit", system)["stats"]["positives"].as_u64().unwrap();
    assert!(positives("usual f1") < n);
    assert_eq!(positives("every f1"), n);
    assert_eq!(positives("part f1"), (0.9 * n as f64).round() as u64);
    // What is not asked for is not in the key, so results of before are found.
    assert!(record("fit", "usual f1")["key_inputs"]["train_on"].is_null());
    assert_eq!(record("fit", "part f1")["key_inputs"]["train_on"]["train_share"]["share"], 0.9);
    // A model read back gives what it gave.
    let before = place.artefacts(".assay");
    for kind in ["predict", "rerank", "evaluate"] {
        fs::remove_dir_all(place.path(".assay/steps").join(kind)).unwrap();
    }
    place.fine(&["run", "e.yaml", "--quiet"]);
    assert_eq!(place.artefacts(".assay"), before);
}

#[test]
fn what_cannot_be_trained_is_said_with_how_to_mend_it() {
    let place = Place::new();
    let with = |system: &str| {
        format!(
            "experiment: wrong\ndata: {{set: sample, relevant: \">= 4\"}}\nsplit: {{scheme: official, only: \
             [f1]}}\nsystems:\n  it: {system}\n"
        )
    };
    let mut text = String::new();
    for system in [
        "{model: lightgcn, dim: 20}",
        "{model: gat, hidden: 24}",
        "{model: gat, heads: []}",
        "{model: ngcf, dropout: 1}",
        "{model: bprmf, training: {epochs: 0}}",
        "{model: bprmf, training: {epoch: 3}}",
        "{model: bprmf, training: {device: gpu}}",
        "{model: bprmf, training: {stop: {on: validation, patience: 3}}}",
        "{model: bprmf, training: {stop: {on: test, patience: 3}}}",
        "{model: bprmf, training: {keep: first}}",
        "{model: bprmf, training: {epochs: 4, validate: {every: 5}}}",
        "{model: bprmf, training: {schedule: {plateau: {factor: 0.5, patience: 1, lowest: 0, on: validation}}}}",
        "{model: bprmf, training: {schedule: {plateau: {factor: 0.5, patience: 1, lowest: 0, treshold: 0}}}}",
        "{model: bprmf, training: {schedule: {cosine: {lowest: 1}}}}",
        "{model: bprmf, training: {validate: {every: 2}, stop: {on: validation, patience: 3}}}",
        "{model: gat, training: {epochs: 1}}",
        "{model: bprmf, training: {epochs: 1, negatives: {exclude: liked-and-disliked}}}",
        "{model: bprmf, training: {epochs: 3, learning_rate: 1e30}}",
        "{model: als, search: {over: {factors: {log: [1, 2]}}}}",
        "{model: lightgcn, layers: 100000000}",
        "{model: als, search: {over: {factorz: [8, 16]}}}",
        "{model: als, search: {trials: 100000000000, over: {factors: [8]}}}",
        "{model: als, search: {over: {factors: 8}}}",
        "{model: als, search: {over: {factors: [8, -1]}}}",
        "{model: als, train_share: {share: 1.5, seed: 1}}",
        "{model: als, train_share: 0.9}",
        "{model: als, train_share: {share: 0.9}}",
        "{model: als, train_share: {share: 0.9, take: first-of-each-user, seed: 1}}",
        "{model: content, text: {profiles: p}, train_share: {share: 0.9, seed: 1}}",
        "{model: random, positives: any}",
        "{model: als, positives: good}",
        "{model: als, positives: \"> 9\"}",
        "{model: als, positives: any, search: {over: {factors: [8]}}}",
        "{model: external, rankings: r.csv, positives: any}",
        "{model: lightgcn, dropout: 1}",
        "{model: ngcf, loss: hinge}",
        "{model: sgl, views: drop}",
        "{model: sgl, drop: 1}",
        "{model: sgl, temperature: 0.01}",
        "{model: sgl, noise: 0.1}",
        "{model: simgcl, layers: 0}",
        "{model: simgcl, noise: -1}",
        "{model: simgcl, among: all-users}",
        "{model: xsimgcl, layers: 2, contrast_layer: 3}",
        "{model: xsimgcl, contrast: -0.1}",
    ] {
        place.write("e.yaml", with(system));
        let ended = place.assay(&["run", "e.yaml", "--quiet"]);
        let err: Vec<&str> = ended.err.lines().filter(|line| !line.starts_with("logs: ")).collect();
        text.push_str(&format!("# {system}: exit {}\n{}\n\n", ended.code, err.join("\n")));
        assert!(!ended.err.contains("internal error"), "{system}: {}", ended.err);
    }
    insta::assert_snapshot!(text);
    // Whether this machine has a GPU is not known here; either it trains or it says what is missing.
    place.write("e.yaml", with("{model: bprmf, training: {epochs: 1, device: cuda}}"));
    let output = place.command(&["run", "e.yaml", "--quiet"]).output().unwrap();
    let cuda = ended(output, place.dir.path());
    let says =
        cuda.err.contains("there is no CUDA in this libtorch") || cuda.err.contains("finds no GPU");
    assert!(cuda.code == 0 || (cuda.code == 2 && says), "{}", cuda.err);
}
