//! The two programs of a build, one of which loads libtorch.
//!
//! Loading libtorch costs 0.2 s and 100 MB, mostly for its static constructors. So `assay` is linked without it: code that
//! needs tensors is called through [`Slot`]s, which are empty there. The program `assay-tensors` is the same with filled
//! slots; `assay run` is replaced by it if a step to run fits a network or encodes texts (`cli/hand_over.rs`).

use std::sync::OnceLock;

/// The program with filled slots, in the directory of `assay`.
pub const PROGRAM: &str = "assay-tensors";

/// The build: a hash of the sources, the versions of dependencies, the compiler and its flags (build.rs). Both programs have
/// the same.
pub const BUILD: &str = env!("ASSAY_BUILD");

/// Set by `assay` when it is replaced by the other program: its build, which must be the same.
pub const HANDED_OVER: &str = "ASSAY_HANDED_OVER_BY";

/// A function that needs tensors, if this program has it.
pub struct Slot<F> {
    filled: OnceLock<F>,
    /// In unit tests every slot is filled.
    in_tests: Option<F>,
}

/// A step that needs tensors was started in a program without tensors.
#[derive(Debug, thiserror::Error)]
#[error(
    "internal error: this needs libtorch, and this program has none\n  = help: please report it"
)]
pub struct NoTensors;

impl<F: Copy> Slot<F> {
    /// An empty slot for `function`.
    pub const fn of(function: F) -> Self {
        // Outside of unit tests the function must not be referenced, because it would be linked.
        let in_tests = if cfg!(test) { Some(function) } else { None };
        Self { filled: OnceLock::new(), in_tests }
    }

    /// Fills the slot; further calls have no effect.
    pub fn fill(&self, function: F) {
        let _ = self.filled.set(function);
    }

    /// The function, if this program has it.
    pub fn get(&self) -> Result<F, NoTensors> {
        self.filled.get().or(self.in_tests.as_ref()).copied().ok_or(NoTensors)
    }
}
