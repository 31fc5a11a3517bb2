//! Responses of other servers, recorded (see `tests/golden/dialects/README.md`) and sent again over HTTP, byte for byte.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::Path,
    thread,
    time::Duration,
};

use serde_json::json;

use super::{
    journal::Record,
    session::Response,
    spent::describe,
    transport::{Call, Endpoint, Transport, Verdict},
};

/// Sends these bytes as the reply to one request.
fn serve(reply: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut seen, mut part) = (Vec::new(), [0; 4096]);
        while !seen.ends_with(b"}") {
            let n = stream.read(&mut part).unwrap();
            seen.extend_from_slice(&part[..n]);
        }
        stream.write_all(&reply).unwrap();
    });
    url
}

/// How the client interprets a recorded reply, in a few words.
fn outcome(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/dialects").join(file);
    let mut reply = fs::read(&path).unwrap();
    if file.ends_with(".json") {
        // The file contains only the body; the status is in its name.
        let status = file.split('.').nth_back(1).filter(|part| part.parse::<u16>().is_ok());
        let head = format!(
            "HTTP/1.1 {} Whatever\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            status.unwrap_or("200"),
            reply.len()
        );
        reply.splice(0..0, head.into_bytes());
    }
    let transport = Transport::new(Endpoint::new(&serve(reply), None)).unwrap();
    let call =
        Call::Chat(json!({"model": "m", "messages": [{"role": "user", "content": "Order."}]}));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let reply = runtime.block_on(transport.send(&call, Duration::from_secs(5))).unwrap();
    let response = match reply.verdict(true) {
        Verdict::Response(response) => response,
        Verdict::Retry { cause, .. } => return format!("retry: {cause}"),
        Verdict::Failed(cause) => return format!("failed: {cause}"),
        Verdict::Fatal(cause) => return format!("fatal: {cause}"),
    };
    let mut record = Record { response, ..Record::failure() };
    describe(&mut record, &Default::default());
    assert!(record.usage.input > 0 && record.model.is_some(), "{file}");
    match Response::of(record).text() {
        Ok(text) => match super::structured::values(text).first() {
            Some(value) => value.to_string(),
            None if text.is_empty() => "no text".into(),
            None => "a text".into(),
        },
        Err(problem) => problem.split(':').next().unwrap_or_default().to_owned(),
    }
}

#[test]
fn recorded_replies_of_other_servers_are_interpreted() {
    let order = r#"{"order":["a","b","c"]}"#;
    for (file, expected) in [
        ("llama.cpp/plain_stop.http", "a text"),
        ("llama.cpp/json_schema_enum.http", order),
        ("llama.cpp/json_object.http", "cut off at the limit of tokens"),
        ("llama.cpp/max_tokens_1.http", "cut off at the limit of tokens"),
        ("llama.cpp/empty_eos_first.http", "no text"),
        ("llama.cpp/reasoning_cut_json_schema.http", "cut off at the limit of tokens"),
        ("llama.cpp/reasoning_budget8_json_schema_enum.http", order),
        (
            "llama.cpp/too_long.http",
            "failed: status 400: request (6093 tokens) exceeds the available context size (2048 tokens), try \
             increasing it",
        ),
        ("llama.cpp/wrong_key.http", "fatal: status 401: Invalid API Key"),
        ("llama.cpp/loading.http", "retry: status 503: Loading model"),
        ("llama.cpp/unknown_model.http", "fatal: status 400: model 'no-such-model' not found"),
        ("vllm/plain_stop.http", "a text"),
        ("vllm/json_schema_enum.http", order),
        ("vllm/json_object.http", "cut off at the limit of tokens"),
        ("vllm/json_schema_whitespace_loop.http", "cut off at the limit of tokens"),
        ("vllm/max_tokens_1.http", "cut off at the limit of tokens"),
        ("vllm/max_tokens_5_json_schema.http", "cut off at the limit of tokens"),
        ("vllm/empty_eos_first.http", "no text"),
        ("vllm/reasoning_only.http", "empty"),
        ("vllm/reasoning_and_content.http", order),
        (
            "vllm/too_long.http",
            "failed: status 400: This model's maximum context length is 2048 tokens. However, your prompt \
             contains at least 2049 input tokens, which exceeds this limit even without any output tokens. \
             Please reduce the length of the input prompt. (parameter=input_tokens, value=2049)",
        ),
        (
            "vllm/unknown_model.http",
            "fatal: status 404: The model `no-such-model` does not exist. Valid aliases: m.",
        ),
        ("vllm/wrong_key.http", "fatal: status 401: Unauthorized"),
        ("ollama/plain.json", "a text"),
        ("ollama/json_schema_enum.json", r#"{"order":["a","c","b"]}"#),
        ("ollama/reasoning_cut.json", "cut off at the limit of tokens"),
        ("ollama/unknown_model.404.json", "fatal: status 404: model 'no-such-model' not found"),
        ("ollama/empty_messages.400.json", "failed: status 400: [] is too short - 'messages'"),
    ] {
        assert_eq!(outcome(file), expected, "{file}");
    }
}
