//! Commands about keys, whatever their values are.

use super::super::resp::parse_integer;
use super::super::store::Fault;
use super::{Call, NO_INTEGER, SYNTAX};

/// Letters of a pattern; each is compared with each letter of each key.
const PATTERN_MAX: usize = 256;
/// Keys that one `SCAN` looks at, at most.
const SCAN_MAX: usize = 10_000;

/// Removes a key and records that. False if it is not there.
pub(super) fn remove(call: &mut Call, key: &[u8]) -> bool {
    let is_known = call.db.remove(key).is_some();
    if is_known {
        call.record_as(&[b"DEL", key]);
    }
    is_known
}

pub(super) fn del(call: &mut Call) -> Result<(), Fault> {
    let words = call.words.split_off(1);
    let count = words.iter().filter(|key| remove(call, key)).count();
    call.out.count(count);
    Ok(())
}

pub(super) fn exists(call: &mut Call) -> Result<(), Fault> {
    let count = call.words[1..].iter().filter(|key| call.db.get(key).is_some()).count();
    call.out.count(count);
    Ok(())
}

pub(super) fn kind(call: &mut Call) -> Result<(), Fault> {
    let kind = call.db.get(call.argument(1)).map_or("none", |entry| entry.value.kind());
    call.out.status(kind);
    Ok(())
}

pub(super) fn dbsize(call: &mut Call) -> Result<(), Fault> {
    call.out.count(call.db.len());
    Ok(())
}

pub(super) fn flush(call: &mut Call) -> Result<(), Fault> {
    let known = call.words.len() == 1
        || (call.words.len() == 2 && (call.is_word(1, "SYNC") || call.is_word(1, "ASYNC")));
    if !known {
        return Err(SYNTAX);
    }
    call.db.clear();
    call.record();
    call.out.ok();
    Ok(())
}

/// Returns whether a text matches a pattern. `*` is any text, `?` any byte, `[a-c]` and `[^a]` are
/// sets, `\` takes the next byte as it is. After a failure only the last `*` takes one byte more,
/// so no pattern takes longer than the product of the lengths.
fn matches_pattern(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        let taken = match pattern.get(p) {
            Some(b'*') => {
                p += 1;
                star = Some((p, t));
                continue;
            }
            Some(_) => match_byte(&pattern[p..], text[t]),
            None => None,
        };
        match (taken, star) {
            (Some(length), _) => (p, t) = (p + length, t + 1),
            (None, Some((after, from))) => {
                (p, t) = (after, from + 1);
                star = Some((after, from + 1));
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Returns how many bytes of the pattern fit this one byte; `None` if they do not.
fn match_byte(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [b'[', set @ ..] => {
            let (set, is_negative) = match set {
                [b'^', rest @ ..] => (rest, true),
                set => (set, false),
            };
            let (is_in, length) = in_set(set, byte);
            (is_in != is_negative).then_some(1 + usize::from(is_negative) + length)
        }
        [literal, ..] => (*literal == byte).then_some(1),
        [] => None,
    }
}

/// Returns whether the byte is in a set, and the set's length with its `]`; without one it goes to
/// the end.
fn in_set(set: &[u8], byte: u8) -> (bool, usize) {
    let (mut at, mut is_in) = (0, false);
    loop {
        match &set[at..] {
            [] => return (is_in, at),
            [b']', ..] => return (is_in, at + 1),
            [b'\\', escaped, ..] => {
                is_in |= *escaped == byte;
                at += 2;
            }
            [low, b'-', high, ..] => {
                is_in |= (*low.min(high)..=*low.max(high)).contains(&byte);
                at += 3;
            }
            [other, ..] => {
                is_in |= *other == byte;
                at += 1;
            }
        }
    }
}

fn checked_pattern(text: &[u8]) -> Result<&[u8], Fault> {
    match text.len() {
        0..=PATTERN_MAX => Ok(text),
        _ => Err(format!("ERR the pattern is longer than {PATTERN_MAX} bytes").into()),
    }
}

pub(super) fn keys(call: &mut Call) -> Result<(), Fault> {
    let pattern = checked_pattern(&call.words[1])?;
    let found: Vec<_> =
        call.db.iter().map(|(key, _)| key).filter(|key| matches_pattern(pattern, key)).collect();
    call.out.bulks(found.into_iter());
    Ok(())
}

/// `SCAN CURSOR [MATCH PATTERN] [COUNT N] [TYPE KIND]`
pub(super) fn scan(call: &mut Call) -> Result<(), Fault> {
    let cursor = std::str::from_utf8(call.argument(1)).ok().and_then(|text| text.parse::<u64>().ok());
    let cursor = cursor.ok_or("ERR invalid cursor")?;
    let (mut wanted, mut count, mut kind) = (&b"*"[..], 10, None);
    for option in call.words[2..].chunks(2) {
        let [name, value] = option else { return Err(SYNTAX) };
        match name.to_ascii_uppercase().as_slice() {
            b"MATCH" => wanted = checked_pattern(value)?,
            b"COUNT" => {
                let number = parse_integer(value).ok_or(NO_INTEGER)?;
                count = usize::try_from(number).ok().filter(|n| *n > 0).ok_or(SYNTAX)?;
            }
            b"TYPE" => kind = Some(value.to_ascii_lowercase()),
            _ => return Err(SYNTAX),
        }
    }
    let (next, mut found) = call.db.scan(cursor, count.min(SCAN_MAX));
    found.retain(|key| matches_pattern(wanted, key));
    if let Some(kind) = kind {
        found.retain(|key| call.db.get(key).is_some_and(|entry| entry.value.kind().as_bytes() == kind));
    }
    call.out.array(2);
    call.out.bulk(next.to_string().as_bytes());
    call.out.bulks(found.into_iter());
    Ok(())
}

/// What may stand behind `EXPIRE KEY SECONDS`: when the new time counts.
#[derive(Default)]
struct Condition {
    /// `NX`: only for a key without a time; `XX`: only for one with a time.
    only_new: bool,
    only_known: bool,
    /// `GT`: only if it is later than the time before; `LT`: only if it is earlier. A key without a
    /// time lives for ever.
    only_later: bool,
    only_earlier: bool,
}

impl Condition {
    fn parse(words: &[Vec<u8>]) -> Result<Condition, Fault> {
        let mut read = Condition::default();
        for word in words {
            match word.to_ascii_uppercase().as_slice() {
                b"NX" => read.only_new = true,
                b"XX" => read.only_known = true,
                b"GT" => read.only_later = true,
                b"LT" => read.only_earlier = true,
                _ => {
                    let shown = String::from_utf8_lossy(word).chars().take(128).collect::<String>();
                    return Err(format!("ERR Unsupported option {shown}").into());
                }
            }
        }
        if read.only_new && (read.only_known || read.only_later || read.only_earlier) {
            return Err("ERR NX and XX, GT or LT options at the same time are not compatible".into());
        }
        if read.only_later && read.only_earlier {
            return Err("ERR GT and LT options at the same time are not compatible".into());
        }
        Ok(read)
    }

    /// Returns whether a key with the time `before` may get the time `at`.
    fn allows(&self, before: Option<i64>, at: i64) -> bool {
        !(self.only_new && before.is_some()
            || self.only_known && before.is_none()
            || self.only_later && before.is_none_or(|before| at <= before)
            || self.only_earlier && before.is_some_and(|before| at >= before))
    }
}

/// Lets a key expire `unit` milliseconds times the number that the client has sent after `from`. A
/// time that is over deletes it at once.
fn expire_in(call: &mut Call, unit: i64, is_absolute: bool, name: &str) -> Result<(), Fault> {
    let condition = Condition::parse(&call.words[3..])?;
    let amount = call.number(2)?;
    let from = if is_absolute { 0 } else { call.now };
    let at = amount.checked_mul(unit).and_then(|amount| amount.checked_add(from));
    let at = at.ok_or_else(|| Fault::from(format!("ERR invalid expire time in '{name}' command")))?;
    let key = call.key();
    if call.db.get(&key).is_some_and(|entry| !condition.allows(entry.expires, at)) {
        call.out.integer(0);
        return Ok(());
    }
    // A replay has no time: what is over is removed when it has ended.
    let is_known = match at <= call.now {
        true => remove(call, &key),
        false => call.db.expire(&key, Some(at)),
    };
    if is_known && at > call.now {
        call.record_as(&[b"PEXPIREAT", &key, at.to_string().as_bytes()]);
    }
    call.out.integer(is_known.into());
    Ok(())
}

pub(super) fn expire(call: &mut Call) -> Result<(), Fault> {
    expire_in(call, 1000, false, "expire")
}

pub(super) fn pexpire(call: &mut Call) -> Result<(), Fault> {
    expire_in(call, 1, false, "pexpire")
}

pub(super) fn expireat(call: &mut Call) -> Result<(), Fault> {
    expire_in(call, 1000, true, "expireat")
}

pub(super) fn pexpireat(call: &mut Call) -> Result<(), Fault> {
    expire_in(call, 1, true, "pexpireat")
}

/// Returns the milliseconds that a key has left: -1 without a limit, -2 without a key.
fn millis_left(call: &Call) -> i64 {
    match call.db.get(call.argument(1)) {
        Some(entry) => entry.expires.map_or(-1, |at| at.saturating_sub(call.now).max(0)),
        None => -2,
    }
}

pub(super) fn pttl(call: &mut Call) -> Result<(), Fault> {
    let left = millis_left(call);
    call.out.integer(left);
    Ok(())
}

pub(super) fn ttl(call: &mut Call) -> Result<(), Fault> {
    let left = millis_left(call);
    call.out.integer(if left < 0 { left } else { left.saturating_add(500) / 1000 });
    Ok(())
}

pub(super) fn persist(call: &mut Call) -> Result<(), Fault> {
    let key = call.key();
    let had_limit = call.db.get(&key).is_some_and(|entry| entry.expires.is_some());
    if had_limit {
        call.db.expire(&key, None);
        call.record();
    }
    call.out.integer(had_limit.into());
    Ok(())
}

pub(super) fn rename(call: &mut Call) -> Result<(), Fault> {
    let (from, to) = (call.key(), call.argument(2).to_vec());
    let entry = call.db.remove(&from).ok_or("ERR no such key")?;
    call.db.put(&to, entry.value, entry.expires);
    call.record();
    call.out.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_redis() {
        for (pattern, text, does) in [
            ("*", "", true),
            ("h?llo", "hello", true),
            ("h*llo", "heeeello", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("h\\*llo", "hello", false),
            ("h\\*llo", "h*llo", true),
            ("[abc", "b", true),
            ("a[\\]]", "a]", true),
            ("a*b*c", "aXXbYYc", true),
            ("a*b*c", "aXXbYYcd", false),
            ("a", "ab", false),
            ("\\", "\\", true),
        ] {
            assert_eq!(matches_pattern(pattern.as_bytes(), text.as_bytes()), does, "{pattern} {text}");
        }
    }

    /// CVE-2022-36021: such a pattern took Redis for ever.
    #[test]
    fn no_pattern_takes_long() {
        assert!(!matches_pattern("a*".repeat(120).as_bytes(), &b"a".repeat(50)));
        let text = [b"a".repeat(20_000), b"c".to_vec()].concat();
        assert!(!matches_pattern(&[b"*a".repeat(100), b"b".to_vec()].concat(), &text));
    }
}
