//! The parts of Tera that prompt templates may use. Prompts may come from someone else: a template can access only its
//! values, and parsing or filling in a template takes a bounded amount of work.
//!
//! Everything not listed here is refused: functions of Tera read the environment and the clock, macros recurse, `set` in a
//! loop doubles a text at each iteration, and Tera's parser takes exponential time for nested parentheses.

use std::io;

use serde_json::Value;
use tera::ast::{Expr, ExprVal, Forloop, FunctionCall, Node};

use crate::base::terminal::shown;

/// Maximum size of a prompt file in bytes.
pub const MAX_TEXT: u64 = 256 << 10;
/// Maximum size of a message in bytes.
const MAX_OUTPUT: usize = 4 << 20;
/// Maximum number of characters of one `{{ … }}` or `{% … %}`.
const MAX_TAG: usize = 500;
/// Maximum nesting of parentheses and brackets.
const MAX_NESTING: usize = 4;
/// Maximum nesting of `if` and `for`.
const MAX_BLOCKS: usize = 8;
/// Maximum nesting of `for`.
const MAX_LOOPS: usize = 2;
/// Maximum depth of operators, e.g. `a + b + c`.
const MAX_DEPTH: usize = 24;
/// Maximum number of filters of one value.
const MAX_FILTERS: usize = 4;

/// The filters that templates may use. Filters with results far longer than their input (`replace`, `indent`) are not
/// allowed.
const FILTERS: [&str; 17] = [
    "capitalize",
    "default",
    "first",
    "join",
    "json_encode",
    "last",
    "length",
    "lower",
    "nth",
    "reverse",
    "round",
    "slice",
    "sort",
    "title",
    "trim",
    "truncate",
    "upper",
];
/// The tests (`is …`) that templates may use.
const TESTS: [&str; 8] = [
    "containing",
    "defined",
    "divisibleby",
    "ending_with",
    "even",
    "odd",
    "starting_with",
    "undefined",
];

/// A problem in a template: its line (from 1), and a message.
pub type Problem = (usize, String);

/// One `{{ … }}` or `{% … %}`.
struct Tag<'a> {
    line: usize,
    is_value: bool,
    /// The text between the braces, without the signs for white space.
    inside: &'a str,
}

/// Checks a template before Tera's parser sees it.
pub fn check_text(template: &str) -> Result<(), Problem> {
    let mut open: Vec<(&str, usize)> = Vec::new();
    for tag in tags(template)? {
        let wrong = |problem: String| Err((tag.line, problem));
        let length = tag.inside.chars().count();
        if length > MAX_TAG {
            return wrong(format!("a tag of {length} characters; at most {MAX_TAG} are allowed"));
        }
        check_nesting(tag.inside).map_err(|problem| (tag.line, problem))?;
        let word = tag.inside.split_whitespace().next().unwrap_or_default();
        // Each tag is also parsed by itself, so that errors have a line.
        let alone = match (tag.is_value, word) {
            (true, _) => format!("{{{{ {} }}}}", tag.inside),
            (false, "if" | "for") => {
                open.push((word, tag.line));
                let loops = open.iter().filter(|(of, _)| *of == "for").count();
                if open.len() > MAX_BLOCKS || loops > MAX_LOOPS {
                    return wrong(format!(
                        "`if` and `for` inside each other: at most {MAX_BLOCKS} deep, of them {MAX_LOOPS} `for`"
                    ));
                }
                format!("{{% {} %}}{{% end{word} %}}", tag.inside)
            }
            (false, "elif") => {
                format!(
                    "{{% if {} %}}{{% endif %}}",
                    tag.inside.trim_start().trim_start_matches("elif")
                )
            }
            (false, "endif" | "endfor") => {
                match open.pop() {
                    Some((of, _)) if word.ends_with(of) => {}
                    _ => return wrong(format!("`{word}` closes nothing")),
                }
                continue;
            }
            (false, "else" | "break" | "continue") => continue,
            _ => {
                return wrong(format!(
                    "`{}` is not allowed; a prompt may use if, elif, else, for, break and continue",
                    shown(word)
                ));
            }
        };
        let parsed = tera::Template::new("tag", None, &alone);
        let parsed = parsed
            .map_err(|_| (tag.line, format!("`{}` cannot be read", shown(tag.inside.trim()))))?;
        check_nodes(&parsed.ast).map_err(|problem| (tag.line, problem))?;
    }
    match open.pop() {
        Some((word, line)) => Err((line, format!("`{word}` is not closed with `end{word}`"))),
        None => Ok(()),
    }
}

/// The tags of a template, as Tera finds them.
fn tags(template: &str) -> Result<Vec<Tag<'_>>, Problem> {
    let (mut tags, mut at) = (Vec::new(), 0);
    let line_of = |at: usize| template[..at].matches('\n').count() + 1;
    while let Some(start) = template[at..].find('{').map(|found| at + found) {
        let (is_value, end) = match template.as_bytes().get(start + 1) {
            Some(b'{') => (true, "}}"),
            Some(b'%') => (false, "%}"),
            Some(b'#') => {
                let closed = template[start..].find("#}");
                at = start
                    + closed.ok_or((line_of(start), "a comment is not closed".to_owned()))?
                    + 2;
                continue;
            }
            _ => {
                at = start + 1;
                continue;
            }
        };
        let mut quote = None;
        let mut closed = None;
        for (found, c) in template[start + 2..].char_indices() {
            match quote {
                Some(open) if c == open => quote = None,
                Some(_) => {}
                None if "\"'`".contains(c) => quote = Some(c),
                None if template[start + 2 + found..].starts_with(end) => {
                    closed = Some(start + 2 + found);
                    break;
                }
                None => {}
            }
        }
        let closed = closed.ok_or((line_of(start), format!("a tag is not closed with `{end}`")))?;
        let inside = &template[start + 2..closed];
        let inside = inside.strip_prefix('-').unwrap_or(inside);
        let inside = inside.strip_suffix('-').unwrap_or(inside);
        tags.push(Tag { line: line_of(start), is_value, inside });
        at = closed + 2;
    }
    Ok(tags)
}

fn check_nesting(inside: &str) -> Result<(), String> {
    let (mut depth, mut quote) = (0usize, None);
    for c in inside.chars() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => quote = Some(c),
            (None, '(' | '[') => depth += 1,
            (None, ')' | ']') => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
        if depth > MAX_NESTING {
            return Err(format!("parentheses inside each other: at most {MAX_NESTING} deep"));
        }
    }
    Ok(())
}

/// Checks the syntax tree of a template.
pub fn check_nodes(nodes: &[Node]) -> Result<(), String> {
    for node in nodes {
        match node {
            Node::Text(_) | Node::Break(_) | Node::Continue(_) | Node::Comment(..) => {}
            Node::VariableBlock(_, value) => check_value(value, 0)?,
            Node::If(of, _) => {
                for (_, condition, body) in &of.conditions {
                    check_value(condition, 0)?;
                    check_nodes(body)?;
                }
                if let Some((_, body)) = &of.otherwise {
                    check_nodes(body)?;
                }
            }
            Node::Forloop(_, of, _) => {
                let keeps_list = |filter: &FunctionCall| {
                    matches!(&filter.name[..], "slice" | "reverse" | "sort")
                };
                if !matches!(of.container.val, ExprVal::Ident(_))
                    || !of.container.filters.iter().all(keeps_list)
                {
                    return Err("`for` goes over a list of the prompt's values, which may have the filters \
                                slice, reverse and sort"
                        .into());
                }
                check_value(&of.container, 0)?;
                check_nodes(&of.body)?;
                check_nodes(of.empty_body.as_deref().unwrap_or_default())?;
            }
            _ => return Err("a prompt may use only values, if and for".into()),
        }
    }
    Ok(())
}

fn check_value(value: &Expr, depth: usize) -> Result<(), String> {
    check_plain(&value.val, depth)?;
    if value.filters.len() > MAX_FILTERS {
        return Err(format!(
            "{} filters on one value; at most {MAX_FILTERS} are allowed",
            value.filters.len()
        ));
    }
    for filter in &value.filters {
        if !FILTERS.contains(&&filter.name[..]) {
            return Err(format!(
                "the filter `{}` is not allowed; a prompt may use {}",
                shown(&filter.name),
                FILTERS.join(", ")
            ));
        }
        if !filter.args.values().all(is_literal) {
            return Err(format!(
                "the arguments of the filter `{}` must be literal texts or numbers",
                filter.name
            ));
        }
    }
    Ok(())
}

fn is_literal(value: &Expr) -> bool {
    let is_plain = matches!(
        value.val,
        ExprVal::String(_) | ExprVal::Int(_) | ExprVal::Float(_) | ExprVal::Bool(_)
    );
    is_plain && value.filters.is_empty()
}

fn check_plain(value: &ExprVal, depth: usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("more than {MAX_DEPTH} operators in one expression"));
    }
    let both = |left: &Expr, right: &Expr| {
        check_value(left, depth + 1).and_then(|()| check_value(right, depth + 1))
    };
    match value {
        ExprVal::String(_) | ExprVal::Int(_) | ExprVal::Float(_) | ExprVal::Bool(_) => Ok(()),
        ExprVal::Ident(name) if name.starts_with("__tera") => {
            Err(format!("`{}` is not a value of a prompt", shown(name)))
        }
        ExprVal::Ident(_) => Ok(()),
        ExprVal::Math(of) => both(&of.lhs, &of.rhs),
        ExprVal::Logic(of) => both(&of.lhs, &of.rhs),
        ExprVal::In(of) => both(&of.lhs, &of.rhs),
        ExprVal::Array(items) => items.iter().try_for_each(|item| check_value(item, depth + 1)),
        ExprVal::StringConcat(of) => {
            of.values.iter().try_for_each(|value| check_plain(value, depth + 1))
        }
        ExprVal::Test(of) if !TESTS.contains(&&of.name[..]) || !of.args.iter().all(is_literal) => {
            Err(format!(
                "the test `is {}` is not allowed; a prompt may use {} with literal texts or numbers",
                shown(&of.name),
                TESTS.join(", ")
            ))
        }
        ExprVal::Test(_) => Ok(()),
        ExprVal::FunctionCall(of) => Err(format!(
            "the function `{}()` is not allowed: a prompt has no functions",
            shown(&of.name)
        )),
        ExprVal::MacroCall(_) => Err("a prompt has no macros".into()),
    }
}

/// Checks that loops iterate over lists: a loop over the characters of a long text would take too long.
pub fn check_loops(nodes: &[Node], values: &Value) -> Result<(), String> {
    loops(nodes, values, &mut Vec::new())
}

fn loops<'a>(
    nodes: &'a [Node],
    values: &Value,
    within: &mut Vec<(&'a str, Value)>,
) -> Result<(), String> {
    for node in nodes {
        match node {
            Node::If(of, _) => {
                for (_, _, body) in &of.conditions {
                    loops(body, values, within)?;
                }
                if let Some((_, body)) = &of.otherwise {
                    loops(body, values, within)?;
                }
            }
            Node::Forloop(_, of, _) => {
                let list = container(of, values, within);
                if list.is_string() {
                    let ExprVal::Ident(name) = &of.container.val else { continue };
                    return Err(format!("`for` over `{name}`, which is a text and not a list"));
                }
                within.push((&of.value, list.get(0).cloned().unwrap_or_default()));
                let inner = loops(&of.body, values, within);
                within.pop();
                inner?;
                loops(of.empty_body.as_deref().unwrap_or_default(), values, within)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// The value that a loop iterates over; in a nested loop, for the first value of the outer one.
fn container(of: &Forloop, values: &Value, within: &[(&str, Value)]) -> Value {
    let ExprVal::Ident(name) = &of.container.val else { return Value::Null };
    // `a["b"]` and `a[b]` are rare: they are treated as texts, because `a.b` can be used instead.
    if name.contains('[') {
        return Value::String(String::new());
    }
    let mut parts = name.split('.');
    let first = parts.next().unwrap_or_default();
    let inner = within.iter().rev().find(|(of, _)| *of == first).map(|(_, value)| value);
    let root = inner.or_else(|| values.get(first)).unwrap_or(&Value::Null);
    parts.fold(root.clone(), |value, part| match part.parse::<usize>() {
        Ok(at) => value.get(at).cloned().unwrap_or_default(),
        Err(_) => value.get(part).cloned().unwrap_or_default(),
    })
}

/// Collects the output of a template, up to a limit.
#[derive(Default)]
pub struct Output(pub Vec<u8>);

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_OUTPUT {
            return Err(io::Error::other(format!("a message of over {} MB", MAX_OUTPUT >> 20)));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_in_built_in_prompts_is_allowed() {
        let fine = "{% if a %}x{% elif b is defined %}{{ a | join(sep=\", }} \") }}{% else %}{# ( #}{% endif %}\n\
                    {%- for i in a.b | slice(end=3) -%}{{ loop.index0 + 1 }}{% if not loop.last %}, {% endif %}\n\
                    {% for g in i.genres %}{{ g ~ \"!\" }}{% if g in [\"a\"] %}{% break %}{% endif %}{% endfor %}\n\
                    {% endfor %} { } {x}";
        check_text(fine).unwrap();
        let mut tera = tera::Tera::default();
        tera.add_raw_template("t", fine).unwrap();
        check_nodes(&tera.get_template("t").unwrap().ast).unwrap();
    }

    #[test]
    fn everything_else_is_refused_with_a_line() {
        let deep = format!("\n{{{{ {}a{} }}}}", "(".repeat(20_000), ")".repeat(20_000));
        let deep_text = format!("\n{{{{ {}a{} }}}}", "(".repeat(9), ")".repeat(9));
        let sum = format!("\n{{{{ {}a }}}}", "a+".repeat(60));
        let blocks = format!("\n{}{}", "{% if a %}".repeat(4000), "{% endif %}".repeat(4000));
        let long = format!("\n{{{{ {} }}}}", "a".repeat(501));
        for wrong in [
            "\n{{ get_env(name=\"HOME\") }}",
            "\n{{ now() }}",
            "\n{% for i in range(end=1000000000) %}{% endfor %}",
            "\n{{ \"a\" ~ get_env(name=\"HOME\") }}",
            "\n{{ a | default(value=get_env(name=\"HOME\")) }}",
            "\n{{ a | replace(from=\"a\", to=\"aa\") }}",
            "\n{{ a | join(sep=b) }}",
            "\n{{ a is matching(\"x\") }}",
            "\n{% macro m() %}{{ self::m() }}{% endmacro %}",
            "\n{{ self::m() }}",
            "\n{% include \"x\" %}",
            "\n{% extends \"x\" %}",
            "\n{% import \"x\" as y %}",
            "\n{% set a = a ~ a %}",
            "\n{% set_global a = a %}",
            "\n{% block a %}{% endblock %}",
            "\n{% filter upper %}{% endfilter %}",
            "\n{% raw %}{{ a }}{% endraw %}",
            "\n{{ __tera_context }}",
            "\n{% for a in b %}{% for c in b %}{% for d in b %}{% endfor %}{% endfor %}{% endfor %}",
            "\n{% if a %}",
            "\n{% endif %}",
            "\n{{ a",
            "\n{# a",
            "\n{{ a b }}",
            &deep,
            &deep_text,
            &sum,
            &blocks,
            &long,
        ] {
            let found = check_text(wrong);
            assert!(matches!(found, Err((2, _))), "{found:?} {:.80}", wrong);
        }
    }

    #[test]
    fn a_loop_over_a_text_is_refused() {
        let check = |text: &str| {
            check_text(text).unwrap();
            let mut tera = tera::Tera::default();
            tera.add_raw_template("t", text).unwrap();
            let values = json!({"profile": "long", "items": [{"title": "x", "genres": ["a"]}]});
            check_loops(&tera.get_template("t").unwrap().ast, &values)
        };
        assert!(check("{% for c in profile %}{% endfor %}").is_err());
        assert!(
            check("{% if a %}{% else %}{% for c in items.0.title %}{% endfor %}{% endif %}")
                .is_err()
        );
        assert!(
            check("{% for i in items %}{% for c in i.title %}{% endfor %}{% endfor %}").is_err()
        );
        assert!(
            check("{% for i in items %}{% for c in i.genres %}{% endfor %}{% endfor %}").is_ok()
        );
    }

    proptest::proptest! {
        /// Checking any template terminates, and Tera's parser can read every accepted template.
        #[test]
        fn any_text_is_checked_without_a_panic(text in "[{}%#a-c()\\[\\]|~.\"' \n-]{0,60}") {
            if check_text(&text).is_ok() {
                let _ = tera::Template::new("t", None, &text);
            }
        }
    }
}
