//! The tiny models of `tests/data`, and what they were taught to say.

use std::path::Path;

use serde_json::Value;

/// A text that both models continue.
pub(crate) const BREAD: &str = "The history of bread begins";

pub(crate) fn data(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    path.join(name).to_str().expect("a plain path").into()
}

pub(crate) fn gguf(model: &str) -> String {
    data(&format!("{model}.gguf"))
}

pub(crate) fn json(name: &str) -> Value {
    let text = std::fs::read_to_string(data(name)).expect("a fixture");
    serde_json::from_str(&text).expect("JSON")
}

/// What a model was taught to answer to the last of `said`, or after the text [`BREAD`].
pub(crate) fn answer(model: &str, said: &[&str]) -> String {
    let models = json("tiny.json");
    let found = models.as_array().expect("models").iter();
    let mut found = found.filter(|entry| entry["name"] == model);
    let asks = found.next().expect("the model")["asks"]
        .as_array()
        .expect("asks");
    let ask = asks.iter().find(|ask| {
        let messages = ask["messages"].as_array().expect("messages").iter();
        let users = messages.filter(|message| message["role"] != "assistant");
        users.map(|message| &message["content"]).eq(said.iter())
    });
    ask.expect("the question")["answer"]
        .as_str()
        .expect("text")
        .into()
}
