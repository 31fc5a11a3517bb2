//! OpenAI's Batch API for bulk work: one file of requests, answered within a day at half the price.
//!
//! What is on its way outlives this process: the batch's name is kept beside the journal, and the next run
//! waits for the same batch.

use std::{collections::HashMap, fs, path::PathBuf, time::Duration};

use async_openai::types::files::{CreateFileRequest, FileInput, FilePurpose};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    LlmError,
    client::{Asker, Chat, describe},
    journal::{Kind, Record, Usage},
    key::{Identity, hex},
    transport::{Reply, Verdict},
};
use crate::{
    hash::Digest,
    store::{read_json, write_json},
};

/// A batch on its way.
#[derive(Debug, Serialize, Deserialize)]
struct OnItsWay {
    batch: String,
    requests: usize,
}

/// Most requests of one batch.
const MOST: usize = 50_000;

/// Gets answers to all chats that have none yet into the journal.
pub(super) fn ask(
    asker: &Asker,
    chats: &[Chat],
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<(), LlmError> {
    let mut open: HashMap<String, (Identity, &Chat, Value)> = HashMap::new();
    let mut order = Vec::new();
    for chat in chats {
        let request = asker.request(chat);
        let identity = request.identity();
        let key = hex(&identity.key);
        if asker.llm.answers().find(&identity)?.is_none()
            && open.insert(key.clone(), (identity, chat, request.body)).is_none()
        {
            order.push(key);
        }
    }
    for keys in order.chunks(MOST) {
        one(asker, keys, &open, progress)?;
    }
    Ok(())
}

fn one(
    asker: &Asker,
    keys: &[String],
    open: &HashMap<String, (Identity, &Chat, Value)>,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<(), LlmError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| LlmError::Hopeless(error.to_string()))?;
    let (name, spec) = &*asker.judge;
    let transport = asker.llm.transport(spec)?;
    let failed = |problem: String| {
        LlmError::Hopeless(format!(
            "the batch of {} requests to the judge `{name}` failed: {}",
            keys.len(),
            transport.endpoint.redact(&problem)
        ))
    };
    let dir = asker.llm.answers().dir().join("batches");
    let note: PathBuf = dir.join(format!("{}.json", Digest::of_json(&keys).short()));
    let (client, _) = transport.client();
    let lines = runtime.block_on(async {
        let batch = match read_json::<OnItsWay>(&note) {
            Ok(known) => known.batch,
            Err(_) => {
                let lines: Vec<String> = keys
                    .iter()
                    .map(|key| {
                        json!({
                            "custom_id": key,
                            "method": "POST",
                            "url": "/v1/chat/completions",
                            "body": open[key].2,
                        })
                        .to_string()
                    })
                    .collect();
                let request = CreateFileRequest {
                    file: FileInput::from_vec_u8(
                        "requests.jsonl".into(),
                        (lines.join("\n") + "\n").into_bytes(),
                    ),
                    purpose: FilePurpose::Batch,
                    expires_after: None,
                };
                let file: Value = client
                    .files()
                    .create_byot(request)
                    .await
                    .map_err(|error| failed(error.to_string()))?;
                let batch: Value = client
                    .batches()
                    .create_byot(json!({
                        "input_file_id": file["id"],
                        "endpoint": "/v1/chat/completions",
                        "completion_window": "24h",
                    }))
                    .await
                    .map_err(|error| failed(error.to_string()))?;
                let id = batch["id"].as_str().unwrap_or_default().to_owned();
                let on_its_way = OnItsWay { batch: id.clone(), requests: keys.len() };
                write_json(&note, &on_its_way)
                    .map_err(|error| LlmError::Store(error.to_string()))?;
                id
            }
        };
        let mut wait = Duration::from_millis(200);
        loop {
            let state: Value = client
                .batches()
                .retrieve_byot(&batch)
                .await
                .map_err(|error| failed(error.to_string()))?;
            let done = state["request_counts"]["completed"].as_u64().unwrap_or(0);
            progress(done, keys.len() as u64);
            match state["status"].as_str().unwrap_or_default() {
                "completed" | "expired" | "cancelled" => {
                    let mut lines = String::new();
                    for field in ["output_file_id", "error_file_id"] {
                        let Some(file) = state[field].as_str() else { continue };
                        let content = client.files().content(file).await;
                        let content = content.map_err(|error| failed(error.to_string()))?;
                        lines.push_str(&String::from_utf8_lossy(&content));
                        lines.push('\n');
                    }
                    return Ok(lines);
                }
                "failed" => {
                    let _ = fs::remove_file(&note);
                    return Err(failed(state["errors"].to_string()));
                }
                _ => {}
            }
            // The batch goes on without us; the next run finds it again.
            asker.llm.interrupt().check()?;
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(Duration::from_secs(30));
        }
    })?;
    let (sender, written) = std::sync::mpsc::channel();
    let (mut answered, mut refused) = (0, Vec::new());
    for line in lines.lines().filter(|line| !line.trim().is_empty()) {
        let line = transport.endpoint.redact(line);
        let Ok(line) = serde_json::from_str::<Value>(&line) else {
            refused.push("a line of the batch's output is not JSON".to_owned());
            continue;
        };
        let Some((request, chat, _)) = line["custom_id"].as_str().and_then(|key| open.get(key))
        else {
            continue;
        };
        let status = line["response"]["status_code"].as_u64().unwrap_or(0) as u16;
        let body = line["response"]["body"].clone();
        let reply = Reply { status, retry_after: None, body: body.to_string().into_bytes() };
        let mut record = Record {
            kind: Kind::Answer,
            key: hex(&request.key),
            hash: String::new(),
            about: chat.about.clone(),
            judge: name.clone(),
            request: request.canonical.clone(),
            response: body,
            cause: None,
            status,
            at: std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap_or_default()
                .as_millis() as u64,
            latency_ms: 0,
            attempt: 1,
            usage: Usage::default(),
            money: None,
            model: None,
            fingerprint: None,
            finish: None,
        };
        match reply.verdict(true) {
            Verdict::Response(_) => {
                describe(&mut record, spec);
                // Batches cost half.
                record.money = record.money.map(|money| money / 2.0);
                asker.llm.spend(|spent| {
                    spent.asked += 1;
                    spent.input_tokens += record.usage.input;
                    spent.output_tokens += record.usage.output;
                    spent.money += record.money.unwrap_or(0.0);
                    spent.unpriced |= record.money.is_none();
                });
                answered += 1;
            }
            Verdict::Again { cause, .. } | Verdict::Failed(cause) | Verdict::Hopeless(cause) => {
                record.kind = Kind::Failure;
                record.cause = Some(cause.clone());
                refused.push(cause);
            }
        }
        let sender = sender.clone();
        asker.llm.answers().append(record, move |result| drop(sender.send(result)));
    }
    drop(sender);
    for result in written {
        result.map_err(LlmError::Store)?;
    }
    // Everything it held is in the journal.
    let _ = fs::remove_file(&note);
    match keys.len() - answered {
        0 => Ok(()),
        lost => Err(LlmError::Failed(format!(
            "{lost} of {} requests of the batch were not answered{}\n  = help: what was answered is kept; \
             run again to ask for the rest",
            keys.len(),
            refused.first().map(|cause| format!(", e.g. {cause}")).unwrap_or_default()
        ))),
    }
}
