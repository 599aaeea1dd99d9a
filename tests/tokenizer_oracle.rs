//! Token ids against those of other implementations, for the real vocabularies.
//!
//! The fixtures in tests/data/tokenizer hold, for each tokenizer, the part of its vocabulary that the texts can reach and
//! the ids that `tokenizers` (DeepSeek-V3, Llama 3, Qwen 3, Llama 2) or llama.cpp (SmolLM2) gave with the whole vocabulary;
//! make.py there tells how they were made.

use serde_json::Value;
use wattle::gguf::{Gguf, Writer};
use wattle::tokenizer::{EncodeOptions, Tokenizer};

fn fixture(name: &str) -> Value {
    let path = format!(
        "{}/tests/data/tokenizer/{name}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(path).expect("fixture");
    serde_json::from_str(&text).expect("JSON")
}

fn strings<'a>(fixture: &'a Value, key: &str) -> Vec<&'a str> {
    let list = fixture[key].as_array().expect("a list");
    list.iter().map(|v| v.as_str().expect("a string")).collect()
}

fn ids(list: &Value) -> Vec<u32> {
    let list = list.as_array().expect("a list").iter();
    list.map(|v| u32::try_from(v.as_u64().expect("a number")).expect("small"))
        .collect()
}

/// A GGUF file with the tokenizer of `fixture` and nothing else.
fn tokenizer(fixture: &Value) -> Tokenizer {
    let mut w = Writer::new();
    w.key("general.architecture", "llama").expect("key");
    w.key(
        "tokenizer.ggml.model",
        fixture["model"].as_str().expect("model"),
    )
    .expect("key");
    if let Some(pre) = fixture["pre"].as_str() {
        w.key("tokenizer.ggml.pre", pre).expect("key");
    }
    w.array("tokenizer.ggml.tokens", &strings(fixture, "tokens"))
        .expect("key");
    w.array("tokenizer.ggml.merges", &strings(fixture, "merges"))
        .expect("key");
    let types: Vec<i32> = ids(&fixture["types"])
        .iter()
        .map(|&t| t.cast_signed())
        .collect();
    w.array("tokenizer.ggml.token_type", &types).expect("key");
    if let Some(scores) = fixture["scores"].as_array() {
        // As i32, which some converters write.
        let scores = scores.iter().map(|s| s.as_i64().expect("whole"));
        let scores: Vec<i32> = scores.map(|s| i32::try_from(s).expect("small")).collect();
        w.array("tokenizer.ggml.scores", &scores).expect("key");
    }
    let file = w
        .start(Vec::new())
        .and_then(|body| body.finish())
        .expect("a file");
    let gguf = Gguf::from_bytes("fixture.gguf".as_ref(), file).expect("well formed");
    Tokenizer::from_gguf(gguf.metadata()).expect("a tokenizer")
}

fn compare(name: &str, at_least: usize) {
    let fixture = fixture(name);
    let tokenizer = tokenizer(&fixture);
    let cases = fixture["cases"].as_array().expect("cases");
    assert!(
        cases.len() >= at_least,
        "{name}: only {} cases",
        cases.len()
    );
    for case in cases {
        let text = case["text"].as_str().expect("text");
        let options = EncodeOptions {
            add_special: false,
            parse_special: case["special"].as_bool().expect("bool"),
        };
        let found = tokenizer.encode(text, &options);
        let spelled = |ids: &[u32]| -> Vec<String> {
            let texts = ids
                .iter()
                .map(|&id| tokenizer.token_text(id).unwrap_or("?"));
            texts.map(str::to_owned).collect()
        };
        let expected = ids(&case["ids"]);
        assert_eq!(spelled(&found), spelled(&expected), "{name}: {text:?}");
        assert_eq!(found, expected, "{name}: {text:?}");
        let whole = tokenizer
            .notes()
            .iter()
            .all(|n| !n.contains("have no token"));
        if !options.parse_special && whole {
            // SPM spells a space U+2581, so it cannot tell the two apart.
            let spm = fixture["model"] == "llama";
            let back = if spm {
                text.replace('\u{2581}', " ")
            } else {
                text.to_owned()
            };
            assert_eq!(tokenizer.decode(&found), back, "{name}: there and back");
        }
    }
}

#[test]
fn deepseek_v3_is_that_of_tokenizers() {
    compare("deepseek-v3", 250);
}

#[test]
fn llama3_is_that_of_tokenizers() {
    compare("llama3", 250);
}

#[test]
fn qwen3_is_that_of_tokenizers() {
    compare("qwen3", 250);
}

#[test]
fn llama2_spm_is_that_of_tokenizers() {
    compare("llama2", 250);
}

#[test]
fn smollm2_is_that_of_llama_cpp() {
    compare("smollm2", 250);
}
