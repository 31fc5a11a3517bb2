//! Writes into each binary where libtorch lies, so that it starts without LD_LIBRARY_PATH.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-env-changed=LIBTORCH_USE_PYTORCH");
    // target/release/assay and target/release/deps/test-binary, in a checkout that was moved.
    for up in ["../..", "../../.."] {
        println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/{up}/.libtorch/lib");
    }
    if let Ok(dir) = std::env::var("LIBTORCH") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{dir}/lib");
    }
    if std::env::var_os("LIBTORCH_USE_PYTORCH").is_some() {
        let code = "import pathlib, torch; print(pathlib.Path(torch.__file__).parent / 'lib')";
        let python = std::process::Command::new("python3").args(["-c", code]).output();
        if let Ok(output) = python
            && output.status.success()
        {
            let dir = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            println!("cargo:rustc-link-arg=-Wl,-rpath,{dir}");
        }
    }
}
