//! Answers in JSON, in whatever dress a model puts them.

use serde_json::{Map, Value};

use crate::llm::structured::values;

/// What a response says of items: their ids in its order, and their scores where it gives some.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Response {
    pub ids: Vec<String>,
    pub scores: Option<Vec<f64>>,
}

/// Reads a response about the items `shown`, whichever strategy asked for it, as the judge does: of several objects the
/// fullest counts, of equals the last. None where nothing can be taken from it.
pub fn read_response(content: &str, shown: &[String]) -> Option<Response> {
    let values = values(content);
    let response = |value: &Value| -> Option<Response> {
        if value.get("better").is_some() {
            let ids = one(value, shown)?.into_iter().map(|(id, ())| plain(&id)).collect();
            return Some(Response { ids, scores: None });
        }
        if value.get("order").is_none()
            && let Some(scored) = numbers(value, shown).filter(|scored| !scored.is_empty())
        {
            let (ids, scores) = scored.into_iter().map(|(id, score)| (plain(&id), score)).unzip();
            return Some(Response { ids, scores: Some(scores) });
        }
        let ids = ids(value, shown)?.into_iter().map(|(id, ())| plain(&id)).collect();
        Some(Response { ids, scores: None })
    };
    let n_known = |response: &Response| response.ids.iter().filter(|id| shown.contains(id)).count();
    values.iter().filter_map(response).max_by_key(n_known)
}

/// The ids in a list, wherever the answer puts it: the list itself, or the list of an object that has
/// most of `wanted`.
pub(super) fn ids(value: &Value, wanted: &[String]) -> Option<Vec<(String, ())>> {
    let id = |value: &Value| {
        let named = value.get("id").unwrap_or(value);
        // What is no text is an id all the same, and an unknown one.
        (named.as_str().map_or_else(|| named.to_string(), str::to_owned), ())
    };
    let read = |list: &Vec<Value>| list.iter().map(id).collect::<Vec<_>>();
    match value {
        Value::Array(list) => Some(read(list)),
        Value::Object(object) => {
            let lists = object.iter().filter_map(|(name, of)| Some((name, read(of.as_array()?))));
            let n_wanted = |list: &[(String, ())]| {
                list.iter().filter(|(id, ())| wanted.contains(&plain(id))).count()
            };
            // Where none has any, it is the one that was asked for.
            let best = lists.max_by_key(|(name, list)| (n_wanted(list), *name == "order"));
            best.map(|(_, list)| list)
        }
        _ => None,
    }
}

/// The one id of an answer: under `better`, the one text that is wanted, or the first text.
pub(super) fn one(value: &Value, wanted: &[String]) -> Option<Vec<(String, ())>> {
    let Value::Object(object) = value else {
        return ids(value, wanted).map(|mut ids| {
            ids.truncate(1);
            ids
        });
    };
    let texts = || object.values().filter_map(Value::as_str);
    let better = object.get("better").and_then(Value::as_str);
    let found = better.or_else(|| texts().find(|text| wanted.contains(&plain(text))));
    found.or_else(|| texts().next()).map(|id| vec![(id.to_owned(), ())])
}

/// An id as it was given, without brackets and quotation marks that a model puts around it.
pub(super) fn plain(id: &str) -> String {
    id.trim_matches(|c: char| !c.is_alphanumeric()).to_owned()
}

/// Ids with their numbers: a list of objects, or an object by id. What is no finite number is left out.
pub(super) fn numbers(value: &Value, wanted: &[String]) -> Option<Vec<(String, f64)>> {
    by_id(value, wanted, &|value| {
        let score = value.get("score").or_else(|| value.get("relevance")).unwrap_or(value);
        let number = score.as_f64().or_else(|| score.as_str()?.trim().parse().ok())?;
        number.is_finite().then_some(number)
    })
}

/// Ids with a text each: a list of objects, or an object by id.
pub(super) fn pairs(value: &Value, wanted: &[String]) -> Option<Vec<(String, String)>> {
    by_id(value, wanted, &|value| {
        let found = ["text", "explanation", "reason"].iter().find_map(|name| value.get(name));
        found.unwrap_or(value).as_str().map(str::to_owned)
    })
}

/// A list of objects with an `id`, or an object by id; either may be a value of an object: the one that
/// has most of `wanted` is meant.
fn by_id<T>(
    value: &Value,
    wanted: &[String],
    read: &dyn Fn(&Value) -> Option<T>,
) -> Option<Vec<(String, T)>> {
    let listed = |list: &[Value]| -> Vec<(String, T)> {
        let pair = |of: &Value| Some((of.get("id")?.as_str()?.to_owned(), read(of)?));
        list.iter().filter_map(pair).collect()
    };
    let named = |object: &Map<String, Value>| -> Vec<(String, T)> {
        object.iter().filter_map(|(id, of)| Some((id.clone(), read(of)?))).collect()
    };
    let n_wanted = |pairs: &Vec<(String, T)>| {
        pairs.iter().filter(|(id, _)| wanted.contains(&plain(id))).count()
    };
    match value {
        Value::Array(list) => Some(listed(list)),
        Value::Object(object) => {
            let inner = object.values().filter_map(|of| match of {
                Value::Array(list) => Some(listed(list)),
                Value::Object(inner) => Some(named(inner)),
                _ => None,
            });
            let all = std::iter::once(named(object)).chain(inner);
            all.max_by_key(|pairs| (n_wanted(pairs), pairs.len()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::structured::values;

    fn value(text: &str) -> Value {
        values(text).remove(0)
    }

    fn wanted() -> [String; 2] {
        ["a".to_owned(), "b".to_owned()]
    }

    #[test]
    fn ids_are_found_in_any_dress() {
        let wanted = wanted();
        let ids = |text: &str| -> Vec<String> {
            ids(&value(text), &wanted).unwrap().into_iter().map(|(id, ())| plain(&id)).collect()
        };
        for text in [
            r#"{"order": ["a", "b"]}"#,
            r#"["a", "[b]"]"#,
            r#"{"ranking": [{"id": "a"}, {"id": " b"}]}"#,
            r#"{"because": ["likes drama"], "order": ["a", "b"]}"#,
        ] {
            assert_eq!(ids(text), ["a", "b"], "{text}");
        }
        assert_eq!(ids(r#"["a", 7, null]"#), ["a", "7", "null"]);
        assert_eq!(ids(r#"{"order": ["x", "y"], "because": ["z"]}"#), ["x", "y"]);
        for text in [
            r#"{"better": "b"}"#,
            r#"{"reason": "darker", "better": "[b]"}"#,
            r#"{"reason": "darker", "choice": "b"}"#,
            r#"["b", "a"]"#,
        ] {
            assert_eq!(plain(&one(&value(text), &wanted).unwrap()[0].0), "b", "{text}");
        }
        assert_eq!(one(&value(r#"{"better": 7}"#), &wanted), None);
    }

    #[test]
    fn scores_are_found_in_any_dress() {
        for text in [
            r#"{"scores": [{"id": "a", "score": 70.5}, {"id": "b", "score": "3"}]}"#,
            r#"{"scores": {"a": 70.5, "b": 3}}"#,
            r#"{"notes": ["none"], "scores": {"a": 70.5, "b": "3"}}"#,
            r#"{"weights": {"x": 1, "y": 2, "z": 3}, "scores": [{"id": "a", "score": 70.5}, {"id": "[b]", "score": 3}]}"#,
            r#"{"a": 70.5, "b": 3}"#,
        ] {
            let found: Vec<(String, f64)> = numbers(&value(text), &wanted()).unwrap();
            let found: Vec<(String, f64)> =
                found.into_iter().map(|(id, of)| (plain(&id), of)).collect();
            assert_eq!(found, [("a".to_owned(), 70.5), ("b".to_owned(), 3.0)], "{text}");
        }
        let odd = r#"{"scores": [{"id": "a", "score": "NaN"}, {"id": "b", "score": "inf"}, {"id": "c"},
            {"id": "d", "score": 1}]}"#;
        assert_eq!(numbers(&value(odd), &wanted()).unwrap(), [("d".to_owned(), 1.0)]);
    }

    #[test]
    fn texts_are_found_in_any_dress() {
        for text in [
            r#"{"explanations": [{"id": "a", "text": "x"}, {"id": "b", "text": "y"}]}"#,
            r#"[{"id": "a", "explanation": "x"}, {"id": "b", "reason": "y"}]"#,
            r#"{"explanations": {"a": "x", "b": "y"}}"#,
            r#"{"a": "x", "b": {"text": "y"}}"#,
            r#"{"analysis": {"taste": "dark crime"}, "explanations": [{"id": "a", "text": "x"}, {"id": "b", "text": "y"}]}"#,
        ] {
            let found = pairs(&value(text), &wanted()).unwrap();
            assert_eq!(
                found,
                [("a".to_owned(), "x".to_owned()), ("b".into(), "y".into())],
                "{text}"
            );
        }
    }
}
