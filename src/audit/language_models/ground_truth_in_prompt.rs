//! `ground-truth-in-prompt`

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use super::{Exchange, NO_MODEL, asking, exchange::prompt, names};
use crate::{
    analysis::binomial_p,
    audit::{Check, Family, Finding, Outcome, Severity, Subject},
    base::files::read_json,
    data::UserIx,
    ranking::OpenFold,
    text::ItemFacts,
};

pub const CHECK: Check = Check {
    id: "ground-truth-in-prompt",
    family: Family::LanguageModels,
    severity: Severity::Error,
    title: "Prompts that name test items of the user beside the list of candidates",
    why: "A model that is told what the user likes in the test part needs no taste to put it first.",
    source: "Kapoor and Narayanan 2023, Leakage and the Reproducibility Crisis in Machine-Learning-Based Science (illegitimate \
             features)",
    fix: "Write profiles and prompts from the training part of the same fold.",
    run,
};

/// Users whose prompts are looked at in each step.
const USERS: usize = 300;
/// Items that the user never rated, equally popular, for each test item.
const CONTROLS: usize = 3;
/// Chance by which as many test items as were found are named where the prompts know nothing of them.
const ALPHA: f64 = 1e-3;

/// What was counted in the prompts of a step.
#[derive(Default)]
struct Counts {
    users: usize,
    /// Users in whose prompts a test item is named.
    users_named: usize,
    tests: usize,
    named: usize,
    controls: usize,
    controls_named: usize,
    example: Option<String>,
}

fn run(subject: &Subject) -> Result<Outcome, String> {
    let mut findings = Vec::new();
    let mut checked = 0;
    for step in asking(subject)? {
        let of = &subject.experiment.steps[step.step];
        // Profiles of items are about nobody.
        let split = split_of(subject, step.step);
        let Some(split) = split else { continue };
        let records = subject.recorded(step.step)?;
        let texts: Vec<(String, String)> = records
            .records
            .iter()
            .filter_map(|record| {
                let exchange = Exchange::of(record)?;
                Some(match &of.kind[..] {
                    "profiles" => (exchange.user, prompt(record)),
                    _ => (exchange.user, exchange.outside),
                })
            })
            .collect();
        if texts.is_empty() {
            continue;
        }
        checked += 1;
        let fold = subject.fold(split)?;
        let Some(titles) = titles(subject, step.step, &fold)? else { continue };
        let counts = count(&fold, &titles, texts);
        let rate = (counts.controls_named + 1) as f64 / (counts.controls + 1) as f64;
        let p = binomial_p(counts.named, counts.tests, rate.min(1.0));
        let p = p.ok_or_else(|| format!("{}: there is no chance of {rate}", of.label))?;
        if counts.named == 0 || p >= ALPHA {
            continue;
        }
        let label = format!("{} {}", of.kind, of.label);
        let message = format!(
            "prompts of {label} name {} of {} test items of {} users beside the candidates ({} users are concerned), and \
             {} of {} equally popular items that they never rated{}",
            counts.named,
            counts.tests,
            counts.users,
            counts.users_named,
            counts.controls_named,
            counts.controls,
            counts.example.map(|example| format!(", e.g. {example}")).unwrap_or_default()
        );
        let system = step.systems.first().cloned().unwrap_or_default();
        findings.push(
            Finding::new(system, message)
                .with("step", label)
                .with("users", counts.users)
                .with("users_named", counts.users_named)
                .with("test_items", counts.tests)
                .with("named", counts.named)
                .with("controls", counts.controls)
                .with("controls_named", counts.controls_named)
                .with("p", p),
        );
    }
    Ok(match checked {
        0 => Outcome::NotApplicable(NO_MODEL.into()),
        _ => Outcome::Checked(findings),
    })
}

/// The split step that a step is about.
fn split_of(subject: &Subject, step: usize) -> Option<usize> {
    let steps = &subject.experiment.steps;
    let mut open = vec![step];
    while let Some(step) = open.pop() {
        if steps[step].kind == "split" && subject.done.iter().any(|trial| trial.split == step) {
            return Some(step);
        }
        open.extend(&steps[step].inputs);
    }
    None
}

/// By item, its title in prompts.
fn titles(
    subject: &Subject,
    step: usize,
    fold: &Arc<OpenFold>,
) -> Result<Option<Vec<String>>, String> {
    let steps = &subject.experiment.steps;
    let mut open = vec![step];
    while let Some(step) = open.pop() {
        // Profiles of users depend on those of items.
        let is_of_items = steps[step].kind == "profiles"
            && !steps[step].inputs.iter().any(|input| steps[*input].kind == "profiles");
        if is_of_items {
            let path = subject.experiment.dir(subject.workspace, step).join("facts.json");
            let facts: Vec<ItemFacts> = read_json(&path).map_err(|error| error.to_string())?;
            let items = &fold.training.items;
            if facts.len() == items.len() {
                let name =
                    |(at, fact): (usize, &ItemFacts)| fact.name(items.name(at as u32)).to_owned();
                return Ok(Some(facts.iter().enumerate().map(name).collect()));
            }
        }
        open.extend(&steps[step].inputs);
    }
    Ok(None)
}

fn count(fold: &OpenFold, titles: &[String], texts: Vec<(String, String)>) -> Counts {
    let mut by_user: BTreeMap<u32, String> = BTreeMap::new();
    for (user, text) in texts {
        if let Some(user) = fold.training.users.index_of(&user) {
            let known = by_user.entry(user).or_default();
            known.push_str(&text);
            known.push('\n');
        }
    }
    let every = by_user.len().div_ceil(USERS).max(1);
    let popularity = fold.training.train.item_counts();
    let mut order: Vec<u32> = (0..popularity.len() as u32).collect();
    order.sort_by_key(|item| (popularity[*item as usize], *item));
    let place: HashMap<u32, usize> =
        order.iter().enumerate().map(|(at, item)| (*item, at)).collect();
    let mut counts = Counts::default();
    let (tests, _) = fold.hand_out("audit", |test| {
        by_user.keys().map(|user| test.items_of(UserIx(*user)).to_vec()).collect::<Vec<_>>()
    });
    for ((user, text), tests) in by_user.iter().zip(tests).step_by(every) {
        counts.users += 1;
        let seen: HashSet<u32> = fold.seen.items_of(UserIx(*user)).iter().copied().collect();
        let seen_titles: HashSet<&str> =
            seen.iter().map(|item| titles[*item as usize].as_str()).collect();
        let is_named = |item: u32| {
            let title = &titles[item as usize];
            !seen_titles.contains(title.as_str())
                && names(text, title, titles.iter().map(String::as_str))
        };
        let mut of_user = 0;
        let taken: HashSet<u32> = tests.iter().copied().collect();
        for item in &tests {
            counts.tests += 1;
            if is_named(*item) {
                of_user += 1;
                let name = fold.training.users.name(*user);
                counts
                    .example
                    .get_or_insert_with(|| format!("`{}` for user {name}", titles[*item as usize]));
            }
            // The nearest in popularity, on both sides in turn.
            let at = place[item];
            let near = (1..order.len()).flat_map(|by| [at.checked_sub(by), Some(at + by)]);
            let near = near.flatten().filter_map(|at| order.get(at).copied());
            let unrated = near.filter(|item| !seen.contains(item) && !taken.contains(item));
            for control in unrated.take(CONTROLS) {
                counts.controls += 1;
                counts.controls_named += usize::from(is_named(control));
            }
        }
        counts.named += of_user;
        counts.users_named += usize::from(of_user > 0);
    }
    counts
}
