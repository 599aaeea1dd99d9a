//! `--plot`: speed and tokens per joule by depth, power and temperature over time.

use std::path::Path;
use std::time::Instant;

use wattle::meter::Record;
use wattle::meter::energy::{Energy, Meter};
use wattle::meter::plot::{Curve, Panel, svg};
use wattle::{Error, Result};
use wattle_boards::sensor::Method;

/// Writes the picture of `records`.
pub(super) fn write(path: &Path, records: &[Record], meter: Option<&Meter>) -> Result<()> {
    let picture = svg(&panels(records, meter));
    std::fs::write(path, picture).map_err(|source| Error::io(path, "write", source))
}

fn panels(records: &[Record], meter: Option<&Meter>) -> Vec<Panel> {
    let title = records.first().map_or("", |record| &record.model.kind);
    let by_depth = |y: &str, of: fn(&Record) -> Option<f64>| Panel {
        title: title.to_owned(),
        x: "tokens in the context before".into(),
        y: y.to_owned(),
        curves: curves(records, of),
    };
    let mut panels = vec![by_depth("tok/s", |record| {
        Some(record.samples.speed()?.median)
    })];
    let Some(meter) = meter else { return panels };
    let scope = meter.source().scope;
    panels.push(by_depth(&format!("tok/J, {scope}"), |record| {
        record.energy.as_ref().and_then(Energy::gross)
    }));
    let begin = meter.sampler().begin();
    panels.push(Panel {
        title: format!("power: {}", meter.source().name),
        x: "seconds".into(),
        y: format!("W, {scope}"),
        curves: vec![Curve {
            name: "power".into(),
            points: power(meter),
        }],
    });
    panels.push(Panel {
        title: "temperature".into(),
        x: "seconds".into(),
        y: "degrees Celsius, the hottest".into(),
        curves: vec![Curve {
            name: "temperature".into(),
            points: meter
                .watch()
                .temperatures()
                .iter()
                .map(|&(when, c)| (seconds(begin, when), c))
                .collect(),
        }],
    });
    panels
}

/// A curve for each kind of test of each setup: its points are the depths.
fn curves(records: &[Record], of: fn(&Record) -> Option<f64>) -> Vec<Curve> {
    let mut curves: Vec<Curve> = Vec::new();
    for record in records {
        let Some(y) = of(record) else { continue };
        let test = wattle::meter::record::Test {
            depth: 0,
            ..record.test
        };
        let name = format!("{test}, {} threads", record.setup.threads);
        let point = (record.test.depth as f64, y);
        match curves.iter_mut().find(|curve| curve.name == name) {
            Some(curve) => curve.points.push(point),
            None => curves.push(Curve {
                name,
                points: vec![point],
            }),
        }
    }
    for curve in &mut curves {
        curve.points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    curves
}

/// Watts over time; of a counter, between each two readings.
fn power(meter: &Meter) -> Vec<(f64, f64)> {
    let trace = meter.sampler().trace();
    let samples = trace.samples();
    match meter.source().method {
        Method::Integrated => samples
            .iter()
            .map(|sample| (sample.at_s, sample.value))
            .collect(),
        Method::Counter => samples
            .windows(2)
            .filter(|pair| !pair[1].broken)
            .map(|pair| {
                let (a, b) = (pair[0], pair[1]);
                (
                    f64::midpoint(a.at_s, b.at_s),
                    (b.value - a.value) / (b.at_s - a.at_s),
                )
            })
            .collect(),
    }
}

fn seconds(begin: Instant, when: Instant) -> f64 {
    when.saturating_duration_since(begin).as_secs_f64()
}
