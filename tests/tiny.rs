//! Text in, text out: the tiny models of `tests/data`, which know a few lines by heart.
//!
//! `tests/data/hf/chat.py` trained them and wrote `tiny.json`: prompts, their token ids, and the greedy answers by Hugging Face
//! transformers. The best logit leads by 5 or more at every step, so the answers hold on every instruction set, with a cache of
//! f16, on any number of threads.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use wattle::chat::{ChatOptions, ChatTemplate, Message};
use wattle::gguf::Gguf;
use wattle::load::{LoadOptions, Model};
use wattle::model::{CacheType, Logits};
use wattle::tokenizer::{EncodeOptions, Tokenizer};
use wattle_kernels::Isa;

#[derive(Deserialize)]
struct Tiny {
    name: String,
    file: String,
    asks: Vec<Ask>,
}

#[derive(Deserialize)]
struct Ask {
    /// Whether the prompt is a chat, rendered by the template, or plain text.
    chat: bool,
    messages: Vec<Turn>,
    /// The prompt; of a chat, as the template renders it.
    text: String,
    tokens: Vec<u32>,
    answer: String,
    answer_tokens: Vec<u32>,
}

#[derive(Deserialize)]
struct Turn {
    role: String,
    content: String,
}

impl Ask {
    fn messages(&self) -> Vec<Message> {
        let turns = self.messages.iter();
        turns
            .map(|turn| Message::new(&turn.role, &turn.content))
            .collect()
    }
}

fn data(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(file)
}

fn models() -> Vec<Tiny> {
    let text = fs::read_to_string(data("tiny.json")).expect("it is in the repository");
    serde_json::from_str(&text).expect("chat.py writes valid JSON")
}

fn load(file: &str, isa: Isa, no_repack: bool) -> Model {
    let options = LoadOptions {
        threads: Some(1),
        isa: Some(isa.name().to_owned()),
        no_repack,
        ..LoadOptions::default()
    };
    Model::load_with(data(file), &options).expect("a tiny model loads")
}

/// The greedy answer to `prompt`, up to and without the end token.
fn answer(model: &Model, tokenizer: &Tokenizer, prompt: &[u32], limit: usize) -> Vec<u32> {
    let (transformer, pool) = (model.transformer(), model.pool());
    let mut state = transformer
        .state(prompt.len() + limit, CacheType::F16, prompt.len())
        .expect("a small state fits");
    let mut out = Vec::new();
    let mut next = prompt.to_vec();
    while out.len() < limit {
        let logits = transformer
            .forward(pool, &next, &mut state, Logits::Last)
            .expect("the tokens fit");
        let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
        let token = u32::try_from(best.expect("a vocabulary")).expect("a token id");
        if tokenizer.is_eog(token) {
            break;
        }
        out.push(token);
        next = vec![token];
    }
    out
}

#[test]
fn prompts_become_the_expected_tokens() {
    for tiny in models() {
        let gguf = Gguf::open(&data(&tiny.file)).expect("a sound file");
        let tokenizer = Tokenizer::from_gguf(gguf.metadata()).expect("it has a tokenizer");
        let template = ChatTemplate::from_gguf(gguf.metadata(), &tokenizer)
            .expect("it compiles")
            .expect("it is there");
        for ask in &tiny.asks {
            let tokens = if ask.chat {
                let options = ChatOptions::default();
                let text = template.render(&ask.messages(), &options).expect("renders");
                assert_eq!(text, ask.text, "{}", tiny.name);
                template
                    .encode(&tokenizer, &ask.messages(), &options)
                    .expect("renders")
            } else {
                let options = EncodeOptions {
                    add_special: true,
                    parse_special: false,
                };
                tokenizer.encode(&ask.text, &options)
            };
            assert_eq!(tokens, ask.tokens, "{}: {:?}", tiny.name, ask.text);
        }
    }
}

#[test]
fn answers_are_those_learned_by_heart() {
    for tiny in models() {
        for (isa, no_repack) in Isa::available().flat_map(|isa| [(isa, false), (isa, true)]) {
            let model = load(&tiny.file, isa, no_repack);
            let meta = model.gguf().metadata();
            let tokenizer = Tokenizer::from_gguf(meta).expect("it has a tokenizer");
            for ask in &tiny.asks {
                let tokens = answer(&model, &tokenizer, &ask.tokens, ask.answer_tokens.len() + 1);
                let text = tokenizer.decode(&tokens);
                let case = format!("{} on {}: {:?}", tiny.name, isa.name(), ask.text);
                assert_eq!(tokens, ask.answer_tokens, "{case}");
                assert_eq!(text, ask.answer, "{case}");
            }
        }
    }
}

#[test]
fn shards_are_the_model_in_one_file() {
    let whole = load("tiny-llama.gguf", Isa::best(), false);
    let split = load("tiny-llama-split-00001-of-00003.gguf", Isa::best(), false);
    let prompt = [1, 2, 3];
    let run = |model: &Model| {
        let transformer = model.transformer();
        let mut state = transformer.state(3, CacheType::F32, 3).expect("it fits");
        transformer
            .forward(model.pool(), &prompt, &mut state, Logits::All)
            .expect("the tokens fit")
            .to_vec()
    };
    assert_eq!(run(&whole), run(&split), "the same weights, bit for bit");
}
