//! The findings for a reader at a terminal.

use core::fmt::Write;

use wattle_boards::{Clock, Host, State, list_name};

use super::super::boards::text::{cores, plain, why};
use super::super::table::Side::{Left, Right};
use super::super::table::table;
use super::{Findings, advice, models};

/// The whole report.
pub(super) fn render(found: &Findings) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _written = sections(found, &mut out);
    out
}

fn sections(found: &Findings, out: &mut String) -> core::fmt::Result {
    writeln!(out, "{}", plain(&found.this.board.name))?;
    if let Some((profile, fit)) = &found.this.board.profile {
        writeln!(
            out,
            "  known as {} ({}, by {})",
            profile.id,
            plain(&profile.name),
            fit.name()
        )?;
    }
    if let Some(host) = host(&found.host) {
        writeln!(out, "  {host}")?;
    }
    kernels(found, out)?;
    writeln!(out, "\nCores")?;
    for group in &found.this.board.groups {
        writeln!(out, "  {}", cores(group))?;
    }
    let (_, chosen) = found.this.cores();
    writeln!(out, "  decoding: {}", why(&found.this, &chosen))?;
    for (cores, clock) in governors(&found.state) {
        let governor = clock.governor.as_deref().unwrap_or("none");
        let cap = match (clock.cap_khz, clock.most_khz) {
            (Some(cap), Some(most)) if cap < most => {
                format!(", capped at {:.2} of {:.2} GHz", ghz(cap), ghz(most))
            }
            _ => String::new(),
        };
        writeln!(out, "  governor of {cores}: {}{cap}", plain(governor))?;
    }
    memory(found, out)?;
    state(found, out)?;
    sensors(found, out)?;
    fitting(found, out)?;
    let advice = advice::all(found);
    if !advice.is_empty() {
        writeln!(out, "\nTo know")?;
        for sentence in advice {
            writeln!(out, "  {}", plain(&sentence))?;
        }
    }
    Ok(())
}

fn kernels(found: &Findings, out: &mut String) -> core::fmt::Result {
    writeln!(out, "\nInstruction sets")?;
    for tier in &found.tiers {
        let used = if tier.name == found.used.name() {
            ", in use"
        } else {
            ""
        };
        match &tier.checks {
            None => writeln!(out, "  {:12} not on this CPU", tier.name)?,
            Some(checks) => {
                let right = checks.len() - tier.wrong().count();
                writeln!(
                    out,
                    "  {:12} {right} of {} kernels right{used}",
                    tier.name,
                    checks.len()
                )?;
            }
        }
        for check in tier.wrong() {
            writeln!(
                out,
                "    WRONG: {} {}: {:.1} times the error that rounding allows",
                check.kernel, check.layout, check.worst
            )?;
        }
    }
    Ok(())
}

fn memory(found: &Findings, out: &mut String) -> core::fmt::Result {
    let machine = &found.this.machine;
    let gb =
        |bytes: Option<u64>| bytes.map_or("?".into(), |bytes| format!("{:.1}", bytes as f64 / 1e9));
    writeln!(out, "\nMemory and storage")?;
    writeln!(
        out,
        "  {} GB, {} GB of them free",
        gb(machine.total_bytes),
        gb(machine.available_bytes)
    )?;
    let huge = match (&found.pages.huge, found.pages.huge_bytes) {
        (Some(mode), Some(bytes)) => format!("huge ones of {} MiB: {}", bytes >> 20, plain(mode)),
        _ => "no huge ones".into(),
    };
    writeln!(out, "  pages of {} KiB, {huge}", found.pages.bytes >> 10)?;
    let profile = found
        .this
        .board
        .profile
        .as_ref()
        .map(|(profile, _)| profile);
    if let Some((gbps, threads)) = found.memory {
        let s = if threads == 1 { "" } else { "s" };
        let theory = profile.and_then(|profile| profile.theoretical_gbps);
        let of = theory.map_or(String::new(), |theory| {
            format!(
                ", {:.0} % of the {theory} that its width and rate allow",
                gbps / theory * 100.0
            )
        });
        writeln!(
            out,
            "  memory is read at {gbps:.1} GB/s by {threads} thread{s}{of}"
        )?;
    }
    match &found.storage {
        None => {}
        Some((file, Ok(read))) => {
            let cache = if read.direct {
                ""
            } else {
                "; this file system cannot be read past the page cache, which may have had a part in that"
            };
            writeln!(
                out,
                "  {}: read at {:.2} GB/s ({} MB){cache}",
                plain(&file.display().to_string()),
                read.gbps(),
                read.bytes / 1_000_000
            )?;
        }
        Some((_, Err(fault))) => writeln!(out, "  storage was not measured: {}", plain(fault))?,
    }
    Ok(())
}

fn state(found: &Findings, out: &mut String) -> core::fmt::Result {
    let throttling = &found.state.throttling;
    let told = throttling.firmware.is_some()
        || throttling.hot_events.is_some()
        || !throttling.cooling.is_empty();
    writeln!(out, "\nState")?;
    writeln!(
        out,
        "  throttled: {}",
        match (throttling.is_active(), told) {
            (true, _) => "yes",
            (false, true) => "no",
            (false, false) => "not told by this kernel",
        }
    )?;
    if let Some(hottest_c) = found.state.hottest_c() {
        writeln!(out, "  hottest: {hottest_c:.0} degrees Celsius")?;
    }
    Ok(())
}

fn sensors(found: &Findings, out: &mut String) -> core::fmt::Result {
    writeln!(out, "\nPower sensors")?;
    if found.sensors.is_empty() {
        return writeln!(out, "  none");
    }
    for sensor in &found.sensors {
        let facts = &sensor.facts;
        let access = match &sensor.access {
            Ok(_) => "can be read".to_owned(),
            Err(fault) => plain(&fault.to_string()),
        };
        writeln!(
            out,
            "  {} ({}, {}): {access}",
            facts.name,
            plain(&facts.source),
            facts.scope.name()
        )?;
    }
    Ok(())
}

fn fitting(found: &Findings, out: &mut String) -> core::fmt::Result {
    writeln!(
        out,
        "\nModels with latent attention, in the largest type that fits, with 4096 tokens"
    )?;
    let head = ["model", "parameters", "type", "GB", "tok/s at most"];
    let models = models::fitting(found.this.machine.total_bytes, found.memory);
    let rows = models.iter().map(|model| {
        let fits = model.fits != Some(false);
        [
            model.name.to_owned(),
            model.parameters.to_owned(),
            if fits { model.ty } else { "-" }.to_owned(),
            format!("{:.1}", model.need_gb),
            match (fits, model.tok_s) {
                (false, _) => "does not fit".into(),
                (true, Some(tok_s)) => format!("{tok_s:.1}"),
                (true, None) => "not measured".into(),
            },
        ]
    });
    table(out, Some(head), rows, [Left, Left, Left, Right, Right])
}

/// Why speed or power are not those of a machine of its own.
pub(super) fn host(host: &Host) -> Option<String> {
    match host {
        Host::Bare => None,
        Host::Virtual(what) => Some(format!("a virtual machine ({})", plain(what))),
        Host::Emulated(what) => Some(format!("emulated by {}", plain(what))),
    }
}

/// Cores whose clocks are ruled alike, with the clock of the first of them.
pub(super) fn governors(state: &State) -> Vec<(String, &Clock)> {
    let mut alike: Vec<(Vec<usize>, &Clock)> = Vec::new();
    for clock in &state.clocks {
        let same = alike.iter_mut().find(|(_, first)| {
            first.governor == clock.governor
                && first.cap_khz == clock.cap_khz
                && first.most_khz == clock.most_khz
        });
        match same {
            Some((cores, _)) => cores.push(clock.core),
            None => alike.push((vec![clock.core], clock)),
        }
    }
    let named = alike
        .into_iter()
        .map(|(cores, clock)| (list_name(&cores), clock));
    named.collect()
}

fn ghz(khz: u64) -> f64 {
    khz as f64 / 1e6
}
