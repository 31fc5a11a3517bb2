//! A test endpoint with OpenAI's protocol over real HTTP on loopback. It counts requests, and fails on demand.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// The reply to one request.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// A complete response with this content.
    Content(String),
    /// 429 with Retry-After, in seconds.
    Limit(f64),
    /// A status with an error in the body.
    Status(u16),
    /// Waits so long, then closes the connection.
    Hang(Duration),
    /// Closes the connection in the middle of the body.
    Break,
    /// 200 with half a JSON document, whose length matches the header.
    Truncated,
    /// 200 with an `error` in the body.
    ErrorBody,
    /// A refusal.
    Refusal,
    /// A response cut off by `max_tokens`.
    Length(String),
    /// This status and body.
    Raw(u16, String),
    /// This status, headers (`name: value\r\n`) and body.
    With(u16, String, String),
    /// A redirect to this address.
    Redirect(String),
    /// An endless body.
    Endless,
}

/// Number of status requests after which a batch is done.
pub static BATCH_LOOKS: AtomicUsize = AtomicUsize::new(1);

/// Chooses the reply, from the body of the request and how often the same body was received before.
pub type Behave = dyn Fn(&Value, usize) -> Reply + Send + Sync;

/// The requests received.
#[derive(Default)]
pub struct Seen {
    /// By request body: how often it was received, and how often it got a complete response.
    pub asked: Mutex<HashMap<String, (usize, usize)>>,
    /// Time of each request.
    pub times: Mutex<Vec<Instant>>,
    /// Headers `authorization`.
    pub keys: Mutex<Vec<String>>,
    /// Paths with their queries.
    pub paths: Mutex<Vec<String>>,
    in_flight: AtomicUsize,
    pub most_in_flight: AtomicUsize,
    /// Uploaded files and batches.
    files: Mutex<HashMap<String, String>>,
}

impl Seen {
    /// Number of requests.
    pub fn total(&self) -> usize {
        self.asked.lock().unwrap().values().map(|(asked, _)| asked).sum()
    }

    /// The maximum number of complete responses to one request.
    pub fn most_answers(&self) -> usize {
        self.asked.lock().unwrap().values().map(|(_, replied)| *replied).max().unwrap_or(0)
    }
}

pub struct Endpoint {
    address: SocketAddr,
    pub seen: Arc<Seen>,
}

impl Endpoint {
    /// Starts on a free port, until the process ends.
    pub fn start(behave: impl Fn(&Value, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let (behave, of): (Arc<Behave>, _) = (Arc::new(behave), seen.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (behave, seen) = (behave.clone(), of.clone());
                thread::spawn(move || serve(stream, &*behave, &seen));
            }
        });
        Self { address, seen }
    }

    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }
}

fn serve(stream: TcpStream, behave: &Behave, seen: &Seen) {
    let Ok(mut out) = stream.try_clone() else { return };
    let mut input = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if input.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        let (mut length, mut key) = (0, String::new());
        loop {
            let mut line = String::new();
            if input.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let line = line.trim();
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().unwrap_or(0),
                "authorization" => key = value.trim().to_owned(),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        if input.read_exact(&mut body).is_err() {
            return;
        }
        seen.keys.lock().unwrap().push(key);
        let mut words = first.split_whitespace();
        let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or("").to_owned());
        seen.paths.lock().unwrap().push(path.clone());
        let alive = match (method, path.as_str()) {
            ("POST", "/v1/chat/completions") => {
                let now = 1 + seen.in_flight.fetch_add(1, Ordering::SeqCst);
                seen.most_in_flight.fetch_max(now, Ordering::SeqCst);
                seen.times.lock().unwrap().push(Instant::now());
                let alive = chat(&mut out, &body, behave, seen);
                seen.in_flight.fetch_sub(1, Ordering::SeqCst);
                alive
            }
            ("GET", path) if path.starts_with("/v1/search/") => {
                let query = json!({"query": path});
                match behave(&query, 0) {
                    Reply::Raw(status, body) => send(&mut out, status, "", &body),
                    _ => send(&mut out, 500, "", "{}"),
                }
            }
            _ => batches(&mut out, method, &path, &body, behave, seen),
        };
        if !alive {
            return;
        }
    }
}

fn chat(out: &mut TcpStream, body: &[u8], behave: &Behave, seen: &Seen) -> bool {
    let text = String::from_utf8_lossy(body).into_owned();
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    let before = {
        let mut asked = seen.asked.lock().unwrap();
        let entry = asked.entry(text.clone()).or_default();
        entry.0 += 1;
        entry.0 - 1
    };
    let reply = behave(&request, before);
    match reply {
        Reply::Limit(seconds) => {
            let error = r#"{"error":{"message":"slow down","code":"rate_limit_exceeded"}}"#;
            send(out, 429, &format!("retry-after: {seconds}\r\n"), error)
        }
        Reply::Status(status) => send(out, status, "", r#"{"error":{"message":"out of order"}}"#),
        Reply::Hang(time) => {
            thread::sleep(time);
            false
        }
        Reply::Break => {
            let body = response(&request, "never seen", "stop").to_string();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = out.write_all(head.as_bytes());
            let _ = out.write_all(&body.as_bytes()[..body.len() / 2]);
            let _ = out.shutdown(std::net::Shutdown::Both);
            false
        }
        Reply::Truncated => {
            let body = response(&request, "never seen", "stop").to_string();
            send(out, 200, "", &body[..body.len() / 2])
        }
        Reply::ErrorBody => send(out, 200, "", r#"{"error":{"message":"overloaded"}}"#),
        Reply::Raw(status, body) => send(out, status, "", &body),
        Reply::With(status, headers, body) => send(out, status, &headers, &body),
        Reply::Redirect(to) => send(out, 302, &format!("location: {to}\r\n"), ""),
        Reply::Endless => {
            let _ = out.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n");
            while out.write_all(&[b' '; 1 << 16]).is_ok() {}
            false
        }
        Reply::Content(content) => {
            let alive = send(out, 200, "", &response(&request, &content, "stop").to_string());
            if alive {
                seen.asked.lock().unwrap().entry(text).or_default().1 += 1;
            }
            alive
        }
        Reply::Length(content) => {
            let alive = send(out, 200, "", &response(&request, &content, "length").to_string());
            seen.asked.lock().unwrap().entry(text).or_default().1 += 1;
            alive
        }
        Reply::Refusal => {
            let mut body = response(&request, "", "stop");
            body["choices"][0]["message"] =
                json!({"role": "assistant", "content": null, "refusal": "I would rather not."});
            seen.asked.lock().unwrap().entry(text).or_default().1 += 1;
            send(out, 200, "", &body.to_string())
        }
    }
}

/// A chat completion in the format of OpenAI.
pub fn response(request: &Value, content: &str, finish: &str) -> Value {
    json!({
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": format!("{}-2025-01-01", request["model"].as_str().unwrap_or("none")),
        "system_fingerprint": "fp_test",
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": content, "refusal": null},
            "finish_reason": finish,
        }],
        "usage": {
            "prompt_tokens": request["messages"].to_string().len() / 4,
            "completion_tokens": content.len() / 4 + 1,
            "prompt_tokens_details": {"cached_tokens": 8},
        },
    })
}

fn send(out: &mut TcpStream, status: u16, headers: &str, body: &str) -> bool {
    let head = format!(
        "HTTP/1.1 {status} Whatever\r\ncontent-type: application/json\r\n{headers}content-length: \
         {}\r\n\r\n",
        body.len()
    );
    out.write_all(&[head.as_bytes(), body.as_bytes()].concat()).is_ok()
}

/// `/files` and `/batches`; a batch is done at the second status request.
fn batches(
    out: &mut TcpStream,
    method: &str,
    path: &str,
    body: &[u8],
    behave: &Behave,
    seen: &Seen,
) -> bool {
    let mut files = seen.files.lock().unwrap();
    let parts: Vec<&str> = path.trim_start_matches("/v1/").split('/').collect();
    match (method, &parts[..]) {
        ("POST", ["files"]) => {
            let text = String::from_utf8_lossy(body).into_owned();
            let lines: Vec<&str> =
                text.lines().filter(|line| line.starts_with("{\"custom_id\"")).collect();
            let id = format!("file-{}", files.len());
            files.insert(id.clone(), lines.join("\n"));
            send(out, 200, "", &json!({"id": id, "object": "file"}).to_string())
        }
        ("POST", ["batches"]) => {
            let request: Value = serde_json::from_slice(body).unwrap_or_default();
            let id = format!("batch-{}", files.len());
            let input = files[request["input_file_id"].as_str().unwrap_or_default()].clone();
            let mut lines = Vec::new();
            for line in input.lines() {
                let asked: Value = serde_json::from_str(line).unwrap();
                let (status, body) = match behave(&asked["body"], 0) {
                    Reply::Content(content) => (200, response(&asked["body"], &content, "stop")),
                    _ => (500, json!({"error": {"message": "out of order"}})),
                };
                lines.push(
                    json!({
                        "custom_id": asked["custom_id"],
                        "response": {"status_code": status, "body": body},
                    })
                    .to_string(),
                );
            }
            // The lines of a batch may come in any order.
            lines.reverse();
            files.insert(format!("out-{id}"), lines.join("\n"));
            files.insert(format!("looks-{id}"), String::new());
            let note = request["metadata"]["assay"].as_str().unwrap_or_default();
            files.insert(format!("name-{id}"), note.to_owned());
            send(out, 200, "", &json!({"id": id, "status": "validating"}).to_string())
        }
        ("GET", ["batches"]) => {
            let names = files.iter().filter_map(|(name, note)| {
                Some(json!({"id": name.strip_prefix("name-")?, "metadata": {"assay": note}}))
            });
            send(out, 200, "", &json!({"data": names.collect::<Vec<_>>()}).to_string())
        }
        ("GET", ["batches", id]) => {
            let Some(looks) = files.get_mut(&format!("looks-{id}")) else {
                return send(out, 404, "", r#"{"error":{"message":"no such batch"}}"#);
            };
            looks.push('x');
            let done = looks.len() > BATCH_LOOKS.load(Ordering::SeqCst);
            let state = json!({
                "id": id,
                "status": if done { "completed" } else { "in_progress" },
                "output_file_id": done.then(|| format!("out-{id}")),
                "request_counts": {"completed": 0},
            });
            send(out, 200, "", &state.to_string())
        }
        ("GET", ["files", id, "content"]) => {
            let content = files.get(*id).cloned().unwrap_or_default();
            send(out, 200, "", &content)
        }
        _ => send(out, 404, "", r#"{"error":{"message":"not found"}}"#),
    }
}

/// The last message of a chat.
pub fn question(request: &Value) -> String {
    let messages = request["messages"].as_array();
    let last = messages.and_then(|messages| messages.last());
    last.and_then(|message| message["content"].as_str()).unwrap_or_default().to_owned()
}
