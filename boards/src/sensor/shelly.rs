//! Shelly plugs and meters, all generations, by their HTTP interface in the local network.
//!
//! ```text
//! GET /shelly                      no "gen": generation 1
//! 1   GET /status                  meters[0] or emeters[0]: power W, total watt-minutes (of emeters Wh), is_valid
//! 2+  GET /rpc/Switch.GetStatus?id=0   apower W, aenergy.total Wh;   metering parts PM1 the same
//!     GET /rpc/EM1.GetStatus?id=0      act_power W;                  three phases EM: total_act_power W
//! ```
//!
//! Power is integrated. `shelly=HOST,counter` takes the difference of the total instead, which misses nothing between two readings; its
//! steps are 3.6 J (60 J of generation 1), so that it is for long runs.

use core::time::Duration;

use serde_json::Value;

use super::counter::Counter;
use super::http::{Client, number};
use super::{Amount, Facts, Fault, Found, Kind, Method, Reading, Scope, Sensor, Site, watts};

pub(super) const KIND: Kind = Kind {
    name: "shelly",
    arg: "HOST[:PORT][,counter]",
    about: "Shelly plug or meter in the network, any generation",
    local: false,
    find,
};

/// Where a device keeps its numbers.
#[derive(Debug, Clone, Copy)]
struct Layout {
    path: &'static str,
    power: &'static str,
    step_w: f64,
    /// Its total, and joules of one of its units.
    total: Option<(&'static str, f64)>,
    /// Steps of the total in a unit.
    steps: f64,
    valid: Option<&'static str>,
}

const GEN1: &[Layout] = &[
    Layout {
        path: "/status",
        power: "/meters/0/power",
        step_w: 0.01,
        total: Some(("/meters/0/total", 60.0)),
        steps: 1.0,
        valid: Some("/meters/0/is_valid"),
    },
    Layout {
        path: "/status",
        power: "/emeters/0/power",
        step_w: 0.01,
        total: Some(("/emeters/0/total", 3600.0)),
        steps: 10.0,
        valid: Some("/emeters/0/is_valid"),
    },
];
const GEN2: &[Layout] = &[
    Layout {
        path: "/rpc/Switch.GetStatus?id=0",
        power: "/apower",
        step_w: 0.1,
        total: Some(("/aenergy/total", 3600.0)),
        steps: 1000.0,
        valid: None,
    },
    Layout {
        path: "/rpc/PM1.GetStatus?id=0",
        power: "/apower",
        step_w: 0.1,
        total: Some(("/aenergy/total", 3600.0)),
        steps: 1000.0,
        valid: None,
    },
    Layout {
        path: "/rpc/EM1.GetStatus?id=0",
        power: "/act_power",
        step_w: 0.1,
        total: None,
        steps: 1.0,
        valid: None,
    },
    Layout {
        path: "/rpc/EM.GetStatus?id=0",
        power: "/total_act_power",
        step_w: 0.1,
        total: None,
        steps: 1.0,
        valid: None,
    },
];

#[derive(Debug)]
struct Shelly {
    facts: Facts,
    client: Client,
    layout: Layout,
    counter: Option<Counter>,
}

fn find(_: &Site, arg: Option<&str>) -> Result<Vec<Found>, Fault> {
    let Some(arg) = arg else {
        return Err(Fault::Usage(
            "shelly: expected shelly=HOST[:PORT][,counter]".into(),
        ));
    };
    let (host, counts) = match arg.split_once(',') {
        None => (arg, false),
        Some((host, "counter")) => (host, true),
        Some((_, other)) => {
            return Err(Fault::Usage(format!(
                "shelly={arg}: expected ,counter after the host, found ,{other}"
            )));
        }
    };
    let client = Client::host(host)?;
    let about = client.json("/shelly")?;
    let generation = about.get("gen").and_then(Value::as_u64).unwrap_or(1);
    let layouts = if generation == 1 { GEN1 } else { GEN2 };
    let mut layout = None;
    for one in layouts {
        let answer = client.ask(one.path)?;
        if answer.status == 200 && number(&answer.json, one.power).is_some() {
            layout = Some(*one);
            break;
        }
    }
    let Some(layout) = layout else {
        return Err(Fault::Absent(format!(
            "{}: this Shelly measures no power",
            client.base()
        )));
    };
    let joules = layout.total.filter(|_| counts).map(|(_, joules)| joules);
    if counts && joules.is_none() {
        return Err(Fault::Usage(format!(
            "shelly={arg}: this device shows no total; leave ,counter out"
        )));
    }
    let facts = Facts {
        name: KIND.name,
        source: format!("Shelly generation {generation} at {host}"),
        scope: Scope::WallAc,
        method: match counts {
            true => Method::Counter,
            false => Method::Integrated,
        },
        resolution: Some(joules.map_or(layout.step_w, |joules| joules / layout.steps)),
        period: Duration::from_secs(1),
        external: true,
    };
    let mut sensor = Shelly {
        facts,
        client,
        layout,
        counter: joules.map(|_| Counter::new(None)),
    };
    sensor.read()?;
    Ok(vec![Found::ready(sensor)])
}

impl Sensor for Shelly {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn read(&mut self) -> Result<Reading, Fault> {
        let layout = self.layout;
        let status = self.client.json(layout.path)?;
        let valid = layout.valid.and_then(|valid| status.pointer(valid));
        if valid.and_then(Value::as_bool) == Some(false) {
            return Err(Fault::Nonsense(format!(
                "{} says that its reading is not valid",
                self.facts.source
            )));
        }
        let missing =
            |what: &str| Fault::Nonsense(format!("{}: no number at {what}", self.facts.source));
        let (Some(counter), Some((total, joules))) = (&mut self.counter, layout.total) else {
            let w = number(&status, layout.power).ok_or_else(|| missing(layout.power))?;
            return watts(w).map(Reading::from);
        };
        let units = number(&status, total).filter(|total| (0.0..1e12).contains(total));
        let steps = units.ok_or_else(|| missing(total))? * layout.steps;
        let steps = counter.advance(steps.round() as u64)?;
        Ok(Amount::Joules(steps as f64 * joules / layout.steps).into())
    }
}
