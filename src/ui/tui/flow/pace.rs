//! How fast a hop is shown, beside how long it took.

use std::time::Duration;

/// How fast a hop is shown. At 1/100 a hop of 1 ms is lit for 250 ms (1/250), one of 5 ms for 500
/// ms (1/100), and one of 3 s for 1.2 s (x2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// What it took.
    pub real: Duration,
    /// How long it is lit.
    pub lit: Duration,
}

impl std::fmt::Display for Pace {
    /// Three digits are enough: `1/3570`. Nothing for a hop that took no time that could be
    /// measured.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (real, lit) = (self.real.as_micros(), self.lit.as_micros());
        if real == 0 {
            return Ok(());
        }
        if lit < real {
            let tenths = (10 * real + lit / 2) / lit;
            return write!(f, "x{}.{}", tenths / 10, tenths % 10);
        }
        let tenths = (10 * lit + real / 2) / real;
        if tenths < 100 && tenths % 10 > 0 {
            return write!(f, "1/{}.{}", tenths / 10, tenths % 10);
        }
        let slower = (lit + real / 2) / real;
        let unit = 10_u128.pow(slower.max(1).ilog10().saturating_sub(2));
        write!(f, "1/{}", (slower + unit / 2) / unit * unit)
    }
}
