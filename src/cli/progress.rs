//! Shows events: as bars in a terminal, as lines elsewhere, as JSON where asked.

use std::{
    collections::{HashMap, HashSet},
    io::{self, IsTerminal, Write},
    sync::Mutex,
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::{
    base::{
        terminal::{escaped_json, on_one_line, tell},
        text::counted,
    },
    core::{Event, Reporter, TrialsDone},
};

/// The reporter that fits: JSON lines on standard output, or bars or lines on standard error.
pub fn reporter(json: bool, quiet: bool) -> Box<dyn Reporter> {
    if json {
        Box::new(JsonLines)
    } else if quiet {
        Box::new(Lines { errors_only: true, told: Mutex::default() })
    } else if io::stderr().is_terminal() {
        Box::new(Bars::default())
    } else {
        Box::new(Lines { errors_only: false, told: Mutex::default() })
    }
}

/// A bar that counts bytes, for downloads; hidden where there is no terminal.
pub fn bytes_bar(name: &str) -> ProgressBar {
    let bar = ProgressBar::no_length();
    let template = "{prefix} {bar:32} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_prefix(on_one_line(name));
    bar
}

struct JsonLines;

impl Reporter for JsonLines {
    fn report(&self, event: &Event) {
        if let Ok(line) = serde_json::to_string(event) {
            // A reader that went away is no reason to stop.
            let _ = writeln!(io::stdout().lock(), "{}", escaped_json(&line));
        }
    }
}

/// One line a finished trial, for logs and CI.
struct Lines {
    errors_only: bool,
    told: Mutex<Told>,
}

/// Causes of failure that were shown: fifty folds of a file that cannot be read fail alike.
#[derive(Default)]
struct Told(HashSet<String>);

impl Told {
    fn is_news(&mut self, event: &Event) -> bool {
        match event {
            Event::StepFailed { cause, .. } => self.0.insert(cause.clone()),
            _ => true,
        }
    }
}

impl Reporter for Lines {
    fn report(&self, event: &Event) {
        if let Some((important, line)) = line(event)
            && (important || !self.errors_only)
            && self.told.lock().is_ok_and(|mut told| told.is_news(event))
        {
            tell!("{line}");
        }
    }
}

fn line(event: &Event) -> Option<(bool, String)> {
    Some(match event {
        Event::RunStarted { experiment, steps, to_do, trials, .. } => {
            let (trials, steps) = (counted(*trials, "trial"), counted(*steps, "step"));
            (false, format!("{experiment}: {trials}, {to_do} of {steps} to run"))
        }
        Event::StepDamaged { kind, step, problem, .. } => {
            (true, format!("warning: {kind} {step} is damaged and is rebuilt: {problem}"))
        }
        Event::StepOutdated { kind, step, why, .. } => {
            (true, format!("note: {kind} {step} is rerun: {why}"))
        }
        Event::StepFinished { trials, .. } | Event::StepTakenOver { trials, .. } => {
            if trials.finished_trials.is_empty() {
                return None;
            }
            let TrialsDone { finished_trials, trials_done, trials_to_do } = trials;
            let first = trials_done + 1 - finished_trials.len();
            let lines = (first..).zip(finished_trials);
            let lines: Vec<String> =
                lines.map(|(at, name)| format!("[{at}/{trials_to_do}] {name}")).collect();
            (false, lines.join("\n"))
        }
        Event::StepElsewhere { kind, step, .. } => {
            (false, format!("{kind} {step}: running in another process"))
        }
        Event::StepFailed { kind, step, cause, .. } => {
            (true, format!("failed: {kind} {step}: {cause}"))
        }
        Event::Warning { text } => (true, format!("warning: {text}")),
        Event::StepStarted { .. }
        | Event::Progress { .. }
        | Event::Spent { .. }
        | Event::RunFinished { .. } => return None,
    })
}

#[derive(Default)]
struct Bars {
    all: MultiProgress,
    state: Mutex<BarState>,
}

#[derive(Default)]
struct BarState {
    overall: Option<ProgressBar>,
    steps: HashMap<String, ProgressBar>,
    told: Told,
}

impl Reporter for Bars {
    fn report(&self, event: &Event) {
        let Ok(mut state) = self.state.lock() else { return };
        match event {
            Event::RunStarted { experiment, to_do, .. } => {
                let bar = self.all.add(ProgressBar::new(*to_do as u64));
                if let Ok(style) = ProgressStyle::with_template(
                    "{prefix} {bar:32} {pos}/{len} steps, {elapsed} (ETA {eta}){msg}",
                ) {
                    bar.set_style(style);
                }
                bar.set_prefix(on_one_line(experiment));
                bar.enable_steady_tick(Duration::from_millis(200));
                state.overall = Some(bar);
            }
            Event::StepStarted { kind, step, key, .. } => {
                let bar = self.all.add(ProgressBar::no_length());
                if let Ok(style) =
                    ProgressStyle::with_template("  {spinner} {prefix:40} {bar:24} {percent}%")
                {
                    bar.set_style(style);
                }
                bar.set_prefix(on_one_line(&format!("{kind} {step}")));
                bar.enable_steady_tick(Duration::from_millis(200));
                state.steps.insert(key.clone(), bar);
            }
            Event::Progress { key, done, of, .. } => {
                if let Some(bar) = state.steps.get(key) {
                    bar.set_length(*of);
                    bar.set_position(*done);
                }
            }
            Event::StepFinished { key, done, to_do, .. }
            | Event::StepTakenOver { key, done, to_do, .. } => {
                if let Some(bar) = state.steps.remove(key) {
                    bar.finish_and_clear();
                }
                if let Some(bar) = &state.overall {
                    bar.set_length(*to_do as u64);
                    bar.set_position(*done as u64);
                }
            }
            Event::StepFailed { key, .. } => {
                if let Some(bar) = state.steps.remove(key) {
                    bar.finish_and_clear();
                }
            }
            Event::RunFinished { .. } => {
                state.steps.drain().for_each(|(_, bar)| bar.finish_and_clear());
                if let Some(bar) = state.overall.take() {
                    bar.finish_and_clear();
                }
            }
            Event::Spent { spent } => {
                if spent.cached + spent.requested > 0
                    && let Some(bar) = &state.overall
                {
                    bar.set_message(format!(" · {spent}"));
                }
            }
            Event::StepDamaged { .. }
            | Event::StepOutdated { .. }
            | Event::StepElsewhere { .. }
            | Event::Warning { .. } => {}
        }
        let news = state.told.is_news(event);
        drop(state);
        if let Some((true, line)) = line(event)
            && news
        {
            self.all.suspend(|| tell!("{line}"));
        }
    }
}
