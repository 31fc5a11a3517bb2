//! A headless browser, driven through chromedriver by the W3C WebDriver protocol: JSON over HTTP.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::say;

/// A browser with one window.
pub struct Browser {
    driver: Child,
    /// `http://127.0.0.1:PORT/session/ID`
    session: String,
    agent: ureq::Agent,
}

/// A program of the search path.
fn program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let all = names.iter().flat_map(|name| dirs.iter().map(move |dir| dir.join(name)));
    all.into_iter().find(|path| path.is_file())
}

impl Browser {
    /// None where there is no browser, which is said; a failure where one must be there (`ASSAY_REQUIRE_BROWSER=1`).
    pub fn start(test: &str) -> Option<Self> {
        let driver = program(&["chromedriver"]);
        let chromium = program(&["chromium", "chromium-browser", "google-chrome"]);
        let Some((driver, chromium)) = driver.zip(chromium) else {
            let required = std::env::var_os("ASSAY_REQUIRE_BROWSER");
            assert!(
                required.is_none_or(|of| of.is_empty() || of == "0"),
                "{test} must run here (ASSAY_REQUIRE_BROWSER), and chromium or chromedriver is missing"
            );
            say(&format!(
                "not run: {test} (chromium or chromedriver is missing: `make browser` installs them)"
            ));
            return None;
        };
        let mut driver = Command::new(driver)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts");
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.map_while(Result::ok).find_map(|line| {
            let (_, rest) = line.split_once("successfully on port ")?;
            Some(rest.trim_end_matches('.').to_owned())
        });
        let port = port.expect("chromedriver says on which port it listens");
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(300)));
        let mut browser = Self {
            driver,
            session: format!("http://127.0.0.1:{port}/session"),
            agent: config.build().into(),
        };
        // As root, in a container: its own sandbox does not start there.
        let arguments =
            ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"];
        let options = json!({"binary": chromium, "args": arguments});
        let wanted =
            json!({"goog:loggingPrefs": {"browser": "ALL"}, "goog:chromeOptions": options});
        let made = browser.post("", json!({"capabilities": {"alwaysMatch": wanted}}));
        browser.session += &format!("/{}", made["sessionId"].as_str().unwrap());
        browser.size(1400, 1000);
        Some(browser)
    }

    fn post(&self, path: &str, body: Value) -> Value {
        let url = format!("{}{path}", self.session);
        let sent = self.agent.post(&url).header("content-type", "application/json");
        let mut reply =
            sent.send(body.to_string()).unwrap_or_else(|error| panic!("{url}: {error}"));
        let status = reply.status();
        let text = reply.body_mut().with_config().limit(1 << 28).read_to_string().unwrap();
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
        assert!(status.is_success(), "{path} {body}: {}", value["value"]["message"]);
        value["value"].clone()
    }

    fn cdp(&self, command: &str, params: Value) -> Value {
        self.post("/goog/cdp/execute", json!({"cmd": command, "params": params}))
    }

    /// Opens a file.
    pub fn open(&self, path: &Path) {
        self.post("/url", json!({"url": format!("file://{}", path.display())}));
    }

    /// The value of a JavaScript function's body.
    pub fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", json!({"script": script, "args": []}))
    }

    /// Clicks the first element of a CSS selector, as a user does: it must be visible.
    pub fn click(&self, selector: &str) {
        let element = self.find(selector);
        self.post(&format!("/element/{element}/click"), json!({}));
    }

    /// Types into an element; `\u{e007}` is Enter, `\u{e014}` the right arrow.
    pub fn keys(&self, selector: &str, text: &str) {
        let element = self.find(selector);
        self.post(&format!("/element/{element}/value"), json!({"text": text}));
    }

    /// Presses a key where the focus is.
    pub fn press(&self, key: &str) {
        let actions =
            [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})];
        self.post(
            "/actions",
            json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]}),
        );
    }

    fn find(&self, selector: &str) -> String {
        let found = self.post("/element", json!({"using": "css selector", "value": selector}));
        let id = found.as_object().and_then(|of| of.values().next()).and_then(Value::as_str);
        id.unwrap_or_else(|| panic!("{selector}")).to_owned()
    }

    /// The size of the window's content.
    pub fn size(&self, width: usize, height: usize) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500});
        self.cdp("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// `light` or `dark`, and `screen` or `print`.
    pub fn media(&self, media: &str, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.cdp("Emulation.setEmulatedMedia", json!({"media": media, "features": features}));
    }

    /// The page as PDF, encoded.
    pub fn print(&self) -> String {
        self.cdp("Page.printToPDF", json!({"printBackground": true}))["data"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// What the console has said since it was asked last.
    pub fn console(&self) -> Vec<String> {
        let log = self.post("/se/log", json!({"type": "browser"}));
        log.as_array().unwrap().iter().map(|line| line["message"].to_string()).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends the browser, too.
        let _ = self.agent.delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
