//! The boards for a reader at a terminal. What the kernel and the user's files say is printed as Rust escapes it.

use core::fmt::Write;

use wattle_boards::{Group, Profile, Profiles, Range, list_name};

use super::super::table::Side::{Left, Right};
use super::super::table::table;
use super::This;

/// All boards, one a line.
pub(super) fn list(profiles: &Profiles) -> String {
    let mut out = String::new();
    let head = [
        "id", "board", "chip", "big", "small", "GB/s", "isa", "power",
    ];
    let rows = profiles.iter().map(|profile| {
        let (all, big) = profile.cores();
        [
            plain(&profile.id),
            plain(&profile.name),
            plain(&profile.soc),
            big.to_string(),
            match all - big {
                0 => String::new(),
                small => small.to_string(),
            },
            profile
                .theoretical_gbps
                .map_or_else(String::new, |n| n.to_string()),
            profile.isa.clone().unwrap_or_default(),
            sensors(profile),
        ]
    });
    let sides = [Left, Left, Left, Right, Right, Right, Left, Left];
    // Writing to a string does not fail.
    let _written = table(&mut out, Some(head), rows, sides);
    out
}

/// All that is known of one board.
pub(super) fn profile(profile: &Profile) -> String {
    let mut out = format!("{}\n", plain(&profile.name));
    let _written = facts(profile, &mut out);
    out
}

/// This machine.
pub(super) fn this(this: &This) -> String {
    let mut out = format!("{}\n", plain(&this.board.name));
    let _written = machine(this, &mut out);
    out
}

fn machine(this: &This, out: &mut String) -> core::fmt::Result {
    if let Some(bytes) = this.machine.total_bytes {
        line(out, "memory", &format!("{:.1} GB", bytes as f64 / 1e9))?;
    }
    for group in &this.board.groups {
        line(out, "cores", &cores(group))?;
    }
    let (_, chosen) = this.cores();
    line(out, "decoding", &why(this, &chosen))?;
    match &this.board.profile {
        Some((profile, fit)) => {
            let own = if profile.own.is_some() {
                ", your own"
            } else {
                ""
            };
            writeln!(
                out,
                "\nA known board{own}, by {}: {}",
                fit.name(),
                plain(&profile.name)
            )?;
            facts(profile, out)
        }
        None => writeln!(
            out,
            "\nNot one of the boards that `wattle boards` lists; boards/README.md says how to add it."
        ),
    }
}

/// Which cores decode, and why these.
pub(crate) fn why(this: &This, chosen: &[usize]) -> String {
    let all: usize = this.board.groups.iter().map(|group| group.ids.len()).sum();
    let allowed = this.topology.cores().len();
    let threads = this.topology.threads();
    let mut reasons = Vec::new();
    if allowed < all {
        reasons.push(format!("this process may use {allowed} of {all} cores"));
    }
    if chosen.len() < allowed {
        reasons.push("the others have less than 70 % of the best one's capacity".to_owned());
    }
    if threads < chosen.len() {
        let few = this.topology.most_threads() < chosen.len();
        reasons.push(match few {
            true => "a control group grants no more time".to_owned(),
            false => "two threads of one core share its memory rate".to_owned(),
        });
    }
    let why = match reasons.is_empty() {
        true => "all cores are alike".to_owned(),
        false => reasons.join("; "),
    };
    let s = if threads == 1 { "" } else { "s" };
    format!("{threads} thread{s} on cores {} ({why})", list_name(chosen))
}

/// One group of cores of this machine.
pub(crate) fn cores(group: &Group) -> String {
    let ids = list_name(&group.ids);
    let name = group
        .core
        .as_deref()
        .map_or(String::new(), |name| format!(" {}", plain(name)));
    let clock = group.max_khz.map_or(String::new(), |khz| {
        format!(" at up to {:.2} GHz", khz as f64 / 1e6)
    });
    let big = if group.big { "" } else { ", small" };
    format!("{ids}:{name}{clock}{big}")
        .replace(": at", " at")
        .trim_end_matches(':')
        .to_owned()
}

fn facts(profile: &Profile, out: &mut String) -> core::fmt::Result {
    if !profile.also.is_empty() {
        line(out, "also", &plain(&profile.also.join(", ")))?;
    }
    line(out, "chip", &plain(&profile.soc))?;
    for cluster in &profile.clusters {
        let clock = cluster.max_mhz.map_or(String::new(), |mhz| {
            format!(" at up to {:.2} GHz", f64::from(mhz) / 1e3)
        });
        let small = if cluster.big { "" } else { ", small" };
        let text = format!("{} x {}{clock}{small}", cluster.count, plain(&cluster.core));
        line(out, "cores", &text)?;
    }
    if let Some(isa) = &profile.isa {
        line(out, "isa", isa)?;
    }
    if let Some(sizes) = &profile.ram_gb {
        let sizes: Vec<String> = sizes.iter().map(f64::to_string).collect();
        line(out, "memory", &format!("{} GB", sizes.join(", ")))?;
    }
    let theory = profile
        .theoretical_gbps
        .map(|n| Range { least: n, most: n });
    for (range, what) in [
        (theory, "GB/s by its width and rate"),
        (profile.copy_gbps, "GB/s copied by one thread"),
        (profile.read_gbps, "GB/s read by all cores"),
    ] {
        if let Some(range) = range {
            line(out, "memory", &format!("{range} {what}"))?;
        }
    }
    for (range, what) in [(profile.idle_w, "idle"), (profile.load_w, "under load")] {
        if let Some(range) = range {
            line(out, "power", &format!("{range} W {what}"))?;
        }
    }
    line(out, "sensors", &sensors(profile))?;
    let cpu = profile.target_cpu.as_deref();
    let cpu = cpu.map_or(String::new(), |cpu| format!(", target-cpu {}", plain(cpu)));
    line(out, "target", &format!("{}{cpu}", plain(&profile.target)))?;
    for note in &profile.notes {
        line(out, "note", &plain(note))?;
    }
    for source in &profile.sources {
        line(
            out,
            "source",
            &plain(&format!("{}: {}", source.of.join(", "), source.is)),
        )?;
    }
    if let Some(own) = &profile.own {
        line(out, "file", &plain(&own.display().to_string()))?;
    }
    Ok(())
}

fn sensors(profile: &Profile) -> String {
    match profile.sensors.as_deref() {
        None => "not known".into(),
        Some([]) => "none on board".into(),
        Some(sensors) => plain(&sensors.join(", ")),
    }
}

fn line(out: &mut String, key: &str, value: &str) -> core::fmt::Result {
    writeln!(out, "  {key:<9} {value}")
}

/// Text of a file without what steers a terminal.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}
