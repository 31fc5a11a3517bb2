//! Why a step has to be rerun.

use serde_json::Value;

/// The message for an input whose change has no further description.
pub const OTHER_INPUT: &str = "changed";

/// The differences between the key inputs of a step and those of the same step in the last run:
/// `model.alpha: 1.0 → 2.0`.
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
    // The key of an input only tells that the input changed.
    changes.push(match path {
        "split" if before.is_string() => format!("its split {OTHER_INPUT}"),
        "fit" => format!("its model {OTHER_INPUT}"),
        "search" | "predictions" => format!("its {path} {OTHER_INPUT}"),
        "rerank" => format!("its ranking {OTHER_INPUT}"),
        "text" | "text.items" | "text.users" | "profiles" | "items"
            if before.is_string() || before.is_array() =>
        {
            format!("its text {OTHER_INPUT}")
        }
        "prompt" => format!("its prompt {OTHER_INPUT}"),
        "rankings" => "the file of rankings changed".into(),
        "data" => "the data files or their reader changed".into(),
        "revision" => "the code of this step changed".into(),
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
        assert_eq!(why_stale(&before, &now), ["model.alpha: 1.0 → 2.0", "its split changed"]);
    }
}
