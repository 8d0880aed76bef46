//! Repetitions of a pattern that Go refuses and this program's engine takes: counts above 1000,
//! also of nested ones together, and an operator right behind another one. Source: `parser.repeat`
//! and `repeatIsValid` in `regexp/syntax/parse.go`.

use super::places::Places;

/// How often the innermost thing may be repeated.
const MAX: u64 = 1000;

/// What the repetitions so far multiply to.
#[derive(Debug)]
pub(super) struct Repeats<'a> {
    /// The group that is being read and those around it: the largest product in each.
    groups: Vec<u64>,
    /// The product in what an operator that follows repeats.
    last: u64,
    /// The text from the operator on that was just read.
    operator: Option<&'a str>,
    /// The places of what was read.
    pub(super) places: Places,
}

impl Default for Repeats<'_> {
    fn default() -> Self {
        Repeats { groups: vec![1], last: 1, operator: None, places: Places::default() }
    }
}

impl<'a> Repeats<'a> {
    /// Passes a part of the pattern that begins with `c` and is no repetition.
    pub(super) fn pass(&mut self, c: char) {
        (self.last, self.operator) = (1, None);
        self.places.pass(c);
        match c {
            '(' => self.groups.push(1),
            ')' if self.groups.len() > 1 => {
                self.last = self.groups.pop().unwrap_or(1);
                self.keep();
            }
            _ => {}
        }
    }

    /// Passes the repetition of so many bytes that `rest` begins with.
    ///
    /// # Errors
    /// Go's message: it is refused.
    pub(super) fn repeat(&mut self, rest: &'a str, length: usize) -> Result<(), String> {
        let refused = |why: &str, written: &str| Err(format!("error parsing regexp: {why}: `{written}`"));
        let (least, most) = counts(&rest[..length]);
        if least > MAX || most.is_some_and(|most| most > MAX || most < least) {
            return refused("invalid repeat count", rest[..length].trim_end_matches('?'));
        }
        if let Some(before) = self.operator {
            let written = &before[..before.len() - (rest.len() - length)];
            return refused("invalid nested repetition operator", written);
        }
        self.operator = Some(rest);
        if rest.starts_with('{') {
            // What is repeated 0 times is gone, so what is inside does not count.
            let times = most.unwrap_or(least.max(1));
            self.last = if times == 0 { 1 } else { self.last * times };
            if self.last > MAX {
                return refused("invalid repeat count", &rest[..length]);
            }
            self.keep();
        }
        let most = if rest.starts_with('?') { Some(1) } else { most.map(|most| most as usize) };
        self.places.repeat(least as usize, most);
        Ok(())
    }

    fn keep(&mut self) {
        if let Some(group) = self.groups.last_mut() {
            *group = self.last.max(*group);
        }
    }
}

/// Returns how many bytes the repetition takes that `text` begins with: `*`, `{2,3}?`.
pub(super) fn operator(text: &str) -> usize {
    let length = if text.starts_with('{') { text.find('}').map_or(text.len(), |end| end + 1) } else { 1 };
    length + usize::from(text[length..].starts_with('?'))
}

/// `(2, Some(3))` of `{2,3}`, `(2, None)` of `{2,}`; `(0, None)` of an operator without a count.
fn counts(operator: &str) -> (u64, Option<u64>) {
    let Some((inner, _)) = operator.strip_prefix('{').and_then(|rest| rest.split_once('}')) else {
        return (0, None);
    };
    let number = |text: &str| text.parse().unwrap_or(u64::MAX); // too many digits
    match inner.split_once(',') {
        None => (number(inner), Some(number(inner))),
        Some((least, "")) => (number(least), None),
        Some((least, most)) => (number(least), Some(number(most))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::regex;

    #[test]
    fn repetitions_are_refused_as_in_go() {
        let count = "error parsing regexp: invalid repeat count";
        let nested = "error parsing regexp: invalid nested repetition operator";
        for (pattern, why) in [
            (r"^a{1,2000}$", format!("{count}: `{{1,2000}}`")),
            (r"a{1001,}?", format!("{count}: `{{1001,}}`")),
            (r"a{99999999999999999999}", format!("{count}: `{{99999999999999999999}}`")),
            (r"a{3,2}", format!("{count}: `{{3,2}}`")),
            (r"(?:a{32}){32}", format!("{count}: `{{32}}`")),
            (r"((a{10}|b{11})c){100}", format!("{count}: `{{100}}`")),
            (r"(?:(?:a{10}){10,})*(?:(b{2})){501}", format!("{count}: `{{501}}`")),
            (r"a**", format!("{nested}: `**`")),
            (r"a+?*", format!("{nested}: `+?*`")),
            (r"a{2}{3}", format!("{nested}: `{{2}}{{3}}`")),
            (r"a{2}+", format!("{nested}: `{{2}}+`")),
        ] {
            let found = regex(pattern).map(|_| ()).map_err(|e| e.to_string());
            assert_eq!(found, Err(why), "{pattern}");
        }
        for fine in [
            r"^a{1000}$",
            r"a*?b+?c??d{2}?",
            r"(?:a{10}){100}",
            r"(a{100}|b{10})(c{100}){0,10}",
            r"(a{100}){0}",
            r"[*+]{2}",
            r"\*+",
            r"\Q**\E",
            r"a{2}{",
            r"a{01}",
        ] {
            assert!(regex(fine).is_ok(), "{fine}: {:?}", regex(fine).err());
        }
    }
}
