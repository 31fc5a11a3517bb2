//! Items whose texts are like the user's: the cosine of their vectors, nothing is trained.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Factors, FitContext, Model, ModelError, Recommender, Size, Wrong};
use crate::{base::arrays::Saved, data::TrainingData, tasks::top_n::History, text::TextSpec};

/// Settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContentParams {
    /// Which texts, and how they become vectors.
    pub text: TextSpec,
}

impl Model for ContentParams {
    fn validate(&self) -> Result<(), Wrong> {
        self.text.validate_fixed().map_err(|message| ("text", message))
    }

    fn history(&self) -> History {
        History::Text
    }

    fn text(&self) -> Option<&TextSpec> {
        Some(&self.text)
    }

    fn memory(&self, size: Size) -> usize {
        4 * 4 * 384 * (size.users + size.items)
    }

    fn fit(
        &self,
        _: &TrainingData,
        context: &FitContext,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        let features = context.features.ok_or_else(|| {
            ModelError::Unsuitable("`text` is set, but no texts were given".into())
        })?;
        let (users, items) = (features.users.clone(), features.items.clone());
        Ok(Box::new(Factors::new(features.dim, users, items)))
    }

    fn load(
        &self,
        dir: &Path,
        data: &TrainingData,
        _: &FitContext,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        let saved = Saved::read(dir)?;
        let (n_users, n_items) = (data.ratings.n_users(), data.ratings.n_items());
        let dim = saved.float_row("users")?.len() / n_users.max(1);
        let users = saved.floats("users", &[n_users, dim])?;
        let items = saved.floats("items", &[n_items, dim])?;
        Ok(Box::new(Factors::new(dim, users, items)))
    }
}
