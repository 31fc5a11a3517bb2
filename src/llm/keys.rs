//! To which hosts API keys are sent, and which of them need the user's permission.
//!
//! An experiment file from someone else may name any environment variable and any host. Without permission, a variable
//! is sent only if its name is typical of an API key and the host is reached by https or is this machine. Everything
//! else needs `--allow-key NAME@HOST`. The permission is recorded for the user, outside of the experiment and its
//! workspace.

use std::{collections::BTreeSet, env, fmt, net::IpAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::endpoint::EndpointSpec;
use crate::base::files::{FileError, config_file, read_json, write_json};

/// An API key that is sent to a host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeyUse {
    /// The environment variable that contains it.
    pub name: String,
    /// With the port, if the URL has one.
    pub host: String,
    /// Whether it is sent over the network unencrypted.
    pub plain_http: bool,
}

/// Prefixes of names of variables that contain other secrets, although they may end like API keys.
const OTHERS: [&str; 9] =
    ["AWS_", "AZURE_CLIENT", "CARGO_", "DOCKER", "GH_", "GITHUB_", "GITLAB_", "NPM_", "SSH_"];
/// Parts of such names.
const SECRETS: [&str; 4] = ["SECRET", "PASSW", "PRIVATE", "ACCESS_KEY"];

impl KeyUse {
    /// The key of an endpoint, and its host; none if the endpoint has no key.
    pub fn of(endpoint: &EndpointSpec) -> Option<Self> {
        let name = endpoint.key_env.clone()?;
        let url = reqwest::Url::parse(&endpoint.base_url).ok()?;
        let host = url.host_str()?;
        let host = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let local = url.host_str().is_some_and(is_local);
        Some(Self { name, host, plain_http: url.scheme() == "http" && !local })
    }

    /// Why it needs permission, if it does.
    fn doubt(&self) -> Option<&'static str> {
        if self.plain_http {
            return Some("plain http is not encrypted");
        }
        let name = self.name.to_ascii_uppercase();
        let is_usual = ["_KEY", "_TOKEN"].iter().any(|end| name.ends_with(end));
        let is_other = OTHERS.iter().any(|of| name.starts_with(of))
            || SECRETS.iter().any(|of| name.contains(of));
        (!is_usual || is_other).then_some("its name is not that of an API key of a language model")
    }

    /// Checks that it may be sent.
    pub fn check(&self, allowed: &Allowed) -> Result<(), String> {
        match self.doubt() {
            Some(doubt) if !allowed.0.contains(self) => Err(format!(
                "the value of {} would be sent to host {} ({doubt})\n  = help: if you want this, allow it once with \
                 `--allow-key {}@{}`",
                self.name, self.host, self.name, self.host
            )),
            _ => Ok(()),
        }
    }

    /// The key; none if the variable is not set.
    pub fn read(&self) -> Result<Option<String>, String> {
        let Some(key) = env::var_os(&self.name) else { return Ok(None) };
        let wrong = |what: &str| {
            format!(
                "the key in {} {what}\n  = help: set the variable to the key only, without quotes and line breaks",
                self.name
            )
        };
        let key = key.into_string().map_err(|_| wrong("is not text"))?;
        let key = key.trim();
        if key.chars().any(char::is_control) {
            return Err(wrong("contains a line break or another control character"));
        }
        if !key.is_ascii() {
            return Err(wrong("contains characters that are not ASCII"));
        }
        Ok((!key.is_empty()).then(|| key.to_owned()))
    }
}

impl fmt::Display for KeyUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the value of {} is sent to host {}", self.name, self.host)?;
        if self.plain_http {
            f.write_str(" over plain http")?;
        }
        Ok(())
    }
}

fn is_local(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The keys that the user of this machine has allowed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Allowed(BTreeSet<KeyUse>);

impl Allowed {
    fn path() -> Option<PathBuf> {
        config_file("allowed-keys.json")
    }

    /// The keys allowed so far; none if the file cannot be read.
    pub fn read() -> Self {
        Self::path().and_then(|path| read_json(&path).ok()).unwrap_or_default()
    }

    /// Allows `NAME@HOST`, which must be among `uses`.
    pub fn allow(&mut self, text: &str, uses: &[KeyUse]) -> Result<(), String> {
        let mut is_one = false;
        for of in uses.iter().filter(|of| format!("{}@{}", of.name, of.host) == text) {
            is_one = true;
            self.0.insert(of.clone());
        }
        match is_one {
            true => Ok(()),
            false if uses.is_empty() => {
                Err(format!("--allow-key {text}: the experiment sends no key"))
            }
            false => {
                let all: Vec<String> =
                    uses.iter().map(|of| format!("{}@{}", of.name, of.host)).collect();
                Err(format!("--allow-key {text}: the experiment sends {}", all.join(", ")))
            }
        }
    }

    /// Records it for the user.
    pub fn write(&self) -> Result<(), FileError> {
        match Self::path() {
            Some(path) => write_json(&path, self),
            None => Err(FileError::Damaged {
                path: "allowed-keys.json".into(),
                problem: "there is no directory for it: set XDG_CONFIG_HOME or HOME".into(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, url: &str) -> KeyUse {
        KeyUse::of(&EndpointSpec {
            base_url: url.into(),
            key_env: Some(name.into()),
            ..EndpointSpec::default()
        })
        .unwrap()
    }

    #[test]
    fn keys_are_sent_by_https_or_to_this_machine_without_permission() {
        let nothing = Allowed::default();
        for (name, url) in [
            ("OPENAI_API_KEY", "https://api.openai.com/v1"),
            ("HF_TOKEN", "https://x.example:8443/v1"),
            ("A_KEY", "http://127.0.0.1:8080/v1"),
            ("A_KEY", "http://localhost/v1"),
            ("A_KEY", "http://[::1]:1/v1"),
        ] {
            assert_eq!(of(name, url).check(&nothing), Ok(()), "{name} {url}");
        }
        for (name, url) in [
            ("OPENAI_API_KEY", "http://api.openai.com/v1"),
            ("OPENAI_API_KEY", "http://127.0.0.1.evil.example/v1"),
            ("OPENAI_API_KEY", "http://10.0.0.1/v1"),
            ("HOME", "https://x.example/v1"),
            ("AWS_SECRET_ACCESS_KEY", "https://x.example/v1"),
            ("AWS_SECRET_ACCESS_KEY", "http://127.0.0.1:1/v1"),
            ("GITHUB_TOKEN", "https://x.example/v1"),
            ("DB_PASSWORD_KEY", "https://x.example/v1"),
        ] {
            let key = of(name, url);
            let refused = key.check(&nothing).unwrap_err();
            assert!(refused.contains(&format!("--allow-key {name}@{}", key.host)), "{refused}");
            let mut allowed = Allowed::default();
            allowed.allow(&format!("{name}@{}", key.host), std::slice::from_ref(&key)).unwrap();
            assert_eq!(key.check(&allowed), Ok(()));
        }
    }

    #[test]
    fn permission_for_https_is_no_permission_for_plain_http() {
        let (https, http) = (of("X", "https://x.example/v1"), of("X", "http://x.example/v1"));
        let mut allowed = Allowed::default();
        allowed.allow("X@x.example", std::slice::from_ref(&https)).unwrap();
        assert!(https.check(&allowed).is_ok() && http.check(&allowed).is_err());
        assert!(allowed.allow("X@y.example", &[https]).unwrap_err().contains("X@x.example"));
    }
}
