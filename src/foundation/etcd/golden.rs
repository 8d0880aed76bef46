//! The scripts in `golden`: keys through time.
//!
//! `put K=V…` and `delete K…` are one revision, whatever they name. `get` shows all keys, `get K`
//! one of them, `rev=N` what they were then. `events rev=N` shows what a watch from N on gets,
//! and `compact N` forgets what came before N.

use super::api::{EventType, KeyValue, RangeRequest};
use super::mvcc::{Span, Store};
use ::golden::{Answer, Args, Command, Context, Runner, unknown};
use bytes::Bytes;
use std::fmt::Write;

#[test]
fn golden() {
    ::golden::run(env!("CARGO_MANIFEST_DIR"), Store::default);
}

impl Runner for Store {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Answer {
        let mut args = Args::of(command);
        let mut out = String::new();
        match command.name.as_str() {
            "put" => {
                let mut write = self.write();
                while let Some((key, value)) = args.pair() {
                    write.put(key.to_string().into(), value.to_string().into(), 0);
                }
                write.commit();
                writeln!(out, "revision {}", self.revision())?;
            }
            "delete" => {
                let mut write = self.write();
                while let Ok(key) = args.next::<String>("a key") {
                    write.delete_range(&Span::new(&key.into(), &Bytes::new()));
                }
                write.commit();
                writeln!(out, "revision {}", self.revision())?;
            }
            "get" => {
                let all = Bytes::from_static(b"\0");
                let (key, range_end) = match args.next::<String>("a key") {
                    Ok(key) => (key.into(), Bytes::new()),
                    Err(_) => (all.clone(), all),
                };
                let revision = args.key("rev")?.unwrap_or(0);
                let found = self.range(&RangeRequest { key, range_end, revision, ..Default::default() })?;
                found.kvs.iter().try_for_each(|kv| writeln!(out, "{}", shown(kv)))?;
            }
            "events" => {
                let from = args.key("rev")?.ok_or("rev= is missing")?;
                let (batches, _) = self.events_since(from, usize::MAX)?;
                for event in batches.iter().flat_map(|revision| revision.iter()) {
                    let key = String::from_utf8_lossy(&event.kv.key);
                    match event.kind {
                        EventType::Put => writeln!(out, "PUT {}", shown(&event.kv))?,
                        EventType::Delete => writeln!(out, "DELETE {key} ({})", event.kv.mod_revision)?,
                    }
                }
            }
            "compact" => self.compact(args.next("the revision")?)?,
            _ => return unknown(command),
        }
        args.end()?;
        Ok(out)
    }
}

fn shown(kv: &KeyValue) -> String {
    let (key, value) = (String::from_utf8_lossy(&kv.key), String::from_utf8_lossy(&kv.value));
    let (created, modified, version) = (kv.create_revision, kv.mod_revision, kv.version);
    format!("{key}={value} (created {created}, modified {modified}, version {version})")
}
