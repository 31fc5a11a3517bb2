//! Writes into each binary where libtorch lies, so that it starts without LD_LIBRARY_PATH; and which
//! build it is.

use std::{
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
    process::Command,
};

/// Minor versions of Python 3 in whose environments torch is looked for; src/cli/hand_over.rs lists the same.
const PYTHONS: std::ops::RangeInclusive<u32> = 10..=14;

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-env=ASSAY_BUILD={:016x}", build()?);
    built_in_files()?;
    keep_libtorch_out_of_assay();
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-env-changed=LIBTORCH_USE_PYTORCH");
    // PREFIX/bin/assay, where `make install` puts it; and in a Python environment with torch (`make wheel`).
    println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib/assay");
    for version in PYTHONS {
        let site = format!("lib/python3.{version}/site-packages");
        println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/../{site}/torch/lib");
    }
    // target/release/assay and target/release/deps/test-binary, in a checkout that was moved.
    for up in ["../..", "../../.."] {
        println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/{up}/.libtorch/lib");
    }
    // The checkout's own is found above: what is handed on holds no path of the machine that built it.
    let checkout = env::current_dir()?;
    let is_inside =
        env::var_os("OUT_DIR").is_some_and(|dir| Path::new(&dir).starts_with(&checkout));
    if let Ok(dir) = env::var("LIBTORCH")
        && !(is_inside && Path::new(&dir) == checkout.join(".libtorch"))
    {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{dir}/lib");
    }
    if env::var_os("LIBTORCH_USE_PYTORCH").is_some() {
        let code = "import pathlib, torch; print(pathlib.Path(torch.__file__).parent / 'lib')";
        let python = Command::new("python3").args(["-c", code]).output();
        if let Ok(output) = python
            && output.status.success()
        {
            let dir = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            println!("cargo:rustc-link-arg=-Wl,-rpath,{dir}");
        }
    }
    Ok(())
}

/// Links the program `assay` without torch-sys, and so without libtorch: see src/base/programs.rs. Its C++ part
/// has constructors, which the linker would keep although nothing calls them. If `assay` came to call tch,
/// linking would fail with `undefined symbol: at_…`.
fn keep_libtorch_out_of_assay() {
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    // LLD understands this, and rustup's rustc links with it where the target is this one. With another
    // linker `assay` does the same and starts slowly.
    let is_linked_by_lld = env::var("TARGET").is_ok_and(|of| of == "x86_64-unknown-linux-gnu")
        && !flags.contains("linker")
        && !flags.contains("fuse-ld")
        && rustc(&["--print", "target-libdir"]).is_ok_and(|libdir| {
            let libdir = String::from_utf8_lossy(&libdir).trim().to_owned();
            Path::new(&libdir).with_file_name("bin/gcc-ld/ld.lld").is_file()
        });
    if is_linked_by_lld {
        let arg = "-Wl,--remap-inputs=*/libtorch_sys-*.rlib=/dev/null";
        println!("cargo:rustc-link-arg-bin=assay={arg}");
    }
}

/// A hash of everything the programs are made from: sources, dependencies, compiler and flags.
fn build() -> io::Result<u64> {
    let mut files = vec!["Cargo.toml".into(), "Cargo.lock".into(), "build.rs".into()];
    for dir in ["src", "prompts"] {
        // Of a directory Cargo looks at every file.
        println!("cargo:rerun-if-changed={dir}");
        files_below(Path::new(dir), &mut files)?;
    }
    for dir in ["baselines", "datasets/sample"] {
        files_below(Path::new(dir), &mut files)?;
    }
    files.extend(manifests()?);
    files.sort();
    let mut hash = DefaultHasher::new();
    for path in files {
        if !["src", "prompts", "baselines", "datasets/sample"]
            .iter()
            .any(|dir| path.starts_with(dir))
        {
            println!("cargo:rerun-if-changed={}", path.display());
        }
        (&path, fs::read(&path)?).hash(&mut hash);
    }
    rustc(&["-vV"])?.hash(&mut hash);
    for flags in ["TARGET", "PROFILE", "OPT_LEVEL", "DEBUG", "CARGO_ENCODED_RUSTFLAGS"] {
        env::var_os(flags).hash(&mut hash);
    }
    Ok(hash.finish())
}

/// What the compiler says of itself.
fn rustc(args: &[&str]) -> io::Result<Vec<u8>> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    Ok(Command::new(rustc).args(args).output()?.stdout)
}

fn files_below(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        match path.is_dir() {
            true => files_below(&path, files)?,
            false => files.push(path),
        }
    }
    Ok(())
}

/// Writes the list of files that come with the programs: `use: baselines/als.yaml` and `set: sample` then work from any
/// directory.
fn built_in_files() -> io::Result<()> {
    let mut files = Vec::new();
    for dir in ["baselines", "datasets/sample"] {
        println!("cargo:rerun-if-changed={dir}");
        files_below(Path::new(dir), &mut files)?;
    }
    files.extend(manifests()?);
    files.retain(|path| path.extension().is_some_and(|of| of == "yaml" || of == "csv"));
    files.sort();
    let root = env::current_dir()?;
    let mut list = String::from("&[\n");
    for path in &files {
        let whole = root.join(path);
        list.push_str(&format!(
            "    ({:?}, include_str!({whole:?})),\n",
            path.display().to_string()
        ));
    }
    list.push_str("]\n");
    let to = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("OUT_DIR is not set"))?;
    fs::write(Path::new(&to).join("built_in.rs"), list)
}

/// The manifests of data sets, `datasets/*.yaml`.
fn manifests() -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir("datasets")? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            paths.push(path);
        }
    }
    Ok(paths)
}
