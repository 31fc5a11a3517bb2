//! Why a step would run although one like it was done before.

use serde_json::Value;

/// What differs between the key material of a step and of the step that stood in its place at the
/// last run: `model.alpha: 1.0 → 2.0`.
pub fn why_stale(before: &Value, now: &Value) -> Vec<String> {
    let mut changes = Vec::new();
    compare("", before, now, &mut changes);
    changes
}

fn compare(path: &str, before: &Value, now: &Value, changes: &mut Vec<String>) {
    if before == now {
        return;
    }
    if let (Value::Object(before), Value::Object(now)) = (before, now) {
        for key in before.keys().chain(now.keys().filter(|key| !before.contains_key(*key))) {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let of =
                |side: &serde_json::Map<String, Value>| side.get(key).cloned().unwrap_or_default();
            compare(&path, &of(before), &of(now), changes);
        }
        return;
    }
    // Keys of inputs say nothing to people but that the input is another.
    changes.push(match path {
        "split" if before.is_string() => "its split is another".into(),
        "fit" => "its model is another".into(),
        "text.items" | "text.users" | "profiles" | "items" if before.is_string() => {
            "its texts are others".into()
        }
        "prompt" => "its prompt is another".into(),
        "rankings" => "the file of rankings changed".into(),
        "data" => "the data's files or how they are read changed".into(),
        "revision" => "assay's code for this step changed".into(),
        _ => format!("{path}: {before} → {now}"),
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn changes_are_named_by_path() {
        let before = json!({"model": {"alpha": 1.0, "factors": 64}, "split": "a"});
        let now = json!({"model": {"alpha": 2.0, "factors": 64}, "split": "b"});
        assert_eq!(why_stale(&before, &now), ["model.alpha: 1.0 → 2.0", "its split is another"]);
    }
}
