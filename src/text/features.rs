//! Embeddings of texts: the files of a step, and features of the nodes of a graph.

use std::path::Path;

use crate::{
    base::{
        arrays,
        arrays::{Array, ArrayError, Saved},
    },
    data::{Interactions, ItemIx, UserIx},
};

/// Embeddings of all items or of all users; zeros without a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Embeddings {
    pub dim: usize,
    /// Row-major `[n, dim]`.
    pub vectors: Vec<f32>,
    /// Whether there is a text.
    pub present: Vec<bool>,
}

impl Embeddings {
    /// Writes them to the directory of a step.
    pub fn save(&self, dir: &Path) -> Result<(), ArrayError> {
        let present: Vec<u32> = self.present.iter().map(|present| u32::from(*present)).collect();
        let arrays = [
            ("vectors", Array::floats(&[self.present.len(), self.dim], &self.vectors)),
            ("present", Array::numbers(&present)),
        ];
        arrays::save(dir, &arrays)
    }

    /// Reads the files of [`Embeddings::save`].
    pub fn read(dir: &Path) -> Result<Self, ArrayError> {
        let saved = Saved::read(dir)?;
        let present: Vec<bool> =
            saved.numbers("present")?.into_iter().map(|present| present == 1).collect();
        let vectors = saved.float_row("vectors")?;
        let dim = vectors.len() / present.len().max(1);
        Ok(Self { vectors: saved.floats("vectors", &[present.len(), dim])?, dim, present })
    }
}

/// Vectors of the reviews of training interactions.
#[derive(Clone, Debug, PartialEq)]
pub struct ReviewVectors {
    pub dim: usize,
    /// Every training interaction.
    train: Interactions,
    embeddings: Embeddings,
}

impl ReviewVectors {
    /// `embeddings` has a row for each interaction of `train`, in their order.
    pub fn new(train: &Interactions, embeddings: Embeddings) -> Self {
        Self { dim: embeddings.dim, train: train.clone(), embeddings }
    }

    /// The vector of an interaction's review, if it is a training interaction and has one.
    pub fn of(&self, user: UserIx, item: ItemIx) -> Option<&[f32]> {
        let place = self.train.items_of(user).binary_search(&item.0).ok()?;
        let row = self.train.indptr()[user.at()] + place;
        let has_text = self.embeddings.present.get(row).copied().unwrap_or(false);
        has_text.then(|| &self.embeddings.vectors[row * self.dim..(row + 1) * self.dim])
    }
}

/// Features of users and items for a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    pub dim: usize,
    /// Row-major `[n_users, dim]` and `[n_items, dim]`.
    pub users: Vec<f32>,
    pub items: Vec<f32>,
    /// Users without a text, who have the mean of the items they liked in training.
    pub users_without_text: usize,
    /// Items without a text, which have zeros.
    pub items_without_text: usize,
}

impl Features {
    /// Joins embeddings; a user without a text gets the normalised mean of the items liked in training.
    pub fn new(items: Embeddings, users: Embeddings, positives: &Interactions) -> Self {
        let dim = items.dim;
        let mut filled = 0;
        let mut of_users = users.vectors;
        for (user, row) in of_users.chunks_mut(dim).enumerate() {
            if users.present[user] {
                continue;
            }
            filled += 1;
            let mut mean = vec![0.0f64; dim];
            for liked in positives.items_of(crate::data::UserIx(user as u32)) {
                let vector = &items.vectors[*liked as usize * dim..][..dim];
                mean.iter_mut().zip(vector).for_each(|(sum, value)| *sum += f64::from(*value));
            }
            let length = mean.iter().map(|value| value * value).sum::<f64>().sqrt();
            if length > 0.0 {
                row.iter_mut().zip(mean).for_each(|(to, value)| *to = (value / length) as f32);
            }
        }
        Self {
            dim,
            users: of_users,
            items_without_text: items.present.iter().filter(|present| !**present).count(),
            items: items.vectors,
            users_without_text: filled,
        }
    }
}
