//! The steps that a run has to do, and which of them are ready.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashSet},
};

use super::Options;
use crate::{
    base::files::FileError,
    core::{
        CommandUse, Currencies, Currency, Event, Found, Graph, Node, Shared, StepError, StepId,
        Workspace,
        currency::{differs, own},
        preflight,
    },
};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum State {
    Waiting,
    Running,
    /// Another process runs it.
    LockedByOther,
    Done,
    Failed,
    /// The steps that use it are done.
    NotNeeded,
}

impl State {
    /// Whether it is neither done nor failed, and needed.
    pub(super) fn is_pending(self) -> bool {
        matches!(self, Self::Waiting | Self::Running | Self::LockedByOther)
    }
}

/// The steps that a run has to do. They are determined before it starts, so that a program without tensors can be replaced
/// by one with tensors if a step needs them.
pub struct ToDo<'a> {
    pub(super) graph: &'a Graph,
    pub(super) workspace: &'a Workspace,
    pub(super) options: &'a Options,
    pub(super) states: Vec<State>,
    /// The ends and the steps that they need.
    needed: Vec<bool>,
    /// By step, the steps that read it.
    pub(super) readers: Vec<Vec<StepId>>,
    /// By step, its direct and indirect inputs.
    above: Vec<Vec<StepId>>,
    /// By step, the steps that read it directly or indirectly.
    below: Vec<Vec<StepId>>,
    /// Waiting steps whose direct and indirect inputs are final. The deepest steps come first, so that memory held between
    /// steps is freed early.
    pub(super) ready: BTreeSet<(Reverse<usize>, StepId)>,
    pub(super) count: usize,
    /// Events about damaged and outdated steps, to be reported.
    pub(super) news: Vec<Event>,
    /// Inputs that were read before the run.
    pub(super) shared: Shared,
}

impl<'a> ToDo<'a> {
    /// Starts at the ends: a current step needs nothing, another one needs its inputs, and so on.
    pub fn of(graph: &'a Graph, workspace: &'a Workspace, options: &'a Options) -> Self {
        let nodes = graph.nodes();
        let mut readers = vec![Vec::new(); nodes.len()];
        let mut needed = vec![false; nodes.len()];
        options.ends.iter().for_each(|end| needed[end.at()] = true);
        for node in nodes.iter().rev() {
            for input in node.input_ids() {
                readers[input.at()].push(node.id);
                needed[input.at()] |= needed[node.id.at()];
            }
        }
        let mut above: Vec<Vec<StepId>> = Vec::with_capacity(nodes.len());
        let mut below = vec![Vec::new(); nodes.len()];
        for node in nodes {
            let inputs = || node.input_ids();
            let all: BTreeSet<StepId> =
                inputs().chain(inputs().flat_map(|of| above[of.at()].iter().copied())).collect();
            all.iter().for_each(|of| below[of.at()].push(node.id));
            above.push(all.into_iter().collect());
        }
        let mut to_do = Self {
            graph,
            workspace,
            options,
            states: vec![State::NotNeeded; nodes.len()],
            needed,
            readers,
            above,
            below,
            ready: BTreeSet::new(),
            count: 0,
            news: Vec::new(),
            shared: Shared::default(),
        };
        let currencies = Currencies::new(graph, workspace);
        currencies.verify(&options.ends);
        for end in &options.ends {
            to_do.visit(*end, &currencies);
        }
        let mut forced: Vec<StepId> = options.forced.iter().copied().collect();
        forced.sort_unstable();
        for step in forced {
            if to_do.needed[step.at()] && to_do.states[step.at()] != State::Waiting {
                to_do.demand(step, &currencies);
            }
        }
        to_do
    }

    /// By trial, the steps that its ends need.
    pub(super) fn by_trial(&self) -> BTreeMap<usize, Vec<StepId>> {
        // A step may be part of trials that are not part of this run.
        let of_ends = self.options.ends.iter().flat_map(|end| &self.graph[*end].trials);
        let mut by_trial: BTreeMap<usize, Vec<StepId>> =
            of_ends.map(|trial| (*trial, Vec::new())).collect();
        for node in self.graph.nodes().iter().filter(|node| self.needed[node.id.at()]) {
            for trial in &node.trials {
                if let Some(steps) = by_trial.get_mut(trial) {
                    steps.push(node.id);
                }
            }
        }
        by_trial
    }

    /// Number of steps that the ends need, done or not.
    pub fn steps(&self) -> usize {
        self.needed.iter().filter(|needed| **needed).count()
    }

    /// Number of trials of the ends.
    pub fn trials(&self) -> usize {
        let of = |end: &StepId| self.graph[*end].trials.iter().copied();
        self.options.ends.iter().flat_map(of).collect::<BTreeSet<usize>>().len()
    }

    /// Whether a step that may run needs tensors.
    pub fn needs_tensors(&self) -> bool {
        self.may_run().any(Node::needs_tensors)
    }

    /// The GPUs that settings of steps to run name, each once.
    pub fn gpu_names(&self) -> BTreeSet<&'a str> {
        let waiting = self.waiting().into_iter();
        waiting.flat_map(|step| self.graph[step].gpu_names()).collect()
    }

    /// The programs of steps that may run, each once.
    pub fn commands(&self) -> BTreeSet<CommandUse> {
        self.may_run().filter_map(Node::command).collect()
    }

    /// Steps to run, and steps that depend on them and may have to be rerun.
    fn may_run(&self) -> impl Iterator<Item = &'a Node> {
        let mut may_run: Vec<bool> =
            self.states.iter().map(|state| *state == State::Waiting).collect();
        for node in self.graph.nodes() {
            let reads = node.input_ids().any(|input| may_run[input.at()]);
            may_run[node.id.at()] |= reads && self.needed[node.id.at()];
        }
        self.graph.nodes().iter().filter(move |node| may_run[node.id.at()])
    }

    /// Makes the checks of the steps that are possible before the first one runs.
    pub fn preflight(&self) -> Vec<(StepId, Result<Found, StepError>)> {
        preflight(self.graph, &self.waiting(), &self.shared)
    }

    /// The steps to run, in the order of the graph.
    pub fn waiting(&self) -> Vec<StepId> {
        let nodes = self.graph.nodes().iter().map(|node| node.id);
        nodes.filter(|id| self.states[id.at()] == State::Waiting).collect()
    }

    /// The steps to do with other options; inputs that were read are kept.
    pub fn with(self, options: &'a Options) -> Self {
        let shared = self.shared;
        Self { shared, ..Self::of(self.graph, self.workspace, options) }
    }

    fn visit(&mut self, step: StepId, currencies: &Currencies) {
        if self.states[step.at()] != State::NotNeeded {
            return;
        }
        let node = &self.graph[step];
        match currencies.of(step) {
            Currency::Current if !self.options.forced.contains(&step) => {
                self.states[step.at()] = State::Done;
                // Notes under a table come from the records of its inputs.
                for input in node.input_ids() {
                    let of = &self.graph[input];
                    let record = self.workspace.record(of.kind, &of.key);
                    if matches!(record, Err(FileError::Damaged { .. })) {
                        self.visit(input, currencies);
                    }
                }
            }
            found => {
                let (kind, label, key) = (node.kind, node.label.clone(), node.key.short());
                match found {
                    Currency::Damaged(problem) => {
                        self.news.push(Event::StepDamaged { kind, step: label, key, problem });
                    }
                    Currency::Outdated(why) => {
                        self.news.push(Event::StepOutdated { kind, step: label, key, why });
                    }
                    Currency::Absent | Currency::Current => {}
                }
                self.demand(step, currencies);
            }
        }
    }

    /// Adds a step and what it needs to the steps to run.
    fn demand(&mut self, step: StepId, currencies: &Currencies) {
        self.states[step.at()] = State::Waiting;
        self.count += 1;
        for below in &self.below[step.at()] {
            self.ready.remove(&(Reverse(self.graph[*below].depth), *below));
        }
        for input in self.graph[step].input_ids() {
            self.visit(input, currencies);
        }
        self.note_if_ready(step);
    }

    fn note_if_ready(&mut self, step: StepId) {
        let node = &self.graph[step];
        let is_done = |input: StepId| self.states[input.at()] == State::Done;
        // A finished input is rerun if one of its own inputs changes.
        let is_final = |of: &StepId| !self.states[of.at()].is_pending();
        if self.states[step.at()] == State::Waiting
            && node.input_ids().all(is_done)
            && self.above[step.at()].iter().all(is_final)
        {
            self.ready.insert((Reverse(node.depth), step));
        }
    }

    /// Notes which steps that depend on this one are ready.
    pub(super) fn note_ready_below(&mut self, step: StepId) {
        for at in 0..self.below[step.at()].len() {
            self.note_if_ready(self.below[step.at()][at]);
        }
    }

    pub(super) fn set(&mut self, step: StepId, state: State) {
        self.states[step.at()] = state;
        match state {
            State::Waiting => self.note_if_ready(step),
            _ => drop(self.ready.remove(&(Reverse(self.graph[step].depth), step))),
        }
    }

    /// Notes a finished step: steps that read it may start, and finished steps that read other content of it are rerun.
    pub(super) fn done(&mut self, step: StepId) {
        self.set(step, State::Done);
        let (mut next, mut seen) = (vec![step], HashSet::new());
        while let Some(at) = next.pop() {
            for reader in self.readers[at.at()].clone() {
                let is_settled = matches!(self.states[reader.at()], State::Done | State::NotNeeded);
                if !is_settled || !self.needed[reader.at()] || !seen.insert(reader) {
                    continue;
                }
                let node = &self.graph[reader];
                let Ok(record) = self.workspace.record(node.kind, &node.key) else {
                    // It is missing: the steps that read it depend on this step, too.
                    next.push(reader);
                    continue;
                };
                if let Some(why) = differs(self.graph, &record, step, self.workspace) {
                    let (kind, key) = (node.kind, node.key.short());
                    let step = node.label.clone();
                    self.news.push(Event::StepOutdated { kind, step, key, why });
                    self.demand(reader, &Currencies::new(self.graph, self.workspace));
                }
            }
        }
        self.note_ready_below(step);
    }

    /// Whether a step is neither done nor failed.
    pub(super) fn has_pending(&self) -> bool {
        self.states.iter().any(|state| state.is_pending())
    }

    /// Whether a step, whose inputs are done, is complete and was made from their current content.
    pub(super) fn is_current(&self, node: &Node) -> bool {
        let Ok(record) = own(self.graph, node.id, self.workspace) else { return false };
        let differ = |input| differs(self.graph, &record, input, self.workspace).is_some();
        !node.input_ids().any(differ)
    }
}
