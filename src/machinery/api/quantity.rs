//! Quantities: `250m` of cpu, `1Gi` of memory. Exact, never floating point.
//! Source: k8s.io/apimachinery/pkg/api/resource.

use serde_json::Value;
use std::fmt;

/// How a quantity was written, and so how it is written back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    DecimalSi,
    BinarySi,
    DecimalExponent,
}

/// An exact amount, in billionths of its unit.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nano: i128,
    format: Format,
    /// The power of ten of upstream's mantissa: `100u` is 100 and -6. Only floats depend on it.
    scale: i32,
}

const NANO: i128 = 1_000_000_000;
const NANO_DIGITS: i64 = 9;
/// Upstream's scale of a number that does not fit in its mantissa of 64 bits.
const NANO_SCALE: i32 = -9;
const MAX: i128 = i64::MAX as i128 * NANO;
const BINARY: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];
const DECIMAL: [(&str, i32); 10] =
    [("E", 18), ("P", 15), ("T", 12), ("G", 9), ("M", 6), ("k", 3), ("", 0), ("m", -3), ("u", -6), ("n", -9)];
/// Upstream's message for text that is no quantity.
pub const INVALID: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

impl Quantity {
    /// Reads `1.5`, `250m`, `1Gi`, `1e3`. As upstream, it reads a sign, a dot or a suffix without
    /// digits as 0. `None` for empty text and for all else.
    pub fn parse(text: &str) -> Option<Quantity> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (digits, suffix) = unsigned.split_at(end);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if text.is_empty() || fraction.contains('.') || digits.len() > 30 {
            return None;
        }
        let number: i128 = format!("0{whole}{fraction}").parse().ok()?;
        let suffix = scale_of(suffix)?;
        let (nano, format) = match suffix {
            Scale::Decimal(power, format) => {
                (decimal(number, i64::from(power) + NANO_DIGITS - fraction.len() as i64), format)
            }
            Scale::Binary(bits) => (binary(number, bits, fraction.len() as u32)?, Format::BinarySi),
        };
        Some(Quantity { nano: sign(text) * nano, format, scale: mantissa_scale(whole, fraction, &suffix) })
    }

    /// So many whole units.
    pub fn of_units(units: i64) -> Quantity {
        Quantity { nano: i128::from(units) * NANO, format: Format::DecimalSi, scale: 0 }
    }

    /// So many thousandths of a unit.
    pub fn of_milli(milli: i64) -> Quantity {
        Quantity { nano: i128::from(milli) * (NANO / 1000), format: Format::DecimalSi, scale: -3 }
    }

    /// Returns the same amount, to be written with binary suffixes where that loses nothing:
    /// `8388608` becomes `8Mi`.
    pub fn in_binary(self) -> Quantity {
        Quantity { format: Format::BinarySi, ..self }
    }

    /// Rounded to thousandths, away from zero: `100u` is `1m`.
    pub fn rounded(self) -> Quantity {
        let milli = NANO / 1000;
        Quantity { nano: self.nano.signum() * div_up(self.nano.abs(), milli) * milli, ..self }
    }

    /// In thousandths, rounded up: `250m` is 250.
    pub fn milli(&self) -> i64 {
        div_up(self.nano, NANO / 1000).clamp(i64::MIN as i128, i64::MAX as i128) as i64
    }
    /// In whole units, rounded up: `1Ki` is 1024.
    pub fn units(&self) -> i64 {
        div_up(self.nano, NANO).clamp(i64::MIN as i128, i64::MAX as i128) as i64
    }
    /// Returns the amount as a float (`AsApproximateFloat64` upstream): the mantissa times a power
    /// of ten, so that `3.3` is 3.3000000000000003, as there.
    pub fn approximate(&self) -> f64 {
        // A power beyond the table belongs to a number that was cut to the largest or smallest.
        let scaled = u32::try_from(self.scale.saturating_sub(NANO_SCALE))
            .ok()
            .and_then(|power| 10i128.checked_pow(power));
        match scaled.filter(|unit| self.nano % unit == 0) {
            Some(_) if self.scale == 0 => (self.nano / NANO) as f64,
            Some(unit) => (self.nano / unit) as f64 * power_of_ten(self.scale),
            None => self.nano as f64 * power_of_ten(NANO_SCALE),
        }
    }
    /// True for less than 0.
    pub fn is_negative(&self) -> bool {
        self.nano < 0
    }
    /// True for 0, however it is written.
    pub fn is_zero(&self) -> bool {
        self.nano == 0
    }
    /// True if it has no fraction: `1500m` has one, `2000m` has none.
    pub fn is_whole(&self) -> bool {
        self.nano % NANO == 0
    }
}

impl std::ops::Add for Quantity {
    type Output = Quantity;
    /// Written as the first is written, unless that is nothing.
    fn add(self, other: Quantity) -> Quantity {
        let (format, scale) = match (self.nano, other.nano) {
            (0, _) => (other.format, other.scale),
            (_, 0) => (self.format, self.scale),
            _ => (self.format, self.scale.min(other.scale)),
        };
        Quantity { nano: (self.nano + other.nano).min(MAX), format, scale }
    }
}
impl std::ops::Sub for Quantity {
    type Output = Quantity;
    /// Written as the first is written, unless that is nothing.
    fn sub(self, other: Quantity) -> Quantity {
        self + Quantity { nano: -other.nano, ..other }
    }
}
impl PartialEq for Quantity {
    fn eq(&self, other: &Quantity) -> bool {
        self.nano == other.nano
    }
}
impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Quantity) -> Option<std::cmp::Ordering> {
        self.nano.partial_cmp(&other.nano)
    }
}

/// Writes a quantity in its canonical form.
///
/// # Errors
/// It is none.
pub(crate) fn canonical(value: &mut Value) -> Result<(), String> {
    let text = match &*value {
        Value::String(s) => s.trim().to_string(),
        other => other.to_string(),
    };
    let quantity = Quantity::parse(&text).ok_or_else(|| INVALID.to_string())?;
    *value = quantity.to_string().into();
    Ok(())
}

/// Rounds an amount of a resource up to thousandths, as `SetDefaults_ResourceList` upstream does:
/// `100u` of cpu is `1m`. Quantities that are no amounts of resources are kept as they are.
pub(crate) fn round_amount(value: &mut Value) {
    let Some(amount) = value.as_str().and_then(Quantity::parse) else { return };
    if amount != amount.rounded() {
        *value = amount.rounded().to_string().into();
    }
}

fn sign(text: &str) -> i128 {
    if text.starts_with('-') { -1 } else { 1 }
}

fn div_up(a: i128, b: i128) -> i128 {
    if a >= 0 { (a + b - 1) / b } else { a / b }
}

fn gcd(a: i128, b: i128) -> i128 {
    if b == 0 { a.max(1) } else { gcd(b, a % b) }
}

/// What a suffix multiplies by.
enum Scale {
    /// A power of ten.
    Decimal(i32, Format),
    /// A power of two.
    Binary(u32),
}

fn scale_of(suffix: &str) -> Option<Scale> {
    if let Some((_, bits)) = BINARY.iter().find(|(s, _)| *s == suffix) {
        return Some(Scale::Binary(*bits));
    }
    if let Some((_, power)) = DECIMAL.iter().find(|(s, _)| *s == suffix) {
        return Some(Scale::Decimal(*power, Format::DecimalSi));
    }
    let power: i64 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    Some(Scale::Decimal(power as i32, Format::DecimalExponent)) // upstream cuts it in the same way
}

/// Returns the scale of upstream's mantissa: numbers of up to 18 digits, and products with a power
/// of two of up to 15, have their own; all others have billionths.
fn mantissa_scale(whole: &str, fraction: &str, suffix: &Scale) -> i32 {
    const DIGITS_MAX: usize = 18;
    const PRODUCT_MAX: usize = 14;
    let digits = whole.trim_start_matches('0').len().max(1);
    match *suffix {
        Scale::Decimal(power, _) if digits + fraction.len() <= DIGITS_MAX => {
            power.saturating_sub(fraction.len() as i32).max(NANO_SCALE)
        }
        Scale::Binary(bits) if fraction.is_empty() && digits + bits as usize * 3 / 10 <= PRODUCT_MAX => 0,
        _ => NANO_SCALE,
    }
}

fn power_of_ten(power: i32) -> f64 {
    // The text is rounded correctly; `powi` multiplies, and so loses digits.
    format!("1e{power}").parse().unwrap_or(f64::NAN)
}

/// The number times a power of ten, rounded up, and at most [`MAX`].
fn decimal(number: i128, power: i64) -> i128 {
    let factor = u32::try_from(power.unsigned_abs()).ok().and_then(|power| 10i128.checked_pow(power));
    let product = match (power >= 0, factor) {
        _ if number == 0 => Some(0),
        (true, factor) => factor.and_then(|factor| number.checked_mul(factor)),
        (false, Some(divisor)) => Some(div_up(number, divisor)),
        (false, None) => Some(1), // the smallest amount: the number has fewer digits
    };
    product.unwrap_or(MAX).min(MAX)
}

/// The number, of which the last `decimals` digits are a fraction, times a power of two, in
/// billionths: rounded up, and at most [`MAX`].
fn binary(number: i128, bits: u32, decimals: u32) -> Option<i128> {
    let mut divisor = 10i128.checked_pow(decimals)?;
    // Keep the products in range: first what divides evenly, then whole and rest apart.
    let mut factor = 1i128;
    for part in [NANO, 1 << bits] {
        let common = gcd(part, divisor);
        divisor /= common;
        factor = factor.checked_mul(part / common)?;
    }
    let rest = (number % divisor).checked_mul(factor).map(|rest| div_up(rest, divisor));
    let whole = (number / divisor).checked_mul(factor);
    let sum = whole.zip(rest).and_then(|(whole, rest)| whole.checked_add(rest));
    Some(sum.unwrap_or(MAX).min(MAX))
}

impl fmt::Display for Quantity {
    /// The canonical form: no fraction, the largest suffix that loses nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nano == 0 {
            return f.write_str("0");
        }
        let small = self.nano.abs() < 1024 * NANO || self.nano % NANO != 0;
        if self.format == Format::BinarySi && !small {
            let mut number = self.nano / NANO;
            let mut suffix = "";
            for (name, _) in BINARY {
                if number % 1024 != 0 {
                    break;
                }
                number /= 1024;
                suffix = name;
            }
            return write!(f, "{number}{suffix}");
        }
        for (suffix, power) in DECIMAL {
            let unit = 10i128.pow((power + 9) as u32);
            if self.nano % unit == 0 {
                return match (self.format, power) {
                    (Format::DecimalExponent, p) if p != 0 => write!(f, "{}e{power}", self.nano / unit),
                    _ => write!(f, "{}{suffix}", self.nano / unit),
                };
            }
        }
        write!(f, "{}n", self.nano)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn amounts_of_resources_have_thousandths() {
        let kind = crate::kinds::find("", "v1", "Pod").expect("a kind of the table");
        let amounts = json!({"cpu": "100u", "memory": "1Mi", "example.com/a": "1500u"});
        let container = json!({"name": "c", "resources": {"requests": amounts}});
        let volume = json!({"name": "v", "emptyDir": {"sizeLimit": "100u"}});
        let mut pod = json!({"spec": {"containers": [container], "volumes": [volume]}});
        crate::schema::conform(kind, &mut pod).unwrap();
        assert_eq!(
            pod["spec"]["containers"][0]["resources"]["requests"],
            json!({"cpu": "1m", "memory": "1Mi", "example.com/a": "2m"})
        );
        assert_eq!(pod["spec"]["volumes"][0]["emptyDir"]["sizeLimit"], "100u", "it is no resource");
    }

    /// A sum that just passes the largest number is the largest amount, not a negative one.
    #[test]
    fn the_largest_amounts_do_not_turn_round() {
        let huge = Quantity::parse(".00154742504910672534362390527Ei").unwrap();
        assert_eq!(huge.units(), 1_784_059_615_882_450);
        assert_eq!(Quantity::parse("1.0000000000000000000000000Ei"), Quantity::parse("1Ei"));
        assert_eq!(Quantity::parse("9999999999999999999999999999E").unwrap().nano, MAX);
        assert_eq!(Quantity::parse("0.0000000001").unwrap().nano, 1, "rounded up");
    }

    #[test]
    fn exponents_of_any_size_are_read() {
        for (text, nano) in [
            ("1e28", MAX),
            ("-1E99", -MAX),
            ("1e2147483647", MAX),
            ("0e99", 0),
            ("1e-9", 1),
            ("15e-10", 2),
            ("1e-19", 1),
            ("100000000000000000000e-20", NANO),
            ("-1e-99", -1),
            ("0e-99", 0),
            ("1.5e+3", 1500 * NANO),
        ] {
            assert_eq!(Quantity::parse(text).map(|q| q.nano), Some(nano), "{text}");
        }
        for none in ["1e", "1e1.5", "1e+", "1ee1", "1e99999999999999999999"] {
            assert!(Quantity::parse(none).is_none(), "{none}");
        }
    }

    #[test]
    fn the_canonical_form_loses_nothing() {
        for (text, canonical) in [
            ("0.5", "500m"),
            ("1.5", "1500m"),
            ("1000m", "1"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("1000Mi", "1000Mi"),
            ("100Ki", "100Ki"),
            ("0.5Mi", "512Ki"),
            ("1023", "1023"),
            ("2000000", "2M"),
            ("1e3", "1e3"),
            ("-5", "-5"),
            ("0", "0"),
            ("9999999999999999999", "9223372036854775807"),
        ] {
            assert_eq!(Quantity::parse(text).map(|q| q.to_string()).as_deref(), Some(canonical), "{text}");
        }
        for bad in ["", " ", "abc", "1x", "1.2.3", "--1", "1 Gi", "1e"] {
            assert!(Quantity::parse(bad).is_none(), "{bad}");
        }
    }

    /// As apimachinery 0.35 reads them.
    #[test]
    fn text_without_digits_is_zero_and_no_text_is_nothing() {
        for text in ["+", "-", ".", "+.", "m", "-m", "Mi", "e3", "E3", "E"] {
            assert_eq!(Quantity::parse(text).map(|q| q.to_string()).as_deref(), Some("0"), "{text}");
        }
        for text in ["", " "] {
            let mut value = json!(text);
            assert_eq!(canonical(&mut value), Err(INVALID.to_string()), "{text:?}");
        }
        let kind = crate::kinds::find("", "v1", "Pod").expect("a kind of the table");
        let with = |cpu: Value| json!({"spec": {"containers": [{"resources": {"limits": {"cpu": cpu}}}]}});
        let mut pod = with(json!(""));
        assert_eq!(crate::schema::conform(kind, &mut pod).unwrap_err(), INVALID);
        let mut pod = with(Value::Null);
        crate::schema::conform(kind, &mut pod).unwrap();
        assert_eq!(pod, with(json!("0")), "null is the zero value");
    }

    /// As apimachinery 0.35 prints them.
    #[test]
    fn floats_are_those_of_upstream() {
        for (text, float) in [
            ("0", 0.0),
            ("m", 0.0),
            ("1m", 0.001),
            ("100u", 9.999999999999999e-05),
            ("1n", 1e-09),
            ("0.1", 0.1),
            ("1.5", 1.5),
            ("3.3", 3.3000000000000003),
            ("50k", 50_000.0),
            ("1e-3", 0.001),
            ("100G", 1e11),
            ("1E", 1e18),
            ("1.5Gi", 1_610_612_736.0),
            ("1.234567Gi", 1.325606222430208e9),
            ("123456789n", 0.12345678900000001),
            ("0.30000000000000004", 0.300000001),
            ("9223372036854775807", 9.223372036854776e18),
        ] {
            assert_eq!(Quantity::parse(text).map(|q| q.approximate()), Some(float), "{text}");
        }
        let sum = Quantity::parse("1").zip(Quantity::parse("100u")).map(|(a, b)| a + b);
        assert_eq!(sum.map(|q| q.approximate()), Some(1_000_100.0 * 1e-6));
        assert!(Quantity::parse("1e99").is_some_and(|q| q.approximate() > 9e18));
    }

    proptest! {
        #[test]
        fn printing_and_parsing_agree(n in 0i64..1 << 50, suffix in "(m|k|M|Ki|Mi|u|)") {
            let q = Quantity::parse(&format!("{n}{suffix}")).unwrap();
            prop_assert_eq!(Quantity::parse(&q.to_string()).unwrap(), q);
        }
    }
}
