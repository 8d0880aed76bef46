//! What a format makes of a block of bytes.

use super::format::{BLOCK_MAX, Field, Format, Kind, Part, Unit, parse, size_of};

/// Returns a number with at least so many digits as the precision says.
fn format_digits(base: u8, value: u64, precision: Option<usize>) -> String {
    let text = match base {
        b'o' => format!("{value:o}"),
        b'x' => format!("{value:x}"),
        b'X' => format!("{value:X}"),
        _ => value.to_string(),
    };
    // Not by `format!`, which panics for a width of more than 65535.
    "0".repeat(precision.unwrap_or(1).saturating_sub(text.len())) + &text
}

/// What hexdump(1) calls the control characters.
const NAMES: [&str; 33] = [
    "nul", "soh", "stx", "etx", "eot", "enq", "ack", "bel", "bs", "ht", "lf", "vt", "ff", "cr", "so", "si",
    "dle", "dc1", "dc2", "dc3", "dc4", "nak", "syn", "etb", "can", "em", "sub", "esc", "fs", "gs", "rs",
    "us", "del",
];

fn escape_byte(byte: u8) -> String {
    match byte {
        0 => "\\0".into(),
        7 => "\\a".into(),
        8 => "\\b".into(),
        9 => "\\t".into(),
        10 => "\\n".into(),
        11 => "\\v".into(),
        12 => "\\f".into(),
        13 => "\\r".into(),
        b' '..=b'~' => char::from(byte).into(),
        _ => format!("{byte:03o}"),
    }
}

fn name_of_byte(byte: u8) -> String {
    match byte {
        b' '..=b'~' => char::from(byte).into(),
        0x7f => NAMES[32].into(),
        _ => NAMES.get(usize::from(byte)).map_or_else(|| format!("{byte:02x}"), ToString::to_string),
    }
}

impl Field {
    /// Writes one value. `bytes` are those that the field takes; `None` behind the end of the
    /// input, where the field is blank.
    fn write_value(&self, out: &mut Vec<u8>, bytes: Option<&[u8]>, address: u64) {
        let value = |bytes: &[u8]| {
            let mut whole = [0; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            u64::from_le_bytes(whole)
        };
        let mut zero = self.zero && !self.left && self.precision.is_none();
        let text: Vec<u8> = match (self.kind, bytes) {
            (Kind::Address(base) | Kind::End(base), _) => {
                format_digits(base, address, self.precision).into_bytes()
            }
            (_, None) => {
                zero = false;
                Vec::new()
            }
            (Kind::Unsigned(base), Some(bytes)) => {
                format_digits(base, value(bytes), self.precision).into_bytes()
            }
            (Kind::Signed, Some(bytes)) => {
                let unused = 64 - 8 * bytes.len() as u32;
                let signed = ((value(bytes) << unused) as i64) >> unused;
                let sign = if signed < 0 { "-" } else { self.plus };
                let width = if zero { self.width.saturating_sub(sign.len()) } else { 0 };
                let least = self.precision.unwrap_or(1).max(width);
                format!("{sign}{}", format_digits(b'u', signed.unsigned_abs(), Some(least))).into_bytes()
            }
            (Kind::Byte, Some(bytes)) => bytes.to_vec(),
            (Kind::Escaped, Some(bytes)) => escape_byte(bytes[0]).into_bytes(),
            (Kind::Printable, Some(bytes)) => {
                vec![if (b' '..=b'~').contains(&bytes[0]) { bytes[0] } else { b'.' }]
            }
            (Kind::Named, Some(bytes)) => name_of_byte(bytes[0]).into_bytes(),
        };
        let fill = self.width.saturating_sub(text.len());
        let (before, behind) = if self.left { (0, fill) } else { (fill, 0) };
        out.extend(std::iter::repeat_n(if zero { b'0' } else { b' ' }, before));
        out.extend(text);
        out.extend(std::iter::repeat_n(b' ', behind));
    }
}

/// Formats as they were asked for, with the length of a block.
#[derive(Debug)]
pub(super) struct Plan {
    formats: Vec<Format>,
    pub block: usize,
}

impl Plan {
    pub(super) fn from_formats(texts: &[String]) -> Result<Plan, String> {
        let mut formats = texts.iter().map(|text| parse(text)).collect::<Result<Vec<Format>, _>>()?;
        let block = formats.iter().map(size_of).max().unwrap_or(0);
        if block > BLOCK_MAX {
            return Err(format!("a block of more than {BLOCK_MAX} bytes"));
        }
        // The last unit of a shorter format string takes what is left of the block, unless it says
        // how often.
        for format in &mut formats {
            let own = size_of(format);
            if let Some(last) = format.last_mut().filter(|last| !last.fixed && last.bytes() > 0) {
                last.times += (block - own) / last.bytes();
            }
        }
        Ok(Plan { formats, block })
    }

    /// Writes one block. `bytes` are those that the input has; the last block may lack some.
    pub(super) fn write_block(&self, out: &mut Vec<u8>, bytes: &[u8], address: u64) {
        let mut block = bytes.to_vec();
        block.resize(self.block, 0);
        for format in &self.formats {
            let mut at = 0;
            for unit in format.iter().filter(|unit| !unit.is_end()) {
                for time in 1..=unit.times {
                    write_unit(unit, out, &block, bytes.len(), &mut at, address, time == unit.times);
                }
            }
        }
    }

    /// Writes what comes once, behind all blocks.
    pub(super) fn write_end(&self, out: &mut Vec<u8>, address: u64) {
        let mut ends = self.formats.iter().flatten().filter(|unit| unit.is_end());
        if let Some(unit) = ends.next_back() {
            write_unit(unit, out, &[], 0, &mut 0, address, false);
        }
    }
}

fn write_unit(
    unit: &Unit,
    out: &mut Vec<u8>,
    block: &[u8],
    there: usize,
    at: &mut usize,
    address: u64,
    last: bool,
) {
    for (nth, part) in unit.parts.iter().enumerate() {
        match part {
            // White space separates one time from the next: behind the last it would be too much.
            Part::Text(text) if last && unit.times > 1 && nth + 1 == unit.parts.len() => {
                out.extend(text.trim_end_matches([' ', '\t', '\n']).bytes());
            }
            Part::Text(text) => out.extend(text.bytes()),
            Part::Field(field) => {
                let bytes = block.get(*at..*at + field.bytes).filter(|_| *at < there);
                field.write_value(out, bytes, address + *at as u64);
                *at += field.bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_may_have_any_number_of_digits() {
        assert_eq!(format_digits(b'x', 255, Some(4)), "00ff");
        assert_eq!(format_digits(b'd', 0, None), "0");
        assert_eq!(format_digits(b'd', 7, Some(BLOCK_MAX)).len(), BLOCK_MAX);
    }
}
