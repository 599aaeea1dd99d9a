//! What the user should know or do, most important first.

use wattle_boards::{Fit, Host, Profile};

use super::Findings;

/// A memory that is read at less than this share of what the board does elsewhere is worth a word.
const SLOW: f64 = 0.6;

/// All advice.
pub(super) fn all(found: &Findings) -> Vec<String> {
    let mut advice = Vec::new();
    for tier in &found.tiers {
        let wrong = tier.wrong().count();
        if wrong > 0 {
            advice.push(format!(
                "{wrong} kernels of {} compute wrong: this CPU, its memory or this build is faulty; WATTLE_ISA=scalar is the safest",
                tier.name
            ));
        }
    }
    if let Host::Virtual(_) | Host::Emulated(_) = found.host {
        advice.push("Speeds and powers are not those of a machine of its own.".into());
    }
    if let Some((profile, _)) = &found.this.board.profile {
        of_profile(found, profile, &mut advice);
    }
    state(found, &mut advice);
    if found.pages.huge.as_deref() == Some("never") {
        advice.push(
            "Huge pages are off, which costs up to a tenth of the speed; to turn them on: echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled".into(),
        );
    }
    if found.sensors.is_empty() {
        advice.push(
            "No power sensor was found: a plug or a meter can be read, see `wattle bench --help`, --power".into(),
        );
    }
    advice
}

fn of_profile(found: &Findings, profile: &Profile, advice: &mut Vec<String>) {
    // A CPU whose name is another than that of the profile may lack what the profile says.
    let sure = !matches!(found.this.board.profile, Some((_, Fit::CpuId)));
    let best = found.tiers.iter().rev().find(|tier| tier.checks.is_some());
    if let (Some(expected), Some(best), true) = (&profile.isa, best, sure)
        && expected != best.name
    {
        advice.push(format!(
            "The CPU has {}, and this board usually {expected}.",
            best.name
        ));
    }
    let usual = profile.read_gbps.map(|range| range.least);
    if let (Some(usual), Some((gbps, _))) = (usual, found.memory)
        && gbps < usual * SLOW
    {
        advice.push(format!(
            "Memory is read at {gbps:.1} GB/s, and elsewhere this board reached {usual}: is something else running, or a clock capped?"
        ));
    }
}

fn state(found: &Findings, advice: &mut Vec<String>) {
    let throttling = &found.state.throttling;
    if let Some(flags) = throttling.firmware {
        let now: Vec<_> = flags.names_now().collect();
        let ever: Vec<_> = flags.names_ever().collect();
        if !now.is_empty() {
            advice.push(format!(
                "The firmware holds the board down now: {}.",
                now.join(", ")
            ));
        } else if !ever.is_empty() {
            advice.push(format!(
                "Since the start the firmware has seen: {}.",
                ever.join(", ")
            ));
        }
    }
    if throttling.under_voltage == Some(true) {
        advice.push(
            "The supply's voltage is too low: use the board's own supply and a short cable.".into(),
        );
    }
    for device in throttling.cooling.iter().filter(|device| device.slows()) {
        advice.push(format!(
            "The cores are slowed down for heat ({}, {} of {}): a fan or a heat sink helps.",
            device.kind, device.level, device.most
        ));
    }
    for temperature in &found.state.temperatures {
        if let Some(limit_c) = temperature.limit_c
            && temperature.temp_c + 5.0 > limit_c
        {
            advice.push(format!(
                "{} is at {:.0} degrees, and the cores are slowed down from {limit_c:.0} on.",
                temperature.name, temperature.temp_c
            ));
        }
    }
    for (cores, clock) in super::text::governors(&found.state) {
        if clock.governor.as_deref() == Some("powersave") && clock.cap_khz != clock.most_khz {
            advice.push(format!(
                "Cores {cores} are capped below their highest clock by the governor powersave."
            ));
        }
    }
}
