//! Matrix factorisation of implicit feedback (Hu, Koren, Volinsky 2008).
//!
//! Minimises Σ_ui c_ui (p_ui − x_u·y_i)² + Σ_u λ_u |x_u|² + Σ_i λ_i |y_i|², where p is 1 for a
//! positive and 0 elsewhere, by solving for all users with the items held fixed and the other way
//! round: x_u = (YᵀY + Yᵀ(C_u − I)Y + λ_u I)⁻¹ Yᵀ C_u p_u (their eq. 4).

mod kernels;
mod solve;

use std::path::Path;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use self::solve::Side;
use self::solve::half_step;
use super::{Factors, FitContext, Model, ModelError, Recommender, Size, Wrong};
use crate::{
    base::simd::WIDTH,
    data::{Interactions, TrainingData, UserIx},
    tasks::shared::positive,
};

/// Settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AlsParams {
    /// Length of the vectors.
    #[schemars(range(min = 1))]
    pub factors: usize,
    /// How it is trained.
    #[serde(
        rename(serialize = "iterations", deserialize = "training"),
        deserialize_with = "epochs"
    )]
    #[schemars(with = "AlsTraining", extend("default" = AlsTraining::default()))]
    pub iterations: usize,
    /// λ, 0 or more.
    #[schemars(range(min = 0))]
    pub regularization: f32,
    /// Scales λ by how much a user or an item has.
    pub frequency_scaling: FrequencyScaling,
    /// How the confidence c follows from α and the value r of a positive; c is 1 elsewhere.
    pub confidence: Confidence,
    /// α of the confidence.
    #[schemars(range(min = 0))]
    pub alpha: f32,
    /// What r is.
    pub values: Values,
    pub solver: Solver,
    /// `cg`: steps in each solution.
    #[schemars(range(min = 1))]
    pub cg_steps: usize,
    /// Factors start uniformly between 0 and this.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub init_scale: f32,
    /// Factors start normally distributed around 0 with this ÷ √`factors` as the standard deviation, in place of
    /// `init_scale` (Rendle et al. 2022: 0.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub init_deviation: Option<f32>,
    /// α₀, over 0: minimises Σ_positives (1 − x_u·y_i)² + α₀ Σ_all (x_u·y_i)² + λ (…) instead, in place of `confidence`,
    /// `alpha` and `values` (Rendle et al. 2022, eq. 2). `frequency_scaling` then takes it for its `unobserved_weight`, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub unobserved_weight: Option<f32>,
}

/// How ALS is trained.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AlsTraining {
    /// How often users, then items, are solved for.
    #[schemars(range(min = 1))]
    pub epochs: usize,
}

impl Default for AlsTraining {
    fn default() -> Self {
        Self { epochs: AlsParams::default().iterations }
    }
}

/// The name that networks have for it, too. In keys of steps it has its old name.
fn epochs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    Ok(AlsTraining::deserialize(deserializer)?.epochs)
}

/// λ_u = λ (|R_u| + w n_items)^ν and the same for items (Rendle et al. 2022, "Revisiting the
/// Performance of iALS on Item Recommendation Benchmarks", eq. 11). ν = 0 leaves λ as it is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FrequencyScaling {
    /// ν, from 0 (plain λ) to 1 (proportional to the frequency).
    #[schemars(range(min = 0))]
    pub exponent: f32,
    /// w: the weight of what was not seen (their α₀).
    #[schemars(range(min = 0))]
    pub unobserved_weight: f32,
}

impl Default for FrequencyScaling {
    fn default() -> Self {
        Self { exponent: 0.0, unobserved_weight: 0.0 }
    }
}

/// The confidence of a positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// c = 1 + α r, as in the paper.
    OnePlusAlphaR,
    /// c = α r, as in the library `implicit`.
    AlphaR,
}

/// The value of a positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Values {
    /// r = 1.
    Binary,
    /// r is the rating.
    Rating,
}

/// How one user's (or item's) equations are solved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Solver {
    /// Exactly, by Cholesky decomposition.
    Cholesky,
    /// A few steps of conjugate gradients from the last solution (Takács et al. 2011).
    Cg,
}

impl Default for AlsParams {
    fn default() -> Self {
        Self {
            factors: 64,
            iterations: 15,
            regularization: 30.0,
            frequency_scaling: FrequencyScaling::default(),
            confidence: Confidence::OnePlusAlphaR,
            alpha: 10.0,
            values: Values::Binary,
            solver: Solver::Cg,
            cg_steps: 3,
            init_scale: 0.01,
            init_deviation: None,
            unobserved_weight: None,
        }
    }
}

impl AlsParams {
    /// Factorises a users × items matrix of positives.
    pub fn factorise(
        &self,
        positives: &Interactions,
        context: &FitContext,
    ) -> Result<Factors, ModelError> {
        let mut random = ChaCha8Rng::seed_from_u64(context.seed);
        let normal = match self.init_deviation {
            Some(deviation) => Some(
                Normal::new(0.0, deviation / (self.factors as f32).sqrt())
                    .map_err(|error| ModelError::Unsuitable(error.to_string()))?,
            ),
            None => None,
        };
        let mut start = |n: usize| -> Vec<f32> {
            let draw = || match normal {
                Some(normal) => normal.sample(&mut random),
                None => random.random::<f32>() * self.init_scale,
            };
            std::iter::repeat_with(draw).take(n * self.factors).collect()
        };
        let users = start(positives.n_users());
        let items = start(positives.n_items());
        self.factorise_from(positives, users, items, context)
    }

    /// The same from these factors, row-major.
    fn factorise_from(
        &self,
        positives: &Interactions,
        users: Vec<f32>,
        items: Vec<f32>,
        context: &FitContext,
    ) -> Result<Factors, ModelError> {
        let dim = self.padded();
        let by_user = self.side(positives);
        let by_item = self.side(&positives.transpose());
        // Of what is solved for, see `Self::side`.
        let scale = self.unobserved_weight.map(|weight| (1.0 + weight).sqrt());
        let padded = |values: Vec<f32>| -> Vec<f32> {
            let mut all = vec![0.0; values.len() / self.factors * dim];
            for (row, values) in all.chunks_mut(dim).zip(values.chunks(self.factors)) {
                let scaled = values.iter().map(|value| scale.map_or(*value, |scale| scale * value));
                row.iter_mut().zip(scaled).for_each(|(to, value)| *to = value);
            }
            all
        };
        let (mut users, mut items) = (padded(users), padded(items));
        for iteration in 0..self.iterations {
            context.interrupt.check()?;
            half_step(self, &by_user, &items, &mut users)?;
            half_step(self, &by_item, &users, &mut items)?;
            (context.progress)(iteration as u64 + 1, self.iterations as u64);
        }
        let unpadded = |values: Vec<f32>| -> Vec<f32> {
            let rows = values.chunks(dim).flat_map(|row| row[..self.factors].iter().copied());
            rows.map(|value| scale.map_or(value, |scale| value / scale)).collect()
        };
        Ok(Factors::new(self.factors, unpadded(users), unpadded(items)))
    }

    /// The number of factors, padded to whole lanes.
    fn padded(&self) -> usize {
        self.factors.next_multiple_of(WIDTH)
    }

    /// With α₀: in terms of x' = √(1 + α₀) x and y' = √(1 + α₀) y, that loss is, but for a factor and a constant,
    /// Σ c (1 − x'·y')² over the positives + Σ (x'·y')² over all others + λ (1 + α₀) / α₀ (…), with c = 1 + 1 / α₀.
    fn side(&self, rows: &Interactions) -> Side {
        let scaling = FrequencyScaling {
            unobserved_weight: self
                .unobserved_weight
                .unwrap_or(self.frequency_scaling.unobserved_weight),
            ..self.frequency_scaling
        };
        let regularization = match self.unobserved_weight {
            Some(weight) => self.regularization * (1.0 + weight) / weight,
            None => self.regularization,
        };
        let confidence = |rating: f32| {
            if let Some(weight) = self.unobserved_weight {
                return 1.0 + 1.0 / weight;
            }
            let value = if self.values == Values::Binary { 1.0 } else { rating };
            match self.confidence {
                Confidence::OnePlusAlphaR => 1.0 + self.alpha * value,
                Confidence::AlphaR => self.alpha * value,
            }
        };
        let lambda = |n: usize| {
            let frequency = n as f32 + scaling.unobserved_weight * rows.n_items() as f32;
            // 0⁰ = 1, so an exponent of 0 leaves λ alone.
            regularization * frequency.powf(scaling.exponent)
        };
        Side {
            indptr: rows.indptr().to_vec(),
            columns: rows.item_indices().to_vec(),
            confidence: rows.ratings().iter().map(|rating| confidence(*rating)).collect(),
            lambda: (0..rows.n_users())
                .map(|row| lambda(rows.items_of(UserIx(row as u32)).len()))
                .collect(),
        }
    }
}

impl Model for AlsParams {
    fn validate(&self) -> Result<(), Wrong> {
        let at_least = |name, value: f32, low: f32| {
            if value >= low && value.is_finite() {
                Ok(())
            } else {
                Err((name, format!("is {value}; expected {low} or more")))
            }
        };
        for (name, value) in [
            ("factors", self.factors),
            ("training.epochs", self.iterations),
            ("cg_steps", self.cg_steps),
        ] {
            if value == 0 {
                return Err((name, "is 0; expected 1 or more".into()));
            }
        }
        at_least("regularization", self.regularization, 0.0)?;
        at_least("alpha", self.alpha, 0.0)?;
        at_least("init_scale", self.init_scale, f32::MIN_POSITIVE)?;
        at_least("frequency_scaling", self.frequency_scaling.exponent, 0.0)?;
        at_least("frequency_scaling", self.frequency_scaling.unobserved_weight, 0.0)?;
        if let Some(deviation) = self.init_deviation {
            positive("init_deviation", f64::from(deviation))?;
            if self.init_scale != Self::default().init_scale {
                return Err((
                    "init_scale",
                    "has no effect with `init_deviation`; remove one of them".into(),
                ));
            }
        }
        let Some(weight) = self.unobserved_weight else { return Ok(()) };
        positive("unobserved_weight", f64::from(weight))?;
        let default = Self::default();
        let without = "has no effect with `unobserved_weight`, which gives every positive the weight 1; remove it";
        for (name, differs) in [
            ("confidence", self.confidence != default.confidence),
            ("alpha", self.alpha != default.alpha),
            ("values", self.values != default.values),
        ] {
            if differs {
                return Err((name, without.into()));
            }
        }
        let own = self.frequency_scaling.unobserved_weight;
        match own == 0.0 || own == weight {
            true => Ok(()),
            false => Err((
                "frequency_scaling",
                format!(
                    "`unobserved_weight` is {own} here and {weight} in the loss; remove it here"
                ),
            )),
        }
    }

    fn is_seeded(&self) -> bool {
        true
    }

    fn memory(&self, size: Size) -> usize {
        4 * self.factors * (size.users + 2 * size.items) + 16 * size.ratings
    }

    fn fit(
        &self,
        data: &TrainingData,
        context: &FitContext,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        Ok(Box::new(self.factorise(&data.positives, context)?))
    }

    fn load(
        &self,
        dir: &Path,
        data: &TrainingData,
        _: &FitContext,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        Ok(Box::new(Factors::load(dir, self.factors, data)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::interrupt::Interrupt,
        data::{Interaction, ItemIx},
    };

    fn positives() -> Interactions {
        let rows: Vec<Interaction> = (0..40u32)
            .flat_map(|user| {
                (0..user % 9).map(move |at| Interaction {
                    user: UserIx(user),
                    item: ItemIx((user * 7 + at * at * 3) % 30),
                    rating: 1.0 + (at % 5) as f32,
                    timestamp: Default::default(),
                })
            })
            .collect();
        Interactions::new(40, 30, &rows)
    }

    fn fit(params: &AlsParams) -> Factors {
        let interrupt = Interrupt::default();
        params.factorise(&positives(), &FitContext::silent(7, &interrupt)).unwrap()
    }

    fn params() -> AlsParams {
        AlsParams { factors: 12, regularization: 0.5, alpha: 5.0, ..AlsParams::default() }
    }

    /// The objective, written out over all pairs.
    fn loss(params: &AlsParams, factors: &Factors) -> f64 {
        let positives = positives();
        let (by_user, by_item) = (params.side(&positives), params.side(&positives.transpose()));
        let row = |values: &[f32], at: usize| values[at * factors.dim..][..factors.dim].to_vec();
        let norm = |row: &[f32]| row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        let mut total = 0.0;
        for user in 0..40 {
            let x = row(&factors.users, user);
            total += f64::from(by_user.lambda[user]) * norm(&x);
            let range = by_user.indptr[user]..by_user.indptr[user + 1];
            for item in 0..30 {
                let y = row(&factors.items, item);
                let dot: f64 = x.iter().zip(&y).map(|(a, b)| f64::from(a * b)).sum();
                let stored = range.clone().find(|at| by_user.columns[*at] as usize == item);
                total += match stored {
                    Some(at) => f64::from(by_user.confidence[at]) * (1.0 - dot).powi(2),
                    None => dot.powi(2),
                };
            }
        }
        total
            + (0..30)
                .map(|item| f64::from(by_item.lambda[item]) * norm(&row(&factors.items, item)))
                .sum::<f64>()
    }

    #[test]
    fn enough_cg_steps_give_the_exact_solution() {
        for factors in [12, 64] {
            let exact = AlsParams { factors, iterations: 3, solver: Solver::Cholesky, ..params() };
            let cg = AlsParams { solver: Solver::Cg, cg_steps: 200, ..exact.clone() };
            let (exact, cg) = (fit(&exact), fit(&cg));
            for (a, b) in exact.users.iter().zip(&cg.users) {
                assert!((a - b).abs() < 2e-3, "{a} {b}");
            }
        }
    }

    #[test]
    fn the_loss_never_rises_with_the_exact_solver() {
        for values in [Values::Binary, Values::Rating] {
            let mut last = f64::INFINITY;
            for iterations in 1..8 {
                let params = AlsParams { iterations, solver: Solver::Cholesky, values, ..params() };
                let loss = loss(&params, &fit(&params));
                assert!(loss <= last * (1.0 + 1e-5), "{iterations}: {loss} after {last}");
                last = loss;
            }
        }
    }

    #[test]
    fn frequency_scaling_follows_its_formula() {
        let scaling = FrequencyScaling { exponent: 0.5, unobserved_weight: 0.1 };
        let params = AlsParams { frequency_scaling: scaling, ..params() };
        let side = params.side(&positives());
        let n = positives().items_of(UserIx(8)).len() as f32;
        assert!((side.lambda[8] - 0.5 * (n + 0.1 * 30.0).sqrt()).abs() < 1e-6);
        assert_eq!(super::AlsParams::default().side(&positives()).lambda[8], 30.0);
    }

    #[test]
    fn with_an_unobserved_weight_factors_are_those_of_numpy() {
        let (golden, data) = crate::tasks::top_n::models::tests::linear();
        let golden = &golden["ials"];
        let number = |name: &str| golden[name].as_f64().unwrap() as f32;
        let rows = |value: &serde_json::Value| -> Vec<f32> {
            let rows: Vec<Vec<f32>> = serde_json::from_value(value.clone()).unwrap();
            rows.concat()
        };
        let params = AlsParams {
            factors: 5,
            iterations: 3,
            regularization: number("regularization"),
            frequency_scaling: FrequencyScaling { exponent: number("nu"), unobserved_weight: 0.0 },
            unobserved_weight: Some(number("alpha0")),
            solver: Solver::Cholesky,
            ..AlsParams::default()
        };
        params.validate().unwrap();
        let (users, items) = (rows(&golden["start"][0]), rows(&golden["start"][1]));
        let interrupt = Interrupt::default();
        let context = FitContext::silent(1, &interrupt);
        let found = params.factorise_from(&data.positives, users, items, &context).unwrap();
        for (ours, theirs) in [(&found.users, &golden["users"]), (&found.items, &golden["items"])] {
            let theirs = rows(theirs);
            assert_eq!(ours.len(), theirs.len());
            let off = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off < 2e-5, "off by {off:e}");
        }
    }

    #[test]
    fn an_unobserved_weight_refuses_what_it_replaces() {
        let with = AlsParams { unobserved_weight: Some(0.1), ..AlsParams::default() };
        with.validate().unwrap();
        let field = |params: AlsParams| params.validate().unwrap_err().0;
        assert_eq!(field(AlsParams { alpha: 1.0, ..with.clone() }), "alpha");
        assert_eq!(
            field(AlsParams { confidence: Confidence::AlphaR, ..with.clone() }),
            "confidence"
        );
        assert_eq!(field(AlsParams { values: Values::Rating, ..with.clone() }), "values");
        let scaling = FrequencyScaling { exponent: 1.0, unobserved_weight: 0.2 };
        assert_eq!(
            field(AlsParams { frequency_scaling: scaling, ..with.clone() }),
            "frequency_scaling"
        );
        assert_eq!(field(AlsParams { unobserved_weight: Some(0.0), ..with }), "unobserved_weight");
    }

    #[test]
    fn a_normal_start_has_its_deviation() {
        let params = AlsParams { factors: 400, init_deviation: Some(0.5), ..params() };
        let interrupt = Interrupt::default();
        let none = Interactions::new(40, 30, &[]);
        let kept = AlsParams { iterations: 0, ..params };
        let found = kept.factorise(&none, &FitContext::silent(7, &interrupt)).unwrap();
        let mean = |power: i32| {
            found.users.iter().map(|x| f64::from(*x).powi(power)).sum::<f64>() / 16_000.0
        };
        assert!(
            mean(1).abs() < 1e-3 && (mean(2).sqrt() - 0.025).abs() < 1e-3,
            "{}",
            mean(2).sqrt()
        );
    }

    #[test]
    fn one_and_two_threads_give_the_same_bytes() {
        for solver in [Solver::Cg, Solver::Cholesky] {
            let params = AlsParams { solver, factors: 20, ..params() };
            let with = |n| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
                let factors = pool.install(|| fit(&params));
                (factors.users, factors.items)
            };
            assert!(with(1) == with(2));
        }
    }

    #[test]
    fn users_without_positives_get_zero_vectors() {
        let factors = fit(&params());
        assert!(factors.users[..12].iter().all(|x| *x == 0.0), "user 0 has nothing");
    }
}
