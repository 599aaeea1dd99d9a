//! A plug with the Tasmota firmware, by its HTTP interface in the local network.
//!
//! ```text
//! GET /cm?cmnd=Status%208     StatusSNS.ENERGY.Power: watts, or a list of them, one a channel
//! GET /cm?cmnd=Status%2010    the same, where the firmware is a newer one
//! ```
//!
//! Its total has steps of 3.6 kJ, so that power is integrated. Its own steps are usually 1 W; `PowerRes`, `WattRes` and the like of
//! the firmware make them finer.

use core::time::Duration;

use serde_json::Value;

use super::http::Client;
use super::{Facts, Fault, Found, Kind, Method, Reading, Scope, Sensor, Site, watts};

pub(super) const KIND: Kind = Kind {
    name: "tasmota",
    arg: "HOST[:PORT][,CHANNEL]",
    about: "plug with Tasmota in the network",
    local: false,
    find,
};

const PATHS: [&str; 2] = ["/cm?cmnd=Status%208", "/cm?cmnd=Status%2010"];

#[derive(Debug)]
struct Tasmota {
    facts: Facts,
    client: Client,
    path: &'static str,
    /// Counted from 1.
    channel: Option<usize>,
}

fn find(_: &Site, arg: Option<&str>) -> Result<Vec<Found>, Fault> {
    let Some(arg) = arg else {
        return Err(Fault::Usage(
            "tasmota: expected tasmota=HOST[:PORT][,CHANNEL]".into(),
        ));
    };
    let (host, channel) = match arg.split_once(',') {
        None => (arg, None),
        Some((host, channel)) => match channel.parse() {
            Ok(channel @ 1_usize..=32) => (host, Some(channel)),
            _ => {
                return Err(Fault::Usage(format!(
                    "tasmota={arg}: channels are counted from 1"
                )));
            }
        },
    };
    let mut sensor = Tasmota {
        facts: Facts {
            name: KIND.name,
            source: format!("Tasmota at {host}"),
            scope: Scope::WallAc,
            method: Method::Integrated,
            resolution: Some(1.0),
            period: Duration::from_secs(1),
            external: true,
        },
        client: Client::host(host)?,
        path: PATHS[0],
        channel,
    };
    let first = sensor.read();
    if matches!(first, Err(Fault::Absent(_))) {
        sensor.path = PATHS[1];
        sensor.read()?;
    } else {
        first?;
    }
    Ok(vec![Found::ready(sensor)])
}

impl Sensor for Tasmota {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn read(&mut self) -> Result<Reading, Fault> {
        let status = self.client.json(self.path)?;
        if let Some(warning) = status.get("WARNING").and_then(Value::as_str) {
            return Err(Fault::Denied {
                file: self.facts.source.clone(),
                fix: format!(
                    "wattle does not log in to plugs: switch its web password off (it says: {warning})"
                ),
            });
        }
        let Some(power) = status.pointer("/StatusSNS/ENERGY/Power") else {
            return Err(Fault::Absent(format!(
                "{}: it measures no power",
                self.facts.source
            )));
        };
        let all = match power {
            Value::Array(all) => all.as_slice(),
            one => core::slice::from_ref(one),
        };
        let one = match (all, self.channel) {
            ([one], None) => Some(one),
            (_, None) => {
                return Err(Fault::Usage(format!(
                    "{}: it has {} channels; say which one feeds this machine: tasmota=HOST,1",
                    self.facts.source,
                    all.len()
                )));
            }
            (_, Some(channel)) => all.get(channel - 1),
        };
        let w = one.and_then(Value::as_f64);
        let w =
            w.ok_or_else(|| Fault::Nonsense(format!("{}: Power is {power}", self.facts.source)))?;
        watts(w).map(Reading::from)
    }
}
