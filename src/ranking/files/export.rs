//! Rankings and splits in the formats of other tools, so that others can score us.

use std::fmt::Write;

use crate::data::{Ids, Interaction, Interactions, Relevance};

/// Whose format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Target {
    /// Run files and qrels: trec_eval, ir-measures, ranx, pytrec_eval
    Trec,
    /// Atomic files (train, valid, test) and token tables
    Recbole,
    /// Tab-separated files without a header, as Elliot and WarpRec read them
    Elliot,
}

/// One line of a ranking; `score` is NaN where there is none.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub user: &'a str,
    pub item: &'a str,
    pub rank: u32,
    pub score: f32,
}

/// A ranking as text. TREC runs and lists without scores get scores that fall by one a place: tools
/// that sort by score, and break ties their own way, then keep the order.
pub fn run(target: Target, places: &[Place], tag: &str) -> Result<String, String> {
    let depth = places.iter().map(|place| place.rank).max().unwrap_or(0);
    let mut text = String::new();
    if target == Target::Recbole {
        text.push_str("user_id:token\titem_id:token\trank:float\tscore:float\n");
    }
    for Place { user, item, rank, score } in places {
        if target == Target::Trec {
            no_blank(user)?;
            no_blank(item)?;
        }
        let falling = f64::from(depth - rank + 1);
        let score = if score.is_nan() { falling } else { f64::from(*score) };
        // Writing to a string cannot fail.
        let _ = match target {
            Target::Trec => writeln!(text, "{user} Q0 {item} {rank} {falling} {tag}"),
            Target::Recbole => writeln!(text, "{user}\t{item}\t{rank}\t{score}"),
            Target::Elliot => writeln!(text, "{user}\t{item}\t{score}"),
        };
    }
    Ok(text)
}

/// A part of a split as text.
pub fn interactions(
    target: Target,
    part: impl Iterator<Item = Interaction>,
    users: &Ids,
    items: &Ids,
) -> String {
    let mut text = String::new();
    if target == Target::Recbole {
        text.push_str("user_id:token\titem_id:token\trating:float\ttimestamp:float\n");
    }
    for Interaction { user, item, rating, timestamp } in part {
        let (user, item) = (users.name(user.0), items.name(item.0));
        let _ = writeln!(text, "{user}\t{item}\t{rating}\t{timestamp}");
    }
    text
}

/// The test part as qrels: 1 for relevant items, 0 for others that were judged. Users without a
/// relevant item are left out: trec_eval would count them as 0, and our means are not over them.
pub fn qrels(
    test: &Interactions,
    relevant: Relevance,
    users: &Ids,
    items: &Ids,
) -> Result<String, String> {
    let mut text = String::new();
    let mut rows = test.iter().peekable();
    while let Some(first) = rows.next() {
        let mut of_user = vec![first];
        while let Some(row) = rows.next_if(|row| row.user == first.user) {
            of_user.push(row);
        }
        if !of_user.iter().any(|row| relevant.accepts(row.rating)) {
            continue;
        }
        for row in of_user {
            let (user, item) = (users.name(row.user.0), items.name(row.item.0));
            no_blank(user)?;
            no_blank(item)?;
            let _ = writeln!(text, "{user} 0 {item} {}", u8::from(relevant.accepts(row.rating)));
        }
    }
    Ok(text)
}

/// TREC files separate fields by blanks.
fn no_blank(id: &str) -> Result<(), String> {
    match id.contains(char::is_whitespace) {
        true => Err(format!(
            "the identifier `{id}` holds a blank, which TREC files cannot\n  = help: export with \
             `--format recbole` or `--format elliot`"
        )),
        false => Ok(()),
    }
}
