//! Commands about texts and numbers.

use super::super::resp::integer;
use super::super::store::{Fault, Growth, Text, Value};
use super::{Call, NO_INTEGER, SYNTAX, keys};

/// As Redis' `proto-max-bulk-len` does it, here for values that grow.
const TEXT_MAX: usize = super::super::resp::BULK_MAX;

/// What may stand behind `SET KEY VALUE`.
#[derive(Default)]
struct Options {
    /// `NX`, and `XX`.
    only_new: bool,
    only_known: bool,
    keeps_time: bool,
    returns_old: bool,
    expires: Option<i64>,
}

/// Reads the options of `SET`. As Redis does it, numbers are looked at once all words are known to
/// be options, and of one option that stands twice the last number counts.
fn options(call: &Call) -> Result<Options, Fault> {
    let mut options = Options::default();
    let mut time: Option<(String, usize)> = None;
    let mut at = 3;
    while at < call.words.len() {
        let word = String::from_utf8_lossy(call.word(at)).to_ascii_uppercase();
        match word.as_str() {
            "NX" if !options.only_known => options.only_new = true,
            "XX" if !options.only_new => options.only_known = true,
            "GET" => options.returns_old = true,
            "KEEPTTL" if time.is_none() => options.keeps_time = true,
            "EX" | "PX" | "EXAT" | "PXAT"
                if !options.keeps_time
                    && time.as_ref().is_none_or(|(known, _)| *known == word)
                    && at + 1 < call.words.len() =>
            {
                at += 1;
                time = Some((word, at));
            }
            _ => return Err(SYNTAX),
        }
        at += 1;
    }
    if let Some((word, at)) = time {
        let unit = if word.starts_with('E') { 1000 } else { 1 };
        let from = if word.ends_with("AT") { 0 } else { call.now };
        options.expires = Some(deadline(call.number(at)?, unit, from, "set")?);
    }
    Ok(options)
}

/// Returns when a key expires that is to live for `amount` units from `from` on.
fn deadline(amount: i64, unit: i64, from: i64, command: &str) -> Result<i64, Fault> {
    let at = Some(amount).filter(|n| *n > 0).and_then(|n| n.checked_mul(unit)?.checked_add(from.max(0)));
    at.ok_or_else(|| format!("ERR invalid expire time in '{command}' command").into())
}

fn store(call: &mut Call, key: &[u8], value: Vec<u8>, expires: Option<i64>) {
    match expires.map(|at| at.to_string()) {
        Some(at) => call.record_as(&[b"SET", key, &value, b"PXAT", at.as_bytes()]),
        None => call.record_as(&[b"SET", key, &value]),
    }
    call.db.put(key, Value::Text(value), expires);
}

pub(super) fn set(call: &mut Call) -> Result<(), Fault> {
    let options = options(call)?;
    let (key, value) = (call.key(), call.take(2));
    let known = call.db.get(&key).map(|entry| entry.expires);
    let refused = (options.only_new && known.is_some()) || (options.only_known && known.is_none());
    if options.returns_old {
        let old = call.db.view::<Text>(&key)?;
        call.out.bulk_or_nil(old.map(Vec::as_slice));
    } else if refused {
        call.out.bulk_or_nil(None);
    } else {
        call.out.ok();
    }
    if !refused {
        let expires = if options.keeps_time { known.flatten() } else { options.expires };
        store(call, &key, value, expires);
    }
    Ok(())
}

pub(super) fn setnx(call: &mut Call) -> Result<(), Fault> {
    let key = call.key();
    let is_new = call.db.get(&key).is_none();
    if is_new {
        call.record();
        let value = call.take(2);
        call.db.put(&key, Value::Text(value), None);
    }
    call.out.integer(is_new.into());
    Ok(())
}

fn set_for(call: &mut Call, unit: i64, name: &str) -> Result<(), Fault> {
    let expires = deadline(call.number(2)?, unit, call.now, name)?;
    let (key, value) = (call.key(), call.take(3));
    store(call, &key, value, Some(expires));
    call.out.ok();
    Ok(())
}

pub(super) fn setex(call: &mut Call) -> Result<(), Fault> {
    set_for(call, 1000, "setex")
}

pub(super) fn psetex(call: &mut Call) -> Result<(), Fault> {
    set_for(call, 1, "psetex")
}

pub(super) fn get(call: &mut Call) -> Result<(), Fault> {
    let value = call.db.view::<Text>(call.words[1].as_slice())?;
    call.out.bulk_or_nil(value.map(Vec::as_slice));
    Ok(())
}

pub(super) fn getset(call: &mut Call) -> Result<(), Fault> {
    get(call)?;
    let (key, value) = (call.key(), call.take(2));
    store(call, &key, value, None);
    Ok(())
}

pub(super) fn getdel(call: &mut Call) -> Result<(), Fault> {
    get(call)?;
    let key = call.key();
    keys::remove(call, &key);
    Ok(())
}

pub(super) fn mset(call: &mut Call) -> Result<(), Fault> {
    if call.words.len().is_multiple_of(2) {
        return Err(call.wrong_arity());
    }
    call.record();
    for at in (1..call.words.len()).step_by(2) {
        let (key, value) = (call.take(at), call.take(at + 1));
        call.db.put(&key, Value::Text(value), None);
    }
    call.out.ok();
    Ok(())
}

pub(super) fn mget(call: &mut Call) -> Result<(), Fault> {
    call.out.array(call.words.len() - 1);
    for key in &call.words[1..] {
        // A value of another kind is no error here.
        let value = call.db.view::<Text>(key).ok().flatten();
        call.out.bulk_or_nil(value.map(Vec::as_slice));
    }
    Ok(())
}

fn add(call: &mut Call, by: i64) -> Result<(), Fault> {
    let sum = call.db.edit(&call.words[1], |text: &mut Text, growth: &mut Growth| {
        // A key that was not there counts as 0.
        let is_empty = text.is_empty() && growth.is_new();
        let number = if is_empty { 0 } else { integer(text).ok_or(NO_INTEGER)? };
        let sum = number.checked_add(by).ok_or("ERR increment or decrement would overflow")?;
        growth.remove(text.len());
        *text = sum.to_string().into_bytes();
        growth.add(text.len());
        Ok(sum)
    })?;
    call.record();
    call.out.integer(sum);
    Ok(())
}

pub(super) fn incr(call: &mut Call) -> Result<(), Fault> {
    add(call, 1)
}

pub(super) fn decr(call: &mut Call) -> Result<(), Fault> {
    add(call, -1)
}

pub(super) fn incrby(call: &mut Call) -> Result<(), Fault> {
    let by = call.number(2)?;
    add(call, by)
}

pub(super) fn decrby(call: &mut Call) -> Result<(), Fault> {
    let by = call.number(2)?.checked_neg().ok_or("ERR decrement would overflow")?;
    add(call, by)
}

pub(super) fn append(call: &mut Call) -> Result<(), Fault> {
    let more = call.word(2).to_vec();
    let length = call.db.edit(&call.words[1], |text: &mut Text, growth: &mut Growth| {
        if text.len() + more.len() > TEXT_MAX {
            return Err("ERR string exceeds maximum allowed size (proto-max-bulk-len)".into());
        }
        growth.add(more.len());
        text.extend_from_slice(&more);
        Ok(text.len())
    })?;
    call.record();
    call.out.count(length);
    Ok(())
}

pub(super) fn strlen(call: &mut Call) -> Result<(), Fault> {
    let length = call.db.view::<Text>(call.word(1))?.map_or(0, Vec::len);
    call.out.count(length);
    Ok(())
}
