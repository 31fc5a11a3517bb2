//! A graph of content-addressed steps.
//!
//! A step's key is the hash of its kind and of everything it depends on: its revision, settings and files, and the keys
//! of its input steps. So trials share steps, and unchanged steps are reused.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    CommandUse, Handle, Pinned, Requests, Step, StepId,
    step::{AnyStep, FinishedSteps, Resources},
};
use crate::base::hash::Digest;

/// One step of a graph.
#[derive(Clone)]
pub struct Node {
    pub id: StepId,
    pub kind: &'static str,
    pub key: Digest,
    /// `als u1 seed 1`
    pub label: String,
    /// Its input steps, by their names in the key inputs.
    pub inputs: Vec<(String, StepId)>,
    /// The key is the hash of these.
    pub key_inputs: Value,
    /// Files it reads.
    pub pinned: Vec<Pinned>,
    /// Trials that need it.
    pub trials: Vec<usize>,
    /// Number of steps on the longest path to it.
    pub depth: usize,
    step: Arc<dyn AnyStep>,
}

impl Node {
    /// `fit als u1 seed 1`
    pub fn name(&self) -> String {
        format!("{} {}", self.kind, self.label)
    }

    /// Its input steps, each once.
    pub fn input_ids(&self) -> impl Iterator<Item = StepId> + '_ {
        let first = |(at, (_, id)): (usize, &(String, StepId))| {
            (!self.inputs[..at].iter().any(|(_, other)| other == id)).then_some(*id)
        };
        self.inputs.iter().enumerate().filter_map(first)
    }

    /// The requests it may send to an endpoint.
    pub fn requests(&self, users: u64, items: u64) -> Option<Requests> {
        self.step.requests(users, items)
    }

    /// The program of the experiment that it runs.
    pub fn command(&self) -> Option<CommandUse> {
        self.step.command()
    }

    /// Whether it needs tensors.
    pub fn needs_tensors(&self) -> bool {
        self.step.needs_tensors()
    }

    /// Number of GPUs it certainly uses: its settings name one. With `device: auto` it uses what there is.
    pub fn gpus(&self) -> u32 {
        u32::from(!self.gpu_names().is_empty())
    }

    /// The GPUs that its settings name: `cuda`, `cuda:1`.
    pub fn gpu_names(&self) -> BTreeSet<&str> {
        let mut names = BTreeSet::new();
        if self.needs_tensors() {
            gpu_names(&self.key_inputs, &mut names);
        }
        names
    }

    /// The resources it needs.
    pub fn resources(&self, finished: &dyn FinishedSteps) -> Resources {
        self.step.resources(finished)
    }

    /// The step, if it is one of this kind.
    pub fn step<S: Step>(&self) -> Option<&S> {
        self.step.as_any().downcast_ref()
    }

    pub(super) fn any(&self) -> &dyn AnyStep {
        &*self.step
    }
}

/// Every `device` that is a GPU.
fn gpu_names<'a>(settings: &'a Value, names: &mut BTreeSet<&'a str>) {
    match settings {
        Value::Object(fields) => {
            for (name, value) in fields {
                if name == "device" {
                    names.extend(value.as_str().filter(|of| of.starts_with("cuda")));
                }
                gpu_names(value, names);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| gpu_names(value, names)),
        _ => {}
    }
}

/// Steps in topological order.
#[derive(Clone, Default)]
pub struct Graph {
    nodes: Vec<Node>,
    by_key: HashMap<Digest, StepId>,
}

impl Graph {
    /// The step with this key; it is added if there is none.
    pub fn add<S: Step>(&mut self, step: S) -> Handle<S::Output> {
        let mut key =
            KeyBuilder { graph: self, fields: Map::new(), inputs: vec![], pinned: vec![] };
        key.value("revision", step.revision());
        step.key_inputs(&mut key);
        let KeyBuilder { fields, inputs, pinned, .. } = key;
        let key_inputs = Value::Object(fields);
        let key = Digest::of_json(&(S::KIND, &key_inputs));
        if let Some(id) = self.by_key.get(&key) {
            return Handle::new(*id);
        }
        let id = StepId(self.nodes.len());
        let depth = inputs.iter().map(|(_, input)| self[*input].depth + 1).max().unwrap_or(0);
        let label = step.label();
        self.nodes.push(Node {
            id,
            kind: S::KIND,
            key,
            label,
            inputs,
            key_inputs,
            pinned,
            trials: Vec::new(),
            depth,
            step: Arc::new(step),
        });
        self.by_key.insert(key, id);
        Handle::new(id)
    }

    /// All steps in topological order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The step with a key.
    pub fn find(&self, key: &Digest) -> Option<StepId> {
        self.by_key.get(key).copied()
    }

    /// Number of steps.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are no steps.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Records that a trial needs a step.
    pub fn note_trial(&mut self, step: StepId, trial: usize) {
        let trials = &mut self.nodes[step.0].trials;
        if trials.last() != Some(&trial) {
            trials.push(trial);
        }
    }
}

impl std::ops::Index<StepId> for Graph {
    type Output = Node;

    fn index(&self, id: StepId) -> &Node {
        &self.nodes[id.0]
    }
}

impl<T> std::ops::Index<Handle<T>> for Graph {
    type Output = Node;

    fn index(&self, handle: Handle<T>) -> &Node {
        &self[handle.id()]
    }
}

/// What a step depends on, field by field.
pub struct KeyBuilder<'a> {
    graph: &'a Graph,
    fields: Map<String, Value>,
    inputs: Vec<(String, StepId)>,
    pinned: Vec<Pinned>,
}

impl KeyBuilder<'_> {
    /// A setting.
    pub fn value(&mut self, name: &str, value: impl Serialize) -> &mut Self {
        // invariant: settings are plain data, which JSON can hold
        let value = serde_json::to_value(value).unwrap_or_default();
        self.fields.insert(name.to_owned(), value);
        self
    }

    /// A setting, if it is not the default.
    pub fn value_if(&mut self, given: bool, name: &str, value: impl Serialize) -> &mut Self {
        match given {
            true => self.value(name, value),
            false => self,
        }
    }

    /// A file.
    pub fn file(&mut self, name: &str, file: &Pinned) -> &mut Self {
        self.pin(file);
        self.value(name, file.digest)
    }

    /// A file whose digest is part of another field.
    pub fn pin(&mut self, file: &Pinned) -> &mut Self {
        self.pinned.push(file.clone());
        self
    }

    /// An input step. A dot in the name makes it a nested field.
    pub fn step<T>(&mut self, name: &str, step: Handle<T>) -> &mut Self {
        let key = serde_json::to_value(self.graph[step].key).unwrap_or_default();
        match name.split_once('.') {
            Some((outer, inner)) => {
                let of = self.fields.entry(outer).or_insert_with(|| Value::Object(Map::new()));
                of[inner] = key;
            }
            None => drop(self.fields.insert(name.to_owned(), key)),
        }
        self.inputs.push((name.to_owned(), step.id()));
        self
    }

    /// An input step whose key follows from the other fields.
    pub fn reads<T>(&mut self, name: &str, step: Handle<T>) -> &mut Self {
        self.inputs.push((name.to_owned(), step.id()));
        self
    }

    /// A list of input steps.
    pub fn steps<T>(&mut self, name: &str, steps: &[Handle<T>]) -> &mut Self {
        let keys: Vec<Digest> = steps.iter().map(|step| self.graph[*step].key).collect();
        self.inputs.extend(steps.iter().map(|step| (name.to_owned(), step.id())));
        self.value(name, keys)
    }
}
