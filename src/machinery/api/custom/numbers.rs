//! Numbers of custom resources, as a Go server reads and writes them.

use serde_json::{Number, Value};

/// True for a float without a fraction in the range in which a float holds every integer
/// (`IsFloat64AJSONInteger` upstream).
pub(super) fn is_integer(float: f64) -> bool {
    const FLOAT_MAX: f64 = 9_007_199_254_740_991.0; // 2^53 - 1
    float.fract() == 0.0 && float.abs() <= FLOAT_MAX
}

/// Turns floats without a fraction into integers, in the whole value. Upstream reads `3.0` and
/// `1e1` as floats, and Go writes them as `3` and `10`. A client in Go cannot read `3.0` into an
/// integer.
///
/// Larger floats stay as they are, so that [`super::check`] still refuses them for an integer.
pub(super) fn normalize(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(integer) = integer(number) {
                *number = integer.into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(normalize),
        Value::Object(fields) => fields.values_mut().for_each(normalize),
        _ => {}
    }
}

/// Returns the value as [`normalize`] leaves it.
pub(super) fn normalized(mut value: Value) -> Value {
    normalize(&mut value);
    value
}

fn integer(number: &Number) -> Option<i64> {
    let float = number.as_f64().filter(|float| number.is_f64() && is_integer(*float))?;
    Some(float as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rng::Rng;
    use serde_json::json;

    /// The parser of serde_json is exact with its feature `float_roundtrip` only. Without it, one
    /// in eight of these is read as another number.
    #[test]
    fn fractions_are_read_as_they_are_written() {
        let rng = Rng::seeded(1);
        let random = (0..10_000).map(|_| rng.range(0, 1 << 53) as f64 / (1_u64 << 53) as f64 * 180.0);
        for float in [126.97796919999999, 45.059164949556916, 97.45424510282939].into_iter().chain(random) {
            let text = json!(float).to_string();
            let read: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(read.as_f64(), Some(float), "{text}");
        }
    }

    #[test]
    fn floats_without_a_fraction_become_integers() {
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        for (text, written) in [
            (r#"{"a":3.0,"b":[1e1,-2.0],"c":{"d":0.0}}"#, r#"{"a":3,"b":[10,-2],"c":{"d":0}}"#),
            ("9007199254740991.0", "9007199254740991"),
            (r#"[3,1.5,"3.0",null,true]"#, r#"[3,1.5,"3.0",null,true]"#),
        ] {
            let mut value = read(text);
            normalize(&mut value);
            assert_eq!(value.to_string(), written);
        }
        for text in ["1e18", "1e300", "-1e16", "18446744073709551615"] {
            let mut value = read(text);
            normalize(&mut value);
            assert_eq!(value, read(text), "{text}: a float does not hold all integers of that size");
        }
    }
}
