//! What `wattle perplexity` prints.

use std::io::Write;
use std::path::Path;

use serde::Serialize;
use wattle::meter::Phase;
use wattle::perplexity::{Chunks, Comparison, Estimate, Mean};
use wattle::tokenizer::Tokenizer;
use wattle::{Model, Result};

use super::super::written;

/// What was measured.
pub(super) struct Outcome {
    /// The negative log-probabilities of the scored tokens.
    pub(super) nll: Mean,
    pub(super) comparison: Option<Comparison>,
    /// Tokens that went through the model.
    pub(super) work: Phase,
}

/// A line for each number; one line when nothing was compared.
pub(super) fn lines(done: &Outcome, out: &mut dyn Write) -> Result<()> {
    let Some(found) = &done.comparison else {
        let perplexity = power(done.nll.estimate(), 4);
        return written(writeln!(out, "perplexity {perplexity}"));
    };
    let percent = |part: Estimate| Estimate {
        value: 100.0 * part.value,
        error: part.error.map(|error| 100.0 * error),
    };
    for (name, value) in [
        ("perplexity", power(done.nll.estimate(), 4)),
        ("base perplexity", format!("{}", found.base_perplexity)),
        ("ln(perplexity / base)", format!("{:.6}", found.ln_ratio)),
        ("perplexity / base", power(found.ln_ratio, 6)),
        ("mean KL", format!("{:.6}", found.kl)),
        ("median KL", format!("{:.6}", found.kl_median)),
        ("99 % KL", format!("{:.6}", found.kl_99)),
        ("99.9 % KL", format!("{:.6}", found.kl_99_9)),
        ("largest KL", format!("{:.6}", found.kl_max)),
        (
            "change in p, mean",
            format!("{:.3} %", percent(found.p_change)),
        ),
        (
            "change in p, RMS",
            format!("{:.3} %", percent(found.p_change_rms)),
        ),
        (
            "same top token",
            format!("{:.3} %", percent(found.same_top)),
        ),
    ] {
        written(writeln!(out, "{name:<22} {value}"))?;
    }
    Ok(())
}

/// `e` to a measured power, which is told itself when the result is beyond every number.
fn power(ln: Estimate, digits: usize) -> String {
    let value = ln.exp();
    match value.value.is_finite() {
        true => format!("{value:.digits$}"),
        false => format!("beyond 1e308: e^({ln})"),
    }
}

// An infinite number becomes `null`.
#[derive(Serialize)]
struct JsonOutcome {
    model: String,
    ppl: f64,
    ppl_error: Option<f64>,
    nll: f64,
    nll_error: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bits_per_byte: Option<f64>,
    context: usize,
    chunks: usize,
    scored_tokens: usize,
    tokens: usize,
    seconds: f64,
    tokens_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<JsonComparison>,
}

#[derive(Serialize)]
struct JsonComparison {
    file: String,
    ppl: f64,
    ppl_error: Option<f64>,
    ln_ppl_ratio: f64,
    ln_ppl_ratio_error: Option<f64>,
    ppl_ratio: f64,
    ppl_ratio_error: Option<f64>,
    kl: f64,
    kl_error: Option<f64>,
    kl_median: f64,
    kl_99: f64,
    kl_99_9: f64,
    kl_max: f64,
    p_change: f64,
    p_change_error: Option<f64>,
    p_change_rms: f64,
    p_change_rms_error: Option<f64>,
    same_top: f64,
    same_top_error: Option<f64>,
}

/// One JSON object; `base` is the file that was compared with.
pub(super) fn json(
    done: &Outcome,
    model: &Model,
    chunks: &Chunks<'_>,
    base: Option<&Path>,
    out: &mut dyn Write,
) -> Result<()> {
    let nll = done.nll.estimate();
    let ppl = nll.exp();
    let comparison = done.comparison.as_ref().zip(base);
    let base = comparison.map(|(found, path)| JsonComparison {
        file: path.display().to_string(),
        ppl: found.base_perplexity.value,
        ppl_error: found.base_perplexity.error,
        ln_ppl_ratio: found.ln_ratio.value,
        ln_ppl_ratio_error: found.ln_ratio.error,
        ppl_ratio: found.ratio.value,
        ppl_ratio_error: found.ratio.error,
        kl: found.kl.value,
        kl_error: found.kl.error,
        kl_median: found.kl_median,
        kl_99: found.kl_99,
        kl_99_9: found.kl_99_9,
        kl_max: found.kl_max,
        p_change: found.p_change.value,
        p_change_error: found.p_change.error,
        p_change_rms: found.p_change_rms.value,
        p_change_rms_error: found.p_change_rms.error,
        same_top: found.same_top.value,
        same_top_error: found.same_top.error,
    });
    let json = JsonOutcome {
        model: model.gguf().path().display().to_string(),
        ppl: ppl.value,
        ppl_error: ppl.error,
        nll: nll.value,
        nll_error: nll.error,
        bits_per_byte: bits_per_byte(model.tokenizer()?, chunks, done.nll.sum()),
        context: chunks.context(),
        chunks: chunks.count(),
        scored_tokens: done.nll.count(),
        tokens: done.work.tokens,
        seconds: done.work.time.as_secs_f64(),
        tokens_per_second: done.work.rate(),
        base,
    };
    written(serde_json::to_writer(&mut *out, &json).map_err(Into::into))?;
    written(writeln!(out))
}

/// Information in the scored tokens over the bytes that they spell; none when one of them spells nothing.
fn bits_per_byte(tokenizer: &Tokenizer, chunks: &Chunks<'_>, nll_sum: f64) -> Option<f64> {
    let mut bytes = 0;
    for &id in chunks.scored().flatten() {
        match tokenizer.token_bytes(id)?.len() {
            0 => return None,
            n => bytes += n,
        }
    }
    (bytes > 0).then(|| nll_sum / core::f64::consts::LN_2 / bytes as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A model so sure of something else that no number holds its perplexity.
    fn hopeless() -> Outcome {
        let mut nll = Mean::default();
        [800.0, 900.0].into_iter().for_each(|x| nll.add(x));
        Outcome {
            nll,
            comparison: None,
            work: Phase::default(),
        }
    }

    #[test]
    fn a_perplexity_beyond_all_numbers_is_said_to_be_so() {
        let mut out = Vec::new();
        lines(&hopeless(), &mut out).expect("in memory");
        let said = String::from_utf8(out).expect("text");
        let expected = "perplexity beyond 1e308: e^(850.0000 +/- 50.0000)\n";
        assert_eq!(said, expected);
    }

    #[test]
    fn json_then_has_the_logarithm() {
        let model = Model::load("tests/data/tiny-llama.gguf").expect("a tiny model");
        let tokens = [1; 8];
        let chunks = Chunks::new(&tokens, 8, None, None).expect("a chunk");
        let mut out = Vec::new();
        json(&hopeless(), &model, &chunks, None, &mut out).expect("in memory");
        let found: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        assert!(found["ppl"].is_null() && found["ppl_error"].is_null());
        assert_eq!(found["nll"], 850.0);
        assert_eq!(found["nll_error"], 50.0);
    }
}
