//! Tables and figures of a paper: the key `report:`, LaTeX that compiles, and `report --check`.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use crate::support::{Place, ended, say};

const PAPER: &str = "experiment: paper
data: {set: sample, relevant: \">= 4\"}
split: {scheme: official, only: [f1, f2]}
systems:
  random: {model: random}
  popularity: {model: popularity}
  item-knn: {model: item-knn}
  als: {model: als, factors: {sweep: [4, 8]}, training: {epochs: 3}}
evaluate: {k: [5, 10], slices: [all, \"cold<20\"], metrics: [ndcg, recall, precision, item-coverage, novelty]}
";

const REPORT: &str = "report:
  digits: 3
  reference: popularity
  tables:
    - name: main
      caption: Systems on the sample.
      label: tab:systems
      rows:
        - {group: Baselines, rows: [{system: popularity, as: Pop}, random]}
        - {group: Personal, rows: [item-knn, als]}
      columns: [nDCG@10, {metrics: [Recall@5, Recall@10], group: Recall}]
      show: sd
    - name: factors
      over: factors
      columns: [nDCG@10]
      slices: [all, \"cold<20\"]
  figures:
    - {name: k, kind: metric-against-k}
    - {name: forest, kind: contrasts, width: two}
    - {name: users, kind: differences, systems: [item-knn, \"als[factors=8]\"]}
    - {name: levels, kind: sweep, over: factors}
    - {name: catalogue, kind: popularity}
";

fn json_of(place: &Place, name: &str) -> Value {
    let text =
        fs::read_to_string(place.path(&format!("reports/paper/tables/{name}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn run(report: &str) -> Place {
    let place = Place::new();
    place.write("e.yaml", format!("{PAPER}{report}"));
    place.fine(&["run", "e.yaml"]);
    place
}

#[test]
fn declared_tables_have_the_results_and_the_tests_of_compare() {
    let place = run(REPORT);
    let table = json_of(&place, "main");
    assert_eq!(table["caption"], "Systems on the sample.");
    let column = |at: usize| (&table["columns"][at]["title"], &table["columns"][at]["group"]);
    assert_eq!(column(0), (&"nDCG@10".into(), &"".into()));
    assert_eq!(column(1), (&"Recall@5".into(), &"Recall".into()));
    let rows = table["rows"].as_array().unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row["system"].as_str().unwrap()).collect();
    assert_eq!(names, ["Pop", "random", "item-knn", "als[factors=4]", "als[factors=8]"]);
    assert_eq!((&rows[0]["group"], &rows[4]["group"]), (&"Baselines".into(), &"Personal".into()));

    // The numbers are those of `assay results`.
    let results = place.fine(&["results", "e.yaml", "--json"]);
    let results: Vec<Value> = serde_json::from_str(&results).unwrap();
    let result = |system: &str, metric: &str, k: u64, slice: &str| -> f64 {
        let row = results.iter().find(|row| {
            row["system"] == system
                && row["metric"] == metric
                && row["k"] == k
                && row["slice"] == slice
                && row["fold"] == "mean"
                && row["protocol"] == "full"
        });
        row.unwrap()["value"].as_f64().unwrap()
    };
    for (row, system) in rows.iter().zip(["popularity", "random", "item-knn"]) {
        for (at, (metric, k)) in [("ndcg", 10), ("recall", 5), ("recall", 10)].iter().enumerate() {
            assert_eq!(row["cells"][at]["value"], result(system, metric, *k, "all"), "{system}");
        }
    }

    // What differs from the reference is what `assay compare` finds for the same comparisons. It has one cutoff, so
    // with one metric.
    let compared: Value = serde_json::from_str(&place.fine(&[
        "compare",
        "e.yaml",
        "--reference",
        "popularity",
        "--metric",
        "ndcg",
        "-k",
        "10",
        "--json",
    ]))
    .unwrap();
    let shown = place.fine(&[
        "table",
        "e.yaml",
        "--reference",
        "popularity",
        "--metrics",
        "ndcg",
        "-k",
        "10",
        "--format",
        "json",
    ]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let mut significant = 0;
    for row in compared["rows"].as_array().unwrap() {
        let is = row["p_corrected"].as_f64().unwrap() < 0.05;
        significant += usize::from(is);
        let rows = shown["rows"].as_array().unwrap();
        let found = rows.iter().find(|of| of["system"] == row["system"]).unwrap();
        assert_eq!(found["cells"][0]["differs_from_reference"], is, "{row}");
    }
    assert!(significant > 0, "random differs from popularity: {compared}");
    let notes = shown["notes"].to_string();
    let said = compared["correction"].as_str().unwrap();
    assert!(notes.contains(said) && notes.contains("paired t test over"), "{said}: {notes}");

    // Levels of a sweep as groups of columns, for both slices.
    let table = json_of(&place, "factors");
    let groups: Vec<&str> = table["columns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| column["group"].as_str().unwrap())
        .collect();
    assert_eq!(
        groups,
        [
            "all users, factors = 4",
            "all users, factors = 8",
            "users cold<20, factors = 4",
            "users cold<20, factors = 8"
        ]
    );
    let cells = &table["rows"][0]["cells"];
    assert_eq!(table["rows"][0]["system"], "als");
    assert_eq!(cells[1]["value"], result("als[factors=8]", "ndcg", 10, "all"));
    assert_eq!(cells[2]["value"], result("als[factors=4]", "ndcg", 10, "cold<20"));
}

#[test]
fn a_report_has_the_declared_files_and_a_list_of_them() {
    let place = run(REPORT);
    let list = fs::read_to_string(place.path("reports/paper/files.md")).unwrap();
    for name in ["tables/main", "tables/factors", "figures/k", "figures/forest", "figures/users"] {
        assert!(list.contains(name), "{name}: {list}");
    }
    for name in ["k", "forest", "users", "levels", "catalogue"] {
        let svg = fs::read_to_string(place.path(&format!("reports/paper/figures/{name}.svg")));
        let svg = svg.unwrap();
        assert!(svg.contains("currentColor") && svg.contains("<title>"), "{name}");
        let png = fs::read(place.path(&format!("reports/paper/figures/{name}.png"))).unwrap();
        assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
        // Two pixels for one of the sheet, and 300 dpi.
        let wide = if name == "forest" { 2100u32 } else { 1000 };
        assert_eq!(png[16..20], wide.to_be_bytes(), "{name}");
        assert_eq!(png[37..46], *b"pHYs\x00\x00\x2e\x23\x00", "{name}");
    }
    // Systems have the same colour in every figure, whatever else is shown: item-knn is the third.
    let users = fs::read_to_string(place.path("reports/paper/figures/users.svg")).unwrap();
    assert!(users.contains("#008E68") && !users.contains("#0072B2"), "{users}");
}

#[test]
fn a_report_is_edited_without_a_new_run_and_without_the_data() {
    let place = run("");
    place.write("e.yaml", format!("{PAPER}{REPORT}"));
    let again = place.assay(&["run", "e.yaml"]);
    assert!(again.err.contains(" 0 of ") || again.err.contains("0 of"), "{}", again.err);
    let mut command = place.command(&["table", "e.yaml", "--name", "main"]);
    let without = ended(command.env("ASSAY_DATA", "nowhere").output().unwrap(), place.dir.path());
    assert!(without.out.contains("Pop"), "{}{}", without.out, without.err);
    place.write("e.yaml", format!("{PAPER}{}", REPORT.replace("as: Pop", "as: Popular")));
    let mut command = place.command(&["table", "e.yaml", "--name", "main"]);
    let without = ended(command.env("ASSAY_DATA", "nowhere").output().unwrap(), place.dir.path());
    assert!(without.out.contains("Popular"), "{}{}", without.out, without.err);
}

#[test]
fn what_a_report_cannot_show_is_an_error_before_any_work() {
    for (before, after, says) in [
        ("reference: popularity", "reference: popularty", "did you mean `popularity`?"),
        ("random]}", "randm]}", "the experiment has no system `randm`"),
        ("nDCG@10, {metrics", "nDCG@20, {metrics", "does not compute the cutoff 20"),
        ("nDCG@10, {metrics", "MAP@10, {metrics", "does not compute the metric `map`"),
        ("nDCG@10, {metrics", "nDGC@10, {metrics", "did you mean `ndcg`?"),
        ("slices: [all, \"cold<20\"]", "slices: [all, \"cold<10\"]", "no slice `cold<10`"),
        (
            "over: factors\n      columns",
            "over: factor\n      columns",
            "no swept setting `factor`",
        ),
        ("digits: 3", "digits: 16", "`digits` is 16"),
        ("digits: 3", "digit: 3", "unknown key `digit`"),
        ("name: factors", "name: ../main", "cannot be the name of a file"),
        ("name: factors", "name: Main", "two of the name `Main`"),
        ("show: sd", "show: sds", "unknown name `sds`"),
        ("item-knn, als]}", "item-knn, {system: als, as: ALS}]}", "stands for several systems"),
        ("kind: sweep", "kind: sweeps", "unknown name `sweeps`"),
        ("random]}", "{system: random, rows: [als]}]}", "a row is a system, or a group"),
        ("group: Recall", "groups: Recall", "unknown key `groups`"),
    ] {
        let place = Place::new();
        let report = REPORT.replacen(before, after, 1);
        assert_ne!(report, REPORT, "{before}");
        place.write("e.yaml", format!("{PAPER}{report}"));
        let ended = place.assay(&["run", "e.yaml"]);
        assert_eq!(ended.code, 2, "{after}: {}", ended.err);
        assert!(ended.err.contains(says), "{after}: {}", ended.err);
        assert!(ended.err.contains("e.yaml:"), "has a line: {}", ended.err);
        assert!(!place.path(".assay").exists(), "{after}");
    }
}

#[test]
fn check_names_the_file_and_the_line_that_differ() {
    let place = run(REPORT);
    let check = || place.assay(&["report", "e.yaml", "--check", "submitted"]);
    place.write("submitted/other.tex", "");
    assert_eq!(check().code, 2, "{}", check().err);
    let tex = fs::read_to_string(place.path("reports/paper/tables/main.tex")).unwrap();
    place.write("submitted/tex/main.tex", &tex);
    let svg = fs::read(place.path("reports/paper/figures/k.svg")).unwrap();
    place.write("submitted/k.svg", &svg);
    let fine = check();
    assert_eq!(
        (fine.code, &fine.out[..]),
        (0, "2 files are what the results give\n"),
        "{}",
        fine.err
    );
    // One digit of one number.
    let line = tex.lines().position(|line| line.starts_with("Pop")).unwrap();
    let number = tex.lines().nth(line).unwrap().split("0.").nth(1).unwrap()[..3].to_owned();
    let other = if number.starts_with('9') { "0.1" } else { "0.9" };
    let wrong = tex.replacen(&format!("0.{number}"), &format!("{other}{}", &number[1..]), 1);
    assert_ne!(wrong, tex);
    place.write("submitted/tex/main.tex", wrong);
    let png = fs::read(place.path("reports/paper/figures/forest.png")).unwrap();
    place.write("submitted/forest.png", &png[..png.len() - 20]);
    let differ = check();
    assert_eq!(differ.code, 1, "{}{}", differ.out, differ.err);
    assert!(differ.out.contains("tex/main.tex: line "), "{}", differ.out);
    assert!(differ.out.contains("forest.png: the image differs"), "{}", differ.out);
    assert!(!differ.out.contains("k.svg"), "{}", differ.out);
    // Another experiment produces other files.
    place.write("e.yaml", format!("{PAPER}{}", REPORT.replace("digits: 3", "digits: 2")));
    let differ = check();
    assert!(differ.code == 1 && differ.out.contains("main.tex"), "{}{}", differ.out, differ.err);
}

#[test]
fn the_terminal_table_fits_the_terminal_and_a_run_ends_with_three_lines() {
    let place = run("");
    let of = |columns: &str, args: &[&str]| {
        let args = [&["table", "e.yaml"], args].concat();
        let mut command = place.command(&args);
        ended(command.env("COLUMNS", columns).output().unwrap(), place.dir.path()).out
    };
    let widest = |text: &str| text.lines().map(|line| line.chars().count()).max().unwrap();
    for columns in ["40", "60", "100"] {
        let text = of(columns, &["--intervals"]);
        assert!(widest(&text) <= columns.parse().unwrap(), "{columns}: {text}");
        assert!(text.contains("nDCG@10") && text.contains("Recall@10"), "{text}");
        assert!(!text.contains("Precision"), "{text}");
    }
    assert!(of("40", &["--wide"]).contains("Novelty@10"));
    let text = of("100", &["--metrics", "precision,nDCG", "--systems", "als", "--digits", "2"]);
    assert!(text.contains("als[factors=4]") && text.contains("als[factors=8]"), "{text}");
    assert!(!text.contains("popularity") && !text.contains("Recall"), "{text}");
    let row = text.lines().find(|line| line.contains("als[factors=4]")).unwrap();
    assert!(row.split_whitespace().nth(1).unwrap().len() == 4, "{row}");
    // The old names.
    let old = of(
        "100",
        &["--metric", "precision", "--metric", "nDCG", "--system", "als", "--digits", "2"],
    );
    assert_eq!(text, old);

    let out = place.fine(&["run", "e.yaml"]);
    let last: Vec<&str> = out.trim_end().lines().rev().take(3).collect();
    assert!(last[2].starts_with("best: ") && last[2].contains("nDCG@10 0."), "{out}");
    assert_eq!(last[1], "report: reports/paper/index.html");
    assert_eq!(last[0], "next: assay compare e.yaml   or   assay audit e.yaml");
}

/// Whether LaTeX is here; with `ASSAY_REQUIRE_LATEX=1` it must be.
fn has_latex(test: &str) -> bool {
    let has = |name: &str| Command::new(name).arg("--version").output().is_ok();
    if has("pdflatex") && has("xelatex") {
        return true;
    }
    assert!(
        std::env::var_os("ASSAY_REQUIRE_LATEX").is_none_or(|of| of.is_empty() || of == "0"),
        "{test} must run here (ASSAY_REQUIRE_LATEX), and pdflatex or xelatex is missing"
    );
    say(&format!("not run: {test} (pdflatex or xelatex is missing)"));
    false
}

/// Compiles tables in a two-column article; returns what LaTeX says of boxes that do not fit.
fn compiled(dir: &Path, tables: &[String]) -> Vec<String> {
    let mut boxes = Vec::new();
    let inputs: String =
        tables.iter().map(|name| format!("\\input{{{name}}}\n\\clearpage\n")).collect();
    let paper = format!(
        "\\documentclass[twocolumn,a4paper]{{article}}\n\\usepackage{{booktabs}}\n\\begin{{document}}\n{inputs}Text.\n\
         \\end{{document}}\n"
    );
    fs::write(dir.join("paper.tex"), paper).unwrap();
    for engine in ["pdflatex", "xelatex"] {
        let output = Command::new(engine)
            .args(["-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper.tex"])
            .current_dir(dir)
            .output()
            .unwrap();
        let log = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{engine}: {log}");
        let log = String::from_utf8_lossy(&fs::read(dir.join("paper.log")).unwrap()).into_owned();
        let wrong = log.lines().filter(|line| {
            line.contains("Overfull")
                || line.contains("Missing character")
                || line.contains("too large")
        });
        boxes.extend(wrong.map(|line| format!("{engine}: {line}")));
    }
    boxes
}

const HOSTILE: &str = r#"experiment: hostile
data: {set: sample, relevant: ">= 4"}
split: {scheme: official, only: [f1]}
systems:
  "a_b & 50% {x} $y$ #1 ~ ^ \\input{/etc/passwd}": {model: popularity}
  "<script>alert(1)</script> | `id` \"q\" 'p' -- --- ?` !`": {model: random}
  "שלום 中文 مرحبا 😀 Ωmega é ß ø": {model: item-knn}
  averyveryverylongnamewithoutanyplacewhereitcouldbebrokenintoseveralpiecesbytypesetting: {model: ease}
  "=HYPERLINK(\"x\",\"y\")\\end{tabular}\\end{table}": {model: als, factors: 4, training: {epochs: 2}}
evaluate: {k: [5, 10], slices: [all, "cold<20"]}
report:
  tables:
    - name: all
      caption: "Names 100% of which are \\evil{} & _strange_ שלום <b>"
      label: "tab:a}b\\c"
      columns: [nDCG@10, Recall@10, Precision@10, MAP@10, MRR@10, HR@10, novelty, gini, item-coverage]
      slices: [all, "cold<20"]
      show: interval
    - {name: one, width: one, columns: [nDCG@10, Recall@10, MAP@10, MRR@10], show: sd}
    - name: groups
      rows: [{group: "A group & its averyveryverylongnamewithoutanyplacewhereitcouldbebrokenintopieces", rows: [averyveryverylongnamewithoutanyplacewhereitcouldbebrokenintoseveralpiecesbytypesetting]}]
      columns: [{group: "Heading_with % and averyveryverylongword", metrics: [nDCG@5, nDCG@10]}]
"#;

#[test]
fn latex_compiles_and_fits_whatever_the_names_hold() {
    let place = Place::new();
    place.write("e.yaml", HOSTILE);
    place.fine(&["run", "e.yaml"]);
    let tables = place.path("reports/hostile/tables");
    let text = fs::read_to_string(tables.join("all.tex")).unwrap();
    assert!(text.contains("\\textbackslash{}input") && !text.contains("\\input"), "{text}");
    assert!(text.contains("\\assaychar{05E9}"), "{text}");
    assert!(text.contains("\\label{tab:a-b-c}"), "{text}");
    for name in ["all", "one"] {
        let svg = fs::read_to_string(place.path("reports/hostile/figures/metric-against-k.svg"));
        let svg = svg.unwrap();
        assert!(svg.contains("&lt;script") && !svg.contains("<script"), "{name}");
        let markdown = fs::read_to_string(tables.join(format!("{name}.md"))).unwrap();
        assert!(markdown.contains("\\<script\\>"), "{markdown}");
    }
    if !has_latex("latex_compiles_and_fits_whatever_the_names_hold") {
        return;
    }
    let names = ["all", "one", "groups"].map(|name| name.to_owned());
    assert_eq!(compiled(&tables, &names), Vec::<String>::new());
}

#[test]
fn latex_of_the_options_of_table_compiles_and_fits() {
    if !has_latex("latex_of_the_options_of_table_compiles_and_fits") {
        return;
    }
    let place = run("");
    let mut names = Vec::new();
    for (at, args) in [
        &[][..],
        &["--wide", "--intervals"],
        &["--joint", "--intervals"],
        &["--metrics", "ndcg", "--digits", "15"],
    ]
    .iter()
    .enumerate()
    {
        let args = [&["table", "e.yaml", "--format", "latex"], *args].concat();
        place.write(&format!("t{at}.tex"), place.fine(&args));
        names.push(format!("t{at}"));
    }
    assert_eq!(compiled(place.dir.path(), &names), Vec::<String>::new());
}
