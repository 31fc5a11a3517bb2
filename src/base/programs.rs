//! The two programs of a build, of which one loads libtorch.
//!
//! Loading libtorch costs 0.2 s and 100 MB, of which most are constructors of its own. So `assay` is linked
//! without it: what computes with tensors is called through [`Slot`]s, which stay empty there. The program
//! `assay-tensors` is the same with the slots filled; `assay run` becomes it where a step that is to be done
//! fits a network or encodes texts (`cli/hand_over.rs`).

use std::sync::OnceLock;

/// The program with filled slots, beside `assay`.
pub const PROGRAM: &str = "assay-tensors";

/// Identifies the build: a hash of the sources, the dependencies' versions, the compiler and its flags
/// (build.rs). The same for both programs.
pub const BUILD: &str = env!("ASSAY_BUILD");

/// Set by `assay` when it becomes the other program: its build, which must be that one's too.
pub const HANDED_OVER: &str = "ASSAY_HANDED_OVER_BY";

/// A function that computes with tensors, where this program can.
pub struct Slot<F> {
    filled: OnceLock<F>,
    /// In unit tests every slot is filled.
    in_tests: Option<F>,
}

/// A step that needs tensors was started in a program without them.
#[derive(Debug, thiserror::Error)]
#[error(
    "internal error: this needs libtorch, and this program has none\n  = help: please report it"
)]
pub struct NoTensors;

impl<F: Copy> Slot<F> {
    /// An empty slot for `function`.
    pub const fn of(function: F) -> Self {
        // Outside of unit tests the function must not be named in what is linked.
        let in_tests = if cfg!(test) { Some(function) } else { None };
        Self { filled: OnceLock::new(), in_tests }
    }

    /// Whoever comes first fills it; all bring the same.
    pub fn fill(&self, function: F) {
        let _ = self.filled.set(function);
    }

    /// The function, where this program has it.
    pub fn get(&self) -> Result<F, NoTensors> {
        self.filled.get().or(self.in_tests.as_ref()).copied().ok_or(NoTensors)
    }
}
