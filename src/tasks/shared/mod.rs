//! What tasks whose systems rank items have in common.

mod external;
mod factors;
pub(in crate::tasks) mod metrics;
mod model;
mod record;
pub mod steps;
mod systems;
mod training;

use serde::Serialize;

pub use external::ExternalParams;
pub(crate) use factors::Factors;
pub use model::{ModelError, ModelStats, Settings, Size, Wrong};
pub(in crate::tasks) use model::{out_of_range, tagged};
pub use record::RecordSettings;
pub(in crate::tasks) use record::{RestsOn, check_means, check_means_by, means, measurements};
pub(in crate::tasks) use systems::{
    check_system_names, description, needs_scores, place_of, seeds, systems,
};
pub use training::{Training, Validate};
pub(crate) use training::{layers, not_negative, positive, share, width};

/// The name of rankings from files in `model:`.
pub(in crate::tasks) const EXTERNAL: &str = "external";
/// The name of the model that is a program.
pub(in crate::tasks) const COMMAND: &str = "command";

/// Ties are kept with the lists and go by the items' own ids, −∞ is no recommendation, and items of the validation part
/// are seen.
pub(in crate::tasks) const EXTERNAL_REVISION: u32 = 4;

/// The file of epochs beside a fitted network.
pub const HISTORY: &str = "history.json";

/// A system's settings as JSON: `{"model": "als", …}`, a part of the keys of steps.
#[derive(Serialize)]
pub(in crate::tasks) struct Tagged<'a, T> {
    pub model: &'a str,
    #[serde(flatten)]
    pub settings: &'a T,
}
