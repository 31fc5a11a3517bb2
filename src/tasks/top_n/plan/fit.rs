//! Steps of models: the search of settings and the fit.

use super::{FoldAt, Planner, SystemPlan, warnings::warnings};
use crate::{
    core::Handle,
    data::DataError,
    tasks::top_n::{
        Search, SystemSpec,
        steps::{CutStep, FitStep, FittedModel, Learning, SearchStep, output::SearchTrials},
    },
};

impl Planner<'_> {
    /// The step that fits a system.
    pub(super) fn fit(&mut self, of: &SystemPlan, at: FoldAt) -> Result<FittedModel, DataError> {
        let variant = of.variant;
        let FoldAt { fold, split, seed } = at;
        let vectors = match &of.texts {
            Some(texts) => Some(self.vectors(of, texts, (fold, split), false)?),
            None => None,
        };
        let reviews = self.review_vectors(of, (fold, split), false)?;
        let learning = Learning {
            name: of.name.clone(),
            system: of.spec.clone(),
            train_on: of.system.train_on,
            relevant: variant.data.relevant,
            disliked: variant.data.disliked,
            fold: fold.to_owned(),
            split,
            vectors,
            reviews,
            dirs: self.dirs.clone(),
            warnings: warnings(variant, of.system, fold),
        };
        let search = match &*of.spec {
            SystemSpec::Search(search) => Some(self.search(of, search, &learning, at)?),
            _ => None,
        };
        let model = self.add(FitStep {
            label: of.label(fold, seed),
            learning: learning.clone(),
            search,
            search_has_texts: vectors.is_some() || reviews.is_some(),
            seed,
        });
        Ok(FittedModel {
            learning,
            model,
            seed,
            relevant: variant.data.relevant,
            disliked: variant.data.disliked,
            fallback: variant.evaluate.fallback,
        })
    }

    /// The step that searches settings; once a fold: with every seed the same settings are fitted.
    fn search(
        &mut self,
        of: &SystemPlan,
        search: &Search,
        learning: &Learning,
        at: FoldAt,
    ) -> Result<Handle<SearchTrials>, DataError> {
        let spec = &search.spec;
        let mut learning = learning.clone();
        // Texts of users are written from ratings: those that a search measures on are cut off first.
        let is_cut = of.texts.is_some() || of.reviews.is_some();
        if is_cut {
            let variant = of.variant;
            learning.split = self.add(CutStep {
                label: format!(
                    "{}{} {} search",
                    variant.data.source.name(),
                    variant.label,
                    at.fold
                ),
                split: at.split,
                fold: at.fold.to_owned(),
                cut: spec.cut,
                share: spec.validation,
                seed: spec.seed,
            });
            let cut = (at.fold, learning.split);
            if let Some(texts) = &of.texts {
                learning.vectors = Some(self.vectors(of, texts, cut, true)?);
            }
            learning.reviews = self.review_vectors(of, cut, true)?;
        }
        Ok(self.add(SearchStep {
            label: format!("{} {}", of.name, at.fold),
            learning,
            is_cut,
            seed: spec.seed,
        }))
    }
}
