//! What a profile must hold beyond the shape of its keys.

use super::{Match, Profile, Range};

/// What is wrong: the key, and what was expected and found.
type Fault = (String, String);

/// The instruction sets that wattle has kernels for, on any architecture.
const ISAS: [&str; 8] = [
    "scalar",
    "sse41",
    "avx2",
    "avx_vnni",
    "avx512_vnni",
    "neon",
    "neon_dot",
    "neon_i8mm",
];

/// The first fault of `profile`.
pub(super) fn all(profile: &Profile) -> Result<(), Fault> {
    for (key, text) in [
        ("name", &profile.name),
        ("soc", &profile.soc),
        ("target", &profile.target),
    ] {
        expect(!text.trim().is_empty(), key, "a text", "an empty one")?;
    }
    if let Some(isa) = &profile.isa {
        let known = format!("one of {}", ISAS.join(", "));
        expect(
            ISAS.contains(&isa.as_str()),
            "isa",
            &known,
            &format!("{isa:?}"),
        )?;
    }
    numbers(profile)?;
    clusters(profile)?;
    matches(&profile.matches)?;
    sources(profile)
}

fn expect(holds: bool, key: &str, expected: &str, found: &str) -> Result<(), Fault> {
    match holds {
        true => Ok(()),
        false => Err((key.into(), format!("expected {expected}, found {found}"))),
    }
}

fn numbers(profile: &Profile) -> Result<(), Fault> {
    // NaN fails as well.
    let positive = |key: &str, n: f64| {
        let holds = n > 0.0 && n < 1e6;
        expect(
            holds,
            key,
            "a number above 0 and below 1000000",
            &n.to_string(),
        )
    };
    for &size in profile.ram_gb.iter().flatten() {
        positive("ram_gb", size)?;
    }
    if let Some(gbps) = profile.theoretical_gbps {
        positive("theoretical_gbps", gbps)?;
    }
    let ranges: [(&str, Option<Range>); 4] = [
        ("copy_gbps", profile.copy_gbps),
        ("read_gbps", profile.read_gbps),
        ("idle_w", profile.idle_w),
        ("load_w", profile.load_w),
    ];
    for (key, range) in ranges {
        let Some(Range { least, most }) = range else {
            continue;
        };
        positive(key, least)?;
        positive(key, most)?;
        let found = format!("[{least}, {most}]");
        expect(least <= most, key, "the least before the most", &found)?;
    }
    Ok(())
}

fn clusters(profile: &Profile) -> Result<(), Fault> {
    expect(
        !profile.clusters.is_empty(),
        "cluster",
        "at least one",
        "none",
    )?;
    for (i, cluster) in profile.clusters.iter().enumerate() {
        let key = |key: &str| format!("cluster {}: {key}", i + 1);
        let count = cluster.count;
        expect(
            !cluster.core.trim().is_empty(),
            &key("core"),
            "a text",
            "an empty one",
        )?;
        expect(
            (1..=1024).contains(&count),
            &key("count"),
            "1 to 1024",
            &count.to_string(),
        )?;
        if let Some(mhz) = cluster.max_mhz {
            let holds = (1..=20_000).contains(&mhz);
            expect(holds, &key("max_mhz"), "1 to 20000", &mhz.to_string())?;
        }
    }
    let any_big = profile.clusters.iter().any(|cluster| cluster.big);
    expect(any_big, "cluster: big", "a cluster that is", "none")
}

fn matches(matches: &Match) -> Result<(), Fault> {
    expect(
        *matches != Match::default(),
        "match",
        "at least one rule",
        "none",
    )?;
    let texts = matches
        .compatible
        .iter()
        .map(|text| ("match: compatible", text));
    let texts = texts.chain(matches.cpu.iter().map(|text| ("match: cpu", text)));
    let products = matches
        .dmi
        .iter()
        .map(|dmi| ("match: dmi: product", &dmi.product));
    // An empty text would be found in every name.
    for (key, text) in texts.chain(products) {
        expect(!text.trim().is_empty(), key, "a text", "an empty one")?;
    }
    Ok(())
}

/// Every fact has a source, and no source is of something else.
fn sources(profile: &Profile) -> Result<(), Fault> {
    let facts = [
        ("soc", true),
        ("target_cpu", profile.target_cpu.is_some()),
        ("isa", profile.isa.is_some()),
        ("ram_gb", profile.ram_gb.is_some()),
        ("theoretical_gbps", profile.theoretical_gbps.is_some()),
        ("copy_gbps", profile.copy_gbps.is_some()),
        ("read_gbps", profile.read_gbps.is_some()),
        ("idle_w", profile.idle_w.is_some()),
        ("load_w", profile.load_w.is_some()),
        ("sensors", profile.sensors.is_some()),
        ("notes", !profile.notes.is_empty()),
        ("cluster", true),
        ("match", true),
    ];
    for source in &profile.sources {
        expect(
            !source.is.trim().is_empty(),
            "source: is",
            "a text",
            "an empty one",
        )?;
        for of in &source.of {
            let given = facts.iter().any(|(fact, given)| fact == of && *given);
            expect(
                given,
                "source: of",
                "keys of facts in this file",
                &format!("{of:?}"),
            )?;
        }
    }
    for (fact, given) in facts {
        let mut all = profile.sources.iter().flat_map(|source| &source.of);
        let has_source = all.any(|of| of == fact);
        expect(
            !given || has_source,
            fact,
            "a source that has it in `of`",
            "none",
        )?;
    }
    Ok(())
}
