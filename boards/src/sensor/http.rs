//! One question over plain HTTP to a plug in the same network.
//!
//! There is no TLS here, as plugs have none, and no proxy: the plug stands beside the machine. An answer has two seconds and 64 KiB.

use core::time::Duration;

use serde_json::Value;
use ureq::Agent;

use super::Fault;

const TIMEOUT: Duration = Duration::from_secs(2);
const MOST_BYTES: u64 = 64 * 1024;

/// Asks one host.
#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
    /// `http://192.168.1.7:80`
    base: String,
    /// `Bearer` and a secret; never shown.
    authorization: Option<Secret>,
}

struct Secret(String);

impl core::fmt::Debug for Secret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Secret")
    }
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) json: Value,
}

impl Client {
    /// Asks `host`, a name or address with or without a port.
    pub(super) fn host(host: &str) -> Result<Self, Fault> {
        let plain =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
        if host.is_empty() || !host.chars().all(plain) {
            return Err(Fault::Usage(format!(
                "expected a host name or address, with :PORT where it is not 80; found {host:?}"
            )));
        }
        Ok(Self::at(format!("http://{host}"), None))
    }

    /// Asks what begins with `base`, with a token where one is given.
    pub(super) fn at(base: String, token: Option<String>) -> Self {
        let config = Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .user_agent("wattle");
        Self {
            agent: config.build().into(),
            base,
            authorization: token.map(|token| Secret(format!("Bearer {token}"))),
        }
    }

    /// The JSON at `path`.
    ///
    /// # Errors
    /// Unless the host answers in time with status 200 and JSON.
    pub(super) fn json(&self, path: &str) -> Result<Value, Fault> {
        let answer = self.ask(path)?;
        match answer.status {
            200 => Ok(answer.json),
            status => Err(Fault::Silent(format!(
                "{}{path}: status {status}",
                self.base
            ))),
        }
    }

    /// The same with any status but 401 and 403; `json` is null where there is none.
    pub(super) fn ask(&self, path: &str) -> Result<Answer, Fault> {
        let url = format!("{}{path}", self.base);
        let silent = |error: ureq::Error| Fault::Silent(format!("{url}: {error}"));
        let mut request = self.agent.get(&url);
        if let Some(Secret(authorization)) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        let mut response = request.call().map_err(silent)?;
        let status = response.status().as_u16();
        if status == 401 || status == 403 {
            let fix = match &self.authorization {
                Some(_) => "a token that it accepts, or an entity that the token may read".into(),
                None => format!(
                    "wattle does not log in to plugs: switch the password of {} off, or read it with a program of yours by --power-cmd",
                    self.base
                ),
            };
            return Err(Fault::Denied { file: url, fix });
        }
        let body = response
            .body_mut()
            .with_config()
            .limit(MOST_BYTES)
            .read_to_string();
        let body = body.map_err(silent)?;
        match (status, serde_json::from_str(&body)) {
            (_, Ok(json)) => Ok(Answer { status, json }),
            (200, Err(error)) => Err(Fault::Nonsense(format!("{url}: no JSON ({error})"))),
            (_, Err(_)) => Ok(Answer {
                status,
                json: Value::Null,
            }),
        }
    }

    /// What is asked, for people.
    pub(super) fn base(&self) -> &str {
        &self.base
    }
}

/// The number at `pointer`; a number in quotes counts too.
pub(super) fn number(json: &Value, pointer: &str) -> Option<f64> {
    match json.pointer(pointer)? {
        Value::String(text) => text.trim().parse().ok(),
        value => value.as_f64(),
    }
}
