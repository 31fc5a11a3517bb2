//! Times the encoding of a JSON list of texts: `ASSAY_TEXTS=texts.json cargo bench --bench encoder`.
//! tools/bench_encoder.py runs it in turns with sentence-transformers.

use std::time::Instant;

use rec_assay::{
    base::interrupt::Interrupt,
    data::DataDirs,
    nn::{Encoder, EncoderSpec},
};

fn main() {
    let Ok(path) = std::env::var("ASSAY_TEXTS") else {
        println!("set ASSAY_TEXTS to a JSON list of texts (tools/bench_encoder.py does)");
        return;
    };
    let texts: Vec<String> =
        serde_json::from_slice(&std::fs::read(path).expect("readable")).expect("a list of texts");
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let threads = std::env::var("RAYON_NUM_THREADS").ok().and_then(|n| n.parse().ok()).unwrap_or(2);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
    let encoder =
        Encoder::read(&EncoderSpec::default(), &DataDirs::from_env()).expect("an encoder");
    pool.install(|| {
        let work = |texts: &[&str]| {
            encoder.encode(texts, &Interrupt::default(), &|_, _| {}).expect("vectors")
        };
        work(&texts[..texts.len().min(64)]);
        let started = Instant::now();
        let (vectors, cut) = work(&texts);
        let seconds = started.elapsed().as_secs_f64();
        println!("{{\"seconds\": {seconds}, \"cut\": {cut}, \"first\": {}}}", vectors[0]);
    });
}
