//! Steps that read texts of items from a file, for networks that start from them.

use std::{path::Path, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    core::{Handle, KeyBuilder, Pinned, RunContext, Step, StepError, StepStats},
    data::{DataDirs, SequencePart},
    tasks::shared::steps::output::{Profiles as ProfilesDir, Split},
    text::{FileSpec, PROFILES, Profiles, Source, TextStats},
};

/// Texts of all items of a split, in its order.
pub struct ItemTextsStep {
    pub label: String,
    pub items: FileSpec,
    pub file: Pinned,
    /// Names the items.
    pub split: Handle<Split>,
    pub dirs: Arc<DataDirs>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ItemTextsStats {
    #[serde(flatten)]
    pub text: TextStats,
}

impl StepStats for ItemTextsStats {
    const VERSION: u32 = 1;
}

impl Step for ItemTextsStep {
    type Output = ProfilesDir;
    type Stats = ItemTextsStats;

    const KIND: &'static str = "profiles";
    const REVISION: u32 = 1;

    fn label(&self) -> String {
        self.label.clone()
    }

    fn key_inputs(&self, key: &mut KeyBuilder) {
        key.value("items", &self.items).file("file", &self.file).step("split", self.split);
    }

    fn files(&self) -> Vec<&'static str> {
        vec![PROFILES]
    }

    fn run(&self, cx: &RunContext, dir: &Path) -> Result<ItemTextsStats, StepError> {
        let items = SequencePart::read(&cx.dir(self.split))?.items;
        let (texts, unknown_ids) = self.items.read(&items, &self.dirs)?;
        let profiles = Profiles::all_from(Source::File, texts);
        profiles.write(dir, items.names())?;
        let text = TextStats {
            items: Some(items.len()),
            rows_about_other_items: Some(unknown_ids),
            from: profiles.counts(),
            ..TextStats::default()
        };
        Ok(ItemTextsStats { text })
    }
}
