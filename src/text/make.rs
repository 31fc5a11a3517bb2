//! Profiles of all items or users, from the source that the experiment names.

use super::{
    ItemFacts, ItemProfiles, ItemReviews, MetadataSpec, Profiles, Source, TextError, TextStats,
    UserProfiles, integrated, template, template::preferences, written,
};
use crate::{
    base::interrupt::Interrupt,
    data::{Catalogue, DataDirs, Ids, TrainingData},
    llm::{EndpointSpec, Llm, LlmError, LlmSession},
};

/// What is needed to generate texts, in addition to their data.
pub struct GenerationContext<'a> {
    pub dirs: &'a DataDirs,
    pub interrupt: &'a Interrupt,
    pub progress: &'a (dyn Fn(u64, u64) + Sync),
    pub log: &'a (dyn Fn(&str) + Sync),
    /// The experiment's endpoints.
    pub endpoints: &'a [(String, EndpointSpec)],
    /// Opens the client when it is first needed.
    pub llm: &'a (dyn Fn() -> Result<&'a Llm, LlmError> + Sync),
}

impl<'a> GenerationContext<'a> {
    /// A session with the endpoint of this name.
    pub fn session(&self, name: &str) -> Result<LlmSession<'a>, TextError> {
        let found = self.endpoints.iter().find(|(known, _)| known == name);
        let Some((_, endpoint)) = found else {
            return Err(TextError::Unsuitable(format!(
                "internal error: the step has no endpoint `{name}`"
            )));
        };
        Ok((self.llm)()?.session(name, endpoint))
    }
}

/// Profiles, with what is recorded about them.
pub struct GeneratedProfiles {
    pub profiles: Profiles,
    /// The part of the step's record.
    pub stats: TextStats,
    /// Keys of the responses they were made from.
    pub responses: Vec<String>,
}

/// Profiles of items, and their metadata. `reviews` are those of training interactions, if the profiles contain some.
pub fn profiles_of_items(
    spec: &ItemProfiles,
    metadata: &MetadataSpec,
    catalogue: &Catalogue,
    items: &Ids,
    reviews: Option<&[ItemReviews]>,
    context: &GenerationContext,
) -> Result<(GeneratedProfiles, Vec<ItemFacts>), TextError> {
    let mut facts = metadata.facts(catalogue, items, context.dirs)?;
    let mut responses = Vec::new();
    let tmdb = match &metadata.tmdb {
        Some(tmdb) => Some(tmdb.fill(&mut facts, items, context, &mut responses)?),
        None => None,
    };
    let mut stats = TextStats {
        items: Some(items.len()),
        without_title: Some(facts.iter().filter(|fact| fact.title.is_none()).count()),
        without_overview: Some(facts.iter().filter(|fact| fact.overview.is_none()).count()),
        tmdb,
        with_reviews: reviews.map(|of| of.iter().filter(|of| !of.reviews.is_empty()).count()),
        ..TextStats::default()
    };
    let profiles = match spec {
        ItemProfiles::Metadata => integrated::items(&facts),
        ItemProfiles::Template(_) => template::items(&facts, reviews),
        ItemProfiles::File(file) => {
            let (texts, unknown_ids) = file.read(items, context.dirs)?;
            stats.rows_about_other_items = Some(unknown_ids);
            let mut profiles = Profiles::all_from(Source::File, texts);
            // An item that is not in the file gets a text from its metadata.
            let instead = integrated::items(&facts);
            for (at, text) in instead.texts.into_iter().enumerate() {
                if profiles.texts[at].is_none() && text.is_some() {
                    (profiles.texts[at], profiles.sources[at]) = (text, Source::Metadata);
                }
            }
            profiles
        }
        ItemProfiles::Llm(write) => {
            let (profiles, of_writing, tally) =
                written::items(write, &facts, reviews, items, context)?;
            (stats.writing, stats.llm) = (Some(of_writing), Some(tally.stats()));
            responses.extend(tally.keys());
            profiles
        }
    };
    stats.from = profiles.counts();
    Ok((GeneratedProfiles { profiles, stats, responses }, facts))
}

/// Profiles of users.
pub fn profiles_of_users(
    spec: &UserProfiles,
    users: &Ids,
    data: &TrainingData,
    facts: &[ItemFacts],
    items: &Profiles,
    context: &GenerationContext,
) -> Result<GeneratedProfiles, TextError> {
    let mut stats = TextStats { users: Some(users.len()), ..TextStats::default() };
    let mut responses = Vec::new();
    let profiles = match spec {
        UserProfiles::Metadata => integrated::users(&preferences(data), facts),
        UserProfiles::Template => template::users(&preferences(data), facts, items),
        UserProfiles::Mean => Profiles::all_from(Source::None, vec![None; users.len()]),
        UserProfiles::File(from) => {
            let (texts, unknown_ids) = from.file.read(users, context.dirs)?;
            stats.rows_about_other_users = Some(unknown_ids);
            stats.built_from = Some(from.built_from.clone());
            stats.accept_leak = Some(from.accept_leak);
            Profiles::all_from(Source::File, texts)
        }
        UserProfiles::Llm(write) => {
            let (profiles, of_writing, tally) =
                written::users(write, users, data, facts, items, context)?;
            (stats.writing, stats.llm) = (Some(of_writing), Some(tally.stats()));
            responses.extend(tally.keys());
            profiles
        }
    };
    stats.from = profiles.counts();
    Ok(GeneratedProfiles { profiles, stats, responses })
}
