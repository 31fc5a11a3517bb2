//! `profiles-name-test-items`

use std::collections::HashSet;

use crate::{
    audit::{
        Check, Family, Finding, Outcome, Severity, Subject, threads,
        words::{share, some_of},
    },
    base::{files::read_json, text::distinct},
    data::{Interactions, UserIx},
    tasks::top_n::steps::ProfilesStats,
    text::{ItemFacts, Profiles},
};

pub const CHECK: Check = Check {
    id: "profiles-name-test-items",
    family: Family::Leakage,
    severity: Severity::Error,
    title: "User profiles that were made from test ratings",
    why: "A profile that was written from the ratings that are tested tells the system the answers.",
    source: "Kapoor and Narayanan 2023, Leakage and the Reproducibility Crisis in Machine-Learning-Based Science (illegitimate \
             features)",
    fix: "Write the profiles of each fold from its training part alone.",
    run,
};

/// A title must be so long to be looked for.
const SHORTEST: usize = 4;
/// So many users must have a text and test items with titles.
const FEWEST: usize = 10;
/// From this difference of shares, and this t statistic on, texts name test items.
const TELLING: f64 = 0.01;
const DEVIATIONS: f64 = 4.0;

/// A step of user profiles, with the fold and the systems that it is used for.
struct Used {
    step: usize,
    split: usize,
    fold: String,
    systems: Vec<String>,
}

fn run(subject: &Subject) -> Result<Outcome, String> {
    let steps = &subject.experiment.steps;
    let mut used: Vec<Used> = Vec::new();
    // Texts that are written are checked before anything is trained on them.
    for trial in &subject.experiment.trials {
        for step in subject.ancestors(trial.predictions) {
            let inputs = &steps[step].inputs;
            // Profiles of users are made from a fold and from the profiles of items.
            let is_of = |kind: &str| inputs.iter().any(|input| steps[*input].kind == kind);
            let is_of_users = steps[step].kind == "profiles" && is_of("split") && is_of("profiles");
            if !is_of_users || !subject.has_run(step) {
                continue;
            }
            match used.iter_mut().find(|of| (of.step, of.split) == (step, trial.split)) {
                Some(of) => of.systems.push(trial.name.clone()),
                None => used.push(Used {
                    step,
                    split: trial.split,
                    fold: trial.fold.clone(),
                    systems: vec![trial.name.clone()],
                }),
            }
        }
    }
    if used.is_empty() {
        return Ok(Outcome::NotApplicable("no system uses profiles of users".into()));
    }
    // Folds are read before, so that no thread waits for another's reading.
    for of in &used {
        subject.fold(of.split)?;
    }
    let found: Result<Vec<_>, String> =
        threads::each(&used, |of| look(subject, of)).into_iter().collect();
    Ok(Outcome::Checked(found?.into_iter().flatten().collect()))
}

fn look(subject: &Subject, used: &Used) -> Result<Vec<Finding>, String> {
    let mut findings = Vec::new();
    let label = &subject.experiment.steps[used.step].label;
    let stats: ProfilesStats = subject.stats(used.step)?;
    let systems = distinct(used.systems.iter());
    let about = if systems.len() == 1 { systems[0].clone() } else { String::new() };
    let built_from = stats.text.built_from.as_deref();
    if let Some(from) = built_from.filter(|from| *from != used.fold && *from != "no-ratings") {
        let message = format!(
            "`{label}` were written from the training part of {from}, and are used on {}, whose test part it \
             contains (by {})",
            used.fold,
            some_of(&systems)
        );
        findings.push(
            Finding::new(&about, message).with("built_from", from).with("used_on", &*used.fold),
        );
    }
    let Some(named) = named(subject, used)? else { return Ok(findings) };
    if named.users >= FEWEST && named.difference >= TELLING && named.deviations >= DEVIATIONS {
        let message = format!(
            "`{label}`: the texts name {} of their users' test items, and {} of unseen items that are as popular \
             ({} users; t = {:.1}), used by {}",
            share(named.test),
            share(named.control),
            named.users,
            named.deviations,
            some_of(&systems)
        );
        let finding = Finding::new(&about, message)
            .with("share_of_test_items", named.test)
            .with("share_of_other_items", named.control)
            .with("users", named.users)
            .with("t", named.deviations.min(1e6));
        findings.push(finding);
    }
    Ok(findings)
}

/// Mean shares, over users, of test items and of equally popular unseen items whose titles are in the user's text.
struct Named {
    users: usize,
    test: f64,
    control: f64,
    difference: f64,
    /// The mean difference in standard errors.
    deviations: f64,
}

fn named(subject: &Subject, used: &Used) -> Result<Option<Named>, String> {
    let steps = &subject.experiment.steps;
    let inputs = &steps[used.step].inputs;
    // Profiles of a search are made from a part of the training part.
    if !inputs.contains(&used.split) {
        return Ok(None);
    }
    let items = inputs.iter().find(|input| steps[**input].kind == "profiles");
    let Some(items) = items else { return Ok(None) };
    let dir = |step: usize| subject.experiment.dir(subject.workspace, step);
    let facts: Vec<ItemFacts> =
        read_json(&dir(*items).join("facts.json")).map_err(|error| error.to_string())?;
    let profiles = Profiles::read(&dir(used.step)).map_err(|error| error.to_string())?;
    let fold = subject.fold(used.split)?;
    let titles = Titles::new(&facts, &fold.training.train.item_counts());
    let (named, _) = fold.hand_out("audit", |test| {
        let of = |user: &u32| {
            let text = profiles.texts.get(*user as usize)?.as_ref()?;
            shares(text, UserIx(*user), &titles, &fold.seen, test)
        };
        let users: Vec<u32> = (0..test.n_users() as u32).collect();
        users.iter().filter_map(of).collect::<Vec<(f64, f64)>>()
    });
    let n = named.len() as f64;
    if named.len() < 2 {
        return Ok(None);
    }
    let mean = |of: &dyn Fn(&(f64, f64)) -> f64| named.iter().map(of).sum::<f64>() / n;
    let difference = mean(&|(test, control)| test - control);
    let squares: f64 =
        named.iter().map(|(test, control)| (test - control - difference).powi(2)).sum();
    let error = (squares / (n * (n - 1.0))).sqrt();
    let deviations = match error > 0.0 {
        true => difference / error,
        false if difference > 0.0 => f64::INFINITY,
        false => 0.0,
    };
    Ok(Some(Named {
        users: named.len(),
        test: mean(&|(test, _)| *test),
        control: mean(&|(_, control)| *control),
        difference,
        deviations,
    }))
}

/// Titles as they are looked for, in lower case; none where an item has no title that can be told.
struct Titles {
    /// The whole title, and the title without its year where no other item has it.
    of: Vec<Vec<String>>,
    /// Items by popularity, and the place of each among them.
    by_popularity: Vec<u32>,
    place: Vec<usize>,
}

impl Titles {
    fn new(facts: &[ItemFacts], counts: &[u32]) -> Self {
        let whole: Vec<Option<String>> = facts
            .iter()
            .map(|of| of.title.as_ref().map(|title| title.trim().to_lowercase()))
            .collect();
        let bare = |title: &String| match title.rsplit_once(" (") {
            Some((bare, year)) if year.len() == 5 && year.ends_with(')') => bare.to_owned(),
            _ => title.clone(),
        };
        let (mut seen, mut twice) = (HashSet::new(), HashSet::new());
        for title in whole.iter().flatten().map(bare) {
            if !seen.insert(title.clone()) {
                twice.insert(title);
            }
        }
        let forms = |title: &Option<String>| {
            let Some(title) = title else { return Vec::new() };
            let mut forms = vec![title.clone()];
            forms.extend(Some(bare(title)).filter(|bare| bare != title && !twice.contains(bare)));
            forms.retain(|form| form.chars().count() >= SHORTEST);
            forms
        };
        let mut by_popularity: Vec<u32> = (0..counts.len() as u32).collect();
        by_popularity.sort_by_key(|item| (counts[*item as usize], *item));
        let mut place = vec![0; counts.len()];
        by_popularity.iter().enumerate().for_each(|(at, item)| place[*item as usize] = at);
        Self { of: whole.iter().map(forms).collect(), by_popularity, place }
    }

    fn has(&self, item: u32) -> bool {
        self.of.get(item as usize).is_some_and(|forms| !forms.is_empty())
    }

    /// The item with a title whose popularity is nearest, of those not `used`.
    fn as_popular(&self, item: u32, used: &HashSet<u32>) -> Option<u32> {
        let (at, n) = (self.place[item as usize], self.by_popularity.len());
        let around = (1..n).flat_map(|by| [at.checked_sub(by), Some(at + by).filter(|at| *at < n)]);
        let items = around.flatten().map(|at| self.by_popularity[at]);
        items.into_iter().find(|other| self.has(*other) && !used.contains(other))
    }
}

/// The shares of a user's test items, and of as many equally popular items that the user has not seen, that the text
/// names; none where no test item has a title.
fn shares(
    text: &str,
    user: UserIx,
    titles: &Titles,
    seen: &Interactions,
    test: &Interactions,
) -> Option<(f64, f64)> {
    let tested: Vec<u32> =
        test.items_of(user).iter().copied().filter(|item| titles.has(*item)).collect();
    if tested.is_empty() {
        return None;
    }
    // Titles of training items are masked first: one may be a part of a test item's.
    let mut known: Vec<&String> =
        seen.items_of(user).iter().flat_map(|item| &titles.of[*item as usize]).collect();
    known.sort_by_key(|title| std::cmp::Reverse(title.len()));
    let mut text = text.to_lowercase();
    for title in known {
        if text.contains(title.as_str()) {
            text = text.replace(title.as_str(), "\n");
        }
    }
    let is_named = |item: u32| titles.of[item as usize].iter().any(|title| has_words(&text, title));
    let mut used: HashSet<u32> =
        seen.items_of(user).iter().chain(test.items_of(user)).copied().collect();
    let (mut named, mut named_control, mut n_control) = (0usize, 0usize, 0usize);
    for item in &tested {
        named += usize::from(is_named(*item));
        if let Some(control) = titles.as_popular(*item, &used) {
            used.insert(control);
            n_control += 1;
            named_control += usize::from(is_named(control));
        }
    }
    (n_control > 0)
        .then(|| (named as f64 / tested.len() as f64, named_control as f64 / n_control as f64))
}

/// Whether a text has a title that is not a part of longer words.
fn has_words(text: &str, title: &str) -> bool {
    text.match_indices(title).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + title.len()..].chars().next();
        [before, after].iter().all(|c| !c.is_some_and(char::is_alphanumeric))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_found_as_whole_words_and_without_their_year_where_it_is_theirs_alone() {
        let facts = |titles: &[&str]| -> Vec<ItemFacts> {
            let of = |title: &&str| ItemFacts {
                title: Some((*title).to_owned()),
                ..ItemFacts::default()
            };
            titles.iter().map(of).collect()
        };
        let titles = Titles::new(
            &facts(&["Heat (1995)", "Sabrina (1954)", "Sabrina (1995)", "M (1931)"]),
            &[3, 9, 4, 1],
        );
        assert_eq!(titles.of[0], ["heat (1995)", "heat"]);
        assert_eq!(titles.of[1], ["sabrina (1954)"]);
        assert_eq!(titles.of[3], ["m (1931)"]);
        // By popularity: M, Heat, Sabrina (1995), Sabrina (1954); of equally near items the less popular one.
        assert_eq!(titles.as_popular(0, &HashSet::new()), Some(3));
        assert_eq!(titles.as_popular(2, &HashSet::from([0])), Some(1));
        assert_eq!(titles.as_popular(2, &HashSet::from([0, 1])), Some(3));
        assert_eq!(titles.as_popular(2, &HashSet::from([0, 1, 3])), None);
        assert!(has_words("likes heat, and more", "heat") && !has_words("likes heathers", "heat"));
    }
}
