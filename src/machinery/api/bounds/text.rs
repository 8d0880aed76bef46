//! A bound on the memory that the values of a body take once it is read.

use super::Status;

/// Bytes that the values of a body may take beside its texts, as [`values_cost`] counts them. An
/// object of 1.5 MB, which is what the store takes, has half of them if all of it is short pairs.
pub(crate) const VALUES_MAX: usize = 64 << 20;

// Calculated from the sizes of the types on a 64-bit machine: a value has 72 bytes, a key with its
// value 104, and 8 in the index.
/// A list that is not empty: room for four values.
pub(crate) const LIST: usize = 4 * 72 + 16;
/// A map that is not empty: room for three keys and values, and its index.
pub(crate) const MAP: usize = 416;
/// A further value, or key and value.
pub(crate) const FURTHER: usize = 112;
/// A text, or a key, beside its bytes.
pub(crate) const TEXT: usize = 32;
/// Why a body is refused that has more values than [`VALUES_MAX`] bytes hold.
pub(crate) const TOO_MANY: &str = "the object provided has too many keys and values";

/// Refuses a JSON text whose values would take far more memory than its length says: 3 MB of
/// `[[[…]]]` make 450 MB, and of `[{"a":0},…]` 200 MB. It is judged before it is read.
///
/// # Errors
/// 400 `BadRequest`.
pub fn check_json(text: &[u8]) -> Result<(), Status> {
    match values_cost(text) > VALUES_MAX {
        true => Err(Status::bad_request(TOO_MANY)),
        false => Ok(()),
    }
}

/// Returns about how many bytes the values of a JSON text take, beside the bytes of its texts. What
/// is wrong with the text is left to its reader, which makes less of it then.
///
/// ```text
/// {}                  0
/// [[],0]            416    a list, a further value
/// {"a":1,"b":"x"}   624    a map, a further key and value, three texts
/// ```
pub fn values_cost(text: &[u8]) -> usize {
    let (mut cost, mut opened) = (0_usize, 0);
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        if byte.is_ascii_whitespace() {
            continue;
        }
        // An empty list or map has no room.
        if !matches!(*byte, b']' | b'}') {
            cost = cost.saturating_add(opened);
        }
        opened = 0;
        match *byte {
            b'[' => opened = LIST,
            b'{' => opened = MAP,
            b',' => cost = cost.saturating_add(FURTHER),
            b'"' => {
                cost = cost.saturating_add(TEXT);
                while let Some(inner) = bytes.next().filter(|inner| **inner != b'"') {
                    if *inner == b'\\' {
                        bytes.next();
                    }
                }
            }
            _ => {}
        }
    }
    cost
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cost_what_they_take() {
        for (text, bytes) in [
            ("", 0),
            (" { } ", 0),
            ("[[],0]", LIST + FURTHER),
            (r#"{"a":1,"b":"x"}"#, MAP + FURTHER + 3 * TEXT),
            (r#"["[{,\"[{,\\", 1]"#, LIST + FURTHER + TEXT),
            (r#""not closed [{,"#, TEXT),
        ] {
            assert_eq!(values_cost(text.as_bytes()), bytes, "{text}");
        }
    }

    #[test]
    fn a_json_text_has_as_many_values_as_there_is_memory_for() {
        const BODY: usize = 3 << 20;
        let list = |each: &str, bytes: usize| format!("[{}0]", each.repeat(bytes / each.len()));
        let nested = format!("{}{},", "[".repeat(90), "]".repeat(90));
        for each in [r#"{"a":0},"#, r#"{"":{"":0}},"#, "[0],", "0,", "{},", nested.as_str()] {
            let refused = check_json(list(each, BODY).as_bytes()).unwrap_err();
            assert_eq!((refused.code, refused.reason), (400, "BadRequest"), "{each}");
        }
        // What the store takes, and a long text.
        let pair = r#""field":"x","#;
        for sound in [
            list(r#"{"name":"a","value":"bcdef"},"#, 3 << 19),
            format!("{{{}\"a\":0}}", pair.repeat((3 << 19) / pair.len())),
            format!("{{\"managedFields\":{{{}\"a\":0}}}}", "\"f:abc\":{},".repeat((3 << 19) / 11)),
            format!("\"{}\"", "[{,".repeat(BODY / 3)),
        ] {
            assert!(check_json(sound.as_bytes()).is_ok(), "{}", &sound[..30]);
        }
    }
}
