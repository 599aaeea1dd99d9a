//! Which well-known models with latent attention fit into this memory, and how fast they can decode at most.
//!
//! Sizes are those of llama.cpp's quantiser for each model's shape, in GB (10^9 bytes), and match the published files of
//! DeepSeek-V2-Lite within 1 %. What a token reads is given for `Q4_K_M`; of another type it has the same share of the file.
//! A model that is not a mixture reads its whole file. The rate is the roofline: the memory's measured rate over the bytes of a token.

use serde_json::{Value, json};

/// The types of the table, from the smallest.
const TYPES: [&str; 7] = [
    "Q2_K", "Q3_K_M", "IQ4_XS", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0",
];
/// The place of `Q4_K_M` in it.
const Q4_K_M: usize = 3;
/// Tokens of context that must fit beside the weights.
const CONTEXT: f64 = 4096.0;
/// What the program and its buffers take, in GB.
const BESIDE_GB: f64 = 0.4;
/// What the system needs for itself, in GB.
const SYSTEM_GB: f64 = 0.5;

/// One model.
struct Known {
    name: &'static str,
    /// All and active parameters, for people.
    parameters: &'static str,
    /// GB of the file, by [`TYPES`].
    gb: [f64; TYPES.len()],
    /// GB that decoding a token reads in `Q4_K_M`.
    token_gb: f64,
    /// Of the latent cache in f16, for each token of the context.
    cache_kib: f64,
}

const MODELS: [Known; 8] = [
    Known {
        name: "PLM-1.8B",
        parameters: "1.8 B",
        gb: [0.81, 0.99, 1.07, 1.18, 1.34, 1.50, 1.94],
        token_gb: 1.18,
        cache_kib: 36.0,
    },
    Known {
        name: "Youtu-LLM-2B",
        parameters: "2 B",
        gb: [0.82, 1.00, 1.12, 1.23, 1.41, 1.62, 2.08],
        token_gb: 1.23,
        cache_kib: 36.0,
    },
    Known {
        name: "MiniCPM3-4B",
        parameters: "4 B",
        gb: [1.54, 1.97, 2.23, 2.48, 2.90, 3.34, 4.33],
        token_gb: 2.48,
        cache_kib: 34.9,
    },
    Known {
        name: "GigaChat3-10B-A1.8B",
        parameters: "10 B, 1.8 B active",
        gb: [3.95, 5.10, 5.74, 6.48, 7.59, 8.78, 11.35],
        token_gb: 1.1,
        cache_kib: 29.2,
    },
    Known {
        name: "DeepSeek-V2-Lite",
        parameters: "16 B, 2.4 B active",
        gb: [6.43, 8.13, 8.57, 10.36, 11.85, 14.07, 16.70],
        token_gb: 1.7,
        cache_kib: 30.4,
    },
    Known {
        name: "Moonlight-16B-A3B",
        parameters: "16 B, 3 B active",
        gb: [6.56, 8.26, 8.74, 10.60, 12.09, 14.27, 16.97],
        token_gb: 1.7,
        cache_kib: 30.4,
    },
    Known {
        name: "GLM-4.7-Flash",
        parameters: "30 B, 3 B active",
        gb: [10.98, 14.28, 16.02, 18.17, 21.28, 24.60, 31.83],
        token_gb: 2.3,
        cache_kib: 52.9,
    },
    Known {
        name: "DeepSeek-V3, R1",
        parameters: "671 B, 37 B active",
        gb: [243.0, 318.0, 357.0, 406.0, 476.0, 551.0, 713.0],
        // 37 of 671 thousand million parameters.
        token_gb: 22.4,
        cache_kib: 68.6,
    },
];

/// A model on this machine.
#[derive(Debug)]
pub(super) struct Fitting {
    pub(super) name: &'static str,
    pub(super) parameters: &'static str,
    /// The largest type that fits; the smallest that there is, when none does.
    pub(super) ty: &'static str,
    pub(super) gb: f64,
    /// With a context of 4096 tokens and the buffers.
    pub(super) need_gb: f64,
    /// `None` when the memory is not known.
    pub(super) fits: Option<bool>,
    pub(super) token_gb: f64,
    pub(super) tok_s: Option<f64>,
}

impl Fitting {
    pub(super) fn json(&self) -> Value {
        json!({
            "name": self.name,
            "parameters": self.parameters,
            "type": self.ty,
            "weight_gb": self.gb,
            "need_gb": self.need_gb,
            "fits": self.fits,
            "read_gb_per_token": self.token_gb,
            "tok_s": self.tok_s,
        })
    }
}

/// All models on a machine with so many bytes of memory, which it reads at so many GB/s.
pub(super) fn fitting(total_bytes: Option<u64>, memory: Option<(f64, usize)>) -> Vec<Fitting> {
    let room_gb = total_bytes.map(|bytes| bytes as f64 / 1e9 - SYSTEM_GB);
    MODELS
        .iter()
        .map(|model| {
            let need =
                |i: usize| model.gb[i] + model.cache_kib * 1024.0 * CONTEXT / 1e9 + BESIDE_GB;
            let has_room = |i: usize| room_gb.is_none_or(|room| need(i) <= room);
            let largest = (0..TYPES.len()).rev().find(|&i| has_room(i));
            // Without a figure for the memory, the type that most people take.
            let i = match room_gb {
                Some(_) => largest.unwrap_or(0),
                None => Q4_K_M,
            };
            let token_gb = model.token_gb * model.gb[i] / model.gb[Q4_K_M];
            let fits = room_gb.map(|_| largest.is_some());
            Fitting {
                name: model.name,
                parameters: model.parameters,
                ty: TYPES[i],
                gb: model.gb[i],
                need_gb: need(i),
                fits,
                token_gb,
                tok_s: memory
                    .filter(|_| fits != Some(false))
                    .map(|(gbps, _)| gbps / token_gb),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(gb: u64, gbps: f64) -> Vec<Fitting> {
        fitting(Some(gb * 1_000_000_000), Some((gbps, 4)))
    }

    fn of<'a>(all: &'a [Fitting], name: &str) -> &'a Fitting {
        all.iter().find(|f| f.name == name).expect("a model")
    }

    #[test]
    fn a_board_of_16_gb_runs_v2_lite() {
        let all = on(16, 11.4);
        let lite = of(&all, "DeepSeek-V2-Lite");
        assert_eq!((lite.fits, lite.ty), (Some(true), "Q6_K"));
        // 1.7 GB a token in Q4_K_M, 10.36 GB in all, 14.07 GB in this type.
        let expected = 11.4 / (1.7 * 14.07 / 10.36);
        assert!((lite.tok_s.expect("a rate") - expected).abs() < 1e-9);
        let huge = of(&all, "DeepSeek-V3, R1");
        assert_eq!(
            (huge.fits, huge.ty, huge.tok_s),
            (Some(false), "Q2_K", None)
        );
    }

    #[test]
    fn smaller_boards_run_smaller_models() {
        let of_4 = on(4, 10.0);
        // 2.90 GB of weights, 0.15 of cache and 0.4 beside them, in 3.5 GB; Q6_K has 0.44 GB more.
        assert_eq!(of(&of_4, "MiniCPM3-4B").ty, "Q5_K_M");
        assert_eq!(of(&of_4, "DeepSeek-V2-Lite").fits, Some(false));
        assert!(on(1, 1.0).iter().all(|model| model.fits == Some(false)));
    }

    #[test]
    fn the_table_is_in_order() {
        for model in &MODELS {
            assert!(model.gb.is_sorted(), "{}", model.name);
            assert!(model.token_gb <= model.gb[Q4_K_M], "{}", model.name);
        }
        let unknown = fitting(None, None);
        assert!(
            unknown
                .iter()
                .all(|m| m.ty == "Q4_K_M" && m.fits.is_none() && m.tok_s.is_none())
        );
    }
}
