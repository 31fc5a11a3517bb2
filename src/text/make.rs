//! Profiles of all items or users by what the experiment says.

use serde_json::{Value, json};

use super::{
    ItemFacts, ItemProfiles, MetadataSpec, Profiles, Source, TextError, UserProfiles, integrated,
    template, template::tastes, written,
};
use crate::{
    base::interrupt::Interrupt,
    data::{Catalogue, DataDirs, Ids, TrainingData},
    llm::{Asker, JudgeSpec, Llm, LlmError},
};

/// What accompanies the making of texts.
pub struct Writing<'a> {
    pub dirs: &'a DataDirs,
    pub interrupt: &'a Interrupt,
    pub progress: &'a (dyn Fn(u64, u64) + Sync),
    pub log: &'a (dyn Fn(&str) + Sync),
    /// The experiment's judges.
    pub judges: &'a [(String, JudgeSpec)],
    /// Opened when it is first needed.
    pub llm: &'a (dyn Fn() -> Result<&'a Llm, LlmError> + Sync),
}

impl<'a> Writing<'a> {
    /// One who asks the judge of this name.
    pub fn asker(&self, name: &str) -> Result<Asker<'a>, TextError> {
        // invariant: the experiment was checked to have a judge of this name
        let found = self.judges.iter().find(|(known, _)| known == name);
        let judge = found.map(|(_, judge)| judge.clone()).unwrap_or_default();
        Ok((self.llm)()?.asker(name, &judge))
    }
}

/// Profiles with what is recorded beside them.
pub struct Made {
    pub profiles: Profiles,
    /// What was counted on the way.
    pub counted: Value,
    /// Keys of the answers they were made of.
    pub answers: Vec<String>,
}

/// Profiles of items, and what is known of them.
pub fn profiles_of_items(
    spec: &ItemProfiles,
    metadata: &MetadataSpec,
    catalogue: &Catalogue,
    items: &Ids,
    writing: &Writing,
) -> Result<(Made, Vec<ItemFacts>), TextError> {
    let mut facts = metadata.facts(catalogue, items, writing.dirs)?;
    let mut answers = Vec::new();
    let found = match &metadata.tmdb {
        Some(tmdb) => Some(tmdb.fill(&mut facts, items, writing, &mut answers)?),
        None => None,
    };
    let mut counted = json!({
        "without_title": facts.iter().filter(|fact| fact.title.is_none()).count(),
        "without_overview": facts.iter().filter(|fact| fact.overview.is_none()).count(),
    });
    if let Some(found) = found {
        counted["tmdb"] = found;
    }
    let profiles = match spec {
        ItemProfiles::Metadata => integrated::items(&facts),
        ItemProfiles::Template => template::items(&facts),
        ItemProfiles::File(file) => {
            let (texts, strangers) = file.read(items, writing.dirs)?;
            counted["rows_about_other_items"] = json!(strangers);
            let mut profiles = Profiles::all_from(Source::File, texts);
            // An item that the file says nothing of is not left without a text where something is known.
            let instead = integrated::items(&facts);
            for (at, text) in instead.texts.into_iter().enumerate() {
                if profiles.texts[at].is_none() && text.is_some() {
                    (profiles.texts[at], profiles.sources[at]) = (text, Source::Metadata);
                }
            }
            profiles
        }
        ItemProfiles::Llm(write) => {
            let (profiles, more, keys) = written::items(write, &facts, items, writing)?;
            join(&mut counted, more);
            answers.extend(keys);
            profiles
        }
    };
    Ok((Made { profiles, counted, answers }, facts))
}

/// Profiles of users, and what was counted on the way.
pub fn profiles_of_users(
    spec: &UserProfiles,
    users: &Ids,
    data: &TrainingData,
    facts: &[ItemFacts],
    items: &Profiles,
    writing: &Writing,
) -> Result<Made, TextError> {
    let (mut counted, mut answers) = (json!({}), Vec::new());
    let profiles = match spec {
        UserProfiles::Metadata => integrated::users(&tastes(data), facts),
        UserProfiles::Template => template::users(&tastes(data), facts, items),
        UserProfiles::Mean => Profiles::all_from(Source::None, vec![None; users.len()]),
        UserProfiles::File(from) => {
            let (texts, strangers) = from.file.read(users, writing.dirs)?;
            counted["rows_about_other_users"] = json!(strangers);
            counted["built_from"] = json!(from.built_from);
            counted["accept_leak"] = json!(from.accept_leak);
            Profiles::all_from(Source::File, texts)
        }
        UserProfiles::Llm(write) => {
            let (profiles, more, keys) = written::users(write, users, data, facts, items, writing)?;
            join(&mut counted, more);
            answers.extend(keys);
            profiles
        }
    };
    Ok(Made { profiles, counted, answers })
}

fn join(facts: &mut Value, more: Value) {
    if let (Value::Object(facts), Value::Object(more)) = (facts, more) {
        facts.extend(more);
    }
}
