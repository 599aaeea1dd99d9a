//! An entity of Home Assistant that tells watts, by its REST interface.
//!
//! ```text
//! GET URL/api/states/ENTITY    {"state": "12.3", "attributes": {"unit_of_measurement": "W"}}
//! ```
//!
//! with a long-lived access token, which is taken from the environment variable `HASS_TOKEN` so that no list of processes shows it. Plain HTTP
//! only. How often the entity changes is up to the device behind it; between two changes the last value stands.

use core::time::Duration;

use serde_json::Value;

use super::http::Client;
use super::{Facts, Fault, Found, Kind, Method, Reading, Scope, Sensor, Site, watts};

pub(super) const KIND: Kind = Kind {
    name: "ha",
    arg: "URL,ENTITY",
    about: "entity of Home Assistant in watts, with the token in HASS_TOKEN",
    local: false,
    find,
};

/// Where the token is.
pub(super) const TOKEN: &str = "HASS_TOKEN";

#[derive(Debug)]
struct HomeAssistant {
    facts: Facts,
    client: Client,
    entity: String,
}

fn find(site: &Site, arg: Option<&str>) -> Result<Vec<Found>, Fault> {
    let expected = || {
        Fault::Usage(
            "expected ha=URL,ENTITY such as ha=http://192.168.1.5:8123,sensor.plug_power".into(),
        )
    };
    let (url, entity) = arg
        .and_then(|arg| arg.split_once(','))
        .ok_or_else(expected)?;
    if url.starts_with("https:") {
        return Err(Fault::Usage(format!(
            "ha={url}: wattle speaks plain http only; the address inside of your network usually has it"
        )));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    if !url.starts_with("http://") || entity.is_empty() || !entity.chars().all(plain) {
        return Err(expected());
    }
    let token = site
        .token
        .clone()
        .filter(|token| !token.is_empty() && token.chars().all(|c| c.is_ascii_graphic()));
    let Some(token) = token else {
        return Err(Fault::Usage(format!(
            "ha: the environment variable {TOKEN} has to hold a long-lived access token (Home Assistant: your profile, security)"
        )));
    };
    let mut sensor = HomeAssistant {
        facts: Facts {
            name: KIND.name,
            source: format!("Home Assistant {entity}"),
            scope: Scope::WallAc,
            method: Method::Integrated,
            resolution: None,
            period: Duration::from_secs(1),
            external: true,
        },
        client: Client::at(url.trim_end_matches('/').to_owned(), Some(token)),
        entity: entity.to_owned(),
    };
    sensor.read()?;
    Ok(vec![Found::ready(sensor)])
}

impl Sensor for HomeAssistant {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn read(&mut self) -> Result<Reading, Fault> {
        let answer = self.client.ask(&format!("/api/states/{}", self.entity))?;
        let source = &self.facts.source;
        match answer.status {
            200 => {}
            404 => return Err(Fault::Absent(format!("{source}: there is no such entity"))),
            status => return Err(Fault::Silent(format!("{source}: status {status}"))),
        }
        let state = answer
            .json
            .get("state")
            .and_then(Value::as_str)
            .unwrap_or("");
        let unit = answer.json.pointer("/attributes/unit_of_measurement");
        let unit = unit.and_then(Value::as_str).unwrap_or("");
        let scale = match unit {
            "W" => 1.0,
            "kW" => 1e3,
            "mW" => 1e-3,
            _ => {
                return Err(Fault::Usage(format!(
                    "{source}: expected an entity in W, kW or mW, found {unit:?}"
                )));
            }
        };
        if matches!(state, "unavailable" | "unknown") {
            return Err(Fault::Silent(format!("{source} is {state}")));
        }
        let number: Option<f64> = state.parse().ok();
        let number = number.ok_or_else(|| Fault::Nonsense(format!("{source}: state {state:?}")))?;
        watts(number * scale).map(Reading::from)
    }
}
