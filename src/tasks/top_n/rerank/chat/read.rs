//! Reads JSON responses in the forms that models use.

use serde_json::{Map, Value};

use crate::llm::structured::values;

/// The items in a response: their ids in its order, and their scores, if it has scores.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ParsedResponse {
    pub ids: Vec<String>,
    pub scores: Option<Vec<f64>>,
}

/// Reads a response about the items `shown`, for any strategy, in the same way as the judge: of several objects, the one
/// with most known ids counts, of ties the last. None without usable content.
pub fn read_response(content: &str, shown: &[String]) -> Option<ParsedResponse> {
    let values = values(content);
    let response = |value: &Value| -> Option<ParsedResponse> {
        if value.get("better").is_some() {
            let ids = one(value, shown)?.into_iter().map(|(id, ())| plain(&id)).collect();
            return Some(ParsedResponse { ids, scores: None });
        }
        if value.get("order").is_none()
            && let Some(scored) = numbers(value, shown).filter(|scored| !scored.is_empty())
        {
            let (ids, scores) = scored.into_iter().map(|(id, score)| (plain(&id), score)).unzip();
            return Some(ParsedResponse { ids, scores: Some(scores) });
        }
        let ids = ids(value, shown)?.into_iter().map(|(id, ())| plain(&id)).collect();
        Some(ParsedResponse { ids, scores: None })
    };
    let n_known =
        |response: &ParsedResponse| response.ids.iter().filter(|id| shown.contains(id)).count();
    values.iter().filter_map(response).max_by_key(n_known)
}

/// The ids in a response that is a list, or an object with a list: the list with most of `requested`.
pub(super) fn ids(value: &Value, requested: &[String]) -> Option<Vec<(String, ())>> {
    let id = |value: &Value| {
        let named = value.get("id").unwrap_or(value);
        // A value that is not a string counts as an unknown id.
        (named.as_str().map_or_else(|| named.to_string(), str::to_owned), ())
    };
    let read = |list: &Vec<Value>| list.iter().map(id).collect::<Vec<_>>();
    match value {
        Value::Array(list) => Some(read(list)),
        Value::Object(object) => {
            let lists = object.iter().filter_map(|(name, of)| Some((name, read(of.as_array()?))));
            let n_wanted = |list: &[(String, ())]| {
                list.iter().filter(|(id, ())| requested.contains(&plain(id))).count()
            };
            // If no list has a known id, it is the one that the schema names.
            let best = lists.max_by_key(|(name, list)| (n_wanted(list), *name == "order"));
            best.map(|(_, list)| list)
        }
        _ => None,
    }
}

/// The single id of a response: the value of `better`, a string in `requested`, or the first string.
pub(super) fn one(value: &Value, requested: &[String]) -> Option<Vec<(String, ())>> {
    let Value::Object(object) = value else {
        return ids(value, requested).map(|mut ids| {
            ids.truncate(1);
            ids
        });
    };
    let texts = || object.values().filter_map(Value::as_str);
    let better = object.get("better").and_then(Value::as_str);
    let found = better.or_else(|| texts().find(|text| requested.contains(&plain(text))));
    found.or_else(|| texts().next()).map(|id| vec![(id.to_owned(), ())])
}

/// An id without the brackets and quotation marks that models add.
pub(super) fn plain(id: &str) -> String {
    id.trim_matches(|c: char| !c.is_alphanumeric()).to_owned()
}

/// Ids with numbers: a list of objects, or an object by id. Values that are no finite numbers are omitted.
pub(super) fn numbers(value: &Value, requested: &[String]) -> Option<Vec<(String, f64)>> {
    by_id(value, requested, &|value| {
        let score = value.get("score").or_else(|| value.get("relevance")).unwrap_or(value);
        let number = score.as_f64().or_else(|| score.as_str()?.trim().parse().ok())?;
        number.is_finite().then_some(number)
    })
}

/// Ids with texts: a list of objects, or an object by id.
pub(super) fn pairs(value: &Value, requested: &[String]) -> Option<Vec<(String, String)>> {
    by_id(value, requested, &|value| {
        let found = ["text", "explanation", "reason"].iter().find_map(|name| value.get(name));
        found.unwrap_or(value).as_str().map(str::to_owned)
    })
}

/// A list of objects with an `id`, or an object by id. Either may be a value of an object: the one with most of `requested`
/// is used.
fn by_id<T>(
    value: &Value,
    requested: &[String],
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
        pairs.iter().filter(|(id, _)| requested.contains(&plain(id))).count()
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

    fn requested() -> [String; 2] {
        ["a".to_owned(), "b".to_owned()]
    }

    #[test]
    fn ids_are_found_in_any_form() {
        let requested = requested();
        let ids = |text: &str| -> Vec<String> {
            ids(&value(text), &requested).unwrap().into_iter().map(|(id, ())| plain(&id)).collect()
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
            assert_eq!(plain(&one(&value(text), &requested).unwrap()[0].0), "b", "{text}");
        }
        assert_eq!(one(&value(r#"{"better": 7}"#), &requested), None);
    }

    #[test]
    fn scores_are_found_in_any_form() {
        for text in [
            r#"{"scores": [{"id": "a", "score": 70.5}, {"id": "b", "score": "3"}]}"#,
            r#"{"scores": {"a": 70.5, "b": 3}}"#,
            r#"{"notes": ["none"], "scores": {"a": 70.5, "b": "3"}}"#,
            r#"{"weights": {"x": 1, "y": 2, "z": 3}, "scores": [{"id": "a", "score": 70.5}, {"id": "[b]", "score": 3}]}"#,
            r#"{"a": 70.5, "b": 3}"#,
        ] {
            let found: Vec<(String, f64)> = numbers(&value(text), &requested()).unwrap();
            let found: Vec<(String, f64)> =
                found.into_iter().map(|(id, of)| (plain(&id), of)).collect();
            assert_eq!(found, [("a".to_owned(), 70.5), ("b".to_owned(), 3.0)], "{text}");
        }
        let odd = r#"{"scores": [{"id": "a", "score": "NaN"}, {"id": "b", "score": "inf"}, {"id": "c"},
            {"id": "d", "score": 1}]}"#;
        assert_eq!(numbers(&value(odd), &requested()).unwrap(), [("d".to_owned(), 1.0)]);
    }

    #[test]
    fn texts_are_found_in_any_form() {
        for text in [
            r#"{"explanations": [{"id": "a", "text": "x"}, {"id": "b", "text": "y"}]}"#,
            r#"[{"id": "a", "explanation": "x"}, {"id": "b", "reason": "y"}]"#,
            r#"{"explanations": {"a": "x", "b": "y"}}"#,
            r#"{"a": "x", "b": {"text": "y"}}"#,
            r#"{"analysis": {"taste": "dark crime"}, "explanations": [{"id": "a", "text": "x"}, {"id": "b", "text": "y"}]}"#,
        ] {
            let found = pairs(&value(text), &requested()).unwrap();
            assert_eq!(
                found,
                [("a".to_owned(), "x".to_owned()), ("b".into(), "y".into())],
                "{text}"
            );
        }
    }
}
