//! Steps that make texts about items and about the users of a fold.

use std::{path::Path, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    RESPONSES,
    output::{Profiles as ProfilesDir, Split},
    split::dataset,
};
use crate::{
    base::files::{read_json, write_json},
    core::{
        Found, Handle, KeyBuilder, Pinned, Requests, RunContext, Shared, Step, StepError, StepStats,
    },
    data::{DataDirs, DataSource, Relevance, TrainingPart},
    llm::{EndpointSpec, Llm, LlmError},
    text::{
        GeneratedProfiles, GenerationContext, ItemFacts, ItemProfiles, MetadataSpec, PROFILES,
        Profiles, TextStats, UserProfiles, profiles_of_items, profiles_of_users,
    },
};

/// Raise it if the code changes its meaning.
const REVISION: u32 = 2;

/// Metadata of items, in addition to their profiles.
const FACTS: &str = "facts.json";

/// An endpoint with a prompt.
#[derive(Clone)]
pub struct PromptedEndpoint {
    /// Its name in the experiment.
    pub name: String,
    pub endpoint: EndpointSpec,
    pub prompt: Pinned,
}

impl PromptedEndpoint {
    /// What it depends on.
    pub(super) fn key_inputs(&self, key: &mut KeyBuilder) {
        key.file("prompt", &self.prompt).value("judge", self.endpoint.key_inputs());
    }
}

/// The source of profiles, in addition to the data set.
#[derive(Clone)]
pub enum Authors {
    /// A rule.
    Rule,
    Endpoint(Box<PromptedEndpoint>),
    File(Pinned),
}

impl Authors {
    fn key_inputs(&self, key: &mut KeyBuilder) {
        match self {
            Self::Rule => {}
            Self::Endpoint(asked) => asked.key_inputs(key),
            Self::File(file) => drop(key.file("file", file)),
        }
    }

    fn endpoint(&self) -> Vec<(String, EndpointSpec)> {
        match self {
            Self::Endpoint(asked) => vec![(asked.name.clone(), asked.endpoint.clone())],
            Self::Rule | Self::File(_) => Vec::new(),
        }
    }
}

/// Profiles of items.
pub struct ItemProfilesStep {
    pub label: String,
    pub items: ItemProfiles,
    pub authors: Authors,
    pub source: DataSource,
    pub data: Pinned,
    pub metadata: MetadataSpec,
    /// What the key says of it, and the file it names.
    pub metadata_inputs: Value,
    pub metadata_file: Option<Pinned>,
    /// The training part whose ratings and reviews they contain, and its reviews; without these, profiles are the same in
    /// every fold.
    pub reviews: Option<(Handle<Split>, Handle<ProfilesDir>)>,
    pub dirs: Arc<DataDirs>,
}

/// Profiles of the users of a fold, made from its training part.
pub struct UserProfilesStep {
    pub label: String,
    pub users: UserProfiles,
    pub authors: Authors,
    pub relevant: Relevance,
    pub disliked: Option<Relevance>,
    pub split: Handle<Split>,
    pub items: Handle<ProfilesDir>,
    pub dirs: Arc<DataDirs>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProfilesStats {
    #[serde(flatten)]
    pub text: TextStats,
}

impl StepStats for ProfilesStats {
    const VERSION: u32 = 1;
}

impl Step for ItemProfilesStep {
    type Output = ProfilesDir;
    type Stats = ProfilesStats;

    const KIND: &'static str = "profiles";
    const REVISION: u32 = REVISION;

    fn label(&self) -> String {
        self.label.clone()
    }

    fn key_inputs(&self, key: &mut KeyBuilder) {
        let filters = self.source.filters();
        key.file("data", &self.data)
            .value_if(!filters.is_empty(), "filter", filters)
            .value("items", &self.items)
            .value("metadata", &self.metadata_inputs);
        if let Some(file) = &self.metadata_file {
            key.pin(file);
        }
        if let Some((split, reviews)) = self.reviews {
            key.step("split", split).step("reviews", reviews);
        }
        self.authors.key_inputs(key);
    }

    fn files(&self) -> Vec<&'static str> {
        vec![PROFILES]
    }

    fn preflight(&self, _: &Shared) -> Result<Found, StepError> {
        if let ItemProfiles::Llm(write) = &self.items {
            write.check_prompt(&self.dirs)?;
        }
        Ok(Found::default())
    }

    fn requests(&self, _: u64, items: u64) -> Option<Requests> {
        let ItemProfiles::Llm(write) = &self.items else { return None };
        Some(Requests {
            endpoint: write.endpoint.clone(),
            calls: items,
            tokens_per_call: 350,
            in_batches: true,
        })
    }

    fn run(&self, cx: &RunContext, dir: &Path) -> Result<ProfilesStats, StepError> {
        let endpoints = self.authors.endpoint();
        let llm = || cx.llm();
        let writing = writing(cx, &endpoints, &self.dirs, &llm);
        let data = dataset(cx.shared(), &self.source, &self.dirs, &self.data, cx.log)?;
        let reviews = match (self.reviews, self.items.reviews()) {
            (Some((split, reviews)), Some(selects)) => {
                let training = TrainingPart::read(&cx.dir(split))?;
                let texts = Profiles::read(&cx.dir(reviews))?;
                Some(selects.select(&training, &texts))
            }
            _ => None,
        };
        let (made, facts) = profiles_of_items(
            &self.items,
            &self.metadata,
            &data.catalogue,
            &data.items,
            reviews.as_deref(),
            &writing,
        )?;
        write_json(&dir.join(FACTS), &facts)?;
        written(made, dir, data.items.names())
    }
}

impl Step for UserProfilesStep {
    type Output = ProfilesDir;
    type Stats = ProfilesStats;

    const KIND: &'static str = "profiles";
    const REVISION: u32 = REVISION;

    fn label(&self) -> String {
        self.label.clone()
    }

    fn key_inputs(&self, key: &mut KeyBuilder) {
        key.value("users", &self.users)
            .value("relevant", self.relevant)
            .value("disliked", self.disliked)
            .step("split", self.split)
            .step("items", self.items);
        self.authors.key_inputs(key);
    }

    fn files(&self) -> Vec<&'static str> {
        vec![PROFILES]
    }

    fn preflight(&self, _: &Shared) -> Result<Found, StepError> {
        if let UserProfiles::Llm(write) = &self.users {
            write.check_prompt(&self.dirs)?;
        }
        Ok(Found::default())
    }

    fn requests(&self, users: u64, _: u64) -> Option<Requests> {
        let UserProfiles::Llm(write) = &self.users else { return None };
        Some(Requests {
            endpoint: write.endpoint.clone(),
            calls: users * (write.liked + write.disliked).div_ceil(write.batch) as u64,
            tokens_per_call: 600 + 250 * write.batch as u64,
            in_batches: true,
        })
    }

    fn run(&self, cx: &RunContext, dir: &Path) -> Result<ProfilesStats, StepError> {
        let endpoints = self.authors.endpoint();
        let llm = || cx.llm();
        let writing = writing(cx, &endpoints, &self.dirs, &llm);
        let training = TrainingPart::read(&cx.dir(self.split))?;
        let data = training.training_data(self.relevant, self.disliked);
        let items = cx.dir(self.items);
        let facts: Vec<ItemFacts> = read_json(&items.join(FACTS))?;
        let known = Profiles::read(&items)?;
        let made =
            profiles_of_users(&self.users, &training.users, &data, &facts, &known, &writing)?;
        written(made, dir, training.users.names())
    }
}

fn writing<'a>(
    cx: &'a RunContext<'a>,
    endpoints: &'a [(String, EndpointSpec)],
    dirs: &'a DataDirs,
    llm: &'a (dyn Fn() -> Result<&'a Llm, LlmError> + Sync),
) -> GenerationContext<'a> {
    GenerationContext {
        dirs,
        interrupt: cx.interrupt(),
        progress: cx.progress,
        log: cx.log,
        endpoints,
        llm,
    }
}

/// Writes profiles and the keys of the responses they are based on.
fn written(
    made: GeneratedProfiles,
    dir: &Path,
    names: &[String],
) -> Result<ProfilesStats, StepError> {
    made.profiles.write(dir, names)?;
    if !made.responses.is_empty() {
        let mut keys = made.responses;
        keys.sort();
        keys.dedup();
        write_json(&dir.join(RESPONSES), &keys)?;
    }
    Ok(ProfilesStats { text: made.stats })
}

/// Texts of items and users, from the steps that made them.
pub struct Written {
    pub facts: Vec<ItemFacts>,
    pub items: Profiles,
    pub users: Profiles,
}

impl Written {
    pub(super) fn read(
        cx: &RunContext,
        items: Handle<ProfilesDir>,
        users: Handle<ProfilesDir>,
    ) -> Result<Self, StepError> {
        let items = cx.dir(items);
        Ok(Self {
            facts: read_json(&items.join(FACTS))?,
            items: Profiles::read(&items)?,
            users: Profiles::read(&cx.dir(users))?,
        })
    }
}
