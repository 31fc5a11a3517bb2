//! Profiles of all items or users by what the experiment says.

use super::{
    ItemFacts, ItemProfiles, MetadataSpec, Profiles, Source, TextError, TextStats, UserProfiles,
    integrated, template, template::tastes, written,
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
    /// The experiment's endpoints.
    pub judges: &'a [(String, JudgeSpec)],
    /// Opened when it is first needed.
    pub llm: &'a (dyn Fn() -> Result<&'a Llm, LlmError> + Sync),
}

impl<'a> Writing<'a> {
    /// One who asks the judge of this name.
    pub fn asker(&self, name: &str) -> Result<Asker<'a>, TextError> {
        let found = self.judges.iter().find(|(known, _)| known == name);
        let Some((_, judge)) = found else {
            return Err(TextError::Unsuitable(format!(
                "internal error: the step has no endpoint `{name}`"
            )));
        };
        Ok((self.llm)()?.asker(name, judge))
    }
}

/// Profiles with what is recorded beside them.
pub struct Made {
    pub profiles: Profiles,
    /// For the step's record.
    pub stats: TextStats,
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
    let tmdb = match &metadata.tmdb {
        Some(tmdb) => Some(tmdb.fill(&mut facts, items, writing, &mut answers)?),
        None => None,
    };
    let mut stats = TextStats {
        items: Some(items.len()),
        without_title: Some(facts.iter().filter(|fact| fact.title.is_none()).count()),
        without_overview: Some(facts.iter().filter(|fact| fact.overview.is_none()).count()),
        tmdb,
        ..TextStats::default()
    };
    let profiles = match spec {
        ItemProfiles::Metadata => integrated::items(&facts),
        ItemProfiles::Template => template::items(&facts),
        ItemProfiles::File(file) => {
            let (texts, strangers) = file.read(items, writing.dirs)?;
            stats.rows_about_other_items = Some(strangers);
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
            let (profiles, of_writing, tally) = written::items(write, &facts, items, writing)?;
            (stats.writing, stats.llm) = (Some(of_writing), Some(tally.stats()));
            answers.extend(tally.keys());
            profiles
        }
    };
    stats.from = profiles.counts();
    Ok((Made { profiles, stats, answers }, facts))
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
    let mut stats = TextStats { users: Some(users.len()), ..TextStats::default() };
    let mut answers = Vec::new();
    let profiles = match spec {
        UserProfiles::Metadata => integrated::users(&tastes(data), facts),
        UserProfiles::Template => template::users(&tastes(data), facts, items),
        UserProfiles::Mean => Profiles::all_from(Source::None, vec![None; users.len()]),
        UserProfiles::File(from) => {
            let (texts, strangers) = from.file.read(users, writing.dirs)?;
            stats.rows_about_other_users = Some(strangers);
            stats.built_from = Some(from.built_from.clone());
            stats.accept_leak = Some(from.accept_leak);
            Profiles::all_from(Source::File, texts)
        }
        UserProfiles::Llm(write) => {
            let (profiles, of_writing, tally) =
                written::users(write, users, data, facts, items, writing)?;
            (stats.writing, stats.llm) = (Some(of_writing), Some(tally.stats()));
            answers.extend(tally.keys());
            profiles
        }
    };
    stats.from = profiles.counts();
    Ok(Made { profiles, stats, answers })
}
