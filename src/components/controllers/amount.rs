//! A number, or so many percent of another one: what `maxSurge`, `maxUnavailable` and
//! `minAvailable` may be. Source: `intstr.GetScaledValueFromIntOrPercent`.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Pure: `3` is 3, `"30%"` that part of `total`. `None`: a text that is no percentage.
pub(crate) fn scaled(amount: &IntOrString, total: i32, round_up: bool) -> Option<i32> {
    let text = match amount {
        IntOrString::Int(number) => return Some(*number),
        IntOrString::String(text) => text,
    };
    let percent: i64 = text.strip_suffix('%')?.parse().ok()?;
    let hundredths = i64::from(total).saturating_mul(percent);
    let whole = if round_up { hundredths.saturating_add(99) } else { hundredths } / 100;
    Some(whole.clamp(0, i64::from(i32::MAX)) as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_and_percentages_are_rounded_as_asked() {
        let text = |text: &str| IntOrString::String(text.into());
        for (amount, total, up, down) in [
            (IntOrString::Int(3), 10, Some(3), Some(3)),
            (text("25%"), 10, Some(3), Some(2)),
            (text("0%"), 10, Some(0), Some(0)),
            (text("100%"), i32::MAX, Some(i32::MAX), Some(i32::MAX)),
            (text("9223372036854775807%"), i32::MAX, Some(i32::MAX), Some(i32::MAX)),
            (text("a quarter"), 10, None, None),
        ] {
            assert_eq!(
                (scaled(&amount, total, true), scaled(&amount, total, false)),
                (up, down),
                "{amount:?}"
            );
        }
    }
}
