//! The page of a report in a headless browser: what a reader does with it.

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde_json::Value;

use crate::{support::Place, webdriver::Browser};

const EXPERIMENT: &str = "experiment: page
describe: Three systems.
data: {set: sample, relevant: \">= 4\"}
split: {scheme: official, only: [f1, f2]}
seeds: [1, 2]
systems:
  popularity: {model: popularity}
  item-knn: {model: item-knn}
  als: {model: als, factors: {sweep: [4, 8]}, iterations: 3, alpha: 2, regularization: 5}
evaluate: {k: [5, 10], protocols: [full, judged], slices: [all, \"cold<20\"]}
";

fn report(place: &Place) -> PathBuf {
    place.write("e.yaml", EXPERIMENT);
    place.fine(&["run", "e.yaml", "--quiet"]);
    place.path("reports/page/index.html")
}

fn strings(value: &Value) -> Vec<String> {
    let of = value.as_array().unwrap_or_else(|| panic!("{value}")).iter();
    of.map(|of| of.as_str().unwrap_or_else(|| panic!("{value}")).to_owned()).collect()
}

/// The main table, k = 10.
const MAIN: &str = "#results-1 .cutoff[open] table";

/// The names and the numbers of a column of the main table, from top to bottom, of the rows that are shown.
fn column(browser: &Browser, title: &str) -> Vec<(String, String)> {
    let script = format!(
        "const table = document.querySelector('{MAIN}');
        const at = [...table.tHead.rows[0].cells].findIndex((of) => of.textContent.trim() === '{title}');
        return [...table.tBodies[0].rows].filter((row) => !row.hidden)
            .map((row) => row.querySelector('th').textContent + '\\n' + row.cells[at].firstChild.textContent.trim());"
    );
    let pair = |text: String| {
        let (name, value) = text.split_once('\n').unwrap();
        (name.to_owned(), value.to_owned())
    };
    strings(&browser.run(&script)).into_iter().map(pair).collect()
}

/// `system -> value` of the means of nDCG@10 in `results.csv`.
fn means(place: &Place) -> BTreeMap<String, f64> {
    let rows: Vec<Value> =
        serde_json::from_str(&place.fine(&["results", "e.yaml", "--json"])).unwrap();
    let is_shown = |row: &&Value| {
        row["fold"] == "mean"
            && row["protocol"] == "full"
            && row["slice"] == "all"
            && row["metric"] == "ndcg"
            && row["k"] == 10
    };
    let pair =
        |row: &Value| (row["system"].as_str().unwrap().to_owned(), row["value"].as_f64().unwrap());
    rows.iter().filter(is_shown).map(pair).collect()
}

#[test]
fn a_reader_sorts_filters_chooses_columns_and_sees_how_a_number_was_computed() {
    let Some(browser) = Browser::start("a_reader_sorts_filters_chooses_columns") else { return };
    let place = Place::new();
    let page = report(&place);
    browser.open(&page);
    let means = means(&place);
    let shown = column(&browser, "nDCG@10");
    assert_eq!(shown.len(), 4);
    for (name, text) in &shown {
        assert_eq!(*text, format!("{:.4}", means[name]), "{name}");
    }

    // Sorting: highest first, lowest first, as it was.
    let head = format!("{MAIN} th[data-metric=ndcg] .sort");
    let mut expected = shown.clone();
    expected.sort_by(|a, b| means[&b.0].total_cmp(&means[&a.0]));
    assert_ne!(expected, shown, "the test needs systems that are not in the order of their values");
    browser.click(&head);
    assert_eq!(column(&browser, "nDCG@10"), expected);
    let sorted = format!("return document.querySelector('{MAIN} th[data-metric=ndcg]').ariaSort");
    assert_eq!(browser.run(&sorted), "descending");
    browser.click(&head);
    expected.reverse();
    assert_eq!(column(&browser, "nDCG@10"), expected);
    browser.click(&head);
    assert_eq!(column(&browser, "nDCG@10"), shown);
    assert_eq!(browser.run(&sorted), Value::Null);

    // Filter.
    browser.keys("#filter", "ALS");
    let names: Vec<String> = column(&browser, "nDCG@10").into_iter().map(|of| of.0).collect();
    assert_eq!(names, ["als[factors=4]", "als[factors=8]"]);
    assert_eq!(browser.run("return document.getElementById('filtered').textContent"), "2 systems");
    browser.run("const of = document.getElementById('filter'); of.value = ''; of.dispatchEvent(new Event('input'));");
    assert_eq!(column(&browser, "nDCG@10").len(), 4);

    // Columns.
    let is_shown = |of: &str| {
        let script =
            format!("return document.querySelector('{MAIN} {of}').getClientRects().length > 0");
        browser.run(&script) == true
    };
    assert!(is_shown("th[data-metric=recall]") && is_shown(".sd") && is_shown(".ci"));
    browser.click(".chooser summary");
    for of in ["[data-column=recall]", "[data-part=sd]", "[data-part=ci]"] {
        browser.click(of);
    }
    assert!(!is_shown("th[data-metric=recall]") && !is_shown(".sd") && !is_shown(".ci"));
    assert!(is_shown("th[data-metric=ndcg]"));

    // From a number to how it was computed, by mouse and by keyboard.
    let cell = format!("{MAIN} tbody tr:nth-child(2) td:nth-of-type(3)");
    browser.click(&cell);
    let how = browser.run("return document.getElementById('how').innerText");
    let how = how.as_str().unwrap();
    let value = means["item-knn"];
    assert!(how.contains(&format!("item-knn: nDCG@10 = {value:.6}")), "{how}");
    assert!(how.contains("log2(n + 1)") && how.contains("users with a relevant item"), "{how}");
    let csv = place.fine(&["results", "e.yaml"]);
    for fold in ["f1", "f2"] {
        let start = format!("page,item-knn,{fold},1,full,standard,all,ndcg,10,");
        let line = csv.lines().find(|line| line.starts_with(&start)).unwrap();
        let of_fold: f64 = line[start.len()..].split(',').next().unwrap().parse().unwrap();
        assert!(how.contains(&format!("{fold} {of_fold:.4}")), "{how}");
    }
    // The histogram holds every user.
    let n = browser.run(
        "return [...document.querySelectorAll('#how svg text[text-anchor=middle]')].slice(0)
            .filter((of) => !of.textContent.includes('.')).reduce((sum, of) => sum + Number(of.textContent), 0)",
    );
    assert!(how.contains(&format!("of {n} users have 0")), "{n} {how}");
    browser.press("\u{e00c}");
    let is_open = || browser.run("return document.getElementById('how').open") == true;
    assert!(!is_open(), "Escape closes it");
    browser.run(&format!("document.querySelector('{MAIN} td[data-v][tabindex=\"0\"]').focus()"));
    browser.press("\u{e014}");
    browser.press("\u{e007}");
    assert!(is_open(), "the right arrow and Enter open the next number");
    let title = browser.run("return document.getElementById('how-title').textContent");
    assert!(title.as_str().unwrap().starts_with("popularity: "), "{title}");
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
fn every_link_leads_somewhere_themes_change_and_nothing_is_lost_on_paper() {
    let Some(browser) = Browser::start("every_link_leads_somewhere") else { return };
    let place = Place::new();
    let page = report(&place);
    browser.open(&page);

    // Contents and other links.
    let links = strings(
        &browser
            .run("return [...document.querySelectorAll('a')].map((of) => of.getAttribute('href'))"),
    );
    assert!(links.len() > 20, "{links:?}");
    for link in &links {
        match link.strip_prefix('#') {
            Some(id) => {
                let found =
                    browser.run(&format!("return document.querySelectorAll('#{id}').length"));
                assert_eq!(found, 1, "{link}");
            }
            None => assert!(page.with_file_name(link).exists(), "{link}"),
        }
    }
    browser.click("nav a[href='#provenance']");
    let top = "return document.getElementById('provenance').getBoundingClientRect().top";
    let top = browser.run(top).as_f64().unwrap();
    assert!((-5.0..900.0).contains(&top), "{top}");
    // A link into something closed opens it.
    browser.run("location.hash = '#results-2'");
    assert_eq!(browser.run("return document.getElementById('results-2').open"), true);

    // Names for those who do not see: captions, scopes, labels; ids are unique.
    let wrong = strings(&browser.run(
        "const all = (what) => [...document.querySelectorAll(what)];
        const ids = all('[id]').map((of) => of.id);
        return [
            ...all('table').filter((of) => !of.caption).map((of) => 'no caption: ' + of.textContent.slice(0, 60)),
            ...all('th:not([scope])').map((of) => 'no scope: ' + of.textContent),
            ...all('figure svg').filter((of) => !of.closest('[role=img][aria-label]')).map(() => 'no label of a figure'),
            ...all('input, select').filter((of) => of.labels.length === 0).map((of) => 'no label: ' + of.id),
            ...ids.filter((id, at) => ids.indexOf(id) !== at).map((id) => 'twice: ' + id),
        ];",
    ));
    assert_eq!(wrong, [""; 0]);

    // Themes.
    let back = || browser.run("return getComputedStyle(document.body).backgroundColor");
    browser.media("screen", "light");
    let light = back();
    browser.media("screen", "dark");
    let dark = back();
    assert_ne!(light, dark);
    let drawn = || {
        browser
            .run("return getComputedStyle(document.querySelector('figure svg text')).fill")
            .to_string()
    };
    let drawn_dark = drawn();
    browser.click("#theme");
    assert_eq!(back(), light, "light, whatever the system says");
    assert_ne!(drawn(), drawn_dark, "figures follow the theme");
    browser.click("#theme");
    browser.media("screen", "light");
    assert_eq!(back(), dark, "dark, whatever the system says");
    browser.open(&page);
    assert_eq!(back(), dark, "the choice is kept");
    browser.media("print", "dark");
    assert_eq!(back(), light, "paper is white");
    browser.media("screen", "light");

    // On a phone the first number of each table is on the screen, and the page does not scroll sideways.
    browser.size(390, 844);
    browser.open(&page);
    let width = browser.run("return document.documentElement.scrollWidth");
    assert!(width.as_u64().unwrap() <= 390, "{width}");
    let hidden = strings(&browser.run(
        "for (const of of document.querySelectorAll('details')) of.open = true;
        return [...document.querySelectorAll('main tbody tr')]
            .filter((row) => row.cells[1] && !row.cells[1].matches('.text') && row.cells[1].getBoundingClientRect().right > 390)
            .map((row) => row.textContent)",
    ));
    assert_eq!(hidden, [""; 0]);
    browser.size(1400, 1000);

    // Chromium repeats the head of a table on the next page only if it has no button element.
    assert_eq!(browser.run("return document.querySelectorAll('thead button').length"), 0);
    assert!(
        browser
            .run("return document.querySelectorAll('thead [role=button][tabindex]').length")
            .as_u64()
            .unwrap()
            > 5
    );

    // On paper what is closed is printed.
    browser.open(&page);
    browser.run("for (const of of document.querySelectorAll('details')) of.open = false;");
    browser.run("window.seen = 0; addEventListener('beforeprint', () => { window.seen = document.querySelectorAll('details:not([open])').length + 1; });");
    assert!(browser.print().len() > 20_000);
    assert_eq!(browser.run("return window.seen"), 1, "all are open when it is printed");
    assert!(
        browser.run("return document.querySelectorAll('details[open]').length").as_u64().unwrap()
            < 3
    );
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
fn comparisons_on_the_page_are_those_of_assay_compare() {
    let Some(browser) = Browser::start("comparisons_on_the_page_are_those_of_assay_compare") else {
        return;
    };
    let place = Place::new();
    let page = report(&place);
    browser.open(&page);
    let references = strings(&browser.run(
        "return [...document.getElementById('reference').options].map((of) => of.textContent)",
    ));
    assert_eq!(references.len(), 4);
    for (at, reference) in references.iter().enumerate() {
        browser.run(&format!(
            "const of = document.getElementById('reference'); of.value = '{at}'; of.dispatchEvent(new Event('change'))"
        ));
        let shown = browser.run(
            "const open = [...document.querySelectorAll('details.reference[open]')];
            return open.flatMap((of) => [...of.querySelectorAll('tbody tr')])
                .map((row) => [...row.cells].map((of) => of.textContent).join('|').replaceAll('−', '-'))",
        );
        let json = place.fine(&["compare", "e.yaml", "--reference", reference, "--json"]);
        let compared: Value = serde_json::from_str(&json).unwrap();
        let rows = compared["rows"].as_array().unwrap();
        let expected: Vec<String> = rows
            .iter()
            .map(|row| {
                let number = |name: &str| row[name].as_f64().unwrap();
                let p = number("p_corrected");
                let p_text = if p < 1e-4 { "< .0001".into() } else { format!("{p:.4}") };
                let verdict = match (p < 0.05, number("difference") > 0.0) {
                    (false, _) => "not distinguishable",
                    (true, true) => "better",
                    (true, false) => "worse",
                };
                format!(
                    "{}|{:+.4}|[{:+.4}, {:+.4}]|{p_text}|{verdict}|{:.4}|{:.4}|{}/{}/{}|{}",
                    row["system"].as_str().unwrap(),
                    number("difference"),
                    number("low"),
                    number("high"),
                    number("value"),
                    number("reference_value"),
                    row["better"],
                    row["equal"],
                    row["worse"],
                    row["users"]
                )
            })
            .collect();
        assert_eq!(strings(&shown), expected, "{reference}");
    }
    // The summary names the best, as `assay compare` takes it for the reference.
    let summary = browser.run("return document.getElementById('summary').innerText").to_string();
    assert!(summary.contains(&format!("Best by nDCG@10: {} with", references[0])), "{summary}");
    // Swept systems that differ in one value are a contrast.
    let ablations =
        browser.run("return document.getElementById('ablations').innerText").to_string();
    assert!(ablations.contains("factors") && ablations.contains("als[factors=8]"), "{ablations}");
    assert_eq!(browser.console(), [""; 0]);
}

/// Names, titles and texts of others are shown as they are: markup, scripts, controls, text from right to left.
#[test]
fn what_others_wrote_is_text_on_the_page() {
    let Some(browser) = Browser::start("what_others_wrote_is_text_on_the_page") else { return };
    let place = Place::new();
    const NAMES: [&str; 4] = [
        "<img src=x onerror=document.title='broken'>",
        "</script><script>document.title='broken'</script>",
        "نظام التوصية",
        "{{ 7 * 7 }} & \"quotes\" 'single' <!--",
    ];
    let titles = [
        "<script>document.title='broken'</script>",
        "turned \u{202e}around",
        "escape \u{1b}[2J",
        "סרט",
    ];
    let mut items = String::from("item,title,genres\n");
    let mut ratings = String::from("user,item,rating\n");
    for item in 0..24 {
        items += &format!("{item},\"{} {item}\",Drama\n", titles[item % titles.len()]);
    }
    for user in 0..40 {
        for step in 0..12 {
            let item = (user * 7 + step * 5) % 24;
            ratings += &format!("{user},{item},{}\n", 3 + (user + item) % 3);
        }
    }
    place.write("data/items.csv", items);
    place.write("data/ratings.csv", ratings);
    let quoted = |name: &str| serde_json::to_string(name).unwrap();
    place.write(
        "e.yaml",
        format!(
            "experiment: hostile
describe: {}
data:
  folder: data
  reader: table
  ratings: ratings.csv
  columns: {{user: user, item: item, rating: rating}}
  items: {{file: items.csv, item: item, title: title, genres: genres}}
  relevant: \">= 4\"
split: {{scheme: kfold, folds: 2, seed: 1, by: rating}}
profiles:
  template: {{from: template}}
systems:
  {}: {{model: popularity}}
  {}: {{model: random}}
  {}: {{model: item-knn}}
  {}: {{model: random}}
  re: {{model: rerank, of: {}, text: {{profiles: template}}, pool: 5, strategy: prompt, judge: popularity, explain: {{top: 2}}}}
evaluate: {{k: [2, 5]}}
",
            quoted("<b onclick=document.title='broken'>bold</b>"),
            quoted(NAMES[0]),
            quoted(NAMES[1]),
            quoted(NAMES[2]),
            quoted(NAMES[3]),
            quoted(NAMES[0]),
        ),
    );
    place.fine(&["run", "e.yaml", "--quiet"]);
    let page = place.path("reports/hostile/index.html");
    browser.open(&page);
    assert_eq!(browser.run("return document.title"), "hostile – assay");
    assert_eq!(
        browser.run("return document.querySelectorAll('img, b, script:not([type])').length"),
        1
    );
    let names = strings(&browser.run(
        "return [...document.querySelectorAll('#results-1 .cutoff[open] tbody th')].map((of) => of.textContent)",
    ));
    assert_eq!(names[..4], NAMES);
    let lead = browser.run("return document.querySelector('.lead').textContent");
    assert_eq!(lead, "<b onclick=document.title='broken'>bold</b>");
    // The window that says how a number was computed, and sorted and filtered tables, show names as text, too.
    for row in 1..=4 {
        browser.click(&format!("#results-1 .cutoff[open] tbody tr:nth-child({row}) td[data-v]"));
        let title = browser.run("return document.getElementById('how-title').textContent");
        assert!(title.as_str().unwrap().starts_with(NAMES[row - 1]), "{title}");
        browser.press("\u{e00c}");
    }
    let texts =
        browser.run("return document.getElementById('explanations').textContent").to_string();
    assert!(texts.contains("document.title='broken'") || texts.contains("around"), "{texts}");
    let all = fs::read_to_string(&page).unwrap();
    for control in ['\u{202e}', '\u{1b}'] {
        assert!(!all.contains(control), "{control:?}");
    }
    assert_eq!(browser.run("return document.title"), "hostile – assay");
    assert_eq!(browser.console(), [""; 0]);
}

/// Letters of the reader's font may be wider than those that figures are planned with.
#[test]
fn no_text_of_a_figure_is_outside_of_it() {
    let Some(browser) = Browser::start("no_text_of_a_figure_is_outside_of_it") else { return };
    let place = Place::new();
    let long = "a system whose name is longer than its place";
    let arms = format!("audit: {{contrasts: [{{factor: [model], arms: [popularity, {long}]}}]}}\n");
    place.write("e.yaml", EXPERIMENT.replace("item-knn: {", &format!("{long}: {{")) + &arms);
    place.fine(&["run", "e.yaml", "--quiet"]);
    browser.open(&place.path("reports/page/index.html"));
    let script = "const open = [...document.querySelectorAll('details')];
        open.forEach((of) => { of.open = true; });
        const texts = [...document.querySelectorAll('svg text')];
        const out = texts.filter((text) => {
            const [own, all] = [text, text.ownerSVGElement].map((of) => of.getBoundingClientRect());
            return own.left < all.left - 1 || own.right > all.right + 1;
        });
        return [String(texts.length > 20), ...out.map((text) => text.textContent.trim())];";
    assert_eq!(strings(&browser.run(script)), ["true"]);
}
