//! `assay cache`

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use clap::Subcommand;
use serde_json::{Value, json};

use super::{CliError, ExperimentArg, WorkspaceArg, print, print_json};
use crate::{
    base::{exit::Exit, files::read_json, output::check_file, terminal::tell},
    core::Workspace,
    llm::{
        DIRECTORY, LlmError, Responses, cassette,
        explain::{difference, nearest},
        journal,
        journal::{Kind, LineState},
        key::{Key, from_hex, hex},
        reply, short,
    },
    tasks::{ExperimentRecord, StepRecord, top_n::steps::RESPONSES},
};

/// Inspect and maintain the recorded responses of language models
///
/// Every response is written to a journal under WORKSPACE/answers before it is used. An index makes it searchable;
/// the index is rebuilt from the journal if it is missing or damaged.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assay cache stats
  assay cache verify
  assay cache explain 3f9a01c2
  assay cache export paper.responses.jsonl.gz --experiment experiments/paper.yaml
  assay cache import paper.responses.jsonl.gz && assay run experiments/paper.yaml --responses replay")]
pub struct Cache {
    #[command(flatten)]
    workspace: WorkspaceArg,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Show responses, failures, tokens and cost by model
    Stats {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Check every line of the journal and its index entry; exit code 1 if there are problems
    Verify {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a recorded request, its response, and how it differs from the most similar other request
    Explain {
        /// The key, or a prefix of it
        key: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Rebuild the index from the journal
    Rebuild,
    /// Write responses to one compressed file (a cassette) that others can import
    Export {
        /// The file, e.g. paper.responses.jsonl.gz
        file: PathBuf,
        /// Only the responses that finished steps of this experiment used
        #[arg(long, value_name = "FILE")]
        experiment: Option<PathBuf>,
        /// Overwrite the file even if it is not a cassette
        #[arg(long)]
        overwrite: bool,
    },
    /// Import the responses of a cassette; a damaged file is refused as a whole
    Import {
        /// The file
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Compact the journal into one file without failed requests and replaced responses
    Gc,
}

impl Cache {
    pub fn run(self) -> Result<Exit, CliError> {
        let workspace = self.workspace.open();
        let dir = workspace.path(&[DIRECTORY]);
        let writes = matches!(self.verb, Verb::Import { .. });
        // Checked first, so that no workspace is created for a missing file.
        if let Verb::Import { file, .. } = &self.verb
            && !file.is_file()
        {
            return Err(CliError::Usage(format!(
                "{}: no such file\n  = help: `assay cache export FILE` writes one",
                file.display()
            )));
        }
        if !writes && !dir.join("journal").is_dir() {
            return Err(CliError::NoResults(format!(
                "{}: no responses are recorded there\n  = help: name the workspace with `--workspace DIR`",
                dir.display()
            )));
        }
        let workspace =
            if writes { Workspace::create(&self.workspace.workspace)? } else { workspace };
        let responses = Responses::open(&dir)?;
        let exit = match self.verb {
            Verb::Stats { json } => stats(&responses, json),
            Verb::Verify { json } => verify(&responses, json),
            Verb::Explain { key, json } => explain(&responses, &key, json),
            Verb::Rebuild => rebuild(&responses),
            Verb::Export { file, experiment, overwrite } => {
                check_file(&file, overwrite, cassette::is_cassette)?;
                let keys = match experiment {
                    Some(experiment) => Some(keys_of(&workspace, &experiment)?),
                    None => None,
                };
                let manifest = cassette::export(&responses, keys.as_ref(), &file)?;
                print_json(&manifest)?;
                Ok(Exit::Pass)
            }
            Verb::Import { file, json } => import(&responses, &file, json),
            Verb::Gc => gc(&responses),
        };
        for note in responses.take_notes() {
            tell!("warning: {note}");
        }
        exit
    }
}

/// Keys of the responses that the finished steps of an experiment used.
pub fn responses_of(workspace: &Workspace, experiment: &ExperimentRecord) -> BTreeSet<Key> {
    let dirs = (0..experiment.steps.len()).map(|at| experiment.dir(workspace, at).join(RESPONSES));
    let used = dirs.filter_map(|path| read_json::<Vec<String>>(&path).ok());
    used.flatten().filter_map(|key| from_hex(&key)).collect()
}

/// The same of an experiment file; an error if there are none.
fn keys_of(workspace: &Workspace, file: &std::path::Path) -> Result<BTreeSet<Key>, CliError> {
    let experiment = ExperimentArg::of_file(file.to_owned()).recorded(workspace)?;
    let keys = responses_of(workspace, &experiment);
    let is_open =
        |step: &&StepRecord| step.kind == "profiles" && !workspace.exists(&step.kind, &step.key);
    let open: Vec<String> = experiment
        .steps
        .iter()
        .filter(is_open)
        .map(|step| format!("{} {}", step.kind, step.label))
        .collect();
    if keys.is_empty() {
        return Err(CliError::NoResults(format!(
            "no finished step of {} used a response of a language model",
            experiment.name
        )));
    }
    if !open.is_empty() {
        tell!(
            "warning: unfinished steps, whose responses may be missing from the file: {}",
            open.join(", ")
        );
    }
    Ok(keys)
}

/// Counts of one model.
#[derive(Default, serde::Serialize)]
struct OfModel {
    #[serde(rename = "answers")]
    responses: u64,
    failures: u64,
    input_tokens: u64,
    output_tokens: u64,
    money: f64,
    seconds: f64,
}

fn stats(responses: &Responses, json: bool) -> Result<Exit, CliError> {
    let mut models: BTreeMap<String, OfModel> = BTreeMap::new();
    let mut bytes = 0;
    let segments = responses.with_index(|index| index.segment_paths());
    for path in &segments {
        bytes += std::fs::metadata(path).map_or(0, |file| file.len());
        journal::scan(path, 0, &mut |_, _, _, found| {
            let LineState::Record(text) = found else { return };
            let Some(record) = journal::record(text) else { return };
            let model = record.request["body"]["model"].as_str().unwrap_or(&record.endpoint);
            let of = models.entry(model.to_owned()).or_default();
            match record.kind {
                Kind::Failure => of.failures += 1,
                Kind::Abandoned => {}
                _ => of.responses += 1,
            }
            of.input_tokens = of.input_tokens.saturating_add(record.usage.input);
            of.output_tokens = of.output_tokens.saturating_add(record.usage.output);
            of.money += record.money.unwrap_or(0.0);
            of.seconds += record.latency_ms as f64 / 1e3;
        })
        .map_err(|error| LlmError::store(path, error))?;
    }
    let index: u64 = size_of(&responses.dir().join("index"));
    let counts = responses.counts();
    if json {
        print_json(&json!({
            "directory": responses.dir(), "segments": segments.len(), "journal_bytes": bytes,
            "index_bytes": index, "counts": counts, "models": models,
        }))?;
        return Ok(Exit::Pass);
    }
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    table.set_header([
        "model",
        "responses",
        "failed requests",
        "tokens in",
        "tokens out",
        "cost",
        "hours",
    ]);
    for (model, of) in &models {
        table.add_row([
            model.clone(),
            of.responses.to_string(),
            of.failures.to_string(),
            of.input_tokens.to_string(),
            of.output_tokens.to_string(),
            format!("{:.4}", of.money),
            format!("{:.2}", of.seconds / 3600.0),
        ]);
    }
    print(&format!(
        "{table}\n{} responses ({} repeated, {} refreshed, {} in conflict, {} not shared), \
         {} failed requests, {} damaged lines\njournal {:.1} MB in {} files, index {:.1} MB: {}\n",
        counts.responses,
        counts.repeated,
        counts.renewed,
        counts.conflicts,
        counts.unshared,
        counts.failures,
        counts.damaged,
        bytes as f64 / 1e6,
        segments.len(),
        index as f64 / 1e6,
        responses.dir().display()
    ))?;
    Ok(Exit::Pass)
}

fn size_of(dir: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.path().is_dir() {
            true => size_of(&entry.path()),
            false => entry.metadata().map_or(0, |file| file.len()),
        })
        .sum()
}

fn verify(responses: &Responses, json: bool) -> Result<Exit, CliError> {
    let (mut lines, mut problems) = (0usize, Vec::new());
    let mut seen: BTreeMap<Key, ()> = BTreeMap::new();
    let mut torn = Vec::new();
    for path in responses.with_index(|index| index.segment_paths()) {
        journal::scan(&path, 0, &mut |number, offset, _, found| {
            lines += 1;
            let place = format!("{}:{number} (byte {offset})", path.display());
            match found {
                LineState::Torn => torn.push((path.clone(), offset, place)),
                LineState::Damaged => problems.push(format!("{place}: checksum mismatch")),
                LineState::Record(text) => match journal::record(text) {
                    None => problems.push(format!("{place}: not a record")),
                    Some(record) => {
                        let key = crate::llm::key::key_of(&record.request);
                        if hex(&key) != record.key {
                            problems.push(format!("{place}: the key does not match the request"));
                        } else if matches!(
                            record.kind,
                            Kind::Response | Kind::Renewed | Kind::Abandoned
                        ) {
                            seen.insert(key, ());
                        }
                    }
                },
            }
        })
        .map_err(|error| LlmError::store(&path, error))?;
    }
    // A process that is at work on these responses may have been in the middle of a line.
    for (path, offset, place) in torn {
        let mut is_torn = !journal::is_being_written(&path);
        if is_torn {
            is_torn = false;
            journal::scan(&path, offset, &mut |_, _, _, found| {
                is_torn |= matches!(found, LineState::Torn);
            })
            .map_err(|error| LlmError::store(&path, error))?;
        }
        if is_torn {
            problems.push(format!("{place}: torn"));
        }
    }
    // And it may have written what was read just now after the index was opened.
    responses.catch_up_with_others()?;
    for key in seen.keys() {
        match responses.get(key) {
            Ok(Some(_)) => {}
            Ok(None) => problems.push(format!("{} is not in the index", short(&hex(key)))),
            Err(error) => problems.push(error.to_string()),
        }
    }
    for name in responses.with_index(|index| index.lost()) {
        problems.push(format!("{name}: this journal file is missing or truncated"));
    }
    let conflicts = responses.counts().conflicts;
    if conflicts > 0 {
        problems.push(format!(
            "{conflicts} responses were received again with another text; the later one is used"
        ));
    }
    if json {
        print_json(&json!({"lines": lines, "answers": seen.len(), "problems": problems}))?;
    } else {
        for problem in &problems {
            print(&format!("{problem}\n"))?;
        }
        print(&format!("{lines} lines, {} responses, {} problems\n", seen.len(), problems.len()))?;
    }
    // Acknowledged damage is reported, but is not a failure.
    let counts = responses.counts();
    let acknowledged = responses.with_index(|index| index.unacknowledged()) == 0;
    let is_known = acknowledged && problems.len() as u64 == counts.damaged;
    Ok(if problems.is_empty() || is_known { Exit::Pass } else { Exit::GateFailed })
}

fn explain(responses: &Responses, prefix: &str, as_json: bool) -> Result<Exit, CliError> {
    let matching: Vec<Key> = responses
        .with_index(|index| index.places())?
        .into_iter()
        .map(|(key, ..)| key)
        .filter(|key| hex(key).starts_with(&prefix.to_lowercase()))
        .collect();
    let key = match matching[..] {
        [key] => key,
        [] => {
            return Err(CliError::NoResults(format!(
                "no response has a key that starts with `{prefix}`"
            )));
        }
        _ => {
            return Err(CliError::Usage(format!(
                "{} keys start with `{prefix}`; give more digits",
                matching.len()
            )));
        }
    };
    let Some(record) = responses.get(&key)? else {
        return Err(CliError::NoResults(format!("no response {prefix}")));
    };
    if as_json {
        print_json(&record)?;
        return Ok(Exit::Pass);
    }
    let mut text = format!(
        "{}\nfor {} by {} ({}), {} + {} tokens, {} ms, try {}, finished: {}\n",
        record.key,
        record.about,
        record.endpoint,
        record.model.as_deref().unwrap_or("model unknown"),
        record.usage.input,
        record.usage.output,
        record.latency_ms,
        record.attempt,
        record.finish.as_deref().unwrap_or("unknown"),
    );
    for message in record.request["body"]["messages"].as_array().into_iter().flatten() {
        text.push_str(&format!(
            "\n[{}]\n{}\n",
            message["role"].as_str().unwrap_or("?"),
            message["content"].as_str().unwrap_or_default()
        ));
    }
    let content = reply::content(&reply::choice(&record.response)["message"]);
    text.push_str(&format!(
        "\n[response]\n{}\n",
        content.unwrap_or_else(|| record.response.to_string())
    ));
    // The most similar other request, to show why it is not the same.
    let mut request = record.request.clone();
    request["repeat"] = Value::from(u32::MAX);
    if let Some(near) = nearest(responses, &request, None).filter(|near| near.key != record.key)
        && let Some((place, here, there)) = difference(&record.request, &near.request)
    {
        text.push_str(&format!(
            "\nThe most similar request is {} ({}); the first difference is in {place}\n  here: {here}\n  \
             there: {there}\n",
            short(&near.key),
            near.about
        ));
    }
    print(&text)?;
    Ok(Exit::Pass)
}

fn rebuild(responses: &Responses) -> Result<Exit, CliError> {
    responses.with_index(|index| index.rebuild())?;
    let counts = responses.counts();
    print(&format!("{} responses, {} damaged lines\n", counts.responses, counts.damaged))?;
    Ok(Exit::Pass)
}

fn import(responses: &Responses, file: &std::path::Path, json: bool) -> Result<Exit, CliError> {
    let imported = cassette::import(responses, file)?;
    if json {
        print_json(&imported)?;
    } else {
        print(&format!(
            "{} responses imported, {} already recorded, {} damaged ones repaired, {} conflicts\n",
            imported.added,
            imported.known,
            imported.repaired,
            imported.conflicts.len()
        ))?;
    }
    for key in imported.conflicts.iter().take(5) {
        tell!("warning: {}: another response was recorded and is kept", short(key));
    }
    Ok(if imported.conflicts.is_empty() { Exit::Pass } else { Exit::GateFailed })
}

fn gc(responses: &Responses) -> Result<Exit, CliError> {
    if !responses.lock_exclusively() {
        return Err(CliError::Usage(format!(
            "{}: another process uses these responses; try again when it has finished",
            responses.dir().display()
        )));
    }
    let segments = responses.with_index(|index| index.segment_paths());
    // A damaged line may still be restored from a backup, so nothing is deleted in that case.
    let (mut damaged, mut before) = (0, 0);
    // Indexed responses are copied by their positions; those that are not shared have none.
    let (mut findable, mut unshared) = (BTreeSet::new(), Vec::new());
    for path in &segments {
        before += std::fs::metadata(path).map_or(0, |file| file.len());
        journal::scan(path, 0, &mut |_, _, _, found| {
            let LineState::Record(text) = found else {
                damaged += 1;
                return;
            };
            match journal::head(text) {
                Some(head) if head.kind == Kind::Unshared => unshared.push(journal::with_sum(text)),
                Some(head) if head.kind != Kind::Failure => drop(findable.insert(head.key)),
                Some(_) => {}
                None => damaged += 1,
            }
        })
        .map_err(|error| LlmError::store(path, error))?;
    }
    let (open, lost) = responses.with_index(|index| (index.unacknowledged(), index.lost()));
    if !lost.is_empty() {
        return Err(CliError::Usage(format!(
            "journal files are missing or truncated: {}; nothing was changed\n  = help: restore them from a backup, \
             or run `assay cache rebuild` to continue without them",
            lost.join(", ")
        )));
    }
    if damaged > 0 && open > 0 {
        return Err(CliError::Usage(format!(
            "damaged lines in the journal: {damaged}; nothing was changed\n  = help: `assay cache verify` \
             lists them; restore them from a backup, or run `assay cache rebuild` to continue without them"
        )));
    }
    let mut places = responses.with_index(|index| index.places())?;
    places.sort_by_key(|place| place.0);
    if places.len() != findable.len() {
        return Err(CliError::Usage(format!(
            "the journal has {} responses and the index {}; nothing was changed\n  = help: run `assay \
             cache rebuild` first",
            findable.len(),
            places.len()
        )));
    }
    let (sender, written) = std::sync::mpsc::channel();
    let mut lines = 0;
    let mut write = |line: Vec<u8>| {
        lines += 1;
        let sender = sender.clone();
        responses.append_line(line, move |result| drop(sender.send(result)));
    };
    for (_, path, place) in &places {
        write(responses.line(path, place)?);
    }
    unshared.into_iter().for_each(&mut write);
    drop(sender);
    let mut kept = 0;
    for result in written {
        result.map_err(|problem| CliError::from(LlmError::Store(problem)))?;
        kept += 1;
    }
    if kept != lines {
        return Err(LlmError::Store(format!("{kept} of {lines} lines were written")).into());
    }
    // Everything is on disk twice; only now the old files can be removed.
    for path in &segments {
        std::fs::remove_file(path)?;
    }
    responses.with_index(|index| index.rebuild())?;
    let after: u64 = responses
        .with_index(|index| index.segment_paths())
        .iter()
        .map(|path| std::fs::metadata(path).map_or(0, |file| file.len()))
        .sum();
    print(&format!(
        "{} responses; the journal shrank from {:.1} MB to {:.1} MB\n",
        places.len(),
        before as f64 / 1e6,
        after as f64 / 1e6
    ))?;
    Ok(Exit::Pass)
}
