//! Models that are nothing but their factors.

use std::path::Path;

use super::{ModelError, Recommender};
use crate::{data::UserIx, tasks::shared::Factors};

impl Recommender for Factors {
    fn has_vector(&self, user: UserIx) -> bool {
        self.users[user.at() * self.dim..][..self.dim].iter().any(|value| *value != 0.0)
    }

    fn save(&self, dir: &Path) -> Result<(), ModelError> {
        Self::save(self, dir)
    }
}
