//! The loop with learners that have nothing but a loss.

use std::{path::Path, sync::Mutex};

use tch::{Kind, Tensor};

use super::{
    train::{Memory, judge},
    *,
};
use crate::{
    base::{interrupt::Interrupt, random::mix},
    nn::{
        optimizer::Optimizer,
        start,
        tensors::{floats, one_thread},
    },
};

const ROWS: i64 = 24;
const COLUMNS: i64 = 18;
const RANK: i64 = 3;

/// Factors of a matrix of low rank, learnt from its cells.
struct Factorisation {
    cells: Tensor,
    params: Vec<Param>,
    /// Epochs that were started.
    started: Vec<usize>,
}

impl Factorisation {
    fn new() -> Self {
        one_thread();
        let random =
            |stream: u64, rows: i64| start::normal(5, stream, &[rows as usize, RANK as usize], 0.7);
        let cells = random(1, ROWS).matmul(&random(2, COLUMNS).transpose(0, 1));
        let params = vec![
            Param::new("rows", random(3, ROWS)),
            Param::new("columns", random(4, COLUMNS)),
            Param::new("unused", start::constant(&[2], 1.0)),
        ];
        Self { cells, params, started: Vec::new() }
    }

    fn bytes(&self) -> Vec<Vec<f32>> {
        self.params.iter().map(|param| floats(&param.value)).collect()
    }
}

impl Learner for Factorisation {
    /// Rows of the matrix.
    type Batch = Vec<i64>;
    type Parts = ();
    type Error = NnError;

    fn params(&mut self) -> &mut [Param] {
        &mut self.params
    }

    fn start_epoch(&mut self, epoch: usize) -> Result<(), NnError> {
        self.started.push(epoch);
        Ok(())
    }

    fn batches(&mut self, epoch: usize) -> Box<dyn Iterator<Item = Vec<i64>>> {
        let mut order: Vec<i64> = (0..ROWS).collect();
        order.sort_by_key(|row| mix(mix(epoch as u64) ^ *row as u64));
        Box::new((0..4).map(move |at| order[at * 6..(at + 1) * 6].to_vec()))
    }

    fn share(&self, batch: &Vec<i64>) -> f64 {
        batch.len() as f64 / ROWS as f64
    }

    fn loss(&mut self, batch: &Vec<i64>) -> Tensor {
        let rows = Tensor::from_slice(batch);
        let factors = self.params[0].value.index_select(0, &rows);
        let product = factors.matmul(&self.params[1].value.transpose(0, 1));
        (product - self.cells.index_select(0, &rows)).square().mean(None::<Kind>)
    }

    /// More is better: the negative error over all cells.
    fn validate(&mut self) -> Result<Option<f64>, NnError> {
        let all: Vec<i64> = (0..ROWS).collect();
        Ok(Some(-f64::try_from(self.loss(&all)).unwrap()))
    }
}

fn settings(epochs: usize) -> LoopSettings {
    LoopSettings { epochs, learning_rate: 0.05, ..LoopSettings::default() }
}

fn fit(settings: &LoopSettings) -> (Factorisation, Trained<()>) {
    let (mut learner, interrupt) = (Factorisation::new(), Interrupt::default());
    let trained = train(&mut learner, settings, &TrainContext::silent(&interrupt)).unwrap();
    (learner, trained)
}

#[test]
fn a_learner_with_nothing_but_a_loss_converges() {
    for optimizer in [Optimizer::Adam, Optimizer::Adamw] {
        let (learner, trained) = fit(&LoopSettings { optimizer, ..settings(150) });
        let (first, last) = (&trained.history[0], &trained.history[149]);
        assert!(first.loss > 0.5 && last.loss < 1e-3, "{} {}", first.loss, last.loss);
        assert_eq!(learner.started, (0..150).collect::<Vec<_>>());
        assert_eq!((trained.stats.epochs, trained.stats.kept_epoch), (150, 150));
        assert_eq!((trained.stats.device.as_str(), trained.stats.kept_by), ("Cpu", KeptBy::Last));
        // The loss does not depend on it, and it has no gradient.
        assert_eq!(learner.bytes()[2], [1.0, 1.0]);
    }
}

/// Gradients of autograd against the derivative written out: 2/n · (P Qᵀ − M) Q, and for Q.
#[test]
fn the_gradient_of_the_loss_is_set() {
    let mut learner = Factorisation::new();
    let batch: Vec<i64> = (0..ROWS).collect();
    let loss = autograd(&mut learner, &batch).unwrap();
    let (p, q) = (&learner.params[0], &learner.params[1]);
    let off = p.value.matmul(&q.value.transpose(0, 1)) - &learner.cells;
    let scale = 2.0 / (ROWS * COLUMNS) as f64;
    for (param, grad) in
        [(p, off.matmul(&q.value) * scale), (q, off.transpose(0, 1).matmul(&p.value) * scale)]
    {
        let off = f64::try_from((&param.grad - grad).abs().max()).unwrap();
        assert!(off < 1e-6, "{}: {off:e}", param.name);
    }
    assert!((loss - f64::try_from(off.square().mean(None::<Kind>)).unwrap()).abs() < 1e-6);
    assert_eq!(floats(&learner.params[2].grad), [0.0, 0.0]);
    assert!(learner.params.iter().all(|param| !param.value.requires_grad()));
}

/// Trains, interrupted after each of `cuts`, with a new learner each time.
fn fit_in_pieces(
    settings: &LoopSettings,
    path: &Path,
    cuts: &[u64],
) -> (Factorisation, Trained<()>, Vec<String>) {
    let lines = Mutex::new(Vec::<String>::new());
    for cut in cuts {
        let interrupt = Interrupt::default();
        let raise = interrupt.clone();
        let context = TrainContext {
            interrupt: &interrupt,
            progress: &move |done, _| {
                if done == *cut {
                    raise.raise();
                }
            },
            log: &|line| lines.lock().unwrap().push(line.to_owned()),
            checkpoint: Some(path.to_owned()),
        };
        let error = train(&mut Factorisation::new(), settings, &context).unwrap_err();
        assert!(matches!(error, NnError::Interrupted(_)), "{error}");
    }
    let interrupt = Interrupt::default();
    let context = TrainContext {
        log: &|line| lines.lock().unwrap().push(line.to_owned()),
        checkpoint: Some(path.to_owned()),
        ..TrainContext::silent(&interrupt)
    };
    let mut learner = Factorisation::new();
    let trained = train(&mut learner, settings, &context).unwrap();
    let lines = lines.into_inner().unwrap();
    (learner, trained, lines)
}

#[test]
fn interrupted_training_goes_on_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("scratch/checkpoint.safetensors");
    let plateau =
        Schedule::Plateau { factor: 0.5, patience: 1, lowest: 1e-4, on: None, threshold: 0.1 };
    for (at, settings) in [
        settings(40),
        LoopSettings { clip: Some(0.5), optimizer: Optimizer::Adamw, ..settings(40) },
        LoopSettings { validate_every: Some(3), schedule: plateau, ..settings(40) },
        LoopSettings { schedule: Schedule::Cosine { lowest: 0.0 }, ..settings(40) },
        LoopSettings { keep: Some(Keep::Best), learning_rate: 1.5, ..settings(40) },
    ]
    .into_iter()
    .enumerate()
    {
        let (whole, whole_trained) = fit(&settings);
        let _ = std::fs::remove_file(&path);
        let (pieces, trained, lines) = fit_in_pieces(&settings, &path, &[1, 7, 8, 31]);
        assert_eq!(whole.bytes(), pieces.bytes(), "{at}");
        assert_eq!(whole_trained.history, trained.history, "{at}");
        let kept = |trained: &Trained<()>| (trained.stats.kept_epoch, trained.stats.kept_by);
        assert_eq!(kept(&whole_trained), kept(&trained), "{at}");
        // Nothing is learnt twice.
        assert_eq!(pieces.started, (31..40).collect::<Vec<_>>(), "{at}");
        let goes_on: Vec<&String> =
            lines.iter().filter(|line| line.starts_with("goes on")).collect();
        let expected = [1, 7, 8, 31].map(|epoch| format!("goes on after epoch {epoch}"));
        assert_eq!(goes_on, expected.iter().collect::<Vec<_>>(), "{at}");
    }
}

#[test]
fn a_checkpoint_of_something_else_is_no_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("checkpoint.safetensors");
    let whole = fit(&settings(12)).0.bytes();
    fit_in_pieces(&settings(12), &path, &[5]);
    let checkpoint = std::fs::read(&path).unwrap();
    let other = start::constant(&[ROWS as usize, 7], 0.0);
    let params = [Param::new("rows", other)];
    let state = crate::nn::optimizer::State::new(Optimizer::Adam, 0.0, &params);
    super::checkpoint::save(&path, &params, &state, "{}".into(), None).unwrap();
    let of_others = std::fs::read(&path).unwrap();
    for bytes in [&checkpoint[..checkpoint.len() / 2], b"", &of_others] {
        std::fs::write(&path, bytes).unwrap();
        let (learner, _, lines) = fit_in_pieces(&settings(12), &path, &[]);
        assert_eq!((learner.bytes(), learner.started.len()), (whole.clone(), 12));
        assert!(!lines.iter().any(|line| line.starts_with("goes on")), "{lines:?}");
    }
}

#[test]
fn training_stops_early_and_keeps_the_best() {
    // Too high a rate: the error goes up and down.
    let settings = LoopSettings {
        learning_rate: 1.0,
        validate_every: Some(2),
        stop: Some(Stop { on: Watch::Validation, patience: 3 }),
        ..settings(400)
    };
    let (mut learner, trained) = fit(&settings);
    let stats = &trained.stats;
    assert!(stats.epochs < 400, "{stats:?}");
    assert_eq!((stats.kept_by, Some(stats.kept_epoch)), (KeptBy::Validation, stats.best_epoch));
    assert_eq!(stats.kept_epoch + 2 * 3, stats.epochs, "patience counts measurements");
    assert_eq!(learner.validate().unwrap(), stats.best_validation);
    let measured: Vec<usize> =
        trained.history.iter().filter_map(|epoch| epoch.validation.map(|_| epoch.epoch)).collect();
    assert_eq!(measured, (2..=stats.epochs).step_by(2).collect::<Vec<_>>());
}

#[test]
fn a_loss_that_is_no_number_ends_training() {
    let (mut learner, interrupt) = (Factorisation::new(), Interrupt::default());
    learner.cells = Tensor::from(f32::INFINITY).expand([ROWS, COLUMNS], false);
    let context = TrainContext::silent(&interrupt);
    let error = train(&mut learner, &settings(3), &context).unwrap_err();
    assert!(matches!(&error, NnError::Diverged(text) if text.contains("after epoch 1")), "{error}");
}

#[test]
fn rates_of_too_few_epochs_are_an_error() {
    let (mut learner, interrupt) = (Factorisation::new(), Interrupt::default());
    let context = TrainContext::silent(&interrupt);
    let few = LoopSettings { rates: Some(vec![0.1; 2]), ..settings(3) };
    let error = train(&mut learner, &few, &context).unwrap_err().to_string();
    assert!(error.contains("learning rates of 2 epochs, and 3"), "{error}");
    let (_, trained) = fit(&LoopSettings { rates: Some(vec![0.1, 0.2, 0.3]), ..settings(3) });
    let rates: Vec<f64> = trained.history.iter().map(|epoch| epoch.learning_rate).collect();
    assert_eq!(rates, [0.1, 0.2, 0.3]);
}

#[test]
fn the_fields_of_the_parts_are_in_the_line_of_the_epoch() {
    #[derive(Clone, Debug, Default, PartialEq, Serialize, serde::Deserialize)]
    struct Two {
        a: f64,
        #[serde(default, skip_serializing_if = "is_zero")]
        b: f64,
    }
    fn is_zero(value: &f64) -> bool {
        *value == 0.0
    }
    let epoch = |b| Epoch {
        epoch: 3,
        parts: Two { a: 0.1 + 0.2, b },
        loss: 1.5,
        learning_rate: 0.01,
        validation: None,
    };
    let line = |b| serde_json::to_string(&epoch(b)).unwrap();
    let rest = "\"loss\":1.5,\"learning_rate\":0.01,\"validation\":null}";
    assert_eq!(line(0.0), format!("{{\"epoch\":3,\"a\":0.30000000000000004,{rest}"));
    assert_eq!(line(2.0), format!("{{\"epoch\":3,\"a\":0.30000000000000004,\"b\":2.0,{rest}"));
    assert_eq!(serde_json::from_str::<Epoch<Two>>(&line(0.0)).unwrap(), epoch(0.0));
}

/// What comes of measurements by epoch (training loss; validation, where measured): the epoch after
/// which it ends, the one whose parameters are kept, and the factors on the learning rate.
fn follow(settings: &LoopSettings, measured: &[(f64, Option<f64>)]) -> (usize, usize, Vec<f64>) {
    settings.validate().unwrap();
    // A parameter whose only number is the epoch.
    let mut params = [Param::new("epoch", Tensor::from_slice(&[0.0f32]))];
    let mut memory = Memory::<()>::default();
    let (mut best, mut factors) = (None, Vec::new());
    for measured in measured {
        memory.epochs += 1;
        params[0].value = Tensor::from_slice(&[memory.epochs as f32]);
        let ends = judge(*measured, settings, &mut memory, &mut best, &params);
        factors.push(memory.factor);
        if ends {
            break;
        }
    }
    let kept = best.map_or(memory.epochs, |best| floats(&best[0])[0] as usize);
    assert_eq!(kept, memory.kept_epoch.unwrap_or(memory.epochs));
    (memory.epochs, kept, factors)
}

const LOSSES: [f64; 8] = [5.0, 4.0, 3.0, 2.0, 2.5, 2.4, 2.3, 1.0];

fn with(validate_every: Option<usize>, stop: Option<Watch>, keep: Option<Keep>) -> LoopSettings {
    let stop = stop.map(|on| Stop { on, patience: 2 });
    LoopSettings { validate_every, stop, keep, ..LoopSettings::default() }
}

#[test]
fn stopping_looks_at_what_it_says() {
    // The metric is best in the second epoch, the loss falls up to the fourth.
    let metric = [0.1, 0.3, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2];
    let both: Vec<_> = LOSSES.iter().zip(metric).map(|(loss, of)| (*loss, Some(of))).collect();
    let on = |watch| {
        let (end, kept, _) = follow(&with(Some(1), Some(watch), None), &both);
        (end, kept)
    };
    assert_eq!(on(Watch::Validation), (4, 2));
    assert_eq!(on(Watch::TrainingLoss), (6, 2));
    // Measured in every second epoch: the loss is looked at in all of them.
    let seldom: Vec<_> = LOSSES
        .iter()
        .enumerate()
        .map(|(at, loss)| (*loss, (at % 2 == 1).then_some(at as f64)))
        .collect();
    assert_eq!(follow(&with(Some(2), Some(Watch::TrainingLoss), None), &seldom).0, 6);
}

#[test]
fn the_best_or_the_last_parameters_are_kept() {
    let losses: Vec<_> = LOSSES[..6].iter().map(|loss| (*loss, None)).collect();
    let kept = |stop, keep| follow(&with(None, stop, keep), &losses).1;
    let on_loss = Some(Watch::TrainingLoss);
    assert_eq!(kept(None, None), 6);
    assert_eq!(kept(None, Some(Keep::Last)), 6);
    assert_eq!(kept(None, Some(Keep::Best)), 4);
    assert_eq!(kept(on_loss, None), 6);
    assert_eq!(kept(on_loss, Some(Keep::Best)), 4);
    let metric = [0.1, 0.3, 0.2, 0.2];
    let both: Vec<_> = LOSSES.iter().zip(metric).map(|(loss, of)| (*loss, Some(of))).collect();
    let kept = |keep| follow(&with(Some(1), None, keep), &both).1;
    assert_eq!((kept(None), kept(Some(Keep::Best)), kept(Some(Keep::Last))), (2, 2, 4));
}

/// As PyTorch's ReduceLROnPlateau: more than `patience` epochs, each no better than the best by the
/// share `threshold` of it.
#[test]
fn a_plateau_is_one_of_the_quantity_that_is_named() {
    let both: Vec<_> = [(4.0, 0.1), (3.0, 0.1), (2.9, 0.1), (2.89, 0.1), (2.88, 0.2)]
        .map(|(loss, metric)| (loss, Some(metric)))
        .to_vec();
    let plateau = |on, threshold| {
        let schedule = Schedule::Plateau { factor: 0.5, patience: 1, lowest: 0.0, on, threshold };
        follow(&LoopSettings { schedule, ..with(Some(1), None, None) }, &both).2
    };
    assert_eq!(plateau(None, 0.0), [1.0, 1.0, 0.5, 0.5, 0.5]);
    assert_eq!(plateau(Some(Watch::Validation), 0.0), [1.0, 1.0, 0.5, 0.5, 0.5]);
    assert_eq!(plateau(Some(Watch::TrainingLoss), 0.0), [1.0; 5]);
    assert_eq!(plateau(Some(Watch::TrainingLoss), 0.1), [1.0, 1.0, 1.0, 0.5, 0.5]);
}
