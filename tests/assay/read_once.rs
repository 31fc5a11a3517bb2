//! The values of an evaluation are read once, whoever needs them.

use std::fs;

use rec_assay::{
    analysis::{Request, collect},
    base::output::OutputDir,
    core::Workspace,
    report::{INDEX, also_for_tables, render},
    tasks::ExperimentRecord,
};

use crate::support::Place;

const EXPERIMENT: &str = "experiment: e
data: {set: sample, relevant: '>= 4'}
split: {scheme: official, only: [f1, f2]}
seeds: [1, 2]
systems:
  popularity: {model: popularity}
  als: {model: als, factors: 4, iterations: 2}
  random: {model: random}
evaluate: {k: [5, 10], metrics: [ndcg, recall, gini]}
report:
  tables:
    - {name: main}
    - {name: short, columns: [nDCG@5, Recall@10], show: interval}
  figures:
    - {name: differences, kind: differences, metric: nDCG@5}
";

#[test]
fn a_report_with_its_audit_reads_each_evaluation_once() {
    let place = Place::new();
    place.write("e.yaml", EXPERIMENT);
    place.fine(&["run", "e.yaml", "--quiet"]);
    // The run has kept its audit.
    fs::remove_file(place.path(".assay/experiments/e/audit.json")).unwrap();
    let workspace = Workspace::at(&place.path(".assay"));
    let experiment = ExperimentRecord::read(&workspace, "e").unwrap();
    let evaluated = fs::read_dir(place.path(".assay/steps/evaluate")).unwrap().count();
    let mut request = Request::of_report(&experiment);
    also_for_tables(&mut request, &experiment);
    let collected = collect(&experiment, &workspace, &request).unwrap();
    assert_eq!((collected.missing.len(), workspace.values().reads()), (0, evaluated));
    let out = OutputDir::open(&place.path("again"), INDEX, false).unwrap();
    render(&experiment, &workspace, &collected, None, false, out).unwrap();
    assert!(place.path(".assay/experiments/e/audit.json").is_file(), "there was an audit");
    assert_eq!(workspace.values().reads(), evaluated);
    for name in ["tables/main.json", "tables/short.tex", "figures/differences.svg", "results.json"]
    {
        let read = |dir: &str| fs::read(place.path(dir).join(name)).unwrap();
        assert_eq!(read("again"), read("reports/e"), "{name}");
    }
    // What was not to be kept is read again and is the same.
    let again = collect(&experiment, &workspace, &request).unwrap();
    assert_eq!(again.rows, collected.rows);
    assert!(workspace.values().reads() > evaluated);
}

/// Then some trials of a system are kept with all their columns, and others are read again in those that are needed.
#[test]
fn a_report_and_its_audit_do_not_depend_on_the_room_for_values() {
    let place = Place::new();
    place.write("e.yaml", EXPERIMENT);
    place.fine(&["run", "e.yaml", "--quiet"]);
    let audit = place.path(".assay/experiments/e/audit.json");
    let mut reports = [0, 20_000, usize::MAX].into_iter().map(|room| {
        fs::remove_file(&audit).unwrap();
        let workspace = Workspace::at(&place.path(".assay")).with_room_for_values(room);
        let experiment = ExperimentRecord::read(&workspace, "e").unwrap();
        let mut request = Request::of_report(&experiment);
        also_for_tables(&mut request, &experiment);
        let collected = collect(&experiment, &workspace, &request).unwrap();
        let name = format!("with room for {room}");
        let out = OutputDir::open(&place.path(&name), INDEX, false).unwrap();
        render(&experiment, &workspace, &collected, None, false, out).unwrap();
        let read = |file| fs::read(place.path(&name).join(file)).unwrap();
        let files = ["results.json", "tables/short.tex", "figures/differences.svg"].map(read);
        (workspace.values().reads(), files, fs::read(&audit).unwrap())
    });
    let (reads_without, files, audited) = reports.next().unwrap();
    let (reads_with_little, of_little, audited_with_little) = reports.next().unwrap();
    let (reads, of_all, audited_with_all) = reports.next().unwrap();
    assert!(reads_without > reads_with_little && reads_with_little > reads, "some were kept");
    assert!(files == of_little && files == of_all);
    assert!(audited == audited_with_little && audited == audited_with_all);
}
