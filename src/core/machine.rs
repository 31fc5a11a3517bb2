//! Machine, libraries and program of a run.

use std::{path::Path, process::Command};

use sysinfo::{CpuRefreshKind, RefreshKind, System};

use super::Machine;
use crate::base::programs::BUILD;

/// Libraries that affect numbers.
const LIBRARIES: [&str; 6] = ["polars", "rand_chacha", "rayon", "safetensors", "tch", "torch-sys"];

/// Describes this machine, this program, and the repository of `directory`.
pub fn machine(directory: &Path) -> Machine {
    let git = |args: &[&str]| {
        let output = Command::new("git").arg("-C").arg(directory).args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let revision = git(&["rev-parse", "HEAD"]);
    let changes = git(&["status", "--porcelain", "--untracked-files=no"]);
    machine_at(revision, changes.map(|changes| !changes.is_empty()))
}

/// Bytes of memory of this machine, or of the container.
pub fn total_memory() -> u64 {
    let mut system = System::new();
    system.refresh_memory();
    match system.total_memory() {
        // Without /proc, as in a plain chroot, sysinfo says 0, and a limit of 0 fits nothing.
        0 => physical_memory(),
        bytes => bytes,
    }
}

fn physical_memory() -> u64 {
    // SAFETY: sysconf only reads; it returns -1 for what it does not know.
    let (pages, size) =
        unsafe { (libc::sysconf(libc::_SC_PHYS_PAGES), libc::sysconf(libc::_SC_PAGESIZE)) };
    u64::try_from(pages).unwrap_or(0).saturating_mul(u64::try_from(size).unwrap_or(0))
}

/// Describes this machine and this program, and a repository that was looked at before.
pub fn machine_at(revision: Option<String>, dirty: Option<bool>) -> Machine {
    let what = RefreshKind::nothing().with_cpu(CpuRefreshKind::nothing());
    let system = System::new_with_specifics(what);
    Machine {
        host: System::host_name().unwrap_or_default(),
        os: System::long_os_version().unwrap_or_default(),
        cpu: system.cpus().first().map(|cpu| cpu.brand().trim().to_owned()).unwrap_or_default(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        memory_bytes: total_memory(),
        assay: env!("CARGO_PKG_VERSION").to_owned(),
        program: BUILD.to_owned(),
        libraries: LIBRARIES
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), locked_version(name)?)))
            .collect(),
        revision,
        dirty,
    }
}

/// The version of a dependency in the Cargo.lock this program was built from.
fn locked_version(name: &str) -> Option<String> {
    let lock = include_str!("../../Cargo.lock");
    // Of several versions the last is the highest, which is ours.
    let (_, rest) = lock.rsplit_once(&format!("name = \"{name}\"\nversion = \""))?;
    Some(rest.split('"').next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_known_without_proc() {
        assert!(physical_memory() > 1 << 26 && total_memory() > 1 << 26);
    }

    #[test]
    fn versions_come_from_the_lock_file() {
        assert!(LIBRARIES.iter().all(|name| locked_version(name).is_some()));
        assert_eq!(locked_version("tch").as_deref(), Some("0.24.0"));
    }
}
