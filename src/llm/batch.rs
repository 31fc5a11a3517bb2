//! OpenAI's Batch API for bulk requests: one file of requests, processed within a day at half the price.
//!
//! A batch outlives this process. Before a batch is created, a note about it is written next to the journal, and the
//! metadata of the batch contain the name of the note. Before the next run creates a batch, it finishes every batch with
//! a note that contains one of its requests.

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
    journal::{Kind, Record, Usage},
    key::{Identity, hex},
    session::{Chat, LlmSession},
    spent::{cost, describe, expected_tokens},
    transport::{Call, Endpoint, MAX_MESSAGE, Reply, Transport, Verdict},
};
use crate::base::{
    files::{read_own, write_json},
    hash::Digest,
    terminal::{shown, shown_up_to},
};

/// A pending batch.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    /// The name in the metadata of the batch.
    name: String,
    base_url: String,
    /// None until it has been created.
    batch: Option<String>,
    keys: Vec<String>,
}

/// A chat with its identity and the body of its request.
type Batched<'a> = (Identity, &'a Chat, Value);

/// Maximum number of requests of one batch.
const MAX_REQUESTS: usize = 50_000;
/// Maximum number of consecutive failed status requests.
const MAX_FAILURES: u32 = 20;

/// Requests the responses to all chats that have none yet, and writes them to the journal.
pub(super) fn request(
    session: &LlmSession,
    chats: &[Chat],
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<(), LlmError> {
    let (mut all, mut order): (HashMap<String, Batched>, Vec<String>) = Default::default();
    for chat in chats {
        let request = session.request(chat);
        let identity = request.identity();
        let key = hex(&identity.key);
        if all.insert(key.clone(), (identity, chat, request.body)).is_none() {
            order.push(key);
        }
    }
    let mut work = Work {
        session,
        all,
        dir: session.llm.responses().dir().join("batches"),
        transport: None,
        progress,
        lost: Vec::new(),
    };
    let check_writable = || {
        session
            .llm
            .responses()
            .check_writable()
            .map_err(|problem| LlmError::Store(format!("no more requests are sent: {problem}")))
    };
    // First the batches of earlier runs.
    for note in work.notes()? {
        if note.base_url == session.endpoint.1.base_url
            && note.keys.iter().any(|key| work.all.contains_key(key))
        {
            // The responses of a batch are paid for: they are fetched only if they can be recorded.
            check_writable()?;
            work.finish(note)?;
        }
    }
    let mut open = Vec::new();
    for key in order {
        if session
            .llm
            .responses()
            .find(&work.all[&key].0)?
            .is_none_or(|of| of.kind == Kind::Abandoned)
        {
            open.push(key);
        }
    }
    for keys in open.chunks(MAX_REQUESTS) {
        check_writable()?;
        work.send(keys)?;
    }
    match work.lost.len() {
        0 => Ok(()),
        lost => Err(LlmError::Failed(format!(
            "requests of the batch without a response: {lost}, e.g. {}\n  = help: received responses are recorded; \
             run again to request the rest",
            work.lost[0]
        ))),
    }
}

struct Work<'a> {
    session: &'a LlmSession<'a>,
    all: HashMap<String, Batched<'a>>,
    dir: PathBuf,
    transport: Option<Transport>,
    progress: &'a (dyn Fn(u64, u64) + Sync),
    /// Why requests have no response.
    lost: Vec<String>,
}

impl Work<'_> {
    fn transport(&mut self) -> Result<Transport, LlmError> {
        if let Some(transport) = &self.transport {
            return Ok(transport.clone());
        }
        let transport = self.session.llm.transport(&self.session.endpoint.1)?;
        self.transport = Some(transport.clone());
        Ok(transport)
    }

    fn path(&self, note: &Note) -> PathBuf {
        self.dir.join(format!("{}.json", note.name))
    }

    fn write(&self, note: &Note) -> Result<(), LlmError> {
        write_json(&self.path(note), note).map_err(|error| LlmError::Store(error.to_string()))
    }

    /// All notes. A note that cannot be read is an error, because it may belong to a batch that is paid for.
    fn notes(&self) -> Result<Vec<Note>, LlmError> {
        let damaged = |path: &Path, error: &dyn std::fmt::Display| {
            LlmError::Store(format!(
                "{}: the note about a pending batch cannot be read: {error}\n  = help: check the \
                 endpoint's list of batches, and remove the file when none of them is yours",
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
            // The name is used as the name of the file.
            match path.file_stem().is_some_and(|stem| *stem == *note.name) {
                true => Ok(note),
                false => Err(damaged(path, &"the name in it differs from the name of the file")),
            }
        };
        paths.iter().map(read).collect()
    }

    /// Creates a batch of these requests, and waits for it.
    fn send(&mut self, keys: &[String]) -> Result<(), LlmError> {
        let spec = &self.session.endpoint.1;
        let (mut tokens, mut money) = (0u64, 0.0);
        for key in keys {
            let (input, output) = expected_tokens(&Call::Chat(self.all[key].2.clone()), spec);
            tokens = tokens.saturating_add(input + output);
            money += cost(spec, &Usage { input, output, cached: 0 }).unwrap_or(0.0) / 2.0;
        }
        if let Some(problem) =
            self.session.llm.spent().over(&self.session.llm.budget(), tokens, money)
        {
            return Err(LlmError::Budget(problem));
        }
        let name =
            Digest::of_json(&(keys, std::process::id(), std::time::SystemTime::now())).short();
        let note = Note { name, base_url: spec.base_url.clone(), batch: None, keys: keys.to_vec() };
        self.write(&note)?;
        self.finish(note)
    }

    /// Creates the batch of a note if it does not exist yet, waits for it, and records its responses.
    fn finish(&mut self, mut note: Note) -> Result<(), LlmError> {
        let transport = self.transport()?;
        let name = &self.session.endpoint.0;
        let failed = |problem: String| {
            LlmError::Fatal(format!(
                "the batch of {} requests to the endpoint `{name}`: {}\n  = help: run again; the next run \
                 continues with this batch and does not send it again",
                note.keys.len(),
                shown_up_to(&transport.endpoint.redact(&problem), MAX_MESSAGE)
            ))
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| LlmError::Fatal(error.to_string()))?;
        let (client, _) = transport.client();
        if note.batch.is_none() {
            let created = runtime.block_on(self.create(&client, &note)).map_err(&failed)?;
            note.batch = Some(created);
            self.write(&note)?;
        }
        let batch = note.batch.clone().unwrap_or_default();
        let output = runtime.block_on(self.wait(&client, &batch, note.keys.len(), &failed))?;
        match output {
            Some(lines) => self.journal(&lines, &note)?,
            None => self.lost.push(format!("the endpoint rejected the batch {batch}")),
        }
        // All its responses are in the journal.
        fs::remove_file(self.path(&note)).map_err(|error| LlmError::store(&self.path(&note), error))
    }

    /// The batch of a note: one that was created before its id could be noted, or a new one.
    async fn create(&self, client: &Client<Endpoint>, note: &Note) -> Result<String, String> {
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
                Err(format!("the endpoint created a batch without an id: {shown}"))
            }
        }
    }

    /// The lines of a finished batch; none if the endpoint rejected it.
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
                    if failures > MAX_FAILURES {
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
            // The batch continues without this process; the next run finds it again.
            let until = std::time::Instant::now() + wait;
            while std::time::Instant::now() < until {
                self.session.llm.interrupt().check()?;
                tokio::time::sleep(wait.min(Duration::from_millis(100))).await;
            }
            wait = (wait * 2).min(Duration::from_secs(30));
        }
    }

    /// Writes the lines of a batch to the journal, and waits until they are on disk.
    fn journal(&mut self, lines: &str, note: &Note) -> Result<(), LlmError> {
        let transport = self.transport()?;
        let (name, spec) = &*self.session.endpoint;
        let (sender, written) = std::sync::mpsc::channel();
        let mut answered: HashSet<&str> = HashSet::new();
        let mut causes: HashMap<&str, String> = HashMap::new();
        for line in lines.lines().filter(|line| !line.trim().is_empty()) {
            let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
            let key = line["custom_id"].as_str().unwrap_or_default();
            let Some((key, (request, chat, _))) = self.all.get_key_value(key) else { continue };
            if answered.contains(&key[..]) || self.session.llm.responses().find(request)?.is_some()
            {
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
                kind: Kind::Response,
                key: key.clone(),
                about: chat.about.clone(),
                endpoint: name.clone(),
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
                    self.session.llm.spend(|spent| {
                        spent.requested += 1;
                        spent.input_tokens = spent.input_tokens.saturating_add(record.usage.input);
                        spent.output_tokens =
                            spent.output_tokens.saturating_add(record.usage.output);
                        spent.money += record.money.unwrap_or(0.0);
                        spent.unpriced |= record.money.is_none();
                    });
                    answered.insert(key);
                }
                Verdict::Retry { cause, .. } | Verdict::Failed(cause) | Verdict::Fatal(cause) => {
                    record.kind = Kind::Failure;
                    record.cause = Some(cause.clone());
                    causes.insert(key, cause);
                }
            }
            let sender = sender.clone();
            self.session.llm.responses().append(record, move |result| drop(sender.send(result)));
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
            .map(|key| {
                causes.get(&key[..]).cloned().unwrap_or("the batch does not contain it".into())
            })
            .collect();
        self.lost.extend(lost);
        Ok(())
    }
}

/// A call with a timeout.
async fn in_time<T>(call: impl Future<Output = T>) -> Result<T, String> {
    let limit = Duration::from_secs(600);
    tokio::time::timeout(limit, call).await.map_err(|_| "no reply within ten minutes".into())
}
