//! From the rows of a table to each user's list: order, repeats, what is odd.

use std::collections::HashMap;

use polars::prelude::StringChunked;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Findings,
    columns::{Columns, Role},
    open::{Form, Opened, each},
};
use crate::{
    data::{
        DataError, Ids, Interactions, UserIx,
        cells::{IdLook, LIST, ListForm},
        delimited::TextTable,
        ids::id_order,
    },
    ranking::{List, Rankings, UNKNOWN},
};

/// What decides the order of a list.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// The lower rank first.
    Rank,
    /// The higher score first.
    Score,
}

/// What to do with recommended items that the user has in training.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Seen {
    /// They stay: they take places and are no hits.
    #[default]
    Keep,
    /// They are left out, and those behind move up.
    Drop,
}

/// How a file of rankings is read. What is not told is guessed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReadOptions {
    pub columns: Columns,
    /// By default ranks decide; in TREC runs, and where there are no ranks, scores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    pub seen: Seen,
}

/// Rows before they are sorted into lists.
#[derive(Default)]
struct Rows {
    users: Vec<u32>,
    /// Unknown items have indices from the number of items up.
    items: Vec<u32>,
    ranks: Option<Vec<f64>>,
    scores: Option<Vec<f64>>,
    is_run: bool,
    ranks_break_ties: bool,
}

impl Opened {
    /// Rankings for the users and items of a fold; `train` is what each user has seen.
    ///
    /// Fails on tables that cannot be understood. What can be, but is odd, is counted in the findings.
    pub fn read(
        &self,
        options: &ReadOptions,
        users: &Ids,
        items: &Ids,
        train: &Interactions,
    ) -> Result<(Rankings, Findings), DataError> {
        let path = self.table.path();
        if self.table.len() == 0 {
            return Err(DataError::File {
                path: path.to_owned(),
                problem: "it has a header and no rows".into(),
                help: "export it again".into(),
            });
        }
        let mut findings = Findings { notes: self.notes.clone(), ..Findings::default() };
        let (rows, places) = rows(self, options, users, items, &mut findings)?;
        let n_known_and_unknown = places.len();
        let order = options.order.unwrap_or(match (&rows.ranks, &rows.scores) {
            (Some(_), Some(_)) if rows.is_run => Order::Score,
            (None, Some(_)) => Order::Score,
            _ => Order::Rank,
        });
        let missing = match order {
            Order::Rank if options.order.is_some() && rows.ranks.is_none() => Some(Role::Rank),
            Order::Score if rows.scores.is_none() => Some(Role::Score),
            _ => None,
        };
        if let Some(role) = missing {
            return Err(DataError::File {
                path: path.to_owned(),
                problem: format!(
                    "the order is to go by {}s, and no column looks like one",
                    role.word()
                ),
                help: format!("its columns are {}", self.table.names().join(", ")),
            });
        }
        findings.ordered_by = match (order, &rows.ranks) {
            (Order::Rank, Some(_)) => "ranks",
            (Order::Rank, None) => "rows",
            (Order::Score, _) => "scores",
        }
        .into();
        // By user, rows in the order of the file.
        let mut starts = vec![0usize; users.len() + 1];
        for &user in rows.users.iter().filter(|user| **user != UNKNOWN) {
            starts[user as usize + 1] += 1;
        }
        for at in 0..users.len() {
            starts[at + 1] += starts[at];
        }
        let mut place = starts.clone();
        let mut by_user = vec![0u32; starts[users.len()]];
        for (row, &user) in rows.users.iter().enumerate() {
            if user != UNKNOWN {
                by_user[place[user as usize]] = row as u32;
                place[user as usize] += 1;
            }
        }
        let drop_seen = options.seen == Seen::Drop;
        let lists: Vec<(Option<List>, Vec<u32>, Findings)> = (0..users.len())
            .into_par_iter()
            .map_init(
                || vec![u32::MAX; n_known_and_unknown],
                |met, user| {
                    let of_user = &by_user[starts[user]..starts[user + 1]];
                    if of_user.is_empty() {
                        return (None, Vec::new(), Findings::default());
                    }
                    let seen = train.items_of(UserIx(user as u32));
                    let (list, tied, findings) = list(
                        of_user,
                        &rows,
                        order,
                        &places,
                        items,
                        seen,
                        drop_seen,
                        met,
                        user as u32,
                    );
                    // A user of whom nothing is left has no list.
                    (Some(list).filter(|list| !list.is_empty()), tied, findings)
                },
            )
            .collect();
        for (list, _, of_list) in &lists {
            findings = findings.add(of_list);
            findings.lists += usize::from(list.is_some());
        }
        findings.seen_dropped = drop_seen;
        let mut rankings = Rankings::default();
        for (list, tied, _) in lists {
            rankings.lists.push(list);
            rankings.tied.push(tied);
        }
        Ok((rankings, findings))
    }
}

/// Indices of names that often come several times in a row.
struct Lookup<'a> {
    ids: &'a Ids,
    last: Option<(&'a str, u32)>,
    unknown: HashMap<&'a str, u32>,
    unknown_rows: usize,
}

impl<'a> Lookup<'a> {
    fn new(ids: &'a Ids) -> Self {
        Self { ids, last: None, unknown: HashMap::new(), unknown_rows: 0 }
    }

    /// The index of `name`; unknown names are numbered from the number of identifiers up.
    fn index(&mut self, name: &'a str) -> u32 {
        if let Some((last, index)) = self.last
            && last == name
        {
            self.unknown_rows += usize::from(index as usize >= self.ids.len());
            return index;
        }
        let index = match self.ids.index_of(name) {
            Some(index) => index,
            None => {
                self.unknown_rows += 1;
                let next = (self.ids.len() + self.unknown.len()) as u32;
                *self.unknown.entry(name).or_insert(next)
            }
        };
        self.last = Some((name, index));
        index
    }

    /// Some of the unknown names, the same each time.
    fn examples(&self) -> Vec<String> {
        let mut names: Vec<(u32, &str)> =
            self.unknown.iter().map(|(name, at)| (*at, *name)).collect();
        names.sort_unstable();
        names.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
    }
}

/// The place of every known and then of every unknown item in the order of their ids: where a file holds
/// more items than are known, a tie must not say which are.
fn places(items: &Ids, unknown: &HashMap<&str, u32>) -> Vec<u32> {
    let n_known = items.len();
    if unknown.is_empty() {
        return (0..n_known as u32).collect();
    }
    let known = items.names().iter().zip(0u32..).map(|(name, at)| (name.as_str(), at));
    let mut all: Vec<(&str, u32)> =
        known.chain(unknown.iter().map(|(name, at)| (*name, *at))).collect();
    all.sort_by(|(a, _), (b, _)| id_order(a, b));
    let mut places = vec![0; all.len()];
    for (place, (_, at)) in all.into_iter().enumerate() {
        places[at as usize] = place as u32;
    }
    places
}

fn rows(
    opened: &Opened,
    options: &ReadOptions,
    users: &Ids,
    items: &Ids,
    findings: &mut Findings,
) -> Result<(Rows, Vec<u32>), DataError> {
    let (table, columns) = (&opened.table, &options.columns);
    let user = opened.required(Role::User, columns.user.as_ref(), 1)?;
    let is_run = opened.form == Form::Run;
    let item_place = if is_run { 3 } else { 2 };
    let item = opened.required(Role::Item, columns.item.as_ref(), item_place)?;
    // Without a header: user, item, score as Elliot writes them, or user, item, rank, score.
    let (rank_place, score_place) = match (opened.form, table.names().len()) {
        (Form::Lists, _) => (None, None),
        (Form::Run, _) => (Some(4), Some(5)),
        (_, 4..) => (Some(3), Some(4)),
        (_, 3) => (None, Some(3)),
        _ => (None, None),
    };
    let rank = opened.column(Role::Rank, columns.rank.as_ref(), rank_place)?;
    let mut score = opened.column(Role::Score, columns.score.as_ref(), score_place)?;
    if columns.score.is_none() && opened.header {
        let all = Role::Score.all(table.names());
        if let ([_, _, ..], Some(score)) = (&all[..], &score) {
            findings.notes.push(format!(
                "the columns {} may all be the score: `{score}` is taken (`--columns score=NAME` says otherwise)",
                all.join(", ")
            ));
        }
    }
    let (user_cells, users_look) = table.ids(&user)?;
    let plain = table.cells(&item)?;
    let whole = table.ids_of(&item, plain)?;
    table.refuse_rows_in_quotes([&user, &item])?;
    // Plain numbers are no lists, and need no further look.
    let are_numbers = matches!(whole.1, IdLook::Numbers { .. });
    let list_form = match opened.form {
        Form::Run => None,
        Form::Lists => Some(ListForm::Blanks),
        _ if item.ends_with(":token_seq") => Some(ListForm::Blanks),
        _ if are_numbers => None,
        _ => ListForm::of(plain).or_else(|| joined_lists(plain, items)),
    };
    if rank.is_none() && score.is_none() && opened.header && list_form.is_none() {
        if let Some((column, note)) = opened.likely_score(&user, &item)? {
            score = Some(column);
            findings.notes.push(note);
        } else if table.names().len() > 2 {
            findings
                .notes
                .push("no column is a rank or a score: the order of the rows counts".into());
        }
    }
    let mut of_users = Lookup::new(users);
    let mut of_items = Lookup::new(items);
    let mut rows = Rows { is_run, ..Rows::default() };
    let known = |index: u32| if (index as usize) < users.len() { index } else { UNKNOWN };
    let taken_out: StringChunked;
    let (item_cells, items_look);
    match list_form {
        Some(form) => {
            let scores = match &score {
                Some(score) => Some(table.cells(score)?),
                None => None,
            };
            let (mut all, mut all_scores) = (Vec::new(), Vec::new());
            for (row, user_cell) in each(table, &user, &user_cells).enumerate() {
                let user = known(of_users.index(user_cell?));
                let values = form.split(plain.get(row).unwrap_or_default());
                if let Some(scores) = scores {
                    all_scores.extend(list_scores(
                        table,
                        score.as_deref(),
                        scores,
                        row,
                        values.len(),
                    )?);
                }
                rows.users.extend(values.iter().map(|_| user));
                all.extend(values.into_iter().map(Some));
            }
            taken_out = all.into_iter().collect();
            (item_cells, items_look) = table.ids_of(&item, &taken_out)?;
            rows.scores = scores.map(|_| all_scores);
        }
        None => {
            (item_cells, items_look) = whole;
            rows.users.reserve(table.len());
            for user in each(table, &user, &user_cells) {
                rows.users.push(known(of_users.index(user?)));
            }
        }
    }
    rows.items.reserve(rows.users.len());
    for item in each(table, &item, &item_cells) {
        rows.items.push(of_items.index(item?));
    }
    if list_form.is_none() {
        if let Some(rank) = rank {
            let ranks =
                table.numbers(&rank, "a rank: a number, 1 for the first place", f64::is_finite);
            // trec_eval ignores the ranks of runs: they need not be numbers.
            let is_ignored = is_run && columns.rank.is_none() && options.order != Some(Order::Rank);
            rows.ranks = if is_ignored { ranks.ok() } else { Some(ranks?) };
        }
        if let Some(score) = score {
            rows.scores = Some(table.scores(&score)?);
        }
    }
    rows.ranks_break_ties = !(is_run && options.order != Some(Order::Rank));
    findings.ranks_break_ties = rows.ranks_break_ties && rows.ranks.is_some();
    findings.rows = rows.users.len();
    findings.unknown_users = of_users.unknown.len();
    findings.unknown_user_rows = of_users.unknown_rows;
    findings.unknown_user_names = of_users.examples();
    findings.unknown_items = of_items.unknown.len();
    findings.unknown_item_rows = of_items.unknown_rows;
    findings.unknown_item_names = of_items.examples();
    let differ = |what: &str, look: &IdLook, ids: &Ids| {
        look.differs("the file", &look_of(ids), "the data", what)
    };
    let (users_differ, items_differ) =
        (differ("user", &users_look, users), differ("item", &items_look, items));
    if !rows.users.is_empty() && rows.users.iter().all(|user| *user == UNKNOWN) {
        return Err(strangers(opened, "users", &findings.unknown_user_names, users));
    }
    // A system may well find nothing of the data; one whose ids are written in another way finds nothing either.
    let known_items = rows.items.iter().any(|item| (*item as usize) < items.len());
    if !known_items && items_differ.is_some() {
        return Err(strangers(opened, "items", &findings.unknown_item_names, items));
    }
    // Only where something was not found: some data have both kinds of ids.
    findings.notes.extend(users_differ.filter(|_| findings.unknown_users > 0));
    findings.notes.extend(items_differ.filter(|_| findings.unknown_items > 0));
    Ok((rows, places(items, &of_items.unknown)))
}

/// What the identifiers of the data look like.
fn look_of(ids: &Ids) -> IdLook {
    let is_number = |name: &&String| {
        name.bytes().all(|byte| byte.is_ascii_digit())
            && (name.len() == 1 || !name.starts_with('0'))
    };
    match (ids.names().iter().find(|name| !is_number(name)), ids.names().first()) {
        (Some(text), _) => IdLook::Texts { example: text.clone() },
        (None, Some(number)) => IdLook::Numbers { example: number.clone() },
        (None, None) => IdLook::Nothing,
    }
}

fn strangers(opened: &Opened, what: &str, theirs: &[String], ids: &Ids) -> DataError {
    let ours: Vec<&str> = ids.names().iter().take(3).map(String::as_str).collect();
    DataError::File {
        path: opened.table.path().to_owned(),
        problem: format!("none of its {what} is in the data"),
        help: format!(
            "the file has e.g. {}, the data have e.g. {}: ids are compared as text; is it the right data set, \
             and the right column?",
            theirs.join(", "),
            ours.join(", ")
        ),
    }
}

/// The scores of one row's list, which are as many as its items.
fn list_scores(
    table: &TextTable,
    name: Option<&str>,
    cells: &StringChunked,
    row: usize,
    n: usize,
) -> Result<Vec<f64>, DataError> {
    let (name, cell) = (name.unwrap_or_default(), cells.get(row).unwrap_or_default());
    let form = match cell.trim_start().starts_with(['[', LIST]) {
        true => ListForm::Brackets,
        false => ListForm::Blanks,
    };
    let scores: Vec<Option<f64>> =
        form.split(cell).into_iter().map(|score| score.parse().ok()).collect();
    let found = || format!("`{}`", cell.replace(LIST, " ").trim());
    let expected = || format!("{n} scores, one for each item of the list");
    match scores.into_iter().collect::<Option<Vec<f64>>>() {
        Some(scores) if scores.len() == n && !scores.contains(&f64::INFINITY) => Ok(scores),
        _ => Err(table.wrong(row, name, &found(), &expected())),
    }
}

/// The form of lists of items that are no numbers: no cell is an item as it stands, and what is between the
/// signs is.
fn joined_lists(cells: &StringChunked, items: &Ids) -> Option<ListForm> {
    let is_known = |id: &str| items.index_of(id.trim()).is_some();
    for sign in [' ', ',', '|', ';'] {
        let mut joined = cells.iter().flatten().map(str::trim).filter(|cell| cell.contains(sign));
        let Some(first) = joined.next() else { continue };
        if is_known(first) || joined.any(is_known) {
            return None;
        }
        let has_parts = |cell: &str| cell.contains(sign) && cell.split(sign).any(is_known);
        if cells.iter().flatten().map(str::trim).any(has_parts) {
            return Some(match sign {
                ' ' => ListForm::Blanks,
                sign => ListForm::Joined(sign),
            });
        }
    }
    None
}

/// A score as it is kept beside its item. The order is decided before, in 64 bits.
fn shown(score: Option<f64>) -> f32 {
    let in_range = |score: f64| score.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32;
    score.map_or(f32::NAN, in_range)
}

/// Sorts one user's rows, drops what is repeated and counts what is odd.
#[expect(clippy::too_many_arguments, reason = "one call; a struct would only name them twice")]
fn list(
    of_user: &[u32],
    rows: &Rows,
    order: Order,
    places: &[u32],
    items: &Ids,
    seen: &[u32],
    drop_seen: bool,
    met: &mut [u32],
    user: u32,
) -> (List, Vec<u32>, Findings) {
    let mut findings = Findings::default();
    let rank = |row: u32| rows.ranks.as_ref().map(|ranks| ranks[row as usize]);
    let score = |row: u32| rows.scores.as_ref().map(|scores| scores[row as usize]);
    let item = |row: u32| rows.items[row as usize];
    let place = |row: u32| places[item(row) as usize];
    let by_rank = |a: &u32, b: &u32| match (rank(*a), rank(*b)) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        _ => std::cmp::Ordering::Equal,
    };
    let by_score = |a: &u32, b: &u32| match (score(*a), score(*b)) {
        // No NaN is left; −0 and 0 are a tie.
        (Some(a), Some(b)) => b.partial_cmp(&a).unwrap_or(std::cmp::Ordering::Equal),
        _ => std::cmp::Ordering::Equal,
    };
    // −∞ and NaN are how tools mark what they do not recommend.
    let is_recommended = |row: &u32| score(*row).is_none_or(|score| score > f64::NEG_INFINITY);
    let mut order_of: Vec<u32> = of_user.iter().copied().filter(is_recommended).collect();
    findings.not_recommended = of_user.len() - order_of.len();
    let decides = |a: &u32, b: &u32| match order {
        Order::Rank => by_rank(a, b).then(by_score(a, b)),
        Order::Score if rows.ranks_break_ties => by_score(a, b).then(by_rank(a, b)),
        Order::Score => by_score(a, b),
    };
    // Where a file has neither ranks nor scores, its rows are the order.
    let sorted = rows.ranks.is_some() || rows.scores.is_some();
    if sorted {
        order_of.sort_by(|a, b| decides(a, b).then(place(*a).cmp(&place(*b))));
    }
    let one = |found: bool| usize::from(found);
    let any_pair =
        |found: &dyn Fn(u32, u32) -> bool| order_of.windows(2).any(|w| found(w[0], w[1]));
    if rows.ranks.is_some() {
        let mut ranks: Vec<f64> = order_of.iter().filter_map(|row| rank(*row)).collect();
        if !ranks.is_sorted() {
            ranks.sort_unstable_by(f64::total_cmp);
        }
        findings.lists_from_rank_zero = one(ranks.first().is_some_and(|rank| *rank < 1.0));
        findings.lists_with_equal_ranks = one(ranks.windows(2).any(|w| w[0] == w[1]));
        if rows.scores.is_some() {
            let disagree = match order {
                Order::Rank => any_pair(&|a, b| rank(a) < rank(b) && score(a) < score(b)),
                Order::Score => any_pair(&|a, b| score(a) > score(b) && rank(a) > rank(b)),
            };
            findings.lists_with_disagreeing_scores = one(disagree);
        }
    }
    if order == Order::Score {
        findings.lists_with_equal_scores = one(any_pair(&|a, b| score(a) == score(b)));
    }
    let (mut list, mut tied) = (Vec::with_capacity(order_of.len()), Vec::new());
    let mut last = None;
    for row in order_of {
        let item = item(row);
        if std::mem::replace(&mut met[item as usize], user) == user {
            findings.repeated_items += 1;
            continue;
        }
        if seen.binary_search(&item).is_ok() {
            findings.seen_items += 1;
            if drop_seen {
                continue;
            }
        }
        let item = if (item as usize) < items.len() { item } else { UNKNOWN };
        if sorted && last.is_some_and(|last| decides(&last, &row).is_eq()) {
            tied.push(list.len() as u32 - 1);
        }
        last = Some(row);
        list.push((shown(score(row)), item));
    }
    findings.lists_with_repeated_items = one(findings.repeated_items > 0);
    findings.lists_with_seen_items = one(findings.seen_items > 0);
    (list, tied, findings)
}
