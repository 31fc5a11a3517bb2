//! Why a response is not recorded: the most similar recorded request, and the first difference.

use serde_json::Value;

use super::{
    ReplayMiss, journal,
    journal::{Kind, LineState, Record},
    responses::Responses,
    short,
};

/// Similarity of the canonical forms of two requests: number of equal bytes from both ends.
fn similarity(a: &str, b: &str) -> usize {
    let start = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a.as_bytes()[start..], &b.as_bytes()[start..]);
    let end = a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count();
    start + end
}

/// The recorded request most similar to `request`, preferably one with the same `about`.
pub fn nearest(responses: &Responses, request: &Value, about: Option<&str>) -> Option<Record> {
    let wanted = request.to_string();
    let mut best: Option<(bool, usize, Record)> = None;
    for path in responses.with_index(|index| index.segment_paths()) {
        // A segment that cannot be read is skipped.
        let _ = journal::scan(&path, 0, &mut |_, _, _, found| {
            let LineState::Record(text) = found else { return };
            let Some(record) = journal::record(text).filter(|of| of.kind != Kind::Failure) else {
                return;
            };
            let same = about == Some(&record.about[..]);
            let score = similarity(&wanted, &record.request.to_string());
            let better =
                best.as_ref().is_none_or(|(of_same, of, _)| (same, score) > (*of_same, *of));
            if better {
                best = Some((same, score, record));
            }
        });
    }
    best.map(|(_, _, record)| record)
}

/// The first difference of two values: its path, and both values.
pub fn difference(a: &Value, b: &Value) -> Option<(String, String, String)> {
    fn walk(path: &str, a: &Value, b: &Value) -> Option<(String, String, String)> {
        if a == b {
            return None;
        }
        match (a, b) {
            (Value::Object(x), Value::Object(y)) => {
                let keys = x.keys().chain(y.keys().filter(|key| !x.contains_key(*key)));
                for key in keys {
                    let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    let of = |side: &serde_json::Map<String, Value>| {
                        side.get(key).cloned().unwrap_or(Value::String("(absent)".into()))
                    };
                    if let Some(found) = walk(&below, &of(x), &of(y)) {
                        return Some(found);
                    }
                }
                None
            }
            (Value::Array(x), Value::Array(y)) if x.len() == y.len() => x
                .iter()
                .zip(y)
                .enumerate()
                .find_map(|(at, (x, y))| walk(&format!("{path}[{at}]"), x, y)),
            (Value::String(x), Value::String(y)) => {
                let at = x.bytes().zip(y.bytes()).take_while(|(a, b)| a == b).count();
                let show = |text: &str| {
                    let mut from = at.saturating_sub(30);
                    while !text.is_char_boundary(from) {
                        from -= 1;
                    }
                    let lead = if from > 0 { "…" } else { "" };
                    let shown: String = text[from..].chars().take(70).collect();
                    format!("`{lead}{}`", shown.replace('\n', "⏎"))
                };
                Some((format!("{path} at character {}", at + 1), show(x), show(y)))
            }
            _ => {
                let show = |value: &Value| {
                    let text = value.to_string();
                    match text.chars().count() > 70 {
                        true => format!("{}…", text.chars().take(70).collect::<String>()),
                        false => text,
                    }
                };
                Some((path.to_owned(), show(a), show(b)))
            }
        }
    }
    walk("", a, b)
}

/// The message about responses that a replay needs and that are not recorded.
pub(super) fn misses_text(responses: &Responses, misses: &[ReplayMiss]) -> String {
    let shown: Vec<String> = misses
        .iter()
        .take(5)
        .map(|miss| format!("  {} {}", short(&miss.key), miss.about))
        .collect();
    let more = match misses.len() {
        0..=5 => String::new(),
        n => format!("\n  and {} more", n - 5),
    };
    let first = &misses[0];
    let near = match nearest(responses, &first.request, Some(&first.about)) {
        None => "no response is recorded".to_owned(),
        Some(near) => {
            let differs = difference(&first.request, &near.request);
            let (place, now, then) = differs.unwrap_or_default();
            format!(
                "the most similar recorded request is {} ({}); the first difference is in {place}:\n    now: {now}\n    \
                 recorded: {then}",
                short(&near.key),
                near.about
            )
        }
    };
    format!(
        "{} not recorded, and `replay` sends no requests:\n{}{more}\n  = help: {near}\n  = help: run \
         with `--responses record` to request what is missing, or import responses with `assay cache import`",
        match misses.len() {
            1 => "1 response is".to_owned(),
            n => format!("{n} responses are"),
        },
        shown.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_difference_is_named() {
        let a = json!({"body": {"messages": [{"content": "Rate Heat (1995)"}], "seed": 1}});
        let b = json!({"body": {"messages": [{"content": "Rate Hero (1995)"}], "seed": 1}});
        let (place, now, then) = difference(&a, &b).unwrap();
        assert_eq!(place, "body.messages[0].content at character 8");
        assert!(now.contains("Heat") && then.contains("Hero"));
        let c = json!({"body": {"messages": [{"content": "Rate Heat (1995)"}]}});
        assert_eq!(
            difference(&a, &c).unwrap(),
            ("body.seed".into(), "1".into(), "\"(absent)\"".into())
        );
        assert_eq!(difference(&a, &a), None);
    }
}
