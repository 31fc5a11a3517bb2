//! GPUs: what is said where there is none, and the operations of a GPU in main memory. `tools/gpu_check.py` uses a GPU.

use std::fs;

use serde_json::Value;

use crate::support::Place;

fn experiment(systems: &str) -> Place {
    let place = Place::new();
    let text = format!(
        "experiment: gpu\ndata: {{set: sample, relevant: \">= 4\", disliked: \"<= 2\"}}\nsplit: {{scheme: official, only: [f1]}}\n\
         systems:\n{systems}evaluate: {{protocols: [full], conventions: [standard], k: [5]}}\n"
    );
    place.write("gpu.yaml", text);
    place
}

#[test]
fn a_gpu_that_is_not_there_is_an_error_before_anything_is_written() {
    // No machine has this one.
    let place =
        experiment("  net: {model: lightgcn, training: {epochs: 1, device: \"cuda:99\"}}\n");
    let ended = place.assay(&["run", "gpu.yaml"]);
    assert_eq!(ended.code, 2, "{}", ended.err);
    assert!(ended.err.starts_with("error: `device: cuda:99`: "), "{}", ended.err);
    assert!(!place.path(".assay").exists() && !place.path("reports").exists());
}

/// Loss of the last epoch, and device, of each fit.
fn losses(place: &Place) -> Vec<(String, f64, String)> {
    let mut found = Vec::new();
    for step in fs::read_dir(place.path(".assay/steps/fit")).unwrap().flatten() {
        let read = |name: &str| -> Value {
            serde_json::from_slice(&fs::read(step.path().join(name)).unwrap()).unwrap()
        };
        let (history, record) = (read("history.json"), read("record.json"));
        let last = history.as_array().unwrap().last().unwrap()["loss"].as_f64().unwrap();
        let device = record["stats"]["device"].as_str().unwrap().to_owned();
        found.push((record["label"].as_str().unwrap().to_owned(), last, device));
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

#[test]
fn the_operations_of_a_gpu_learn_what_the_kernels_learn() {
    let systems = |device: &str| {
        let training = format!("training: {{epochs: 2, batch: 512, device: {device}}}");
        [
            "lightgcn: {model: lightgcn, factors: 16, layers: 2, regularization: 0.01, dropout: 0.1, ",
            "gat: {model: gat, features: 16, hidden: 16, heads: [2, 1], cosine: 1, ",
            "simgcl: {model: simgcl, factors: 16, layers: 1, ",
            "sgl: {model: sgl, factors: 16, layers: 1, ",
            "vae: {model: mult-vae, hidden: [16], latent: 16, ",
        ]
        .map(|system| format!("  {system}{training}}}\n"))
        .concat()
    };
    let [kernels, operations] = ["cpu", "like-cuda"].map(|device| {
        let place = experiment(&systems(device));
        place.fine(&["run", "gpu.yaml", "--until", "fit", "--trials-per-gpu", "2"]);
        losses(&place)
    });
    assert_eq!(kernels.len(), 5);
    for (ours, theirs) in kernels.iter().zip(&operations) {
        assert_eq!(ours.0, theirs.0);
        assert_eq!([&*ours.2, &*theirs.2], ["Cpu", "Cpu, by the operations of a GPU"]);
        let off = (ours.1 - theirs.1).abs() / ours.1.abs();
        assert!(off < 1e-3, "{}: {} and {}", ours.0, ours.1, theirs.1);
    }
}
