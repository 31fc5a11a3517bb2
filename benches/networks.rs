//! Seconds an epoch of LightGCN, SGL and GATv2 on MovieLens-100K, fold u1: `networks --seconds MODEL DATA THREADS`
//! prints one line of JSON; tools/bench_networks.py runs it beside the peers.

use std::{env, path::PathBuf};

use rec_assay::{
    base::interrupt::Interrupt,
    data::{DataDirs, DataSource, Relevance, SplitSpec, TrainingPart, split_fold},
    tasks::top_n::models::{FitContext, GatParams, LightGcnParams, Model, SglParams},
};
use serde_json::{Value, json};

fn main() {
    let arguments: Vec<String> = env::args().collect();
    // `cargo bench` passes arguments of its own: without ours there is nothing to do.
    let Some(at) = arguments.iter().position(|argument| argument == "--seconds") else {
        println!("run by tools/bench_networks.py");
        return;
    };
    rec_assay::use_tensors();
    let threads = arguments.get(at + 3).and_then(|threads| threads.parse().ok()).unwrap_or(1);
    match run(&arguments[at + 1], PathBuf::from(&arguments[at + 2]), threads) {
        Ok(line) => println!("{line}"),
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1);
        }
    }
}

fn run(model: &str, data: PathBuf, threads: usize) -> Result<Value, Box<dyn std::error::Error>> {
    let (epochs, spec): (_, Box<dyn Model>) = match model {
        "lightgcn" => {
            let training = json!({"epochs": 12, "learning_rate": 0.005});
            let settings = json!({"layers": 2, "training": training});
            (12, Box::new(serde_json::from_value::<LightGcnParams>(settings)?))
        }
        // Losses and sizes of RecBole's SGL: its configuration file.
        "sgl" => {
            let settings = json!({
                "layers": 3, "drop": 0.1, "contrast": 0.05, "temperature": 0.5, "among": "all",
                "anchors": "positives", "reduction": "sum", "regularization": 1e-5,
                "training": {"epochs": 6, "learning_rate": 0.001},
            });
            (6, Box::new(serde_json::from_value::<SglParams>(settings)?))
        }
        _ => {
            let training = json!({"epochs": 6, "learning_rate": 0.005, "optimizer": "adamw"});
            (6, Box::new(serde_json::from_value::<GatParams>(json!({"training": training}))?))
        }
    };
    let source = DataSource::set("ml-100k");
    let dirs = DataDirs::new(vec![data]);
    let dir = tempfile::tempdir()?;
    split_fold(&source.load(&dirs)?, &SplitSpec::official(), "u1")?.write(dir.path())?;
    let part = TrainingPart::read(dir.path())?;
    let training = part.training_data(Relevance::AtLeast(4.0), Some(Relevance::AtMost(2.0)));
    let interrupt = Interrupt::default();
    let context = FitContext::silent(1, &interrupt);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    let memory_before = peak();
    let fitted = pool.install(|| spec.fit(&training, &context))?;
    let trained = fitted.stats().training.ok_or("the model is not trained in epochs")?;
    let seconds = trained.seconds_an_epoch;
    Ok(json!({"seconds": seconds, "memory": peak(), "before": memory_before, "epochs": epochs}))
}

/// Largest resident memory of this process so far, in bytes.
fn peak() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
