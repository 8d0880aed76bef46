//! How much memory a record takes.

use super::event::Event;
use super::record::{Cause, Record};
use bytes::Bytes;

/// Returns how many bytes a record holds beside its fixed part: texts, event and object. Clients
/// choose most of them.
pub(super) fn size(record: &Record) -> usize {
    let object = record
        .object
        .as_ref()
        .map_or(0, |o| o.resource.len() + o.group.len() + o.namespace.len() + o.name.len());
    let request = record.request.as_ref().map_or(0, |r| {
        let who = r.id.len() + r.user.len() + r.impersonator.len() + r.user_agent.len();
        who + r.session.len() + r.command.len() + r.verb.len() + r.subresource.len()
    });
    let cause = match &record.cause {
        Some(Cause::Request(id)) => id.len(),
        _ => 0,
    };
    let body = record.body.as_ref().map_or(0, Bytes::len);
    record.node.len() + object + request + cause + event_size(&record.event) + body
}

/// Returns how many bytes an event holds. JSON values are counted as they lie in memory, all else
/// as the length of its JSON form.
fn event_size(event: &Event) -> usize {
    match event {
        Event::Admit(set) => json_size(set),
        Event::ReconcileQuota { used } => json_size(used),
        Event::Answer(answer) => {
            let texts = [&answer.verb, &answer.message, &answer.labels, &answer.fields, &answer.selector];
            texts.map(String::len).iter().sum::<usize>()
                + answer.output.as_ref().map_or(0, String::len)
                + answer.unseen.len()
                + answer.argv.iter().map(|word| size_of::<String>() + word.len()).sum::<usize>()
                + answer.tried.as_ref().map_or(0, json_size)
        }
        event => {
            let mut counter = Counter(0);
            let _ = serde_json::to_writer(&mut counter, event); // a counter refuses nothing
            counter.0
        }
    }
}

/// Counts the bytes that are written to it.
struct Counter(usize);

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Returns how many bytes a JSON value takes in memory, about.
fn json_size(value: &serde_json::Value) -> usize {
    use serde_json::Value;
    /// Of a value or a key, without its text.
    const EACH: usize = 32;
    EACH + match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(json_size).sum::<usize>(),
        Value::Object(fields) => fields.iter().map(|(key, v)| EACH + key.len() + json_size(v)).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}
