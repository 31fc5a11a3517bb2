//! Seconds and memory of fits on MovieLens-1M, all ratings as positives: `linear --seconds MODEL SETTINGS FOLDER` prints one
//! line of JSON; tools/bench_linear.py runs it beside the peers.

use std::{collections::BTreeSet, env, fs, path::Path, time::Instant};

use rec_assay::{
    base::{
        interrupt::Interrupt,
        yaml::{diagnostic::SourceFile, node::Node},
    },
    data::{Interaction, Interactions, ItemIx, Relevance, TrainingData, UserIx},
    tasks::top_n::models::{FitContext, ModelDef},
};
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error>;

fn main() {
    let arguments: Vec<String> = env::args().collect();
    // `cargo bench` passes arguments of its own: without ours there is nothing to do.
    let Some(at) = arguments.iter().position(|argument| argument == "--seconds") else {
        println!("run by tools/bench_linear.py");
        return;
    };
    if arguments[at + 1] == "mult-vae" {
        rec_assay::use_tensors();
    }
    match run(&arguments[at + 1], &arguments[at + 2], Path::new(&arguments[at + 3])) {
        Ok(line) => println!("{line}"),
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1);
        }
    }
}

/// Users and items numbered in the order of their ids.
fn ratings(folder: &Path) -> Result<Interactions, Failure> {
    let text = fs::read_to_string(folder.join("ratings.dat"))?;
    let mut pairs: Vec<(u32, u32)> = Vec::new();
    for line in text.lines() {
        let mut fields = line.split("::");
        let mut next = || fields.next().ok_or("a line is too short");
        pairs.push((next()?.parse()?, next()?.parse()?));
    }
    let numbers = |of: &dyn Fn(&(u32, u32)) -> u32| -> Vec<u32> {
        pairs.iter().map(of).collect::<BTreeSet<u32>>().into_iter().collect()
    };
    let (users, items) = (numbers(&|pair| pair.0), numbers(&|pair| pair.1));
    let place = |of: &[u32], id: u32| of.partition_point(|other| *other < id) as u32;
    let row = |(user, item): &(u32, u32)| Interaction {
        user: UserIx(place(&users, *user)),
        item: ItemIx(place(&items, *item)),
        rating: 1.0,
        timestamp: Default::default(),
    };
    let rows: Vec<Interaction> = pairs.iter().map(row).collect();
    Ok(Interactions::new(users.len(), items.len(), &rows))
}

fn run(model: &str, settings: &str, folder: &Path) -> Result<Value, Failure> {
    let ratings = ratings(folder)?;
    let data = TrainingData {
        positives: ratings.clone(),
        disliked: None,
        validation: Interactions::new(ratings.n_users(), ratings.n_items(), &[]),
        relevant: Relevance::Any,
        ratings,
    };
    let file = SourceFile { path: "settings".into(), text: settings.into() };
    let node = Node::parse(&file.into()).map_err(|error| error.to_string())?;
    let def = ModelDef::find(model).ok_or("no such model")?;
    let spec = def.read(&node).map_err(|error| error.to_string())?;
    let interrupt = Interrupt::default();
    let before = peak();
    let started = Instant::now();
    let fitted = spec.fit(&data, &FitContext::silent(1, &interrupt))?;
    let mut seconds = started.elapsed().as_secs_f64();
    if let Some(trained) = fitted.stats().training {
        seconds = trained.seconds_an_epoch;
    }
    Ok(json!({"seconds": seconds, "memory": peak(), "before": before}))
}

/// Largest resident memory of this process so far, in bytes.
fn peak() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
