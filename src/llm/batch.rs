//! OpenAI's Batch API for bulk work: one file of requests, answered within a day at half the price.
//!
//! What is on its way outlives this process. Before a batch is made, a note of it is written beside the
//! journal, and the batch carries the note's name; the next run takes over every batch that a note of its
//! own requests tells of, before it thinks of making another.

use std::{
    collections::{HashMap, HashSet},
    fs,
    future::Future,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use async_openai::{
    Client,
    error::OpenAIError,
    types::files::{CreateFileRequest, FileInput, FilePurpose},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    LlmError,
    asker::{Asker, Chat},
    journal::{Kind, Record, Usage},
    key::{Identity, hex},
    spent::{cost, describe, expected_tokens},
    transport::{Call, Endpoint, MOST_OF_MESSAGE, Reply, Transport, Verdict},
};
use crate::base::{
    files::{read_own, write_json},
    hash::Digest,
    terminal::{shown, shown_up_to},
};

/// A batch on its way.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    /// What the batch carries as its metadata.
    name: String,
    base_url: String,
    /// None while it is being made.
    batch: Option<String>,
    keys: Vec<String>,
}

/// A chat with what it is known by and what is sent.
type Asked<'a> = (Identity, &'a Chat, Value);

/// Most requests of one batch.
const MOST: usize = 50_000;
/// Looks at a batch that may fail in a row.
const MOST_FAILURES: u32 = 20;

/// Gets answers to all chats that have none yet into the journal.
pub(super) fn ask(
    asker: &Asker,
    chats: &[Chat],
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<(), LlmError> {
    let (mut all, mut order): (HashMap<String, Asked>, Vec<String>) = Default::default();
    for chat in chats {
        let request = asker.request(chat);
        let identity = request.identity();
        let key = hex(&identity.key);
        if all.insert(key.clone(), (identity, chat, request.body)).is_none() {
            order.push(key);
        }
    }
    let mut work = Work {
        asker,
        all,
        dir: asker.llm.answers().dir().join("batches"),
        transport: None,
        progress,
        lost: Vec::new(),
    };
    let ready = || {
        asker
            .llm
            .answers()
            .ready()
            .map_err(|problem| LlmError::Store(format!("nothing more is asked: {problem}")))
    };
    // First what was sent before.
    for note in work.notes()? {
        if note.base_url == asker.judge.1.base_url
            && note.keys.iter().any(|key| work.all.contains_key(key))
        {
            // What a batch brings is paid for: it is fetched only where it can be kept.
            ready()?;
            work.finish(note)?;
        }
    }
    let mut open = Vec::new();
    for key in order {
        if asker.llm.answers().find(&work.all[&key].0)?.is_none_or(|of| of.kind == Kind::Abandoned)
        {
            open.push(key);
        }
    }
    for keys in open.chunks(MOST) {
        ready()?;
        work.send(keys)?;
    }
    match work.lost.len() {
        0 => Ok(()),
        lost => Err(LlmError::Failed(format!(
            "{lost} requests of the batch were not answered, e.g. {}\n  = help: what was answered is kept; \
             run again to ask for the rest",
            work.lost[0]
        ))),
    }
}

struct Work<'a> {
    asker: &'a Asker<'a>,
    all: HashMap<String, Asked<'a>>,
    dir: PathBuf,
    transport: Option<Transport>,
    progress: &'a (dyn Fn(u64, u64) + Sync),
    /// Why requests were not answered.
    lost: Vec<String>,
}

impl Work<'_> {
    fn transport(&mut self) -> Result<Transport, LlmError> {
        if let Some(transport) = &self.transport {
            return Ok(transport.clone());
        }
        let transport = self.asker.llm.transport(&self.asker.judge.1)?;
        self.transport = Some(transport.clone());
        Ok(transport)
    }

    fn path(&self, note: &Note) -> PathBuf {
        self.dir.join(format!("{}.json", note.name))
    }

    fn write(&self, note: &Note) -> Result<(), LlmError> {
        write_json(&self.path(note), note).map_err(|error| LlmError::Store(error.to_string()))
    }

    /// All notes. One that cannot be read may tell of a batch that is paid: it is an error.
    fn notes(&self) -> Result<Vec<Note>, LlmError> {
        let damaged = |path: &Path, error: &dyn std::fmt::Display| {
            LlmError::Store(format!(
                "{}: the note of a batch on its way cannot be read: {error}\n  = help: look at the \
                 endpoint's list of batches, and remove the file once none of them is yours",
                path.display()
            ))
        };
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(damaged(&self.dir, &error)),
        };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
        paths.sort();
        let read = |path: &PathBuf| {
            let text = read_own(path).map_err(|error| damaged(path, &error))?;
            let note: Note =
                serde_json::from_slice(&text).map_err(|error| damaged(path, &error))?;
            // Its name becomes the name of its file.
            match path.file_stem().is_some_and(|stem| *stem == *note.name) {
                true => Ok(note),
                false => Err(damaged(path, &"the name in it is not that of its file")),
            }
        };
        paths.iter().map(read).collect()
    }

    /// Makes a batch of these requests, and waits for it.
    fn send(&mut self, keys: &[String]) -> Result<(), LlmError> {
        let spec = &self.asker.judge.1;
        let (mut tokens, mut money) = (0u64, 0.0);
        for key in keys {
            let (input, output) = expected_tokens(&Call::Chat(self.all[key].2.clone()), spec);
            tokens = tokens.saturating_add(input + output);
            money += cost(spec, &Usage { input, output, cached: 0 }).unwrap_or(0.0) / 2.0;
        }
        if let Some(problem) = self.asker.llm.spent().over(&self.asker.llm.budget(), tokens, money)
        {
            return Err(LlmError::Budget(problem));
        }
        let name =
            Digest::of_json(&(keys, std::process::id(), std::time::SystemTime::now())).short();
        let note = Note { name, base_url: spec.base_url.clone(), batch: None, keys: keys.to_vec() };
        self.write(&note)?;
        self.finish(note)
    }

    /// Makes the batch of a note if it is not made yet, waits for it, and journals what it brings.
    fn finish(&mut self, mut note: Note) -> Result<(), LlmError> {
        let transport = self.transport()?;
        let name = &self.asker.judge.0;
        let failed = |problem: String| {
            LlmError::Hopeless(format!(
                "the batch of {} requests to the judge `{name}`: {}\n  = help: it is taken over by the next \
                 run, and not sent again",
                note.keys.len(),
                shown_up_to(&transport.endpoint.redact(&problem), MOST_OF_MESSAGE)
            ))
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| LlmError::Hopeless(error.to_string()))?;
        let (client, _) = transport.client();
        if note.batch.is_none() {
            let made = runtime.block_on(self.make(&client, &note)).map_err(&failed)?;
            note.batch = Some(made);
            self.write(&note)?;
        }
        let batch = note.batch.clone().unwrap_or_default();
        let output = runtime.block_on(self.wait(&client, &batch, note.keys.len(), &failed))?;
        match output {
            Some(lines) => self.journal(&lines, &note)?,
            None => self.lost.push(format!("the endpoint refused the batch {batch}")),
        }
        // Everything it held is in the journal.
        fs::remove_file(self.path(&note)).map_err(|error| LlmError::store(&self.path(&note), error))
    }

    /// The batch of a note: one that was made before the note could say so, or a new one.
    async fn make(&self, client: &Client<Endpoint>, note: &Note) -> Result<String, String> {
        let text = |error: OpenAIError| error.to_string();
        let listed: Value = in_time(client.batches().list_byot()).await?.map_err(text)?;
        let known = listed["data"].as_array().into_iter().flatten();
        for batch in known {
            if batch["metadata"]["assay"] == note.name.as_str()
                && let Some(id) = batch["id"].as_str()
            {
                return Ok(id.to_owned());
            }
        }
        let mut lines = String::new();
        for key in &note.keys {
            let Some((_, _, body)) = self.all.get(key) else { continue };
            let line = json!({
                "custom_id": key,
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": body,
            });
            lines.push_str(&format!("{line}\n"));
        }
        let request = CreateFileRequest {
            file: FileInput::from_vec_u8("requests.jsonl".into(), lines.into_bytes()),
            purpose: FilePurpose::Batch,
            expires_after: None,
        };
        let file: Value = in_time(client.files().create_byot(request)).await?.map_err(text)?;
        let batch: Value = in_time(client.batches().create_byot(json!({
            "input_file_id": file["id"],
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "metadata": {"assay": note.name},
        })))
        .await?
        .map_err(text)?;
        match batch["id"].as_str().filter(|id| !id.is_empty()) {
            Some(id) => Ok(id.to_owned()),
            None => {
                let shown = shown(&batch.to_string());
                Err(format!("the endpoint made a batch without a name: {shown}"))
            }
        }
    }

    /// The lines that a finished batch brought; none of a batch that the endpoint refused.
    async fn wait(
        &self,
        client: &Client<Endpoint>,
        batch: &str,
        requests: usize,
        failed: &(dyn Fn(String) -> LlmError + Sync),
    ) -> Result<Option<String>, LlmError> {
        let (mut wait, mut failures) = (Duration::from_millis(200), 0);
        loop {
            let state: Result<Value, String> =
                match in_time(client.batches().retrieve_byot(batch)).await {
                    Ok(state) => state.map_err(|error| error.to_string()),
                    Err(error) => Err(error),
                };
            match state {
                Err(error) => {
                    failures += 1;
                    if failures > MOST_FAILURES {
                        return Err(failed(error));
                    }
                }
                Ok(state) => {
                    failures = 0;
                    let done = state["request_counts"]["completed"].as_u64().unwrap_or(0);
                    (self.progress)(done, requests as u64);
                    match state["status"].as_str().unwrap_or_default() {
                        "completed" | "expired" | "cancelled" => {
                            let mut lines = String::new();
                            for field in ["output_file_id", "error_file_id"] {
                                let Some(file) = state[field].as_str() else { continue };
                                let content = in_time(client.files().content(file)).await;
                                let content = content
                                    .and_then(|of| of.map_err(|error| error.to_string()))
                                    .map_err(failed)?;
                                lines.push_str(&String::from_utf8_lossy(&content));
                                lines.push('\n');
                            }
                            return Ok(Some(lines));
                        }
                        "failed" => return Ok(None),
                        _ => {}
                    }
                }
            }
            // The batch goes on without us; the next run finds it again.
            let until = std::time::Instant::now() + wait;
            while std::time::Instant::now() < until {
                self.asker.llm.interrupt().check()?;
                tokio::time::sleep(wait.min(Duration::from_millis(100))).await;
            }
            wait = (wait * 2).min(Duration::from_secs(30));
        }
    }

    /// Writes what came into the journal; waits until it is on disk.
    fn journal(&mut self, lines: &str, note: &Note) -> Result<(), LlmError> {
        let transport = self.transport()?;
        let (name, spec) = &*self.asker.judge;
        let (sender, written) = std::sync::mpsc::channel();
        let mut answered: HashSet<&str> = HashSet::new();
        let mut causes: HashMap<&str, String> = HashMap::new();
        for line in lines.lines().filter(|line| !line.trim().is_empty()) {
            let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
            let key = line["custom_id"].as_str().unwrap_or_default();
            let Some((key, (request, chat, _))) = self.all.get_key_value(key) else { continue };
            if answered.contains(&key[..]) || self.asker.llm.answers().find(request)?.is_some() {
                answered.insert(key);
                continue;
            }
            let status = line["response"]["status_code"].as_u64().unwrap_or(0) as u16;
            let mut body = line["response"]["body"].clone();
            transport.endpoint.redact_value(&mut body);
            let reply = Reply {
                status,
                retry_after: None,
                body: body.to_string().into_bytes(),
                location: None,
                too_long: false,
            };
            let mut record = Record {
                kind: Kind::Answer,
                key: key.clone(),
                about: chat.about.clone(),
                judge: name.clone(),
                request: request.canonical.clone(),
                response: body,
                status,
                ..Record::failure()
            };
            match reply.verdict(true) {
                Verdict::Response(_) => {
                    describe(&mut record, spec);
                    // Batches cost half.
                    record.money = record.money.map(|money| money / 2.0);
                    self.asker.llm.spend(|spent| {
                        spent.asked += 1;
                        spent.input_tokens = spent.input_tokens.saturating_add(record.usage.input);
                        spent.output_tokens =
                            spent.output_tokens.saturating_add(record.usage.output);
                        spent.money += record.money.unwrap_or(0.0);
                        spent.unpriced |= record.money.is_none();
                    });
                    answered.insert(key);
                }
                Verdict::Again { cause, .. }
                | Verdict::Failed(cause)
                | Verdict::Hopeless(cause) => {
                    record.kind = Kind::Failure;
                    record.cause = Some(cause.clone());
                    causes.insert(key, cause);
                }
            }
            let sender = sender.clone();
            self.asker.llm.answers().append(record, move |result| drop(sender.send(result)));
        }
        drop(sender);
        for result in written {
            result.map_err(LlmError::Store)?;
        }
        let open = note
            .keys
            .iter()
            .filter(|key| self.all.contains_key(*key) && !answered.contains(&key[..]));
        let lost: Vec<String> = open
            .map(|key| causes.get(&key[..]).cloned().unwrap_or("the batch does not name it".into()))
            .collect();
        self.lost.extend(lost);
        Ok(())
    }
}

/// A call that does not hang for ever.
async fn in_time<T>(call: impl Future<Output = T>) -> Result<T, String> {
    let most = Duration::from_secs(600);
    tokio::time::timeout(most, call).await.map_err(|_| "no reply within ten minutes".into())
}
