//! `assay serve`, with a plain HTTP client.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Stdio},
    time::Duration,
};

use crate::support::Place;

const SMALL: &str = "experiment: small
data: {set: sample, relevant: \">= 4\"}
split: {scheme: official, only: [f1, f2]}
systems:
  popularity: {model: popularity}
evaluate: {k: [5, 10]}
";

struct Server {
    process: Child,
    port: u16,
}

impl Server {
    fn start(place: &Place) -> Self {
        let mut command = place.command(&["serve", "--port", "0"]);
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().trim_end_matches('/').rsplit(':').next().unwrap();
        Self { port: port.parse().unwrap_or_else(|_| panic!("{line}")), process }
    }

    fn open(&self, method: &str, path: &str, host: &str) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    /// Status, and head and body.
    fn ask(&self, method: &str, path: &str, host: &str) -> (u16, String) {
        let mut bytes = Vec::new();
        self.open(method, path, host).read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let status = text.split_whitespace().nth(1).unwrap().parse().unwrap();
        (status, text)
    }

    fn get(&self, path: &str) -> (u16, String) {
        self.ask("GET", path, &format!("127.0.0.1:{}", self.port))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Every file below a directory, with its content.
fn content(place: &Place, dir: &str) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let (mut open, mut files) = (vec![place.path(dir)], Vec::new());
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            match entry.path().is_dir() {
                true => open.push(entry.path()),
                false => files.push((entry.path(), fs::read(entry.path()).unwrap())),
            }
        }
    }
    files.sort();
    files
}

#[test]
fn a_workspace_is_shown_and_not_changed() {
    let place = Place::new();
    place.write("small.yaml", SMALL);
    place.fine(&["run", "small.yaml", "--quiet"]);
    place.write("small.yaml", SMALL.replace("k: [5, 10]", "k: [5, 20]"));
    place.fine(&["run", "small.yaml", "--quiet"]);
    let before = content(&place, ".assay");
    let mut server = Server::start(&place);
    let (status, page) = server.get("/");
    assert_eq!(status, 200, "{page}");
    assert!(page.contains("small.yaml") && page.contains("complete"), "{page}");
    assert!(page.to_lowercase().contains("content-security-policy: default-src 'none'"), "{page}");
    // Runs, the newest first, as the form would send them.
    let mut runs: Vec<&str> = page
        .split("name=\"first\" value=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    assert_eq!(runs.len(), 2, "{page}");
    runs.reverse();
    let (status, diff) = server.get(&format!("/diff?first={}&second={}", runs[0], runs[1]));
    assert_eq!(status, 200, "{diff}");
    let by_command = place.fine(&["diff", runs[0], runs[1]]);
    assert!(by_command.contains("evaluate.k"), "{by_command}");
    for line in by_command.lines().filter(|line| line.contains("evaluate.k")) {
        let text = line.trim().replace('"', "&quot;");
        assert!(diff.contains(&text), "{text}: {diff}");
    }
    let n = by_command.lines().find(|line| line.contains("means differ")).unwrap();
    assert!(diff.contains(n), "{n}: {diff}");
    let (status, wrong) = server.get("/diff?first=x&second=<script>");
    assert_eq!(status, 400, "{wrong}");
    // The report, its files, and nothing else.
    let (status, report) = server.get("/report/small/index.html");
    assert!(status == 200 && report.contains("nDCG") && report.contains("Content-Security-Policy"));
    let place_of_report = place.path("reports/small/results.csv");
    let (status, csv) = server.get("/report/small/results.csv");
    assert!(status == 200 && csv.ends_with(&fs::read_to_string(place_of_report).unwrap()), "{csv}");
    for path in [
        "/report/small/../../small.yaml",
        "/report/small/%2e%2e/%2e%2e/small.yaml",
        "/report/small//etc/passwd",
        "/report/other/index.html",
        "/report/small/.assay-files",
        "/etc/passwd",
    ] {
        assert_eq!(server.get(path).0, 404, "{path}");
    }
    assert_eq!(content(&place, ".assay"), before, "the workspace is only read");
    // Ctrl-C.
    unsafe { libc::kill(server.process.id() as i32, libc::SIGINT) };
    assert_eq!(server.process.wait().unwrap().code(), Some(0));
}

#[test]
fn other_hosts_and_methods_are_refused() {
    let place = Place::new();
    fs::create_dir_all(place.path(".assay")).unwrap();
    let server = Server::start(&place);
    let port = server.port;
    assert_eq!(server.ask("GET", "/", &format!("localhost:{port}")).0, 200);
    for host in ["evil.example", &format!("evil.example:{port}"), "127.0.0.1", "", "localhost:1"] {
        let (status, text) = server.ask("GET", "/", host);
        assert!(status == 421 || status == 400, "{host}: {text}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        assert_eq!(server.ask(method, "/", &format!("localhost:{port}")).0, 405, "{method}");
    }
    let taken = place.assay(&["serve", "--port", &port.to_string()]);
    assert_eq!(taken.code, 2, "{}", taken.err);
    assert!(taken.err.contains("--port 0"), "{}", taken.err);
    let none = place.assay(&["serve", "--workspace", "none"]);
    assert_eq!(none.code, 2, "{}", none.err);
}

#[test]
fn a_page_that_is_open_hears_of_a_run() {
    let place = Place::new();
    place.write("small.yaml", SMALL);
    fs::create_dir_all(place.path(".assay")).unwrap();
    let server = Server::start(&place);
    let stream = server.open("GET", "/events", &format!("127.0.0.1:{}", server.port));
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    let first = lines.find(|line| line.contains("data: ")).unwrap();
    assert!(first.contains("\"experiments\":[]"), "{first}");
    place.fine(&["run", "small.yaml", "--quiet"]);
    // Whatever came in between, the end is heard.
    let last = lines.find(|line| line.contains("\"state\":\"complete\"")).unwrap();
    let state: serde_json::Value =
        serde_json::from_str(last.trim_start().strip_prefix("data: ").unwrap()).unwrap();
    let of = &state["experiments"][0];
    assert_eq!((&of["slot"], &of["done"]), (&"small".into(), &of["steps"]), "{state}");
}
