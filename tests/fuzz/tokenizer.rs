//! No metadata make the tokenizer or the chat template panic or hang, and no text is lost or becomes a control token.
//!
//! The bytes are a GGUF file, then a text: the last 64 bytes. Run it as gguf.rs, with `tokenizer` in its place.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wattle::chat::{ChatOptions, ChatTemplate, Message};
use wattle::gguf::Gguf;
use wattle::tokenizer::{EncodeOptions, TokenKind, Tokenizer};

fuzz_target!(|bytes: &[u8]| {
    let (file, text) = bytes.split_at(bytes.len().saturating_sub(64));
    let Ok(model) = Gguf::head_from_bytes("fuzz.gguf".as_ref(), file) else {
        return;
    };
    let Ok(tokenizer) = Tokenizer::from_gguf(model.metadata()) else {
        return;
    };
    let text = String::from_utf8_lossy(text);
    for parse_special in [false, true] {
        let options = EncodeOptions {
            add_special: false,
            parse_special,
        };
        let ids = tokenizer.encode(&text, &options);
        for &id in &ids {
            assert!((id as usize) < tokenizer.len(), "{id} is no token");
            let control = tokenizer.kind(id) == TokenKind::Control;
            assert!(parse_special || !control, "{text:?} became a control token");
        }
        let mut stream = tokenizer.stream();
        let mut streamed: String = ids.iter().map(|&id| stream.push(id)).collect();
        streamed += &stream.finish();
        assert!(streamed.ends_with(&tokenizer.decode(&ids)));
    }
    if let Ok(Some(template)) = ChatTemplate::from_gguf(model.metadata(), &tokenizer) {
        let messages = [Message::user(text)];
        let _ids = template.encode(&tokenizer, &messages, &ChatOptions::default());
    }
});
