//! Quantities: `250m` of cpu, `1Gi` of memory. Exact, never floating point.
//! Source: k8s.io/apimachinery/pkg/api/resource.

use crate::gojson;
use serde_json::Value;
use std::fmt;

/// How a quantity was written, and so how it is written back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    DecimalSi,
    BinarySi,
    DecimalExponent,
}

/// An amount: `number` times ten to the `power`. It is exact to a billionth of its unit, and in its
/// first 37 digits; what is more precise is rounded away from zero.
///
/// The power is the smallest one, of -9 and more, with which the number has 128 bits. So equal
/// amounts have equal fields, and of two numbers the one with the larger power is the larger one.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    number: i128,
    power: i64,
    format: Format,
    /// The power of ten of upstream's mantissa: `100u` is 100 and -6. Only floats depend on it.
    scale: i32,
}

const NANO: i128 = 1_000_000_000;
/// The smallest power of ten, which all amounts below some 10^29 have.
const NANO_POWER: i64 = -9;
const MILLI_POWER: i64 = -3;
/// Upstream's scale of a number that does not fit in its mantissa of 64 bits.
const NANO_SCALE: i32 = -9;
/// The largest amount with a binary suffix, in billionths. Others have no bound.
const BINARY_MAX: i128 = i64::MAX as i128 * NANO;
/// Decimal digits that always fit in 128 bits.
const DIGITS_MAX: usize = 38;
/// Digits of a number with a binary suffix: those behind are less than a billionth.
const BINARY_DIGITS_MAX: usize = 30;
/// Digits before the dot of a number that is larger than [`BINARY_MAX`] with any binary suffix.
const BINARY_WHOLE_MAX: usize = 19;
/// Powers of ten above that of `E` that are still written as zeros.
const ZEROS_MAX: i64 = 64;
const EXA: i64 = 18;
const BINARY: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];
const DECIMAL: [(&str, i32); 10] =
    [("E", 18), ("P", 15), ("T", 12), ("G", 9), ("M", 6), ("k", 3), ("", 0), ("m", -3), ("u", -6), ("n", -9)];
/// Upstream's message for text that does not look like a quantity.
pub(crate) const INVALID: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
/// Upstream's message for a suffix that looks right and is none: `1K`, `1e`.
pub(crate) const BAD_SUFFIX: &str = "unable to parse quantity's suffix";
/// Upstream's message for a suffix alone that needs a number before it: `Ei`.
pub(crate) const BAD_NUMBER: &str = "unable to parse numeric part of quantity";

impl Quantity {
    /// As [`Quantity::read`], without the reason.
    pub fn parse(text: &str) -> Option<Quantity> {
        Quantity::read(text).ok()
    }

    /// Reads `1.5`, `250m`, `1Gi`, `1e3`. As upstream, it reads a sign, a dot or most suffixes
    /// without digits as 0, and cuts only numbers with a binary suffix to 64 bits.
    ///
    /// # Errors
    /// [`INVALID`], [`BAD_SUFFIX`] or [`BAD_NUMBER`].
    pub fn read(text: &str) -> Result<Quantity, &'static str> {
        let parts = Parts::split(text)?;
        let Parts { whole, fraction, .. } = parts;
        let ((number, power), format) = match parts.suffix {
            Scale::Decimal(power, format) => (decimal(whole, fraction, i64::from(power)), format),
            Scale::Binary(bits) => ((binary(whole, fraction, bits), NANO_POWER), Format::BinarySi),
        };
        let scale = parts.short_scale().unwrap_or(NANO_SCALE);
        Ok(Quantity { number: sign(text) * number, power, format, scale })
    }

    /// Makes a quantity of whole units.
    pub fn of_units(units: i64) -> Quantity {
        Quantity { number: i128::from(units) * NANO, power: NANO_POWER, format: Format::DecimalSi, scale: 0 }
    }

    /// Makes a quantity of thousandths of a unit.
    pub fn of_milli(milli: i64) -> Quantity {
        let number = i128::from(milli) * (NANO / 1000);
        Quantity { number, power: NANO_POWER, format: Format::DecimalSi, scale: -3 }
    }

    /// Returns the same amount, to be written with binary suffixes where that loses nothing:
    /// `8388608` becomes `8Mi`.
    pub fn in_binary(self) -> Quantity {
        Quantity { format: Format::BinarySi, ..self }
    }

    /// Returns the amount rounded to thousandths, away from zero: `100u` is `1m`.
    pub(crate) fn rounded(self) -> Quantity {
        self.rounded_to(MILLI_POWER)
    }

    /// Returns the amount rounded to whole units, away from zero: `1500m` is `2`.
    pub(crate) fn rounded_to_units(self) -> Quantity {
        self.rounded_to(0)
    }

    fn rounded_to(self, least: i64) -> Quantity {
        if self.power >= least {
            return self;
        }
        let (number, power) = normal(shortened(self.number, least - self.power), least);
        Quantity { number, power, ..self }
    }

    /// Returns the thousandths, rounded up: `250m` is 250. Larger amounts are cut to 64 bits.
    pub fn milli(&self) -> i64 {
        self.in_units_of(NANO / 1000)
    }
    /// Returns the whole units, rounded up: `1Ki` is 1024. Larger amounts are cut to 64 bits.
    pub fn units(&self) -> i64 {
        self.in_units_of(NANO)
    }
    /// Returns the amount in units of `nano` billionths, rounded up.
    fn in_units_of(&self, nano: i128) -> i64 {
        if self.power > NANO_POWER {
            return if self.is_negative() { i64::MIN } else { i64::MAX };
        }
        div_up(self.number, nano).clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
    }
    /// Returns the amount as a float (`AsApproximateFloat64` upstream): the mantissa times a power
    /// of ten, so that `3.3` is 3.3000000000000003, as there.
    pub(crate) fn approximate(&self) -> f64 {
        let more = i64::from(self.scale) - self.power;
        let is_exact = more <= 0 || power_of(more).is_some_and(|unit| self.number % unit == 0);
        let scale = if is_exact { self.scale } else { NANO_SCALE };
        // The text is rounded correctly.
        let mantissa = format!("{}e{}", self.number, self.power - i64::from(scale));
        let mantissa = mantissa.parse().unwrap_or(f64::NAN);
        if scale == 0 { mantissa } else { mantissa * power_of_ten(scale) }
    }
    /// Returns whether it is less than 0.
    pub(crate) fn is_negative(&self) -> bool {
        self.number < 0
    }
    /// Returns whether it is 0, however it is written.
    pub fn is_zero(&self) -> bool {
        self.number == 0
    }
    /// Returns whether it has no fraction: `1500m` has one, `2000m` has none.
    pub(crate) fn is_whole(&self) -> bool {
        self.power >= 0 || power_of(-self.power).is_some_and(|unit| self.number % unit == 0)
    }
    /// Returns the whole units, if it has no fraction and they have 64 bits.
    pub(crate) fn as_integer(&self) -> Option<i64> {
        self.whole_units().and_then(|units| i64::try_from(units).ok())
    }
    /// Returns the whole units, if it has no fraction and they have 128 bits.
    fn whole_units(&self) -> Option<i128> {
        let unit = power_of(self.power.saturating_abs())?;
        match self.power >= 0 {
            true => self.number.checked_mul(unit),
            false => (self.number % unit == 0).then_some(self.number / unit),
        }
    }
}

impl std::ops::Add for Quantity {
    type Output = Quantity;
    /// Adds two amounts. The sum is written as the first one, unless that is nothing.
    fn add(self, other: Quantity) -> Quantity {
        let (format, scale) = match (self.number, other.number) {
            (0, _) => (other.format, other.scale),
            (_, 0) => (self.format, self.scale),
            _ => (self.format, self.scale.min(other.scale)),
        };
        let at = |power: i64| {
            let (one, other) =
                (shortened(self.number, power - self.power), shortened(other.number, power - other.power));
            one.checked_add(other).map(|sum| normal(sum, power))
        };
        let power = self.power.max(other.power);
        // With a digit less no sum is too large.
        let (number, power) = at(power).or_else(|| at(power + 1)).unwrap_or((0, NANO_POWER));
        Quantity { number, power, format, scale }
    }
}
impl std::ops::Sub for Quantity {
    type Output = Quantity;
    /// Subtracts an amount. The rest is written as the first one, unless that is nothing.
    fn sub(self, other: Quantity) -> Quantity {
        std::ops::Add::add(self, Quantity { number: other.number.saturating_neg(), ..other })
    }
}
impl PartialEq for Quantity {
    fn eq(&self, other: &Quantity) -> bool {
        (self.number, self.power) == (other.number, other.power)
    }
}
impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Quantity) -> Option<std::cmp::Ordering> {
        let by_sign = self.number.signum().cmp(&other.number.signum());
        let by_size = match self.is_negative() {
            false => self.power.cmp(&other.power),
            true => other.power.cmp(&self.power),
        };
        Some(by_sign.then(by_size).then(self.number.cmp(&other.number)))
    }
}

/// Returns a quantity as upstream stores and prints it. `ParseQuantity` keeps the text of a short
/// number in the usual steps of a thousand, however it is spelled: `1.500`, `+5` and `1E3` stay.
/// Others get their canonical form: `0.5` becomes `500m`.
///
/// # Errors
/// As [`Quantity::read`].
pub fn as_stored(text: &str) -> Result<String, &'static str> {
    match Parts::split(text)?.is_kept() {
        true => Ok(text.to_string()),
        false => Quantity::read(text).map(|quantity| quantity.to_string()),
    }
}

/// Writes the value of a field that is a quantity as it is stored. A number has the text that Go's
/// JSON has for it; the text of a number in a JSON body is kept by
/// [`crate::schema::keep_number_texts`].
///
/// # Errors
/// As [`Quantity::read`].
pub fn conform(value: &mut Value) -> Result<(), String> {
    let text = match &*value {
        Value::String(s) => s.trim().to_string(),
        Value::Number(number) => gojson::number(number),
        other => other.to_string(),
    };
    *value = as_stored(&text)?.into();
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
    if a > 0 { (a - 1) / b + 1 } else { a / b }
}

fn gcd(a: i128, b: i128) -> i128 {
    if b == 0 { a.max(1) } else { gcd(b, a % b) }
}

/// Returns ten to the power, if it has 128 bits.
fn power_of(power: i64) -> Option<i128> {
    u32::try_from(power).ok().and_then(|power| 10i128.checked_pow(power))
}

/// Cuts the last `digits` of a number off and rounds it away from zero.
fn shortened(number: i128, digits: i64) -> i128 {
    match power_of(digits) {
        Some(unit) if number % unit == 0 => number / unit,
        Some(unit) => number / unit + number.signum(),
        None => number.signum(), // the number has fewer digits
    }
}

/// Returns the amount with the smallest power that is allowed.
fn normal(number: i128, power: i64) -> (i128, i64) {
    if number == 0 {
        return (0, NANO_POWER);
    }
    if power < NANO_POWER {
        return (shortened(number, NANO_POWER - power), NANO_POWER);
    }
    let (mut number, mut power) = (number, power);
    while power > NANO_POWER {
        let Some(more) = number.checked_mul(10) else { break };
        (number, power) = (more, power - 1);
    }
    (number, power)
}

/// Splits a text into the digits that it begins with and the rest.
fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// Returns whether a text is letters of suffixes, a sign and digits, each of which may be missing.
fn looks_like_suffix(text: &str) -> bool {
    let rest = text.trim_start_matches(|c: char| "eEinumkKMGTP".contains(c));
    split_digits(rest.strip_prefix(['+', '-']).unwrap_or(rest)).1.is_empty()
}

/// The text of a quantity in its parts, without the sign.
struct Parts<'a> {
    /// Digits before the dot, with zeros at the front.
    whole: &'a str,
    /// Digits behind the dot.
    fraction: &'a str,
    suffix: Scale,
}

impl<'a> Parts<'a> {
    fn split(text: &'a str) -> Result<Parts<'a>, &'static str> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let (whole, rest) = split_digits(unsigned);
        let (fraction, suffix) = rest.strip_prefix('.').map_or(("", rest), split_digits);
        if text.is_empty() || !looks_like_suffix(suffix) {
            return Err(INVALID);
        }
        let suffix = scale_of(suffix).ok_or(BAD_SUFFIX)?;
        if whole.is_empty() && fraction.is_empty() && suffix.needs_digits() {
            return Err(BAD_NUMBER);
        }
        Ok(Parts { whole, fraction, suffix })
    }

    /// Digits before the dot; none if they are all 0.
    fn significant(&self) -> &'a str {
        self.whole.trim_start_matches('0')
    }

    /// Returns the power of ten of upstream's mantissa, if the number is short enough for one of 64
    /// bits; longer ones are counted in billionths.
    fn short_scale(&self) -> Option<i32> {
        /// Digits before and behind the dot of a number with a decimal suffix.
        const SHORT_DECIMAL_MAX: usize = 18;
        /// Digits of the number and of its power of two together. Three digits count for ten bits.
        const SHORT_BINARY_MAX: usize = 14;
        let digits = self.significant().len().max(1);
        match self.suffix {
            Scale::Decimal(power, _) => {
                let scale = power.saturating_sub(self.fraction.len() as i32);
                let is_short = digits + self.fraction.len() <= SHORT_DECIMAL_MAX;
                (is_short && scale >= NANO_SCALE).then_some(scale)
            }
            Scale::Binary(bits) => {
                let digits = digits + bits as usize * 3 / 10;
                (self.fraction.is_empty() && digits <= SHORT_BINARY_MAX).then_some(0)
            }
        }
    }

    /// Returns whether upstream takes the text for the canonical form and keeps it. It looks at a
    /// few digits only: a decimal number must not end with three zeros, and of the number before a
    /// binary suffix one of the last three bits must be set.
    fn is_kept(&self) -> bool {
        let Some(scale) = self.short_scale() else { return false };
        let digits = self.significant();
        match self.suffix {
            Scale::Decimal(..) => {
                let ends_in_zeros = format!("{digits}{}", self.fraction).ends_with("000");
                scale % 3 == 0 && !digits.is_empty() && !ends_in_zeros
            }
            Scale::Binary(_) => digits.parse::<u64>().is_ok_and(|number| number % 8 != 0),
        }
    }
}

/// What a suffix multiplies by.
enum Scale {
    /// A power of ten.
    Decimal(i32, Format),
    /// A power of two.
    Binary(u32),
}

impl Scale {
    /// Returns whether upstream takes the suffix only behind digits: without them it reads a 0 as
    /// its short numbers, and finds none where it needs its long ones.
    fn needs_digits(&self) -> bool {
        match *self {
            Scale::Decimal(power, _) => i64::from(power) < NANO_POWER,
            Scale::Binary(bits) => bits >= 50,
        }
    }
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

/// Returns ten to the power as Go's `math.Pow10` does: a product or quotient of two table entries.
fn power_of_ten(power: i32) -> f64 {
    const STEP: i32 = 32;
    const POWER_MAX: i32 = 308;
    const POWER_MIN: i32 = -323;
    // The text is rounded correctly; `powi` multiplies, and so loses digits.
    let entry = |power: i32| format!("1e{power}").parse::<f64>().unwrap_or(f64::NAN);
    match power {
        0..=POWER_MAX => entry(power / STEP * STEP) * entry(power % STEP),
        POWER_MIN..=-1 => entry(power / STEP * STEP) / entry(-power % STEP),
        _ if power > 0 => f64::INFINITY,
        _ => 0.0,
    }
}

/// Reads a decimal number times a power of ten.
fn decimal(whole: &str, fraction: &str, power: i64) -> (i128, i64) {
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let (kept, rest) = digits.split_at(digits.len().min(DIGITS_MAX));
    // Without digits it is 0.
    let number = kept.parse::<i128>().unwrap_or(0) + i128::from(rest.bytes().any(|digit| digit != b'0'));
    normal(number, power + rest.len() as i64 - fraction.len() as i64)
}

/// Reads a decimal number times a power of two, in billionths: rounded up, at most [`BINARY_MAX`].
fn binary(whole: &str, fraction: &str, bits: u32) -> i128 {
    let whole = whole.trim_start_matches('0');
    if whole.len() > BINARY_WHOLE_MAX {
        return BINARY_MAX;
    }
    let (kept, rest) = fraction.split_at(fraction.len().min(BINARY_DIGITS_MAX - whole.len()));
    let number = format!("0{whole}{kept}").parse::<i128>().unwrap_or(0)
        + i128::from(rest.bytes().any(|digit| digit != b'0'));
    product(number, bits, kept.len() as u32).unwrap_or(BINARY_MAX).min(BINARY_MAX)
}

/// Multiplies a number, of which the last `decimals` digits are a fraction, by a power of two.
/// Returns billionths, rounded up; `None` if they are too many.
fn product(number: i128, bits: u32, decimals: u32) -> Option<i128> {
    let mut divisor = 10i128.checked_pow(decimals)?;
    // Keep the products in range: first what divides evenly, then whole and rest apart.
    let mut factor = 1i128;
    for part in [NANO, 1 << bits] {
        let common = gcd(part, divisor);
        divisor /= common;
        factor = factor.checked_mul(part / common)?;
    }
    let rest = (number % divisor).checked_mul(factor).map(|rest| div_up(rest, divisor))?;
    (number / divisor).checked_mul(factor)?.checked_add(rest)
}

impl fmt::Display for Quantity {
    /// Writes the canonical form: no fraction, the largest suffix that loses nothing. Upstream
    /// drops the suffix beyond `E`, and so writes `1000E` as `1`; here it stays `1000E`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.number == 0 {
            return f.write_str("0");
        }
        if self.format == Format::BinarySi
            && let Some(number) = self.whole_units().filter(|number| number.unsigned_abs() >= 1024)
        {
            return write_binary(number, f);
        }
        let (mut number, mut power) = (self.number, self.power);
        while number % 10 == 0 {
            (number, power) = (number / 10, power + 1);
        }
        let above = power.rem_euclid(3);
        let (mut zeros, mut power) = (above, power - above);
        if self.format == Format::DecimalExponent || power > EXA + ZEROS_MAX {
            let exponent = if power == 0 { String::new() } else { format!("e{power}") };
            return write!(f, "{number}{}{exponent}", "0".repeat(zeros as usize));
        }
        if power > EXA {
            (zeros, power) = (zeros + power - EXA, EXA);
        }
        let suffix =
            DECIMAL.iter().find(|(_, known)| i64::from(*known) == power).map_or("", |(name, _)| *name);
        write!(f, "{number}{}{suffix}", "0".repeat(zeros as usize))
    }
}

fn write_binary(number: i128, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (mut number, mut suffix) = (number, "");
    for (name, _) in BINARY {
        if number % 1024 != 0 {
            break;
        }
        (number, suffix) = (number / 1024, name);
    }
    write!(f, "{number}{suffix}")
}

#[cfg(test)]
mod tests;
